//! The output in each of its forms: chunk by chunk, as segments, as slices for one vectored write. All of them end where
//! bytes begin that depend on changes which are not saved.

mod common;

use common::{Pair, Q0, Q1, kept};
use mqtt_client::bytes::Buf;

/// All that may go out, chunk by chunk, from a copy of the client.
fn chunks(pair: &Pair) -> Vec<u8> {
    let mut client = pair.client.clone();
    let mut output = client.poll_output(pair.now);
    let mut bytes = Vec::new();
    while output.has_remaining() {
        let count = output.chunk().len();
        assert!(count > 0);
        bytes.extend_from_slice(output.chunk());
        output.advance(count);
    }
    bytes
}

/// The same as segments, of at least `max` bytes, and how many they are.
fn segments(pair: &mut Pair, max: usize) -> (Vec<u8>, usize) {
    let mut segments = Vec::new();
    pair.client.poll_output(pair.now).segments(max, &mut segments);
    assert!(segments.iter().all(|segment| !segment.is_empty()));
    (segments.concat(), segments.len())
}

/// The same as at most `max` slices, and how many they are.
#[cfg(feature = "std")]
fn slices(pair: &mut Pair, max: usize) -> (Vec<u8>, usize) {
    let mut slices = vec![std::io::IoSlice::new(&[]); max];
    let output = pair.client.poll_output(pair.now);
    let count = output.chunks_vectored(&mut slices);
    assert!(slices[..count].iter().all(|slice| !slice.is_empty()));
    (slices[..count].iter().flat_map(|slice| slice.iter().copied()).collect(), count)
}

/// Small packets lie together, a large payload lies by itself.
fn mixed(pair: &mut Pair) {
    pair.publish("one", Q1);
    pair.publish("two", Q1);
    pair.publish(&"x".repeat(20_000), Q0);
    pair.publish("three", Q1);
}

#[test]
fn all_forms_hold_the_same() {
    let mut pair: Pair = Pair::new(kept());
    pair.open(false);
    mixed(&mut pair);
    let all = chunks(&pair);
    assert_eq!(all.len(), pair.client.output_len());
    #[cfg(feature = "std")]
    {
        assert_eq!(slices(&mut pair, 16), (all.clone(), 3));
        let (two, count) = slices(&mut pair, 2);
        assert_eq!((two.as_slice(), count), (&all[..two.len()], 2));
        assert!(two.len() > 20_000 && two.len() < all.len());
    }
    assert_eq!(segments(&mut pair, usize::MAX), (all.clone(), 3));
    let (first, count) = segments(&mut pair, 1);
    assert_eq!((first.as_slice(), count), (&all[..first.len()], 1));
    assert_eq!(segments(&mut pair, first.len() + 1).1, 2);
    assert_eq!(segments(&mut pair, 0), (Vec::new(), 0));
    // Nothing was taken by all that.
    assert_eq!(chunks(&pair), all);
    assert_eq!(pair.sent().len(), 4);
    assert_eq!(segments(&mut pair, usize::MAX), (Vec::new(), 0));
    #[cfg(feature = "std")]
    assert_eq!(slices(&mut pair, 4), (Vec::new(), 0));
}

#[test]
fn all_forms_end_where_the_saved_changes_end() {
    for large in [false, true] {
        let mut pair: Pair = Pair::new(kept().journal(true));
        let mark = pair.client.poll_changes().unwrap().mark;
        pair.client.changes_saved(mark);
        pair.open(false);
        mixed(&mut pair);
        let saved = pair.client.output_len();
        let mark = pair.client.poll_changes().unwrap().mark;
        pair.publish(if large { LARGE } else { "more" }, Q1);
        let all = pair.client.output_len();
        assert!(chunks(&pair).is_empty() && !pair.client.has_output());
        assert_eq!(segments(&mut pair, usize::MAX), (Vec::new(), 0));
        pair.client.changes_saved(mark);
        let open = chunks(&pair);
        assert_eq!((open.len(), pair.client.output_len()), (saved, all));
        #[cfg(feature = "std")]
        assert_eq!(slices(&mut pair, 16).0, open);
        assert_eq!(segments(&mut pair, usize::MAX).0, open);
        assert_eq!(pair.sent().len(), 4);
        let mark = pair.client.poll_changes().unwrap().mark;
        pair.client.changes_saved(mark);
        assert_eq!(chunks(&pair).len(), all - saved);
    }
}

#[test]
fn write_with_accounts_exactly_what_was_taken() {
    for large in [false, true] {
        let mut pair: Pair = Pair::new(kept());
        pair.open(false);
        mixed(&mut pair);
        pair.publish(if large { LARGE } else { "more" }, Q1);
        let all = chunks(&pair);
        let (mut taken, mut calls) = (Vec::new(), 0);
        // The first call takes a piece, the second all it can get, the third nothing, and the fourth fails.
        let mut write = |bytes: &[u8]| {
            calls += 1;
            let count = [3, bytes.len(), 0][..].get(calls - 1).copied().ok_or("full")?;
            taken.extend_from_slice(&bytes[..count]);
            Ok(count)
        };
        let mut output = pair.client.poll_output(pair.now);
        assert_eq!(output.write_with(&mut write), Ok(()));
        assert_eq!(output.write_with(&mut write), Err("full"));
        assert_eq!(calls, 4);
        assert_eq!(chunks(&pair), all[taken.len()..]);
        let rest = pair.client.poll_output(pair.now).write_with(|bytes| {
            taken.extend_from_slice(bytes);
            Ok::<_, ()>(bytes.len())
        });
        assert_eq!((rest, taken), (Ok(()), all));
        assert!(!pair.client.has_output());
    }
}

/// A payload that goes out from where it lies.
const LARGE: &str = match std::str::from_utf8(&[b'y'; 30_000]) {
    Ok(text) => text,
    Err(_) => "",
};
