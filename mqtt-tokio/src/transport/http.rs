//! The little of HTTP/1.1 that proxies and WebSocket need: the head of an answer, and base64.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt};

/// The head of an answer may have so many bytes.
const MAX_HEAD: usize = 16 * 1024;

/// What an answer begins with.
const START: &[u8] = b"HTTP/1.";

/// What a head ends with.
const END: &[u8] = b"\r\n\r\n";

/// Why there is no head.
#[derive(Debug)]
pub(crate) enum HeadError {
    /// The stream failed, or ended before the head did.
    Io(io::Error),
    /// What came is no answer in HTTP/1.
    Malformed(&'static str),
    /// It is longer than the limit.
    TooLong,
}

/// Status and header of an answer.
#[derive(Debug)]
pub(crate) struct Head {
    status: u16,
    fields: Vec<(String, Vec<u8>)>,
}

impl Head {
    /// Reads the head of an answer, and not a byte of what follows it.
    pub(crate) async fn read(stream: &mut (impl AsyncRead + Unpin + ?Sized)) -> Result<Self, HeadError> {
        let mut head = Vec::new();
        let mut chunk = [0; END.len()];
        loop {
            // What is missing for the end belongs to the head in any case.
            let missing = missing(&head);
            if missing == 0 {
                return Self::parse(&head).map_err(HeadError::Malformed);
            }
            if head.len() + missing > MAX_HEAD {
                return Err(HeadError::TooLong);
            }
            let count = stream.read(&mut chunk[..missing]).await.map_err(HeadError::Io)?;
            if count == 0 {
                return Err(HeadError::Io(io::ErrorKind::UnexpectedEof.into()));
            }
            head.extend_from_slice(&chunk[..count]);
            // A server of another kind may wait for us, and never end what is no head.
            if head.iter().zip(START).any(|(byte, expected)| byte != expected) {
                return Err(HeadError::Malformed("no HTTP"));
            }
            if (head.len() - count..head.len()).any(|at| head[at] == b'\n' && head[at - 1] != b'\r') {
                return Err(HeadError::Malformed("a line that does not end with CR LF"));
            }
        }
    }

    fn parse(head: &[u8]) -> Result<Self, &'static str> {
        // A value may hold bytes that are no ASCII, but nothing that could be taken for the end of a line.
        let is_text = |byte: u8| byte == b'\t' || !byte.is_ascii_control();
        // The last line keeps its CR, as the others do.
        let lines = head.strip_suffix(&END[1..]).unwrap_or(head);
        let mut lines = lines.split(|byte| *byte == b'\n').map(|line| {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            if line.iter().all(|byte| is_text(*byte)) { Ok(line) } else { Err("a control character") }
        });
        let status = status(lines.next().unwrap_or(Ok(&[]))?).ok_or("an invalid status line")?;
        let fields = lines.map(|line| field(line?).ok_or("an invalid header")).collect::<Result<_, _>>()?;
        Ok(Self { status, fields })
    }

    pub(crate) fn status(&self) -> u16 {
        self.status
    }

    /// The values of a header, which can be there more than once.
    pub(crate) fn values(&self, name: &str) -> impl Iterator<Item = &[u8]> {
        let is_it = move |field: &&(String, Vec<u8>)| field.0.eq_ignore_ascii_case(name);
        self.fields.iter().filter(is_it).map(|(_, value)| value.as_slice())
    }
}

/// How many bytes are missing until the end at least.
fn missing(head: &[u8]) -> usize {
    let have = (1..=END.len()).rev().find(|len| head.ends_with(&END[..*len]));
    END.len() - have.unwrap_or(0)
}

/// The code of `HTTP/1.1 200 OK`.
fn status(line: &[u8]) -> Option<u16> {
    let (minor, rest) = line.strip_prefix(START)?.split_first()?;
    let (code, reason) = rest.strip_prefix(b" ")?.split_at_checked(3)?;
    let digits = minor.is_ascii_digit() && code.iter().all(u8::is_ascii_digit);
    let code = code.iter().fold(0, |code, digit| code * 10 + u16::from(digit.wrapping_sub(b'0')));
    (digits && code >= 100 && (reason.is_empty() || reason.starts_with(b" "))).then_some(code)
}

