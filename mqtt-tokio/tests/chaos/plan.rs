//! What goes wrong with the connections of a proxy, and when. All of it follows from a seed.

use std::ops::Range;
use std::time::Duration;

use fastrand::Rng;
use mqtt_codec::Direction;

/// How many bytes a connection lasts, both directions together.
const BYTES: Range<usize> = 2_000..150_000;

/// The same for one that ends in the middle of CONNECT, or of what answers it.
const FEW_BYTES: Range<usize> = 0..100;

/// How long a stall lasts; the longest are too long for the PINGRESP deadline of the tests.
const STALL_MILLIS: Range<u64> = 20..700;

/// The fate of one connection.
#[derive(Debug)]
pub(crate) struct Plan {
    /// How many bytes it lasts, both directions together.
    pub(crate) bytes: usize,
    pub(crate) end: End,
    pub(crate) to_server: Pace,
    pub(crate) to_client: Pace,
}

/// How a connection ends when its bytes are used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Cut {
        client: Close,
        server: Close,
    },
    /// The way to the server is gone, the client's connection stays open: nothing but a deadline helps. What the client
    /// sends is read and lost, or not even read.
    HalfOpen {
        is_read: bool,
    },
    /// Bytes flow on in this direction, and are lost in the other.
    OneWay(Direction),
}

/// What one side sees of a cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Close {
    Fin,
    Reset,
}

/// How bytes go in one direction.
#[derive(Debug)]
pub(crate) struct Pace {
    /// At most so many bytes at a time; how many is random.
    pub(crate) max_piece: usize,
    /// After so many pieces there is a pause of a millisecond.
    pub(crate) pieces_per_pause: u32,
    /// Once nothing moves for a while: after so many bytes, for so long.
    pub(crate) stall: Option<(usize, Duration)>,
    /// Where the sizes of the pieces come from.
    pub(crate) random: Rng,
}

/// One plan after the other. Of six connections in a row that begin with a new hand, four are cut in the four ways there
/// are, one is cut early, and one goes silent, which takes longest.
pub(crate) struct Plans {
    random: Rng,
    hand: Vec<(End, Range<usize>)>,
    hands: usize,
    paces: usize,
}

const CLOSES: [Close; 2] = [Close::Fin, Close::Reset];

/// What only a deadline ends.
const SILENT: [(End, Range<usize>); 5] = [
    (End::HalfOpen { is_read: true }, BYTES),
    (End::OneWay(Direction::ToServer), BYTES),
    (End::HalfOpen { is_read: false }, BYTES),
    (End::OneWay(Direction::ToClient), BYTES),
    (End::HalfOpen { is_read: true }, FEW_BYTES),
];

impl Plans {
    pub(crate) fn new(seed: u64) -> Self {
        Self { random: Rng::with_seed(seed), hand: Vec::new(), hands: 0, paces: 0 }
    }

    pub(crate) fn next(&mut self) -> Plan {
        if self.hand.is_empty() {
            self.deal();
        }
        let (end, bytes) = self.hand.pop().expect("it was dealt");
        let bytes = self.random.usize(bytes);
        Plan { bytes, end, to_server: self.pace(bytes), to_client: self.pace(bytes) }
    }

    fn deal(&mut self) {
        let cuts = CLOSES.map(|client| CLOSES.map(|server| End::Cut { client, server })).concat();
        let early = *self.random.choice(&cuts).expect("there are four");
        self.hand.extend(cuts.into_iter().map(|cut| (cut, BYTES)));
        self.hand.push((early, FEW_BYTES));
        self.hand.push(SILENT[self.hands % SILENT.len()].clone());
        self.random.shuffle(&mut self.hand);
        self.hands += 1;
    }

    fn pace(&mut self, bytes: usize) -> Pace {
        let (max_piece, pieces_per_pause) = match self.random.u32(0..6) {
            // A trickle: hardly a packet comes in one piece.
            0 => (8, 128),
            1 | 2 => (64 * 1024, 64),
            _ => (2048, 1),
        };
        self.paces += 1;
        // Early enough that most of them happen.
        let stall = (self.paces % 7 == 0).then(|| {
            (self.random.usize(0..=bytes / 4), Duration::from_millis(self.random.u64(STALL_MILLIS)))
        });
        Pace { max_piece, pieces_per_pause, stall, random: self.random.fork() }
    }
}
