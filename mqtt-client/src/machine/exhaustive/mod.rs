//! Proof by exhaustion: the real core with a Server and a link of which anything may be expected, in all states that can
//! be reached, for a few messages.
//!
//! - `search.rs`: breadth first through all states; the fair continuation of each.
//! - `world.rs`: a state: core, link, Server, store, monitor; all steps from it; `world/disk.rs` is the store.
//! - `server.rs`: a conforming Server, as far as its state goes.
//! - `monitor.rs`: the rules, checked at each step from what crosses the border of the core.
//! - `project.rs`: what of the core tells two states apart.
//! - `configs.rs`: what is explored; the tests.
//!
//! The messages are few, all else is unbounded: connections, cuts, lost Sessions, repeated and unknown packets.
//!
//! A packet waits in the output of the core until it is taken, and then arrives at once or, with all behind it, never.
//! Packets under way make no difference: that one was taken shows only when the connection ends, and the Server can keep
//! its answers for as long as it likes. In the same way a packet of the Server arrives when it is sent; that one was lost
//! on its way is a Server that has not sent it. Packets arrive whole: the core does nothing with a part of one.
//!
//! With a journal, changes are fetched at any moment and written one by one; a crash, at any moment too, leaves what is
//! written. The monitor then knows what must have survived: everything whose mark was saved, and whatever was sent.

mod configs;
mod monitor;
mod project;
mod search;
mod server;
mod world;

use core::time::Duration;

use mqtt_codec::{ProtocolVersion, QoS};

use super::Core;
use crate::options::Options;
use crate::policies::{AckMode, Fallback, SessionLoss};
use crate::retransmission::{Retransmission, Timed};

/// What a search is about.
#[derive(Debug, Clone)]
struct Config {
    name: &'static str,
    /// The messages of the application, in the order in which it publishes them; when is open.
    publishes: &'static [QoS],
    /// The messages of the Server, in its order.
    incoming: &'static [QoS],
    /// How many requests the application makes: SUBSCRIBE, UNSUBSCRIBE, in turn.
    requests: usize,
    window: u32,
    window_qos2: u32,
    /// New identifiers come from 1 to this.
    ids: u16,
    version: ProtocolVersion,
    loss: SessionLoss,
    clean: bool,
    manual: bool,
    pipeline: bool,
    queue_qos0: bool,
    /// A store keeps the Session, change by change.
    journal: bool,
    /// It writes batches as a whole, each with what the application has made of messages; these it acknowledges.
    transactions: bool,
    faults: Faults,
    /// More states are no longer a small bound.
    max_states: usize,
}

/// What may go wrong, or at least otherwise than usual.
#[derive(Debug, Clone, Copy)]
struct Faults {
    /// The transport breaks, at any moment.
    cut: bool,
    /// The transport takes packets that never arrive.
    lose: bool,
    /// The transport takes single bytes.
    bytes: bool,
    /// The Server loses the Session.
    forget: bool,
    /// The Server sends packets twice on one connection.
    repeat: bool,
    /// The Server acknowledges what it was not sent.
    rogue: bool,
    /// The Server refuses connections.
    refuse: bool,
    /// The application disconnects.
    disconnect: bool,
    /// The application gives the Session up.
    discard: bool,
    /// The program stores the Session and starts again.
    restart: bool,
    /// The application takes messages back.
    cancel: bool,
    /// The application holds messages before it acknowledges them.
    hold: bool,
    /// The program crashes, and goes on with what was stored.
    crash: bool,
    /// A Session may begin with a CONNECT whose CONNACK is lost: the next CONNECT finds it. And with MQTT 3.1 no CONNACK
    /// tells of one.
    gap: bool,
    /// Queued messages expire.
    expire: bool,
    /// The application pauses the queue.
    pause: bool,
    /// Deadlines pass; packets are sent again by time; the application pings.
    timers: bool,
}

impl Config {
    fn options(&self) -> Options {
        // A wait that does not grow, so that the times from now to each deadline are few.
        let wait = Duration::from_secs(4);
        let timed = Timed::default().initial(wait).factor(1).cap(wait);
        let timed =
            if self.faults.timers { Retransmission::Timed(timed) } else { Retransmission::OnReconnect };
        Options::new("c")
            .version(self.version)
            .clean_session(self.clean)
            .keep_alive(Duration::ZERO)
            .max_in_flight(self.window)
            .max_in_flight_qos2(self.window_qos2)
            .session_loss(self.loss)
            .ack_mode(if self.manual { AckMode::Manual } else { AckMode::Automatic })
            .pipeline(self.pipeline)
            .queue_qos0(self.queue_qos0)
            .journal(self.journal)
            .fallback(Fallback::Never)
            .retransmission(timed)
            .ack_timeout(self.faults.timers.then_some(Duration::from_secs(10)))
    }
}
