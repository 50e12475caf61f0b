//! JSON: a message as an object, and whether a payload is JSON (RFC 8259).

use std::fmt::Write as _;

use mqtt_tokio::ReceivedMessage;

use crate::calendar::Moment;

/// Deeper is refused, as by most readers.
const MAX_DEPTH: u32 = 128;

/// The message as mosquitto_sub writes it, but for the packet identifier, which is nobody's business but the
/// connection's. `None` if the payload should be JSON and is not.
pub(crate) fn object(message: &ReceivedMessage, moment: &Moment, raw: bool) -> Option<String> {
    let payload = message.payload();
    let payload_text = match raw {
        _ if payload.is_empty() => "null".to_owned(),
        true => std::str::from_utf8(payload).ok().filter(|text| is_json(text))?.trim_ascii().to_owned(),
        false => string(&String::from_utf8_lossy(payload)),
    };
    Some(format!(
        "{{\"tst\":\"{}\",\"topic\":{},\"qos\":{},\"retain\":{},\"payloadlen\":{},\"payload\":{payload_text}}}",
        moment.stamp(),
        string(message.topic()),
        u8::from(message.qos()),
        u8::from(message.retain()),
        payload.len(),
    ))
}

fn string(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for letter in text.chars() {
        match letter {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            // The others below U+0020 must be escaped; those of a terminal had better be.
            letter if letter.is_control() => {
                let _ = write!(quoted, "\\u{:04x}", u32::from(letter));
            }
            letter => quoted.push(letter),
        }
    }
    quoted.push('"');
    quoted
}

/// Whether the text is one JSON value.
fn is_json(text: &str) -> bool {
    let mut rest = text.as_bytes();
    value(&mut rest, 0).is_some() && rest.trim_ascii_start().is_empty()
}

fn value(rest: &mut &[u8], depth: u32) -> Option<()> {
    *rest = rest.trim_ascii_start();
    match rest.first()? {
        _ if depth > MAX_DEPTH => None,
        b'{' => list(rest, depth, b'}', true),
        b'[' => list(rest, depth, b']', false),
        b'"' => quoted(rest),
        b't' => word(rest, b"true"),
        b'f' => word(rest, b"false"),
        b'n' => word(rest, b"null"),
        _ => number(rest),
    }
}

/// The members of an object, or the elements of an array.
fn list(rest: &mut &[u8], depth: u32, end: u8, keys: bool) -> Option<()> {
    *rest = rest.get(1..)?.trim_ascii_start();
    if take(rest, end) {
        return Some(());
    }
    loop {
        if keys {
            *rest = rest.trim_ascii_start();
            quoted(rest)?;
            *rest = rest.trim_ascii_start();
            take(rest, b':').then_some(())?;
        }
        value(rest, depth + 1)?;
        *rest = rest.trim_ascii_start();
        if take(rest, end) {
            return Some(());
        }
        take(rest, b',').then_some(())?;
    }
}

fn quoted(rest: &mut &[u8]) -> Option<()> {
    take(rest, b'"').then_some(())?;
    loop {
        let (byte, tail) = rest.split_first()?;
        *rest = tail;
        match byte {
            b'"' => return Some(()),
            0..0x20 => return None,
            b'\\' => {
                let (escaped, tail) = rest.split_first()?;
                *rest = tail;
                match escaped {
                    b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => {}
                    b'u' => {
                        let digits = rest.get(..4)?;
                        digits.iter().all(u8::is_ascii_hexdigit).then_some(())?;
                        *rest = rest.get(4..)?;
                    }
                    _ => return None,
                }
            }
            _ => {}
        }
    }
}

fn number(rest: &mut &[u8]) -> Option<()> {
    take(rest, b'-');
    if !take(rest, b'0') {
        digits(rest)?;
    }
    if take(rest, b'.') {
        digits(rest)?;
    }
    if take(rest, b'e') || take(rest, b'E') {
        let _ = take(rest, b'+') || take(rest, b'-');
        digits(rest)?;
    }
    Some(())
}

fn digits(rest: &mut &[u8]) -> Option<()> {
    let count = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    *rest = rest.get(count..)?;
    (count > 0).then_some(())
}

fn word(rest: &mut &[u8], word: &[u8]) -> Option<()> {
    *rest = rest.strip_prefix(word)?;
    Some(())
}

fn take(rest: &mut &[u8], byte: u8) -> bool {
    let found = rest.first() == Some(&byte);
    if found {
        *rest = rest.get(1..).unwrap_or_default();
    }
    found
}
