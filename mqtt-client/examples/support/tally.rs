//! The account of what arrived.

use mqtt_client::QoS;

/// How many messages each client sends with each QoS.
pub(crate) const MESSAGES: usize = 5;

/// In the order of sending, which is that of the cuts in `wire.rs`: no cut can fall on the DISCONNECT at the end.
pub(crate) const EACH_QOS: [QoS; 3] = [QoS::AtMostOnce, QoS::ExactlyOnce, QoS::AtLeastOnce];

/// How often each message of a client has arrived.
#[derive(Default)]
pub(crate) struct Tally {
    copies: [[usize; MESSAGES]; 3],
}

impl Tally {
    /// The payload of a message.
    pub(crate) fn text(qos: QoS, number: usize) -> String {
        format!("{} {number}", qos as u8)
    }

    pub(crate) fn arrived(&mut self, payload: &[u8]) {
        let text = String::from_utf8_lossy(payload);
        let place =
            text.split_once(' ').and_then(|(qos, number)| Some((qos.parse().ok()?, number.parse().ok()?)));
        let counter =
            place.and_then(|(qos, number): (usize, usize)| self.copies.get_mut(qos)?.get_mut(number));
        if let Some(counter) = counter {
            *counter += 1;
        }
    }

    /// Whether all messages with this QoS are there.
    pub(crate) fn has_all(&self, qos: QoS) -> bool {
        self.copies[qos as usize].iter().all(|copies| *copies > 0)
    }
}

/// Prints what arrived. True if that is each message once.
pub(crate) fn print(tallies: &[&Tally]) -> bool {
    let mut is_right = true;
    for qos in EACH_QOS {
        let copies = || tallies.iter().flat_map(|tally| &tally.copies[qos as usize]);
        let lost = copies().filter(|copies| **copies == 0).count();
        let doubled = copies().filter(|copies| **copies > 1).count();
        println!("QoS {}: {} sent, {lost} lost, {doubled} doubled", qos as u8, copies().count());
        is_right &= lost + doubled == 0;
    }
    is_right
}
