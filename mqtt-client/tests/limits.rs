//! Every queue has a limit, and says so.

mod common;

use common::{Pair, Q0, Q1, Q2, kept, message};
use mqtt_client::{AckMode, PublishError, RequestError, State};

fn size(payload: &str) -> usize {
    message(payload, Q1).encoded_len().unwrap()
}

#[test]
fn queue_by_count() {
    let mut pair: Pair = Pair::new(kept().max_queue_len(3).max_in_flight(1).queue_qos0(true));
    for name in ["a", "b"] {
        pair.publish(name, Q1);
    }
    pair.publish("z", Q0);
    for qos in [Q0, Q1, Q2] {
        let error = pair.try_publish("x", qos).unwrap_err();
        assert_eq!(error, PublishError::QueueFull(message("x", qos)), "the message comes back");
        assert_eq!(error.into_message(), message("x", qos));
    }
    pair.open(false);
    pair.expect(["PUBLISH - q0 z", "PUBLISH 1 q1 a"]);
    // What is in flight is not in the queue.
    pair.publish("c", Q1);
    pair.publish("d", Q1);
    assert!(matches!(pair.try_publish("x", Q1), Err(PublishError::QueueFull(_))));
    pair.peer("PUBACK 1");
    pair.publish("e", Q1);
    assert!(matches!(pair.try_publish("x", Q1), Err(PublishError::QueueFull(_))));
}

#[test]
fn queue_by_size() {
    let mut pair: Pair = Pair::new(kept().max_queue_size(3 * size("1234")).max_in_flight(1));
    for name in ["aaaa", "bbbb", "cccc"] {
        pair.publish(name, Q1);
    }
    assert!(matches!(pair.try_publish("", Q1), Err(PublishError::QueueFull(_))));
    let max = 3 * size("1234");
    let long = "x".repeat(max);
    let Err(PublishError::TooLarge { len, max: limit, .. }) = pair.try_publish(&long, Q2) else {
        panic!("accepted")
    };
    assert_eq!((len, limit), (size(&long), max));
    pair.open(false);
    pair.sent();
    pair.publish("dddd", Q1);
    assert!(matches!(pair.try_publish("eeee", Q1), Err(PublishError::QueueFull(_))));
    // The size is that of what is there now, after any way out of the queue.
    pair.client.discard_session();
    pair.events();
    for name in ["aaaa", "bbbb", "cccc"] {
        pair.publish(name, Q1);
    }
    // A message that goes back to the queue with the loss of the Session counts again, and is not refused.
    pair.open(false);
    pair.sent();
    pair.publish("dddd", Q1);
    pair.cut();
    pair.open(false);
    pair.expect(["PUBLISH 3 q1 aaaa"]);
    assert!(matches!(pair.try_publish("eeee", Q1), Err(PublishError::QueueFull(_))));
    for id in 3..=6 {
        pair.peer(&format!("PUBACK {id}"));
        pair.sent();
    }
    assert!(pair.client.session().is_empty());
    for name in ["1111", "2222", "3333", "4444"] {
        pair.publish(name, Q1);
    }
    assert!(matches!(pair.try_publish("5555", Q1), Err(PublishError::QueueFull(_))));
}

#[test]
fn qos0_into_the_output() {
    let mut pair: Pair = Pair::new(kept().max_queue_size(1000));
    pair.open(false);
    let mut sent = 0;
    while pair.try_publish("1234567890", Q0).is_ok() {
        sent += 1;
        assert!(pair.client.output_len() <= 1000);
    }
    assert!(sent > 10);
    assert!(matches!(pair.try_publish("1234567890", Q0), Err(PublishError::QueueFull(_))));
    // QoS 1 and acknowledgements still have their place.
    pair.publish("one", Q1);
    pair.peer("PUBLISH 1 q1 x");
    pair.take(100);
    pair.publish("1234567890", Q0);
    let rest = pair.sent();
    assert_eq!(rest.len(), sent + 3);
}

/// To the byte: what just fits is accepted.
#[test]
fn qos0_up_to_the_limit() {
    let max = 3 * message("1234", Q0).encoded_len().unwrap();
    let mut pair: Pair = Pair::new(kept().max_queue_size(max));
    pair.open(false);
    for name in ["aaaa", "bbbb", "cccc"] {
        pair.publish(name, Q0);
    }
    assert_eq!(pair.client.output_len(), max);
    assert!(matches!(pair.try_publish("", Q0), Err(PublishError::QueueFull(_))));
    assert_eq!(pair.sent().len(), 3);
}

