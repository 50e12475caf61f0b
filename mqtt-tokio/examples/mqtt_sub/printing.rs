//! From messages to standard output: what is acknowledged was written.

use std::io::{self, Write as _};

use clap::ArgMatches;
use mqtt_tokio::{Client, ReceivedMessage, Status, Subscriber, Subscription, TopicFilter, TopicName};

use crate::arguments;
use crate::command_line::{Failure, code, say};
use crate::format::Format;

/// Messages that are there at once are written together, up to so many bytes.
const BATCH_SIZE: usize = 64 * 1024;

/// What to print and when to end.
#[derive(Debug)]
pub(crate) struct Printing {
    format: Format,
    eol: bool,
    quiet: bool,
    no_retained: bool,
    retained_only: bool,
    filtered_out: Vec<TopicFilter>,
    /// Messages still to be printed.
    left: Option<u64>,
    /// The messages of a batch, and how they look.
    batch: Vec<ReceivedMessage>,
    text: Vec<u8>,
}

impl Printing {
    pub(crate) fn new(matches: &ArgMatches) -> Result<Self, Failure> {
        let format = match matches.get_one::<String>("format") {
            Some(format) => {
                Format::parse(format).map_err(|error| Failure::usage(format!("format of -F: {error}")))?
            }
            None => Format::plain(matches.get_flag("verbose")),
        };
        Ok(Self {
            format,
            eol: !matches.get_flag("no-eol"),
            quiet: matches.get_flag("quiet"),
            no_retained: matches.get_flag("no-retained"),
            retained_only: matches.get_flag("retained-only"),
            filtered_out: arguments::filtered_out(matches)?,
            left: matches.get_one::<u64>("count").copied(),
            batch: Vec::new(),
            text: Vec::new(),
        })
    }

    /// Prints until all is printed that was asked for, or the reader of the output has gone.
    pub(crate) async fn run(
        &mut self,
        client: &Client<Subscriber>,
        messages: &mut Subscription,
    ) -> Result<(), Failure> {
        let mut status = client.status();
        loop {
            let message = tokio::select! {
                biased;
                Some(change) = status.next() => {
                    self.note(change)?;
                    continue;
                }
                message = messages.next() => message,
            };
            let mut next = Some(message.ok_or_else(|| Failure::new(code::LOST, "the connection has ended"))?);
            let mut more = true;
            while let Some(message) = next.take() {
                more = self.add(message);
                if more && self.text.len() < BATCH_SIZE {
                    next = messages.try_next();
                }
            }
            if !self.write().await? || !more {
                return Ok(());
            }
        }
    }

    /// Adds a message to the batch, unless it is not wanted. False if it is the last one.
    fn add(&mut self, message: ReceivedMessage) -> bool {
        if message.missed() > 0 && !self.quiet {
            say(format_args!("mqtt_sub: {} messages were lost here", message.missed()));
        }
        if self.retained_only && !message.retain() {
            return false;
        }
        if self.is_wanted(&message) {
            if self.format.write(&message, &mut self.text) {
                if self.eol {
                    self.text.push(b'\n');
                }
            } else if !self.quiet {
                say(format_args!(
                    "mqtt_sub: the payload is not valid JSON on topic {}",
                    message.topic().escape_debug()
                ));
            }
            self.left = self.left.map(|left| left - 1);
        }
        self.batch.push(message);
        self.left != Some(0)
    }

    fn is_wanted(&self, message: &ReceivedMessage) -> bool {
        let matches = |topic: &TopicName| self.filtered_out.iter().any(|filter| filter.matches(topic));
        let is_out = !self.filtered_out.is_empty() && message.topic_name().as_ref().is_some_and(matches);
        !(is_out || self.no_retained && message.retain())
    }

    /// Writes the batch and acknowledges it. False if nobody reads any more.
    ///
    /// The writing is done elsewhere: when the reader of a pipe is slow, the connection has to stay alive.
    async fn write(&mut self) -> Result<bool, Failure> {
        let text = std::mem::take(&mut self.text);
        let written = tokio::task::spawn_blocking(move || {
            let mut output = io::stdout().lock();
            output.write_all(&text).and_then(|()| output.flush())
        });
        match written.await.unwrap_or_else(|error| Err(io::Error::other(error))) {
            Ok(()) => {
                self.batch.drain(..).for_each(|mut message| message.ack());
                Ok(true)
            }
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
            Err(error) => Err(Failure::file("cannot write", &error)),
        }
    }

    fn note(&self, change: Status) -> Result<(), Failure> {
        match change {
            Status::GaveUp { error } => return Err(error.into()),
            Status::SubscriptionLost { filter } => {
                let message =
                    format!("the server lost the session, and refuses the subscription of {filter}");
                return Err(Failure::new(code::NOT_SUBSCRIBED, message));
            }
            Status::Lost { error, retry_in } if !self.quiet => {
                say(format_args!("mqtt_sub: {error}; next attempt in {retry_in:.1?}"));
            }
            _ => {}
        }
        Ok(())
    }
}
