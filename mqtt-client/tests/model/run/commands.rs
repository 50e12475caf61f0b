//! What the application asks for: publishing, taking back, acknowledging, not reading, a new Session, a restart.

use std::time::Duration;

use mqtt_client::bytes::Bytes;
use mqtt_client::{
    AcknowledgeError, CancelError, Client, Message, PublishToken, QoS, Session, SessionLoss, State,
};

use super::Run;
use crate::INITIAL;
use crate::checks::number;
use crate::common::topic;

impl Run {
    pub(super) fn publish(&mut self, qos: QoS, size: usize) {
        let number = self.published;
        let payload = Bytes::from(format!("{number}_{}", "x".repeat(size)));
        match self.client.publish(Message::new(topic("t"), payload.clone()).qos(qos)) {
            Ok(token) => {
                self.published += 1;
                self.qos.push(qos);
                assert!(token.is_some() || qos == QoS::AtMostOnce);
                if let Some(token) = token {
                    assert_eq!(self.publishes.insert(token, (number, qos)), None, "a token twice");
                }
            }
            Err(error) => assert_eq!(error.into_message().payload, payload),
        }
    }

    /// One of the publishes that are not resolved.
    fn some_publish(&self, n: usize) -> Option<(PublishToken, usize)> {
        let mut all: Vec<_> = self.publishes.iter().map(|(token, (number, _))| (*number, *token)).collect();
        all.sort_by_key(|(number, _)| *number);
        all.get(n.checked_rem(all.len())?).map(|(number, token)| (*token, *number))
    }

    /// Of what was never sent, nothing is taken back only if it lies in the output.
    fn check_unsent(&self, number: usize, unsent: bool) {
        let touched = self.checks.touched.contains(&number);
        assert!(!(touched && unsent), "{number} was sent");
        assert!(touched || unsent || self.client.has_output(), "{number} was not sent");
    }

    pub(super) fn cancel(&mut self, n: usize) {
        let Some((token, number)) = self.some_publish(n) else { return };
        let result = self.client.cancel(token);
        self.check_unsent(number, result.is_ok());
        match result {
            Ok(message) => {
                assert_eq!(self::number(std::str::from_utf8(&message.payload).unwrap()), number);
                self.publishes.remove(&token);
                self.checks.cancelled.insert(number);
                assert_eq!(self.client.cancel(token), Err(CancelError::Resolved));
                assert_eq!(self.client.expire(token, self.now), Err(CancelError::Resolved));
            }
            Err(error) => assert_eq!(error, CancelError::Sent),
        }
    }

    pub(super) fn expire(&mut self, n: usize, seconds: u64) {
        let Some((token, number)) = self.some_publish(n) else { return };
        let at = self.now + Duration::from_secs(seconds);
        match self.client.expire(token, at) {
            Ok(()) => {
                self.check_unsent(number, true);
                self.expiries.insert(token, (at, true));
            }
            Err(error) => assert_eq!(error, CancelError::Sent),
        }
    }

    pub(super) fn pause(&mut self, paused: bool) {
        if self.client.state() != State::Connected {
            return;
        }
        if paused {
            self.client.pause_input(self.now);
        } else {
            self.client.resume_input(self.now);
            if self.paused {
                self.not_before = self.now + INITIAL;
                self.active = self.now;
            }
        }
        self.paused = paused;
    }

    pub(super) fn acknowledge(&mut self, n: usize) {
        if self.tokens.is_empty() {
            return;
        }
        let (token, payload, connection) = self.tokens.remove(n % self.tokens.len());
        let valid = connection == self.checks.connection && self.client.state() == State::Connected;
        let expected = if valid { Ok(()) } else { Err(AcknowledgeError::Stale) };
        assert_eq!(self.client.acknowledge(token), expected);
        assert_eq!(self.client.acknowledge(token), Err(AcknowledgeError::Stale));
        if valid {
            self.acknowledged.insert(payload);
        }
    }

    pub(super) fn discard(&mut self) {
        self.client.discard_session();
        self.closed();
        self.checks.discard();
        self.server.has_session = false;
        self.wanted.clear();
        self.drain_events();
        assert!(self.publishes.is_empty() && self.requests.is_empty(), "resolved with the Session");
        assert_eq!(self.anonymous_requests, 0);
        assert!(self.client.session().is_empty());
    }

    pub(super) fn restart(&mut self, window: u32) {
        if self.settings.policy == SessionLoss::RepublishAll {
            // A stored Session has PUBRELs before PUBLISHes; the order of publishing is not in it.
            return;
        }
        self.cut();
        self.drain_events();
        self.settings.window = window;
        let old: Vec<_> = self.client.session().pending_publishes().map(|(token, _)| token).collect();
        let bytes = self.client.clone().into_session().to_bytes();
        let session = Session::from_bytes(&bytes).unwrap();
        assert_eq!(session.to_bytes(), bytes);
        let new: Vec<_> = session.pending_publishes().map(|(token, _)| token).collect();
        assert_eq!((old.len(), old.len()), (new.len(), self.publishes.len()));
        let expiries = &self.expiries;
        let expiries =
            old.iter().zip(&new).filter_map(|(old, new)| Some((*new, (expiries.get(old)?.0, false))));
        self.expiries = expiries.collect();
        self.publishes = old.iter().zip(new).map(|(old, new)| (new, self.publishes[old])).collect();
        self.anonymous_requests += self.requests.drain().count();
        self.tokens.clear();
        self.client = Client::with_session(self.settings.options(), session).unwrap();
    }
}