/// Name and value of a header.
fn field(line: &[u8]) -> Option<(String, Vec<u8>)> {
    let colon = line.iter().position(|byte| *byte == b':')?;
    let (name, value) = line.split_at(colon);
    let name = std::str::from_utf8(name).ok().filter(|name| is_token(name))?;
    Some((name.to_owned(), value.strip_prefix(b":")?.trim_ascii().to_vec()))
}

/// Whether it can be the name of a header (RFC 9110, section 5.6.2).
pub(crate) fn is_token(name: &str) -> bool {
    let is_token_byte = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !name.is_empty() && name.bytes().all(is_token_byte)
}

/// As RFC 4648, section 4, with padding.
pub(crate) fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let bits = (0..3).fold(0, |bits, at| bits << 8 | usize::from(chunk.get(at).copied().unwrap_or(0)));
        for digit in 0..4 {
            let shown = digit <= chunk.len();
            text.push(if shown { DIGITS[bits >> (18 - 6 * digit) & 63].into() } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(mut bytes: &[u8]) -> (Result<Head, HeadError>, &[u8]) {
        let read = futures::executor::block_on(Head::read(&mut bytes));
        (read, bytes)
    }

    #[test]
    fn nothing_behind_the_head_is_taken() {
        let (head, rest) =
            read(b"HTTP/1.1 101 \xe9t\xe9\r\nA: b\r\nx-y:\r\na:\t \xffc d \r\n\r\n\r\n\r\nrest");
        let head = head.unwrap();
        assert_eq!((head.status(), rest), (101, &b"\r\n\r\nrest"[..]));
        assert_eq!(head.values("a").collect::<Vec<_>>(), [&b"b"[..], b"\xffc d"]);
        assert_eq!(head.values("X-Y").collect::<Vec<_>>(), [b""]);
        let (head, rest) = read(b"HTTP/1.0 200\r\n\r\nHTTP");
        assert_eq!((head.unwrap().status(), rest), (200, &b"HTTP"[..]));
    }

    #[test]
    fn malformed() {
        for bytes in [
            &b"\x20\x02\x00\x00"[..],
            b"SSH-2.0-x\r\n",
            b"HTTP/2 200\r\n\r\n",
            b"\n",
            b"HTTP/1.1 200\n\n",
            b"HTTP/1.1\r\n\r\n",
            b"HTTP/1.x 200\r\n\r\n",
            b"HTTP/1.1 20\r\n\r\n",
            b"HTTP/1.1 20x\r\n\r\n",
            b"HTTP/1.1 099\r\n\r\n",
            b"HTTP/1.1 2000\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nno token: x\r\n\r\n",
            b"HTTP/1.1 200 OK\r\na: b\r\n folded: x\r\n\r\n",
            b"HTTP/1.1 200 OK\r\n: x\r\n\r\n",
            b"HTTP/1.1 200 OK\r\na: \0\r\n\r\n",
            b"HTTP/1.1 200 OK\r\na: \rb: c\r\n\r\n",
            b"HTTP/1.1 200 OK\r\na: b\r\r\n\r\n",
        ] {
            let (head, _) = read(bytes);
            assert!(matches!(head, Err(HeadError::Malformed(_))), "{:?} {head:?}", bytes.escape_ascii());
        }
    }

    #[test]
    fn what_has_no_end() {
        assert!(matches!(read(b"HTTP/1.1 200 OK\r\n\r").0, Err(HeadError::Io(_))));
        let fill = |len: usize| {
            let start = b"HTTP/1.1 200 OK\r\na: ".to_vec();
            [start.clone(), vec![b'x'; len - start.len() - END.len()], END.to_vec()].concat()
        };
        assert!(read(&fill(MAX_HEAD)).0.is_ok());
        let long = fill(MAX_HEAD + 1);
        let (head, rest) = read(&long);
        assert!(matches!(head, Err(HeadError::TooLong)));
        assert!(rest.len() < END.len() + 1);
    }

    #[test]
    fn base64_is_that_of_the_rfc() {
        for (bytes, text) in [
            (&b""[..], ""),
            (b"f", "Zg=="),
            (b"fo", "Zm8="),
            (b"foo", "Zm9v"),
            (b"foob", "Zm9vYg=="),
            (b"\x00\x10\x83\x10Q\x87 \x92\x8b0\xd3\x8fA\x14\x93QU\x97", "ABCDEFGHIJKLMNOPQRSTUVWX"),
            (b"\xfb\xff\xbf", "+/+/"),
        ] {
            assert_eq!(base64(bytes), text);
        }
    }
}
