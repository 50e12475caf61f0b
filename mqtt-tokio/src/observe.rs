//! Looking at a client from outside: the application's inspector, and spans and events (feature `tracing`).
//!
//! Everything about `tracing` stands here, so that other files need one line each; without the feature there is nothing
//! behind these lines.

use std::sync::Arc;

use mqtt_client::{Direction, Inspector, Packet};

use crate::builder::Builder;
use crate::shared::Shared;
use crate::uri::Uri;

pub(crate) use log::{Log, status};

impl Builder {
    /// Shows every packet to a function: see [`Inspector`] for what it gets. A password is not among it.
    ///
    /// It is called in the middle of publishing and receiving, while all handles of the client wait. So it must be quick,
    /// must not panic, and must not use the client: that would wait for itself.
    ///
    /// ```no_run
    /// use mqtt_tokio::{Builder, Client, Options, PubSub};
    ///
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// let client: Client<PubSub> = Builder::new("mqtt://broker.local", Options::new("plant-7"))?
    ///     .inspect(|direction, packet, len| println!("{direction:?} {len} bytes {packet:?}"))
    ///     .start()?;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn inspect(
        mut self,
        inspect: impl Fn(Direction, &Packet<'_>, usize) + Send + Sync + 'static,
    ) -> Self {
        self.inspector = Some(Inspector::new(inspect));
        self
    }
}

/// Who looks at a client.
pub(crate) struct Observer {
    inspector: Option<Inspector>,
    log: Log,
    /// The Server that the log knows of.
    server: Option<Arc<Uri>>,
}

impl Observer {
    pub(crate) fn new(inspector: Option<Inspector>, client_id: &str) -> Self {
        Self { inspector, log: Log::new(client_id), server: None }
    }

    pub(crate) const fn log(&self) -> &Log {
        &self.log
    }

    /// An attempt to connect begins.
    pub(crate) fn attempt(&mut self, shared: &Shared) {
        let inspector = self.log.inspector(&self.inspector);
        let server = {
            let mut inner = shared.lock();
            inner.core.inspect(inspector);
            inner.server.clone()
        };
        // A span that is told of a Server twice shows it twice.
        let known =
            server.as_ref().zip(self.server.as_ref()).is_some_and(|(one, other)| Arc::ptr_eq(one, other));
        self.log.attempt(server.as_deref().filter(|_| !known));
        self.server = server;
    }
}

#[cfg(not(feature = "tracing"))]
mod log {
    use std::future::Future;
    use std::pin::Pin;

    use mqtt_client::Inspector;

    use crate::status::Status;
    use crate::uri::Uri;

    /// Nothing.
    #[derive(Clone)]
    pub(crate) struct Log;

    impl Log {
        pub(crate) const fn new(_client_id: &str) -> Self {
            Self
        }

        pub(crate) fn around<T>(
            &self,
            work: impl Future<Output = T> + Send + 'static,
        ) -> Pin<Box<dyn Future<Output = T> + Send>> {
            Box::pin(work)
        }

        pub(crate) fn inspector(&self, inspector: &Option<Inspector>) -> Option<Inspector> {
            inspector.clone()
        }

        pub(crate) const fn attempt(&self, _server: Option<&Uri>) {}
    }

    pub(crate) const fn status(_status: &Status) {}
}

#[cfg(feature = "tracing")]
mod log {
    use std::future::Future;
    use std::pin::Pin;

    use mqtt_client::{Direction, Inspector, Packet, PacketId};
    use tracing::field::Empty;
    use tracing::instrument::Instrument;
    use tracing::level_filters::LevelFilter;
    use tracing::{Level, Span, debug, error, info, trace, warn};

    use crate::status::Status;
    use crate::uri::Uri;

    /// The target of the events about packets, to be filtered by.
    const PACKET: &str = "mqtt_tokio::packet";

    /// The span of a client.
    #[derive(Clone)]
    pub(crate) struct Log(Span);

    impl Log {
        pub(crate) fn new(client_id: &str) -> Self {
            // None: a client outlives whatever it is made in.
            Self(tracing::error_span!(target: "mqtt_tokio", parent: None, "mqtt", client_id, server = Empty))
        }

        pub(crate) fn around<T>(
            &self,
            work: impl Future<Output = T> + Send + 'static,
        ) -> Pin<Box<dyn Future<Output = T> + Send>> {
            Box::pin(work.instrument(self.0.clone()))
        }

