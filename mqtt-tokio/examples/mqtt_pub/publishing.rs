//! Many messages in flight, in order, each with its outcome.

use std::collections::VecDeque;
use std::time::Duration;

use indicatif::ProgressBar;
use mqtt_tokio::bytes::Bytes;
use mqtt_tokio::{Client, Message, PublishError, Publisher, Receipt, Status, StatusStream};

use crate::command_line::{Failure, code, say};
use crate::input::Input;
use crate::progress::weight;
use crate::{TOO_LARGE, UNDELIVERED};

/// So many messages may wait for their outcome: more than can be in flight in most cases, and few enough for memory.
const MAX_PENDING: usize = 1_000;

/// How often to look whether all is written.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// Publishes, and keeps the books.
#[derive(Debug)]
pub(crate) struct Publishing<'c> {
    client: &'c Client<Publisher>,
    /// Topic, QoS and RETAIN of all.
    template: Message,
    bar: &'c ProgressBar,
    /// In the order of publishing, each with its weight in the bar.
    pending: VecDeque<(Receipt, u64)>,
    delivered: u64,
    failed: u64,
    first_error: Option<PublishError>,
}

impl<'c> Publishing<'c> {
    pub(crate) fn new(client: &'c Client<Publisher>, template: Message, bar: &'c ProgressBar) -> Self {
        let pending = VecDeque::new();
        Self { client, template, bar, pending, delivered: 0, failed: 0, first_error: None }
    }

    /// Publishes all of the input, and waits for every outcome.
    pub(crate) async fn run(&mut self, mut input: Input, quiet: bool) -> Result<(), Failure> {
        let mut status = self.client.status();
        let mut more = true;
        while more || !self.pending.is_empty() {
            let waiting = !self.pending.is_empty();
            tokio::select! {
                // Why the connection ended is told before what became of the messages.
                biased;
                Some(change) = status.next() => self.note(change, quiet)?,
                outcome = front(&mut self.pending), if waiting => self.count(outcome),
                payload = input.next(), if more && self.pending.len() < MAX_PENDING => match payload? {
                    Some(payload) => {
                        let weight = weight(&input, payload.len());
                        self.accept(payload, weight, &mut status).await?;
                    }
                    None => more = false,
                },
            }
        }
        self.written(&mut status, quiet).await?;
        match &self.first_error {
            None => Ok(()),
            Some(error) => {
                let all = self.delivered + self.failed;
                Err(Failure::new(
                    UNDELIVERED,
                    format!("{} of {all} messages not delivered: {error}", self.failed),
                ))
            }
        }
    }

    /// Waits for a place in the queue.
    async fn accept(
        &mut self,
        payload: Bytes,
        weight: u64,
        status: &mut StatusStream,
    ) -> Result<(), Failure> {
        let message = Message { payload, ..self.template.clone() };
        match self.client.publish_message(message).receipt().await {
            Ok(receipt) => self.pending.push_back((receipt, weight)),
            Err(error @ PublishError::TooLarge { .. }) => return Err(Failure::new(TOO_LARGE, error)),
            Err(PublishError::Closed) => return Err(why_closed(status).await),
            Err(error) => self.count((Err(error), weight)),
        }
        Ok(())
    }

    /// Waits until messages with QoS 0 have left too, which nobody confirms.
    async fn written(&self, status: &mut StatusStream, quiet: bool) -> Result<(), Failure> {
        loop {
            let stats = self.client.stats();
            if stats.queued == 0 && stats.unsent_size == 0 {
                return Ok(());
            }
            tokio::select! {
                Some(change) = status.next() => self.note(change, quiet)?,
                () = tokio::time::sleep(LOOK_AGAIN) => {}
            }
        }
    }

    fn count(&mut self, (outcome, weight): (Result<(), PublishError>, u64)) {
        match outcome {
            Ok(()) => {
                self.delivered += 1;
                self.bar.inc(weight);
            }
            Err(error) => {
                self.failed += 1;
                self.first_error.get_or_insert(error);
            }
        }
    }

    fn note(&self, change: Status, quiet: bool) -> Result<(), Failure> {
        match change {
            Status::GaveUp { error } => return Err(error.into()),
            Status::Lost { error, retry_in } if !quiet => {
                self.bar.suspend(|| say(format_args!("mqtt_pub: {error}; next attempt in {retry_in:.1?}")));
            }
            _ => {}
        }
        Ok(())
    }
}

/// Why the client has given up.
async fn why_closed(status: &mut StatusStream) -> Failure {
    while let Some(change) = status.next().await {
        if let Status::GaveUp { error } = change {
            return error.into();
        }
    }
    Failure::new(code::LOST, PublishError::Closed)
}

/// The outcome of the oldest message that has none yet. Cancel-safe.
async fn front(pending: &mut VecDeque<(Receipt, u64)>) -> (Result<(), PublishError>, u64) {
    let Some((receipt, weight)) = pending.front_mut() else { return std::future::pending().await };
    let outcome = (receipt.await, *weight);
    pending.pop_front();
    outcome
}
