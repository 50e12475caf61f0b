//! What of the core makes two states the same, and what must hold within the core in each of them.
//!
//! Two cores are one state if they will do the same, whatever comes. So that there are finitely many, these are left out:
//!
//! - generations of tokens, the number of the connection, sequence numbers: names that are only compared. Which message
//!   a name belongs to is what the monitor tracks, by the order of the lists.
//! - places in the slabs: names too; entries are told by their order in the lists, and by payload.
//! - offsets in the stream: only their distance from what is taken already matters, and that is kept.
//! - the clock: only distances from now matter. Nothing but [`Timeout`](super::world::Action) moves it.
//! - the numbers of entries and of PUBRECs, which only grow: payloads and lists have the same order.
//! - the journal, and what gets into its records: `world/disk.rs` does that, if it is on.
//! - counters (`stats`), and when a PINGREQ was encoded, which is only counted.
//! - capacities and the backlogs of the outbox: nothing here comes near 64 KiB.
//! - the hash table of identifiers: each that is in use is in its entry, and [`consistent`] compares the two.
//! - options, the encoded CONNECT and its size, the decoder: the same in all states of a search.
//! - waiting events: there are none between two actions, since the application fetches them.
//! - where the packet of a timer ends: a moment that is due is kept, and what is not wholly taken is in the output.
//! - how often a packet was sent again by time: the search uses a wait that does not grow.
//!
//! The test `every_field_is_known` fails when the core gets a field that is not thought of here.

use std::hash::{Hash, Hasher};

use mqtt_codec::{PacketId, QoS};

use super::Core;
use super::monitor::{Check, check};
use crate::session::outgoing::{Outgoing, Stage};
use crate::session::packet_ids::Owner;
use crate::session::slab::{List, NIL};
use crate::state::{Flow, Link};
use crate::time::Time;

/// No identifier gets here: see `World::bound_ids`.
const MAX_ID: u16 = 32;

/// Feeds the state of the core to the hasher, but for the bytes of the output.
pub(super) fn hash(core: &Core, now: Time, state: &mut impl Hasher) {
    let session = core.session();
    let taken = core.outbox().taken();
    // What was sent first, if it is not wholly in the past: where.
    let ahead = |sent_at: u64| (sent_at != u64::MAX).then(|| sent_at.checked_sub(taken));
    let outgoing = &session.outgoing;
    let lists = [&outgoing.released, &outgoing.sent, &outgoing.queue, &outgoing.queue_qos0];
    lists.map(List::len).hash(state);
    for (_, entry) in outgoing.iter() {
        let message = entry.message.as_ref().map(|message| (&message.payload, message.qos));
        (entry.stage, entry.id, entry.dup, entry.attempted, message, ahead(entry.sent_at())).hash(state);
    }
    for (_, request) in session.requests.iter() {
        (&request.kind, request.id, request.dup, request.outdated(), ahead(request.sent_at())).hash(state);
    }
    for (place, _) in outgoing.iter() {
        outgoing.expiry(place).map(|at| at.saturating_since(now)).hash(state);
    }
    session.requests.len().hash(state);
    session.subscriptions.hash(state);
    session.received.hash(state);
    (session.ids.cursor(), session.unsettled).hash(state);
    (core.queue_paused, core.version, core.accepted, taken == 0).hash(state);
    match &core.link {
        Link::Disconnected => 0_u8.hash(state),
        Link::Connecting(connecting) => {
            (1_u8, connecting.deadline - now, connecting.pipeline, connecting.was_unsettled).hash(state);
            hash_flow(core, &connecting.flow, now, state);
        }
        Link::Connected(connected) => {
            let keep_alive = &connected.keep_alive;
            let due = [keep_alive.ping_due(), keep_alive.pong_due()].map(|due| due.map(|due| due - now));
            (2_u8, due, keep_alive.is_waiting(), keep_alive.is_paused()).hash(state);
            (connected.seen, connected.skipping.is_some()).hash(state);
            let deadline = core.options.ack_timeout;
            connected.stalled_since.filter(|_| deadline.is_some()).map(|since| now - since).hash(state);
            for pending in connected.acks.iter() {
                (pending, connected.acks.holds_exactly_once(pending.0)).hash(state);
            }
            hash_flow(core, &connected.flow, now, state);
        }
    }
}

fn hash_flow(core: &Core, flow: &Flow, now: Time, state: &mut impl Hasher) {
    let outgoing = &core.session().outgoing;
    (flow.in_flight, flow.in_flight_qos2).hash(state);
    // How many are behind, instead of where it stands.
    (count_from(outgoing, flow.released), count_from(outgoing, flow.sent)).hash(state);
    let mut requests = 0;
    let mut place = flow.requests;
    while place != NIL {
        requests += 1;
        place = core.session().requests.next(place);
    }
    (requests, flow.sent_until.saturating_sub(core.outbox().taken())).hash(state);
    if let Some(timers) = &flow.timers {
        for id in (1..=MAX_ID).filter_map(PacketId::new) {
            (timers.due(id).map(|due| due - now), timers.is_again(id)).hash(state);
        }
        timers.requests_due().map(|due| due - now).hash(state);
    }
}

fn count_from(outgoing: &Outgoing, mut place: u32) -> usize {
    let mut count = 0;
    while place != NIL {
        count += 1;
        place = outgoing.next(place);
    }
    count
}

/// What the parts of the core say about each other is true.
pub(super) fn consistent(core: &Core) -> Check {
    let session = core.session();
    check!(core.events.is_empty(), "events are left");
    check!(session.ids.cursor().get() <= MAX_ID, "the search does not look at so many identifiers");
    let mut in_use = 0;
    let (mut flying, mut flying_qos2) = (0, 0);
    for (place, entry) in session.outgoing.iter() {
        if let Some(id) = entry.id {
            in_use += 1;
            let owner = session.ids.get(id);
            check!(owner == Some(Owner::Publish(place)), "identifier {id:?} belongs to {owner:?}");
        }
        flying += usize::from(entry.is_sent());
        flying_qos2 += usize::from(entry.is_sent() && entry.qos() == QoS::ExactlyOnce);
    }
    for (place, request) in session.requests.iter() {
        if let Some(id) = request.id {
            in_use += 1;
            let owner = session.ids.get(id);
            check!(owner == Some(Owner::Request(place)), "identifier {id:?} belongs to {owner:?}");
        }
    }
    check!(session.ids.len() == in_use, "{} identifiers in use, of {in_use}", session.ids.len());
    let sizes = session.outgoing.iter().filter(|(_, entry)| entry.stage == Stage::Queued);
    let queued = sizes.filter_map(|(_, entry)| entry.message.as_ref()?.encoded_len().ok()).sum::<usize>();
    check!(session.outgoing.queued_size() == queued, "the queue has {queued} bytes");
    let flow = match &core.link {
        Link::Connected(connected) => &connected.flow,
        Link::Connecting(connecting) if connecting.pipeline => &connecting.flow,
        // What a DISCONNECT leaves to be written may be taken yet.
        Link::Disconnected => return Ok(()),
        Link::Connecting(_) => {
            check!(flying == 0, "{flying} are sent before the CONNACK");
            return Ok(());
        }
    };
    check!(flow.in_flight == flying, "in flight: {}, but {flying}", flow.in_flight);
    check!(flow.in_flight_qos2 == flying_qos2, "with QoS 2: {}, but {flying_qos2}", flow.in_flight_qos2);
    Ok(())
}
