use crate::common::{Pair, Q0, Q1, Q2, kept};
use mqtt_client::{Options, RequestError, Session};

#[test]
fn pending_subscribe_over_loss() {
    for present in [true, false] {
        let mut pair: Pair = Pair::new(kept());
        pair.open(false);
        pair.subscribe("a", Q1);
        pair.unsubscribe("b");
        pair.expect(["SUBSCRIBE 1 a:1", "UNSUBSCRIBE 2 b"]);
        pair.cut();
        pair.subscribe("c", Q2);
        pair.open(present);
        pair.expect(["SUBSCRIBE 1 a:1", "UNSUBSCRIBE 2 b", "SUBSCRIBE 3 c:2"]);
        pair.peer("UNSUBACK 2");
        pair.peer("SUBACK 3 2");
        pair.peer("SUBACK 1 128");
        pair.expect_events(["b unsubscribed", "c subscribed 2", "a subscribed failure"]);
        pair.cut();
        pair.open(true);
        pair.expect([]);
    }
}

/// MQTT 3.1 sets DUP on requests that are sent again.
#[test]
fn pending_subscribe_over_loss_in_3_1() {
    let mut pair: Pair = Pair::v3_1(kept());
    pair.open(false);
    pair.subscribe("a", Q1);
    pair.sent();
    pair.subscribe("b", Q1);
    pair.cut();
    pair.open(false);
    pair.expect(["SUBSCRIBE 1 dup a:1", "SUBSCRIBE 2 b:1"]);
}

#[test]
fn resubscribe_after_clean_reconnect() {
    let mut pair: Pair = Pair::new(Options::new("c"));
    pair.open(false);
    for (name, qos) in [("b", Q1), ("a", Q2), ("gone", Q0)] {
        pair.subscribe(name, qos);
    }
    pair.sent();
    for ack in ["SUBACK 1 1", "SUBACK 2 1", "SUBACK 3 0"] {
        pair.peer(ack);
    }
    pair.unsubscribe("gone");
    pair.sent();
    pair.peer("UNSUBACK 4");
    pair.events();
    pair.cut();
    pair.subscribe("new", Q0);
    pair.open(false);
    // With the QoS that was asked for, before what is new, and without telling the application.
    pair.expect(["SUBSCRIBE 5 a:2 b:1", "SUBSCRIBE 6 new:0"]);
    pair.cut();
    // Once more: what was under way is made anew, not doubled.
    pair.open(false);
    pair.expect(["SUBSCRIBE 7 a:2 b:1", "SUBSCRIBE 6 new:0"]);
    pair.peer("SUBACK 7 128 1");
    pair.peer("SUBACK 6 0");
    pair.expect_events(["subscription lost a", "new subscribed 0"]);
    pair.cut();
    pair.open(false);
    pair.expect(["SUBSCRIBE 8 b:1 new:0"]);
    // With a kept session there is no need.
    let mut pair: Pair = Pair::new(kept());
    pair.open(false);
    pair.subscribe("a", Q0);
    pair.sent();
    pair.peer("SUBACK 1 0");
    pair.cut();
    pair.open(true);
    pair.expect([]);
    pair.cut();
    pair.open(false);
    pair.expect(["SUBSCRIBE 2 a:0"]);
}

/// MQTT 3.1 does not tell whether the Server kept the Session: subscribing again does no harm, and nothing in flight
/// is given up.
#[test]
fn resubscribe_in_3_1() {
    let mut pair: Pair = Pair::v3_1(kept());
    pair.open(false);
    pair.subscribe("a", Q0);
    pair.sent();
    pair.peer("SUBACK 1 0");
    pair.publish("m", Q2);
    pair.publish("n", Q2);
    pair.sent();
    pair.peer("PUBREC 3");
    pair.sent();
    pair.cut();
    pair.open(false);
    pair.expect(["PUBREL 3 dup", "PUBLISH 2 q2 dup m", "SUBSCRIBE 4 a:0"]);
}

/// A request that is answered late does not block those behind it, and a limit does not drop any.
#[test]
fn requests_have_a_limit() {
    let mut pair: Pair = Pair::new(kept().max_requests(2));
    pair.subscribe("a", Q0);
    pair.open(false);
    pair.unsubscribe("b");
    assert_eq!(pair.try_subscribe("c", Q0), Err(RequestError::TooManyRequests));
    pair.sent();
    pair.peer("UNSUBACK 2");
    pair.subscribe("c", Q0);
    pair.expect(["SUBSCRIBE 3 c:0"]);
}

#[test]
fn requests_without_a_filter_are_refused() {
    let mut pair: Pair = Pair::new(kept());
    assert_eq!(pair.client.subscribe([]), Err(RequestError::NoFilter));
    assert_eq!(pair.client.unsubscribe([]), Err(RequestError::NoFilter));
    pair.open(false);
    pair.expect([]);
}

/// A CONNECT can begin a Session whose CONNACK never comes: that the Server has one next time then means little.
#[test]
fn subscriptions_survive_a_lost_connack() {
    let mut pair: Pair = Pair::new(kept());
    pair.open(false);
    pair.subscribe("a", Q1);
    pair.sent();
    pair.peer("SUBACK 1 1");
    pair.cut();
    // The Server has lost the Session, begins another one, and its CONNACK is lost.
    pair.dial();
    pair.cut();
    let mut pair = pair.restart(kept(), |session| Session::from_bytes(&session.to_bytes()).unwrap());
    pair.open(true);
    pair.expect(["SUBSCRIBE 2 a:1"]);
    pair.peer("SUBACK 2 1");
    pair.events();
    pair.cut();
    // A dial that failed before a byte was sent begins nothing.
    pair.client.connect(pair.now).unwrap();
    pair.cut();
    pair.open(true);
    pair.expect([]);
}

/// Servers may answer requests in any order; what counts for a filter is the last request, not the last answer.
#[test]
fn answers_in_another_order() {
    let mut pair: Pair = Pair::new(kept());
    pair.open(false);
    pair.subscribe("f", Q1);
    pair.subscribe("g", Q0);
    pair.unsubscribe("f");
    pair.subscribe("g", Q2);
    pair.unsubscribe("h");
    pair.subscribe("h", Q1);
    pair.sent();
    for packet in ["SUBACK 6 1", "UNSUBACK 5", "SUBACK 4 2", "UNSUBACK 3", "SUBACK 2 0", "SUBACK 1 1"] {
        pair.peer(packet);
    }
    pair.events();
    pair.cut();
    pair.open(false);
    pair.expect(["SUBSCRIBE 7 g:2 h:1"]);
    pair.peer("SUBACK 7 2 1");
    // A request that is sent again on another connection is the last one that the Server gets.
    pair.subscribe("i", Q1);
    pair.unsubscribe("i");
    pair.sent();
    pair.peer("UNSUBACK 9");
    pair.cut();
    pair.open(true);
    pair.expect(["SUBSCRIBE 8 i:1"]);
    pair.peer("SUBACK 8 1");
    pair.cut();
    pair.open(false);
    pair.expect(["SUBSCRIBE 10 g:2 h:1 i:1"]);
}
