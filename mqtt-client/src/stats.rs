//! Counters.

/// What happened since the client was made. Counters only grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub struct Stats {
    /// Publishes with QoS 1 and 2 whose last acknowledgement came.
    pub delivered: u64,
    /// PINGREQ packets sent.
    pub pingreqs: u64,
    /// Acknowledgements that nothing waited for. They end nothing; a PUBREC among them was answered with PUBREL and a
    /// PUBREL with PUBCOMP.
    pub unknown_acknowledgements: u64,
    /// PINGRESP packets that nothing waited for.
    pub unsolicited_pingresps: u64,
    /// PUBLISH packets with QoS 2 that the application had already been given, and was not given again.
    pub duplicates: u64,
    /// PUBLISH and PUBREL packets sent again on a later connection.
    pub resent: u64,
    /// Packets sent again on the same connection, after a time ([`Timed`](crate::Timed)).
    pub retransmitted: u64,
    /// Messages discarded because of their size ([`Oversize::Skip`](crate::Oversize::Skip)).
    pub skipped: u64,
}