#[test]
fn output_of_publishes_is_bounded() {
    let mut pair: Pair = Pair::new(kept().max_in_flight(65_535).max_in_flight_qos2(65_535));
    pair.open(false);
    let payload = "x".repeat(1000);
    for n in 0..5000 {
        pair.publish(&payload, if n % 2 == 0 { Q1 } else { Q2 });
        assert!(pair.client.output_len() < 70_000);
    }
    assert_eq!(pair.sent().len(), 5000);
    pair.cut();
    pair.open(true);
    assert!(pair.client.output_len() < 70_000, "sending again, too");
    assert_eq!(pair.sent().len(), 5000);
}

#[test]
fn answers_are_bounded_by_not_reading_on() {
    let mut pair: Pair = Pair::new(kept());
    pair.open(false);
    let publish = common::text::encode("PUBLISH 1 q1 x", Default::default());
    let mut fed = 0;
    while pair.client.wants_input() {
        pair.feed(&publish).unwrap();
        fed += 1;
        assert!(fed < 100_000);
    }
    assert!(pair.client.output_len() <= 70_000);
    pair.feed(&publish).unwrap();
    assert_eq!(pair.events().len(), fed, "the last one is not used");
    assert_eq!(pair.sent().len(), fed);
    assert!(pair.client.wants_input());
    assert_eq!(pair.events().len(), 1);
    pair.expect(["PUBACK 1"]);
}

#[test]
fn unacknowledged_messages_are_bounded_by_not_reading_on() {
    let mut pair: Pair = Pair::new(kept().ack_mode(AckMode::Manual));
    pair.open(false);
    let publish = common::text::encode("PUBLISH 1 q1 x", Default::default());
    for _ in 0..65_535 {
        pair.feed(&publish).unwrap();
    }
    assert!(!pair.client.wants_input());
    pair.feed(&publish).unwrap();
    assert_eq!(pair.events().len(), 65_535);
    pair.client.acknowledge(pair.acks[0]).unwrap();
    assert_eq!(pair.events().len(), 1);
}

/// An application that never asks for events does not make the client grow.
#[test]
fn unread_events_are_bounded() {
    let mut pair: Pair = Pair::new(kept().max_queue_len(10).max_requests(5).pipeline(true));
    let mut accepted = 0;
    let mut refused = 0;
    for n in 0..100 {
        pair.client.connect(pair.now).unwrap();
        if n % 2 == 0 {
            for _ in 0..5 {
                match pair.try_publish("m", Q1) {
                    Ok(_) => accepted += 1,
                    Err(PublishError::QueueFull(_)) => refused += 1,
                    Err(error) => panic!("{error}"),
                }
            }
        } else {
            match pair.try_subscribe("f", Q0) {
                Ok(_) => accepted += 1,
                Err(RequestError::TooManyRequests) => refused += 1,
                Err(error) => panic!("{error}"),
            }
        }
        pair.client.discard_session();
    }
    assert!(accepted < 25 && refused > 200, "{accepted} {refused}");
    assert_eq!(pair.events().len(), accepted);
    pair.publish("m", Q1);
    pair.subscribe("f", Q0);
}

/// All 65 535 identifiers in use: the rest waits for one to be free, whoever frees it.
#[test]
fn identifiers_run_out() {
    let mut pair: Pair = Pair::new(kept().max_in_flight(65_535).max_queue_len(100_000));
    pair.open(false);
    pair.subscribe("f", Q0);
    for _ in 0..65_536 {
        pair.publish("m", Q1);
    }
    assert_eq!(pair.sent().len(), 65_535);
    pair.subscribe("g", Q0);
    pair.expect([]);
    pair.peer("SUBACK 1 0");
    assert!(pair.client.has_output(), "at once, not at some later call");
    pair.expect(["SUBSCRIBE 1 g:0"]);
    pair.peer("PUBACK 7");
    pair.expect(["PUBLISH 7 q1 m"]);
    pair.peer("PUBACK 9");
    pair.expect(["PUBLISH 9 q1 m"]);
    pair.peer("SUBACK 1 0");
    pair.peer("PUBACK 7");
    pair.publish("n", Q1);
    pair.expect(["PUBLISH 1 q1 n"]);
    assert_eq!(pair.client.state(), State::Connected);
}

#[test]
fn requests_are_bounded() {
    let mut pair: Pair = Pair::new(kept().max_requests(0));
    assert_eq!(pair.try_subscribe("f", Q0), Err(RequestError::TooManyRequests));
}
