//! Steps of the store, and what a crash makes of the world.

use super::super::Config;
use super::super::monitor::{Check, Kept};
use super::World;
use crate::machine::Core;
use crate::message::RequestToken;
use crate::session::requests::Kind;

impl World {
    /// The embedder fetches what has changed.
    pub(super) fn fetch(&mut self) -> Check {
        let changes = self.core.poll_changes().ok_or("there are no changes")?;
        self.disk.fetch(changes);
        Ok(())
    }

    /// One change is written, or a whole batch.
    pub(super) fn write(&mut self, config: &Config) -> Check {
        let written = self.disk.write(config.transactions)?;
        if let Some(changes) = written.complete {
            self.core.changes_saved(changes.mark);
            let core = &self.core;
            self.monitor.saved(|mark| core.journal().is_saved(mark));
            self.monitor.processed(&written.effects, config.incoming)?;
        }
        Ok(())
    }

    /// The client, the transport and what was not written are gone.
    pub(super) fn crash(&mut self, config: &Config) -> Check {
        self.ended();
        let session = self.disk.session()?;
        let mut kept = Vec::new();
        for ((_, entry), (token, _)) in session.outgoing.iter().zip(session.pending_publishes()) {
            let number = self.disk.name(entry.number).ok_or("a publish that nobody made")?;
            kept.push(Kept {
                number,
                stage: entry.stage,
                id: entry.id.map(mqtt_codec::PacketId::get),
                token,
            });
        }
        let mut requests = Vec::new();
        for (index, request) in session.requests.iter() {
            let token = RequestToken { index, generation: request.number as u32 };
            match &request.kind {
                Kind::Subscribe(_) => requests.push((0, token)),
                Kind::Unsubscribe(_) => requests.push((1, token)),
                Kind::Resubscribe(_) => {}
            }
        }
        let (server, disk) = (&self.server, &self.disk);
        let noted = |number| server.id_of(number).is_some_and(|id| disk.has_received(id));
        self.monitor.crashed(&kept, &requests, noted)?;
        self.disk.crash();
        self.core = Core::new(config.options(), session).map_err(|error| error.to_string())?;
        Ok(())
    }
}
