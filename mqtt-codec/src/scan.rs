//! Checks of text a machine word at a time: the cheapest way to validate a topic without `unsafe`.

/// Every byte 0x01.
const ONES: u64 = u64::MAX / 0xff;
const HIGH_BITS: u64 = ONES << 7;
const LOW_BITS: u64 = !HIGH_BITS;

/// What one pass over a topic can prove.
///
/// With the high bits clear, adding 0x7f to each byte sets the high bit of exactly those bytes that are not
/// zero, without a carry into the next. `#` (0x23) and `+` (0x2b) differ in one bit, so one comparison finds both.
#[derive(Clone, Copy)]
struct Plain {
    any: u64,
    all: u64,
}

impl Plain {
    const START: Self = Self { any: 0, all: HIGH_BITS };

    #[inline(always)]
    const fn add(self, word: u64) -> Self {
        let not_nul = word.wrapping_add(LOW_BITS);
        let not_wildcard = ((word | (ONES * 0x08)) ^ (ONES * b'+' as u64)).wrapping_add(LOW_BITS);
        Self { any: self.any | word, all: self.all & not_nul & not_wildcard }
    }

    #[inline(always)]
    const fn holds(self) -> bool {
        self.any & HIGH_BITS == 0 && self.all & HIGH_BITS == HIGH_BITS
    }
}

/// Returns whether all of `text` is ASCII without NUL, `+` and `#`: the topics that need no second look.
#[inline]
pub(crate) fn is_plain_ascii(text: &[u8]) -> bool {
    let mut plain = Plain::START;
    let Some(last) = text.last_chunk::<8>() else {
        return short_is_plain_ascii(text);
    };
    let mut rest = text;
    while let Some((word, tail)) = rest.split_first_chunk::<8>() {
        plain = plain.add(u64::from_ne_bytes(*word));
        rest = tail;
    }
    if !rest.is_empty() {
        // The last word overlaps the one before: cheaper than a loop over the bytes that are left.
        plain = plain.add(u64::from_ne_bytes(*last));
    }
    plain.holds()
}

/// The same for fewer than eight bytes.
#[inline]
fn short_is_plain_ascii(text: &[u8]) -> bool {
    if let (Some(first), Some(last)) = (text.first_chunk::<4>(), text.last_chunk::<4>()) {
        let word = u64::from(u32::from_ne_bytes(*first)) << 32 | u64::from(u32::from_ne_bytes(*last));
        return Plain::START.add(word).holds();
    }
    text.iter().all(|&byte| byte.is_ascii() && byte != 0 && byte | 0x08 != b'+')
}
