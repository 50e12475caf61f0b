//! How a message is printed: `-F`, with the sequences of mosquitto_sub.

use std::fmt::Write as _;
use std::iter::Peekable;
use std::str::Chars;

use mqtt_tokio::ReceivedMessage;

use crate::calendar::Moment;
use crate::json;

/// A column is not wider than this.
const MAX_WIDTH: usize = 100_000;

/// A format, taken apart once.
#[derive(Debug)]
pub(crate) struct Format(Vec<Piece>);

#[derive(Debug)]
enum Piece {
    Text(String),
    Field(Field, Column),
    /// A letter of strftime.
    Time(char),
}

#[derive(Debug, Clone, Copy)]
enum Field {
    Topic,
    Payload,
    Hex { upper: bool },
    Len,
    QoS,
    Retain,
    Iso,
    Unix,
    Json { raw: bool },
}

/// How a field is fitted in.
#[derive(Debug, Clone, Copy, Default)]
struct Column {
    left: bool,
    zeros: bool,
    width: usize,
    max: Option<usize>,
}

impl Format {
    /// The payload alone, or behind the topic.
    pub(crate) fn plain(verbose: bool) -> Self {
        let payload = Piece::Field(Field::Payload, Column::default());
        if !verbose {
            return Self(vec![payload]);
        }
        Self(vec![Piece::Field(Field::Topic, Column::default()), Piece::Text(" ".to_owned()), payload])
    }

    /// Reads a format; the error says what is wrong with it.
    pub(crate) fn parse(format: &str) -> Result<Self, String> {
        let mut pieces = Vec::new();
        let mut text = String::new();
        let mut letters = format.chars().peekable();
        while let Some(letter) = letters.next() {
            let piece = match (letter, letters.peek()) {
                ('%', Some('%')) | ('@', Some('@')) => {
                    text.extend(letters.next());
                    continue;
                }
                ('%', _) => field(&mut letters)?,
                ('@', _) => time(letters.next())?,
                ('\\', _) => {
                    text.push(escape(letters.next())?);
                    continue;
                }
                _ => {
                    text.push(letter);
                    continue;
                }
            };
            if !text.is_empty() {
                pieces.push(Piece::Text(std::mem::take(&mut text)));
            }
            pieces.push(piece);
        }
        if !text.is_empty() {
            pieces.push(Piece::Text(text));
        }
        Ok(Self(pieces))
    }

    /// Writes a message behind what is there. False, and nothing is written, if the payload should be JSON and is not.
    pub(crate) fn write(&self, message: &ReceivedMessage, to: &mut Vec<u8>) -> bool {
        let (start, moment) = (to.len(), Moment::now());
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => to.extend_from_slice(text.as_bytes()),
                Piece::Time(letter) => {
                    let mut text = String::new();
                    moment.write(*letter, &mut text);
                    to.extend_from_slice(text.as_bytes());
                }
                Piece::Field(Field::Payload, column) => {
                    column.fit(message.payload(), message.payload().len(), to);
                }
                Piece::Field(field, column) => {
                    let Some(text) = field.text(message, &moment) else {
                        to.truncate(start);
                        return false;
                    };
                    let text = column.cut(&text);
                    column.fit(text.as_bytes(), text.chars().count(), to);
                }
            }
        }
        true
    }
}

impl Field {
    fn text(self, message: &ReceivedMessage, moment: &Moment) -> Option<String> {
        Some(match self {
            Self::Topic => message.topic().to_owned(),
            Self::Payload => String::from_utf8_lossy(message.payload()).into_owned(),
            Self::Hex { upper } => hex(message.payload(), upper),
            Self::Len => message.payload().len().to_string(),
            Self::QoS => u8::from(message.qos()).to_string(),
            Self::Retain => u8::from(message.retain()).to_string(),
            Self::Iso => moment.iso(),
            Self::Unix => moment.unix(),
            Self::Json { raw } => return json::object(message, moment, raw),
        })
    }
}

