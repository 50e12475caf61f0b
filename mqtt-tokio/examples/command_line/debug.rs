//! Packets as lines, in the words of mosquitto's tools. No payload, no password.

use std::fmt::Write as _;
use std::sync::Mutex;

use mqtt_tokio::mqtt_codec::{Direction, Packet, PacketId, SubackCode};

use super::say;

/// Shows packets on standard error.
#[derive(Debug, Default)]
pub(crate) struct Debug {
    /// Known from the CONNECT on.
    client_id: Mutex<String>,
}

impl Debug {
    pub(crate) fn show(&self, direction: Direction, packet: &Packet<'_>) {
        let mut client_id = self.client_id.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Packet::Connect(connect) = packet {
            *client_id = connect.client_id.as_str().to_owned();
        }
        let way = if direction == Direction::ToServer { "sending" } else { "received" };
        say(format_args!("Client {} {way} {}", client_id.escape_debug(), describe(packet)));
    }
}

fn describe(packet: &Packet<'_>) -> String {
    let name = packet.packet_type();
    match packet {
        Packet::Connect(connect) => {
            let will = connect.will.map_or(String::new(), |will| {
                let topic = will.topic.as_str().escape_debug();
                format!(", will '{topic}' ({} bytes)", will.payload.as_bytes().len())
            });
            let (clean, keep_alive) = (u8::from(connect.clean_session), connect.keep_alive);
            format!("{name} (MQTT {}, c{clean}, k{keep_alive}{will})", connect.version)
        }
        Packet::Connack(connack) => {
            format!(
                "{name} ({}, session present: {})",
                connack.code.as_u8(),
                u8::from(connack.session_present)
            )
        }
        Packet::Publish(publish) => {
            let delivery = publish.delivery;
            let (dup, qos, retain) =
                (u8::from(delivery.dup()), u8::from(delivery.qos()), u8::from(publish.retain));
            let id = delivery.id().map_or(0, PacketId::get);
            let topic = publish.topic.as_str().escape_debug();
            let len = publish.payload.len();
            format!("{name} (d{dup}, q{qos}, r{retain}, m{id}, '{topic}', ... ({len} bytes))")
        }
        Packet::Puback(id) | Packet::Pubrec(id) | Packet::Pubcomp(id) | Packet::Unsuback(id) => {
            format!("{name} (m{id})")
        }
        Packet::Pubrel { id, .. } => format!("{name} (m{id})"),
        Packet::Subscribe(subscribe) => {
            let mut text = format!("{name} (m{}", subscribe.id);
            for (filter, qos) in subscribe.filters {
                let _ = write!(text, ", '{}' q{}", filter.as_str().escape_debug(), u8::from(qos));
            }
            text + ")"
        }
        Packet::Suback(suback) => {
            let mut text = format!("{name} (m{}", suback.id);
            for code in suback.codes {
                match code {
                    SubackCode::Granted(qos) => {
                        let _ = write!(text, ", q{}", u8::from(qos));
                    }
                    SubackCode::Failure => text += ", refused",
                }
            }
            text + ")"
        }
        Packet::Unsubscribe(unsubscribe) => {
            let mut text = format!("{name} (m{}", unsubscribe.id);
            for filter in unsubscribe.filters {
                let _ = write!(text, ", '{}'", filter.as_str().escape_debug());
            }
            text + ")"
        }
        Packet::Pingreq | Packet::Pingresp | Packet::Disconnect => name.to_string(),
    }
}
