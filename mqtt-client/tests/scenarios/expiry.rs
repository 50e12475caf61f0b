//! Messages that expire in the queue, or are taken back.

use mqtt_client::{CancelError, Options, PublishError, PublishToken, SessionLoss};

use crate::common::{Pair, Q0, Q1, Q2, kept, message, secs};

/// Nothing but expiry is ever due.
fn quiet() -> Options {
    kept().keep_alive(secs(0))
}

/// One that waits behind a full window.
fn waiting(options: Options) -> (Pair, PublishToken) {
    let mut pair: Pair = Pair::new(options.max_in_flight(1));
    pair.open(false);
    pair.publish("a", Q1);
    pair.expect(["PUBLISH 1 q1 a"]);
    let token = pair.publish("b", Q1).unwrap();
    (pair, token)
}

#[track_caller]
fn expire_in(pair: &mut Pair, token: PublishToken, seconds: u64) {
    pair.client.expire(token, pair.now + secs(seconds)).unwrap();
}

#[test]
fn a_queued_message_expires() {
    let (mut pair, token) = waiting(quiet());
    expire_in(&mut pair, token, 5);
    assert_eq!(pair.due_in(), Some(secs(5)));
    assert_eq!(pair.idle(secs(4)), Ok(vec![]));
    pair.expect_events([]);
    assert_eq!(pair.idle(secs(1)), Ok(vec![]));
    assert_eq!(pair.client.queue_len(), 0);
    assert_eq!(pair.client.poll_timeout(), None);
    // Until that is fetched, its token is its own, and it is too late for everything.
    assert_eq!(pair.client.expire(token, pair.now), Err(CancelError::Resolved));
    assert_eq!(pair.client.cancel(token), Err(CancelError::Resolved));
    pair.expect_events(["b not sent, expired"]);
    assert_eq!(pair.client.cancel(token), Err(CancelError::Resolved));
    pair.peer("PUBACK 1");
    pair.expect([]);
    pair.expect_events(["a delivered"]);
    assert!(pair.client.session().is_empty());
}

/// Each state, and both queues.
#[test]
fn messages_expire_in_every_state() {
    let mut pair: Pair = Pair::new(quiet().queue_qos0(true).connack_timeout(secs(100)));
    for (name, qos, seconds) in
        [("a", Q0, 1), ("b", Q1, 2), ("c", Q2, 3), ("d", Q0, 4), ("e", Q1, 5), ("f", Q1, 60)]
    {
        let token = pair.publish(name, qos).unwrap();
        expire_in(&mut pair, token, seconds);
    }
    assert_eq!(pair.due_in(), Some(secs(1)));
    assert_eq!(pair.idle(secs(3)), Ok(vec![]));
    pair.expect_events(["a not sent, expired", "b not sent, expired", "c not sent, expired"]);
    pair.dial();
    assert_eq!(pair.due_in(), Some(secs(1)));
    assert_eq!(pair.idle(secs(1)), Ok(vec![]));
    pair.expect_events(["d not sent, expired"]);
    pair.client.pause_queue(true);
    pair.accept(false);
    pair.client.pause_input(pair.now);
    assert_eq!(pair.due_in(), Some(secs(1)));
    assert_eq!(pair.idle(secs(1)), Ok(vec![]));
    pair.expect_events(["e not sent, expired"]);
    pair.client.pause_queue(false);
    pair.expect(["PUBLISH 1 q1 f"]);
    assert_eq!(pair.client.poll_timeout(), None, "in flight nothing expires");
}

/// At the moment that counts, whoever asks first: no call lets a message go that has expired.
#[test]
fn an_expired_message_does_not_go_out() {
    let calls: [fn(&mut Pair); 2] = [
        |pair| pair.peer("PUBACK 1"),
        |pair| {
            pair.cut();
            pair.open(false);
        },
    ];
    for call in calls {
        let (mut pair, token) = waiting(quiet().session_loss(SessionLoss::Fail));
        expire_in(&mut pair, token, 5);
        pair.advance(secs(5));
        call(&mut pair);
        assert!(!pair.sent().iter().any(|packet| packet.ends_with(" b")));
        assert!(pair.events().contains(&"b not sent, expired".to_owned()));
    }
    // Whoever takes output.
    let (mut pair, token) = waiting(quiet());
    pair.client.pause_queue(true);
    pair.peer("PUBACK 1");
    expire_in(&mut pair, token, 5);
    pair.advance(secs(5));
    pair.expect([]);
    pair.client.pause_queue(false);
    pair.expect([]);
    pair.expect_events(["a delivered", "b not sent, expired"]);
    // Behind a CONNECT too.
    let mut pair: Pair = Pair::new(quiet().pipeline(true));
    let token = pair.publish("b", Q1).unwrap();
    expire_in(&mut pair, token, 5);
    pair.advance(secs(5));
    pair.client.connect(pair.now).unwrap();
    pair.expect(["CONNECT kept"]);
    pair.expect_events(["b not sent, expired"]);
}

