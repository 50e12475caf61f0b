//! Pages for those who build on this crate. There is no code in here.

#[doc = include_str!("../guide/embedding.md")]
pub mod embedding {}
