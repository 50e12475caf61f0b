//! The rules for what is safe: a crash loses the client and what was not written, and nothing else.

use mqtt_codec::QoS;

use super::{Byte, Check, Monitor, Progress, Safety, check};
use crate::message::{AckToken, PublishToken, RequestToken};
use crate::session::journal::Mark;
use crate::session::outgoing::Stage;

/// A publish that the store has kept.
#[derive(Debug, Clone, Copy)]
pub(in super::super) struct Kept {
    /// Its number among the messages of the application.
    pub(in super::super) number: u8,
    pub(in super::super) stage: Stage,
    pub(in super::super) id: Option<u16>,
    pub(in super::super) token: PublishToken,
}

impl Monitor {
    /// More is saved: what is safe now.
    pub(in super::super) fn saved(&mut self, is_saved: impl Fn(Mark) -> bool) {
        let publishes = self.publishes.iter_mut().filter(|publish| publish.progress.is_pending());
        let requests = self.requests.iter().zip(&mut self.request_safety);
        let requests = requests.filter(|(request, _)| request.is_pending()).map(|(_, safety)| safety);
        for safety in publishes.map(|publish| &mut publish.safety).chain(requests) {
            safety.safe |= is_saved(safety.mark);
        }
    }

    /// What the application made of messages is saved.
    pub(in super::super) fn processed(&mut self, numbers: &[u8], qos: &[QoS]) -> Check {
        for &number in numbers {
            let incoming = &mut self.incoming[usize::from(number)];
            incoming.done = (incoming.done + 1).min(2);
            let once = qos[usize::from(number)] != QoS::ExactlyOnce || incoming.done == 1;
            check!(once, "message {number} with QoS 2 is processed twice");
        }
        Ok(())
    }

    /// The number of the message that a token stands for.
    pub(in super::super) fn received_as(&self, token: AckToken) -> Option<u8> {
        self.due.iter().find(|due| due.token == Some(token)).map(|due| due.number)
    }

    /// The client goes on with what the store has: these publishes, PUBRELs in their order, these requests by their
    /// position; and of the messages of the Server it knows those that are `noted`.
    pub(in super::super) fn crashed(
        &mut self,
        kept: &[Kept],
        requests: &[(usize, RequestToken)],
        noted: impl Fn(u8) -> bool,
    ) -> Check {
        self.connection_ended();
        self.restarted();
        for (number, publish) in (0_u8..).zip(&mut self.publishes) {
            let was_sent = publish.publish != Byte::Never;
            let Some(kept) = kept.iter().find(|kept| kept.number == number) else {
                if publish.progress.is_pending() {
                    check!(!publish.safety.safe, "message {number} was safe, and is lost");
                    check!(!was_sent, "message {number} was sent, and is lost");
                    publish.progress = Progress::Resolved;
                }
                publish.id = None;
                continue;
            };
            publish.progress = Progress::Pending(kept.token);
            publish.safety = Safety { safe: true, ..Safety::default() };
            if kept.stage == Stage::Queued {
                check!(!was_sent, "message {number} may have been sent, and is queued");
                publish.id = None;
                continue;
            }
            // Nobody knows how much of it was sent.
            publish.touched = true;
            publish.id = kept.id;
            publish.publish = Byte::Earlier;
            let released = kept.stage == Stage::AwaitingPubcomp;
            publish.pubrel = if released { Byte::Earlier } else { Byte::Never };
        }
        let is_released = |number: u8| {
            kept.iter().any(|kept| kept.number == number && kept.stage == Stage::AwaitingPubcomp)
        };
        self.pubrecs.retain(|number| is_released(*number));
        self.released.clone_from(&self.pubrecs);
        for (at, request) in self.requests.iter_mut().enumerate() {
            let token = requests.iter().find(|(other, _)| *other == at).map(|(_, token)| *token);
            let safety = &mut self.request_safety[at];
            match token {
                Some(token) => {
                    *request = Progress::Pending(token);
                    safety.safe = true;
                }
                None if request.is_pending() => {
                    check!(!safety.safe, "request {at} was safe, and is lost");
                    *request = Progress::Resolved;
                }
                None => {}
            }
        }
        for (number, incoming) in (0_u8..).zip(&mut self.incoming) {
            incoming.secured = noted(number);
            incoming.acknowledged = incoming.secured;
        }
        Ok(())
    }
}