        /// Shows packets here too. Not if nobody is going to look, since showing costs about as much as decoding: whoever
        /// raises the level later sees them from the next connection on.
        pub(crate) fn inspector(&self, inspector: &Option<Inspector>) -> Option<Inspector> {
            if LevelFilter::current() < Level::DEBUG {
                return inspector.clone();
            }
            let (span, inspector) = (self.0.clone(), inspector.clone());
            Some(Inspector::new(move |direction, packet, len| {
                show(&span, direction, packet, len);
                if let Some(inspector) = &inspector {
                    inspector.show(direction, packet, len);
                }
            }))
        }

        /// The address has no user name and no password in it.
        pub(crate) fn attempt(&self, server: Option<&Uri>) {
            if let Some(server) = server {
                self.0.record("server", tracing::field::display(server));
            }
            debug!(target: "mqtt_tokio", "connecting");
        }
    }

    /// Tells of a packet: with its topic at TRACE, without at DEBUG; never its payload.
    fn show(span: &Span, direction: Direction, packet: &Packet<'_>, len: usize) {
        let way = if direction == Direction::ToServer { "out" } else { "in" };
        let kind = packet.packet_type();
        match packet {
            Packet::Publish(publish) => {
                let delivery = publish.delivery;
                let (id, qos) = (delivery.id().map(PacketId::get), delivery.qos() as u8);
                let (dup, retain) = (delivery.dup(), publish.retain);
                debug!(target: PACKET, parent: span, way, packet = %kind, id, qos, dup, retain, len);
                trace!(target: PACKET, parent: span, way, packet = %kind, id, topic = publish.topic.as_str());
            }
            Packet::Subscribe(subscribe) => {
                let (id, dup) = (subscribe.id.get(), subscribe.dup);
                debug!(target: PACKET, parent: span, way, packet = %kind, id, dup, len);
                trace!(target: PACKET, parent: span, way, packet = %kind, id, filters = ?subscribe.filters);
            }
            Packet::Unsubscribe(unsubscribe) => {
                let (id, dup) = (unsubscribe.id.get(), unsubscribe.dup);
                debug!(target: PACKET, parent: span, way, packet = %kind, id, dup, len);
                trace!(target: PACKET, parent: span, way, packet = %kind, id, filters = ?unsubscribe.filters);
            }
            Packet::Suback(suback) => {
                let id = suback.id.get();
                debug!(target: PACKET, parent: span, way, packet = %kind, id, codes = ?suback.codes, len);
            }
            Packet::Pubrel { id, dup } => {
                debug!(target: PACKET, parent: span, way, packet = %kind, id = id.get(), dup, len);
            }
            Packet::Puback(id) | Packet::Pubrec(id) | Packet::Pubcomp(id) | Packet::Unsuback(id) => {
                debug!(target: PACKET, parent: span, way, packet = %kind, id = id.get(), len);
            }
            Packet::Connack(connack) => {
                let (code, session_present) = (connack.code.as_u8(), connack.session_present);
                debug!(target: PACKET, parent: span, way, packet = %kind, code, session_present, len);
            }
            Packet::Connect(_) | Packet::Pingreq | Packet::Pingresp | Packet::Disconnect => {
                debug!(target: PACKET, parent: span, way, packet = %kind, len);
            }
        }
    }

    /// Tells of a change of the Network Connection, within the span of the client, as the driver does it.
    pub(crate) fn status(status: &Status) {
        match status {
            Status::Connected { session_present, version } => {
                info!(target: "mqtt_tokio", session_present, %version, "connected");
            }
            Status::Lost { error, retry_in } => {
                warn!(target: "mqtt_tokio", %error, ?retry_in, "connection lost");
            }
            Status::GaveUp { error } => error!(target: "mqtt_tokio", %error, "gave up"),
            Status::SubscriptionLost { filter } => {
                warn!(target: "mqtt_tokio", filter = filter.as_str(), "subscription lost");
            }
            Status::Skipped(message) => {
                let qos = message.qos as u8;
                warn!(target: "mqtt_tokio", payload_len = message.payload_len, qos, "message skipped");
            }
            Status::Unclaimed { count } => warn!(target: "mqtt_tokio", count, "messages unclaimed"),
            Status::Disconnected => info!(target: "mqtt_tokio", "disconnected"),
        }
    }
}
