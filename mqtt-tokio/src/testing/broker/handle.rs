//! What each packet of a client does.

use std::time::Duration;

use mqtt_codec::{
    Connack, ConnectReturnCode, Delivery, MqttString, OwnedConnect, OwnedPacket, OwnedPublish, PacketId,
    PacketType, ProtocolVersion, QoS, SubackCode, TopicFilter,
};

use super::{
    Broker, CloseReason, ConnectionId, OnReceive,
    connection::Phase,
    outgoing::{Ack, Message},
    session::{Session, SessionKey},
};

impl Broker {
    /// Handles all complete packets that a connection brought.
    pub(super) fn process(&mut self, id: ConnectionId) {
        while let Some((packet, struck)) = self.wire.next_packet(id) {
            match struck {
                None => self.handle_packet(id, packet),
                Some(OnReceive::Ignore) => {}
                Some(OnReceive::Answer(bytes)) => self.wire.send_raw(id, &bytes),
                Some(OnReceive::CutBefore) => self.wire.close(id, CloseReason::Cut),
                Some(OnReceive::CutAfter) => {
                    if let Some(connection) = self.wire.connection(id) {
                        connection.muted = true;
                    }
                    self.handle_packet(id, packet);
                    self.wire.close(id, CloseReason::Cut);
                }
            }
        }
        self.settle();
    }

    fn handle_packet(&mut self, id: ConnectionId, packet: OwnedPacket) {
        let session = self.wire.connection(id).and_then(|it| it.session());
        match (session, packet) {
            (None, OwnedPacket::Connect(connect)) => self.handle_connect(id, &connect),
            (Some(_), OwnedPacket::Connect(_)) => {
                self.wire.close(id, CloseReason::Violation(PacketType::Connect));
            }
            (Some(session), OwnedPacket::Publish(publish)) => self.handle_publish(id, session, publish),
            (Some(session), OwnedPacket::Puback(packet_id)) => {
                let ack = self.outgoing(session, |it| it.puback(packet_id));
                self.handle_ack(id, session, PacketType::Puback, ack);
            }
            (Some(session), OwnedPacket::Pubrec(packet_id)) => {
                let ack = self.outgoing(session, |it| it.pubrec(packet_id));
                if ack.is_some_and(|ack| ack != Ack::Wrong) {
                    self.wire.send(id, OwnedPacket::Pubrel { id: packet_id, dup: false });
                }
                self.handle_ack(id, session, PacketType::Pubrec, ack);
            }
            (Some(session), OwnedPacket::Pubcomp(packet_id)) => {
                let ack = self.outgoing(session, |it| it.pubcomp(packet_id));
                self.handle_ack(id, session, PacketType::Pubcomp, ack);
            }
            (Some(session), OwnedPacket::Pubrel { id: packet_id, .. }) => {
                if let Some(session) = self.sessions.get_mut(&session) {
                    session.unreleased.remove(&packet_id);
                }
                self.wire.send(id, OwnedPacket::Pubcomp(packet_id));
            }
            (Some(session), OwnedPacket::Subscribe { id: packet_id, filters, .. }) => {
                self.handle_subscribe(id, session, packet_id, &filters);
            }
            (Some(session), OwnedPacket::Unsubscribe { id: packet_id, filters, .. }) => {
                for filter in filters {
                    self.router.unsubscribe(&filter, session);
                    if let Some(session) = self.sessions.get_mut(&session) {
                        session.subscriptions.remove(&filter);
                    }
                }
                self.wire.send(id, OwnedPacket::Unsuback(packet_id));
            }
            (Some(_), OwnedPacket::Pingreq) => self.wire.send(id, OwnedPacket::Pingresp),
            (Some(_), OwnedPacket::Disconnect) => self.wire.close(id, CloseReason::Disconnect),
            // The decoder lets no other packet through, and none but CONNECT is read before CONNECT.
            (_, other) => {
                let packet_type = other.as_packet().map_or(PacketType::Disconnect, |it| it.packet_type());
                self.wire.close(id, CloseReason::Violation(packet_type));
            }
        }
    }

    fn handle_connect(&mut self, id: ConnectionId, connect: &OwnedConnect) {
        let max_packet_size = self.wire.options.max_packet_size;
        if let Some(connection) = self.wire.connection(id) {
            connection.set_version(connect.version, max_packet_size);
        }
        let own = self.wire.connection(id).and_then(|it| it.faults.strike_connect());
        let code = own
            .or_else(|| self.wire.faults.strike_connect())
            .unwrap_or_else(|| self.wire.options.check(connect));
        let is_version = code == ConnectReturnCode::UnacceptableProtocolVersion;
        if is_version && self.wire.options.closes_other_versions {
            return self.wire.close(id, CloseReason::Refused(code));
        }
        if !code.is_accepted() {
            return self.wire.refuse(id, code);
        }
        let (key, session_present) = self.attach(id, connect);
        if let Some(connection) = self.wire.connection(id) {
            let will = connect.will.as_ref().map(Message::from);
            connection.phase = Phase::Connected { session: key, will };
            if connect.keep_alive > 0 {
                let limit = Duration::from_millis(u64::from(connect.keep_alive) * 1500);
                connection.keep_alive = Some(limit);
                let deadline = connection.last_heard.saturating_add(limit);
                self.wire.expect_deadline(deadline);
                self.wire.mark_ready(id);
            }
        }
        // In MQTT 3.1 the flag does not exist, and is not written.
        let session_present = session_present && connect.version == ProtocolVersion::V3_1_1;
        let connack = Connack { session_present, code: ConnectReturnCode::Accepted };
        self.wire.send(id, OwnedPacket::Connack(connack));
        for packet in self.outgoing(key, |it| it.to_redeliver()).unwrap_or_default() {
            self.wire.send(id, packet);
        }
        self.pump(key);
    }

