//! What was sent, and how often it arrived.

use std::time::Instant;

use mqtt_tokio::QoS;

/// All messages, in the order of their numbers, which start with 1.
#[derive(Default)]
pub(crate) struct Tally {
    entries: Vec<Entry>,
}

struct Entry {
    qos: QoS,
    sent: Instant,
    copies: u32,
}

impl Tally {
    /// The payload of a message.
    pub(crate) fn text(number: usize) -> String {
        format!("message {number}")
    }

    /// Gives the next message its number.
    pub(crate) fn sent(&mut self, qos: QoS) -> usize {
        self.entries.push(Entry { qos, sent: Instant::now(), copies: 0 });
        self.entries.len()
    }

    /// Counts a copy that arrived; how many there are now, or `None` if it is none of ours.
    pub(crate) fn arrived(&mut self, payload: &[u8]) -> Option<u32> {
        let entry = self.entries.get_mut(index_of(payload)?)?;
        entry.copies += 1;
        Some(entry.copies)
    }

    pub(crate) fn has_arrived(&self, number: usize) -> bool {
        self.entries.get(number - 1).is_some_and(|entry| entry.copies > 0)
    }

    /// How many milliseconds ago it was published.
    pub(crate) fn age(&self, payload: &[u8]) -> Option<u128> {
        Some(self.entries.get(index_of(payload)?)?.sent.elapsed().as_millis())
    }

    /// (sent, arrived, lost, doubled) with this QoS.
    fn counts(&self, qos: QoS) -> [usize; 4] {
        let count = |is: fn(&Entry) -> bool| {
            self.entries.iter().filter(|entry| entry.qos == qos && is(entry)).count()
        };
        [count(|_| true), count(|it| it.copies > 0), count(|it| it.copies == 0), count(|it| it.copies > 1)]
    }

    /// Prints the result, one line for each QoS.
    pub(crate) fn print(&self) {
        println!("               sent   arrived   lost   doubled");
        let mut bad = 0;
        for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
            let [sent, arrived, lost, doubled] = self.counts(qos);
            println!("  QoS {}       {sent:6}   {arrived:7}   {lost:4}   {doubled:7}", qos as u8);
            bad += lost + doubled;
        }
        if bad == 0 {
            println!("\nNothing was lost, nothing was doubled.");
        } else {
            println!(
                "\nNot every message arrived once. A broker that is killed forgets what it has acknowledged but not"
            );
            println!("stored: stop it with SIGTERM, and switch its persistence on, to see it remember.");
        }
    }

    /// Whether nothing was lost or doubled; unless all was calm, what QoS 0 loses and QoS 1 doubles does not count.
    pub(crate) fn is_as_promised(&self, is_calm: bool) -> bool {
        let [_, _, lost_0, doubled_0] = self.counts(QoS::AtMostOnce);
        let [_, _, lost_1, doubled_1] = self.counts(QoS::AtLeastOnce);
        let [_, _, lost_2, doubled_2] = self.counts(QoS::ExactlyOnce);
        let forgivable = lost_0 + doubled_1;
        doubled_0 + lost_1 + lost_2 + doubled_2 == 0 && (forgivable == 0 || !is_calm)
    }
}

fn index_of(payload: &[u8]) -> Option<usize> {
    let number: usize = std::str::from_utf8(payload).ok()?.strip_prefix("message ")?.parse().ok()?;
    number.checked_sub(1)
}