fn hex(payload: &[u8], upper: bool) -> String {
    let mut text = String::with_capacity(payload.len() * 2);
    for byte in payload {
        let _ = if upper { write!(text, "{byte:02X}") } else { write!(text, "{byte:02x}") };
    }
    text
}

impl Column {
    /// No more than the maximum.
    fn cut(self, text: &str) -> &str {
        let end = self.max.and_then(|max| text.char_indices().nth(max)).map_or(text.len(), |(at, _)| at);
        text.get(..end).unwrap_or(text)
    }

    /// Writes bytes that fill `len` columns.
    fn fit(self, bytes: &[u8], len: usize, to: &mut Vec<u8>) {
        let missing = self.width.saturating_sub(len);
        let (before, after) = if self.left { (0, missing) } else { (missing, 0) };
        let filling = if self.zeros && !self.left { b'0' } else { b' ' };
        to.resize(to.len() + before, filling);
        to.extend_from_slice(bytes);
        to.resize(to.len() + after, b' ');
    }
}

/// What follows a `%`.
fn field(letters: &mut Peekable<Chars<'_>>) -> Result<Piece, String> {
    let mut column = Column::default();
    while let Some(sign) = letters.next_if(|letter| matches!(letter, '0' | '-')) {
        column.left |= sign == '-';
        column.zeros |= sign == '0';
    }
    column.width = width(letters)?.unwrap_or(0);
    if letters.next_if_eq(&'.').is_some() {
        column.max = width(letters)?;
    }
    let field = match letters.next() {
        Some('t') => Field::Topic,
        Some('p') => Field::Payload,
        Some('x') => Field::Hex { upper: false },
        Some('X') => Field::Hex { upper: true },
        Some('l') => Field::Len,
        Some('q') => Field::QoS,
        Some('r') => Field::Retain,
        Some('I') => Field::Iso,
        Some('U') => Field::Unix,
        Some('j') => Field::Json { raw: false },
        Some('J') => Field::Json { raw: true },
        Some('m') => {
            return Err("%m: packet identifiers are the connection's alone; -d shows them".to_owned());
        }
        Some(letter @ ('A' | 'C' | 'D' | 'E' | 'F' | 'P' | 'R' | 'S')) => {
            return Err(format!("%{letter} is a property of MQTT 5; this is MQTT 3.1 and 3.1.1"));
        }
        Some(letter) => return Err(format!("there is no %{letter}")),
        None => return Err("% at the end; write %% for one".to_owned()),
    };
    Ok(Piece::Field(field, column))
}

fn width(letters: &mut Peekable<Chars<'_>>) -> Result<Option<usize>, String> {
    let mut width = None;
    while let Some(digit) = letters.peek().and_then(|letter| letter.to_digit(10)) {
        letters.next();
        width = Some(width.unwrap_or(0) * 10 + digit as usize);
        if width > Some(MAX_WIDTH) {
            return Err(format!("a width above {MAX_WIDTH}"));
        }
    }
    Ok(width)
}

fn time(letter: Option<char>) -> Result<Piece, String> {
    match letter {
        Some(letter) if Moment::now().write(letter, &mut String::new()) => Ok(Piece::Time(letter)),
        Some(letter) => Err(format!("there is no @{letter}; write @@ for one @")),
        None => Err("@ at the end; write @@ for one".to_owned()),
    }
}

fn escape(letter: Option<char>) -> Result<char, String> {
    Ok(match letter {
        Some('\\') => '\\',
        Some('n') => '\n',
        Some('t') => '\t',
        Some('r') => '\r',
        Some('0') => '\0',
        Some('a') => '\x07',
        Some('e') => '\x1b',
        Some('v') => '\x0b',
        Some(letter) => return Err(format!("there is no \\{letter}; write \\\\ for one \\")),
        None => return Err("\\ at the end; write \\\\ for one".to_owned()),
    })
}