#[test]
fn the_last_call_counts() {
    let (mut pair, token) = waiting(quiet());
    expire_in(&mut pair, token, 5);
    expire_in(&mut pair, token, 50);
    assert_eq!(pair.due_in(), Some(secs(50)));
    expire_in(&mut pair, token, 7);
    assert_eq!(pair.due_in(), Some(secs(7)));
    // In the past: at once.
    pair.client.expire(token, mqtt_client::Time::ZERO).unwrap();
    assert_eq!(pair.due_in(), Some(secs(0)));
    assert_eq!(pair.timeout(), Ok(()));
    pair.expect_events(["b not sent, expired"]);
    assert_eq!(pair.client.poll_timeout(), None);
}

/// Once it is in flight it does not expire, even if it comes back from there.
#[test]
fn what_was_sent_does_not_expire() {
    let (mut pair, token) = waiting(quiet().session_loss(SessionLoss::RepublishAll));
    expire_in(&mut pair, token, 5);
    pair.peer("PUBACK 1");
    assert_eq!(pair.client.poll_timeout(), None);
    assert_eq!(pair.client.expire(token, pair.now), Err(CancelError::Sent));
    pair.expect(["PUBLISH 2 q1 b"]);
    assert_eq!(pair.client.expire(token, pair.now), Err(CancelError::Sent));
    pair.cut();
    assert_eq!(pair.client.expire(token, pair.now), Err(CancelError::Sent));
    // The Server has lost the Session; the message waits again, but may have arrived.
    pair.client.pause_queue(true);
    pair.open(false);
    assert_eq!(pair.client.queue_len(), 1);
    assert_eq!(pair.client.expire(token, pair.now), Err(CancelError::Sent));
    assert_eq!(pair.client.cancel(token), Err(CancelError::Sent));
    assert_eq!(pair.client.poll_timeout(), None);
    pair.client.pause_queue(false);
    pair.expect(["PUBLISH 3 q1 b"]);
    pair.peer("PUBACK 3");
    pair.expect_events(["a delivered", "b delivered"]);
    assert_eq!(pair.client.expire(token, pair.now), Err(CancelError::Resolved));
}

/// Taking a message back makes room, lets the next one go and leaves no trace.
#[test]
fn a_queued_message_is_taken_back() {
    let mut pair: Pair = Pair::new(quiet().max_in_flight(1).max_queue_len(2));
    pair.open(false);
    pair.publish("a", Q1);
    pair.sent();
    let tokens: Vec<_> = ["b", "c"].map(|name| pair.publish(name, Q2).unwrap()).into();
    assert!(matches!(pair.try_publish("d", Q1), Err(PublishError::QueueFull(_))));
    expire_in(&mut pair, tokens[0], 5);
    assert_eq!(pair.client.cancel(tokens[0]), Ok(message("b", Q2)));
    assert_eq!(pair.client.poll_timeout(), None, "it cannot expire any more");
    assert_eq!(pair.client.cancel(tokens[0]), Err(CancelError::Resolved));
    assert_eq!(pair.client.expire(tokens[0], pair.now), Err(CancelError::Resolved));
    let next = pair.publish("d", Q1).unwrap();
    assert_ne!(next, tokens[0], "its place is used again, its token is not");
    assert_eq!(pair.client.cancel(tokens[0]), Err(CancelError::Resolved));
    pair.peer("PUBACK 1");
    pair.expect(["PUBLISH 2 q2 c"]);
    pair.peer("PUBREC 2");
    pair.sent();
    pair.peer("PUBCOMP 2");
    pair.expect(["PUBLISH 3 q1 d"]);
    pair.expect_events(["a delivered", "c delivered"]);
}

