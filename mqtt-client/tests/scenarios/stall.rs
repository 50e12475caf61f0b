//! The ack deadline.