    /// Gives the connection its Session; returns whether it was there before.
    fn attach(&mut self, id: ConnectionId, connect: &OwnedConnect) -> (SessionKey, bool) {
        let client_id = self.client_id(connect);
        if let Some(old) = self.session_of(&client_id).and_then(|it| it.connection) {
            self.wire.close(old, CloseReason::TakenOver);
            self.settle();
        }
        if connect.clean_session {
            if let Some(key) = self.keys.get(&client_id).copied() {
                self.remove_session(key);
            }
        }
        let (key, session_present) = match self.keys.get(&client_id) {
            Some(key) => (*key, true),
            None => {
                self.next_session += 1;
                (SessionKey(self.next_session), false)
            }
        };
        self.keys.insert(client_id.clone(), key);
        let session = self.sessions.entry(key).or_insert_with(|| Session::new(client_id));
        session.clean = connect.clean_session;
        session.connection = Some(id);
        (key, session_present)
    }

    /// The client identifier, or a new one for a client that has none [MQTT-3.1.3-6].
    fn client_id(&mut self, connect: &OwnedConnect) -> MqttString {
        let mut client_id = connect.client_id.as_ref().to_owned();
        while client_id.is_empty() || (connect.client_id.is_empty() && self.keys.contains_key(&client_id)) {
            self.next_client += 1;
            client_id = MqttString::try_from(format!("auto-{}", self.next_client)).unwrap_or_default();
        }
        client_id
    }

    fn handle_publish(&mut self, id: ConnectionId, session: SessionKey, publish: OwnedPublish) {
        let delivery = publish.delivery;
        match delivery {
            Delivery::AtMostOnce => self.route(publish.into()),
            Delivery::AtLeastOnce { id: packet_id, .. } => {
                self.route(publish.into());
                self.wire.send(id, OwnedPacket::Puback(packet_id));
            }
            Delivery::ExactlyOnce { id: packet_id, .. } => {
                let session = self.sessions.get_mut(&session);
                if session.is_some_and(|session| session.unreleased.insert(packet_id)) {
                    self.route(publish.into());
                }
                self.wire.send(id, OwnedPacket::Pubrec(packet_id));
            }
        }
    }

    fn handle_ack(
        &mut self,
        id: ConnectionId,
        session: SessionKey,
        packet_type: PacketType,
        ack: Option<Ack>,
    ) {
        match ack {
            Some(Ack::Expected) => self.pump(session),
            Some(Ack::Wrong) => self.wire.close(id, CloseReason::Violation(packet_type)),
            Some(Ack::Unknown) | None => self.wire.counters.unknown_acks += 1,
        }
    }

    fn handle_subscribe(
        &mut self,
        id: ConnectionId,
        key: SessionKey,
        packet_id: PacketId,
        filters: &[(TopicFilter, QoS)],
    ) {
        let version = self.wire.connection(id).map_or(ProtocolVersion::V3_1_1, |it| it.version);
        let mut codes = Vec::with_capacity(filters.len());
        let mut retained = Vec::new();
        for (filter, qos) in filters {
            let qos = (*qos).min(self.wire.options.max_qos);
            if self.wire.options.refused_filters.contains(filter) {
                // MQTT 3.1 has no way to say no, so that the answer is yes (its section 3.8).
                let is_told = version == ProtocolVersion::V3_1_1;
                codes.push(if is_told { SubackCode::Failure } else { SubackCode::Granted(qos) });
                continue;
            }
            // A copy: a slice would keep all that came with it.
            let filter = filter.as_ref().to_owned();
            self.router.subscribe(&filter, key, qos);
            retained.extend(self.router.retained_for(&filter).into_iter().map(|it| (it, qos)));
            if let Some(session) = self.sessions.get_mut(&key) {
                session.subscriptions.insert(filter, qos);
            }
            codes.push(SubackCode::Granted(qos));
        }
        self.wire.send(id, OwnedPacket::Suback { id: packet_id, codes });
        for (message, granted) in retained {
            let qos = message.qos.min(granted);
            self.deliver(key, Message { qos, ..message });
        }
    }
}