/// Each stage of a publish: it can be taken back if and only if no byte of it was ever sent.
#[test]
fn taking_back_in_each_stage() {
    // Queued, and put into the output; not taken.
    let mut pair: Pair = Pair::new(quiet());
    let token = pair.publish("a", Q2).unwrap();
    pair.open(false);
    assert_eq!(pair.client.cancel(token), Err(CancelError::Sent), "it lies in the output");
    // The connection is lost before a byte of it went: it keeps its identifier, but not for ever.
    pair.cut();
    assert_eq!(pair.client.in_flight_len(), 1);
    assert_eq!(pair.client.cancel(token), Ok(message("a", Q2)));
    assert!(pair.client.session().is_empty());
    pair.open(true);
    pair.expect([]);
    // The identifier is free: an answer to it is one that nothing waits for.
    pair.peer("PUBREC 1");
    pair.expect(["PUBREL 1"]);
    assert_eq!(pair.client.stats().unknown_acknowledgements, 1);
    // One byte: no more.
    let token = pair.publish("b", Q2).unwrap();
    pair.take(1);
    pair.cut();
    assert_eq!(pair.client.cancel(token), Err(CancelError::Sent));
    pair.open(true);
    pair.expect(["PUBLISH 2 q2 dup b"]);
    pair.peer("PUBREC 2");
    assert_eq!(pair.client.cancel(token), Err(CancelError::Sent));
    pair.sent();
    pair.peer("PUBCOMP 2");
    assert_eq!(pair.client.cancel(token), Err(CancelError::Resolved));
    pair.expect_events(["b delivered"]);
}

/// In the middle of what is to be sent again, and while the identifier is all that is left of it.
#[test]
fn taking_back_what_is_about_to_be_sent_again() {
    let mut pair: Pair = Pair::new(quiet().max_in_flight(3));
    pair.open(false);
    let tokens: Vec<_> = ["a", "b", "c"].map(|name| pair.publish(name, Q1).unwrap()).into();
    pair.cut();
    assert_eq!(pair.client.cancel(tokens[1]), Ok(message("b", Q1)));
    pair.open(true);
    pair.expect(["PUBLISH 1 q1 a", "PUBLISH 3 q1 c"]);
    pair.peer("PUBACK 3");
    pair.peer("PUBACK 1");
    pair.expect_events(["c delivered", "a delivered"]);
    // The next one on a connection with a smaller window: what is behind it goes in its place.
    for name in ["d", "e", "f"] {
        pair.publish(name, Q1);
    }
    pair.take(1);
    let mut pair = pair.restart(quiet().max_in_flight(1), |session| session);
    pair.open(true);
    pair.expect(["PUBLISH 4 q1 dup d"]);
    let tokens: Vec<_> = pair.client.session().pending_publishes().map(|(token, _)| token).collect();
    assert_eq!(pair.client.cancel(tokens[1]), Ok(message("e", Q1)));
    pair.expect([]);
    pair.peer("PUBACK 4");
    pair.expect(["PUBLISH 6 q1 f"]);
    pair.peer("PUBACK 6");
    pair.expect_events(["d delivered", "f delivered"]);
    assert!(pair.client.session().is_empty());
}

/// A QoS 2 message whose PUBLISH the Server has: its outcome waits to be fetched.
#[test]
fn what_is_resolved_but_not_fetched_is_resolved() {
    let mut pair: Pair = Pair::new(quiet());
    pair.open(false);
    let token = pair.publish("a", Q2).unwrap();
    pair.sent();
    pair.peer("PUBREC 1");
    pair.client.discard_session();
    assert_eq!(pair.client.cancel(token), Err(CancelError::Resolved));
    assert_eq!(pair.client.expire(token, pair.now), Err(CancelError::Resolved));
    pair.expect_events(["a ambiguous, discarded"]);
}

/// Nothing grows: neither with what expires, nor with what is taken back.
#[test]
fn expiry_leaves_nothing_behind() {
    let mut pair: Pair = Pair::new(quiet().max_queue_len(10).max_requests(0));
    for round in 0..1000 {
        let token = pair.publish("a", Q1).unwrap();
        expire_in(&mut pair, token, 1 + round % 3);
        if round % 2 == 0 {
            pair.client.cancel(token).unwrap();
            continue;
        }
        pair.idle(secs(3)).unwrap();
        pair.expect_events(["a not sent, expired"]);
    }
    assert_eq!(pair.client.poll_timeout(), None);
    assert!(pair.client.session().is_empty());
    // Events that nobody fetches have a limit, too.
    let mut published = 0;
    while let Ok(Some(token)) = pair.try_publish("b", Q1) {
        pair.client.expire(token, pair.now).unwrap();
        pair.timeout().unwrap();
        published += 1;
        assert!(published < 100, "unbounded");
    }
    assert_eq!(published, 11);
    assert_eq!(pair.events().len(), 11);
    pair.publish("c", Q1);
}
