//! Packets as short texts, both ways.
//!
//! | text | packet |
//! |---|---|
//! | `CONNECT clean`, `CONNECT kept` | CONNECT |
//! | `CONNACK 0`, `CONNACK present`, `CONNACK 6` | CONNACK with its code, or with Session Present |
//! | `PUBLISH 7 q1 dup retain x` | PUBLISH with its identifier (`-` for QoS 0), QoS, flags and payload |
//! | `PUBACK 7`, `PUBREL 7 dup` | the acknowledgements |
//! | `SUBSCRIBE 7 a:1 b:2`, `SUBACK 7 1 128` | the requests with their filters, the answers with their codes |
//! | `PINGREQ`, `PINGRESP`, `DISCONNECT` | these |

use mqtt_client::bytes::BytesMut;
use mqtt_client::{ConnectReturnCode, PacketId, ProtocolVersion, QoS, SubackCode};
use mqtt_codec::{
    Connack, Connect, Delivery, MqttStr, Packet, Publish, Suback, SubackCodes, Subscribe, SubscribeFilters,
    TopicNameRef, Unsubscribe, UnsubscribeFilters,
};

use super::filter;

pub(crate) fn packet(packet: &Packet<'_>) -> String {
    let name = packet.packet_type();
    let flag = |set: bool, text: &'static str| if set { text } else { "" };
    match packet {
        Packet::Connect(connect) => {
            format!("{name} {}", if connect.clean_session { "clean" } else { "kept" })
        }
        Packet::Connack(connack) => format!("{name} {}", connack.code.as_u8()),
        Packet::Publish(publish) => {
            let id = publish.delivery.id().map_or("-".into(), |id| id.to_string());
            let dup = flag(publish.delivery.dup(), " dup");
            let retain = flag(publish.retain, " retain");
            let payload = String::from_utf8_lossy(publish.payload);
            format!("{name} {id} q{}{dup}{retain} {payload}", publish.delivery.qos() as u8)
        }
        Packet::Puback(id) | Packet::Pubrec(id) | Packet::Pubcomp(id) | Packet::Unsuback(id) => {
            format!("{name} {id}")
        }
        Packet::Pubrel { id, dup } => format!("{name} {id}{}", flag(*dup, " dup")),
        Packet::Subscribe(Subscribe { id, dup, filters }) => {
            let filters: String =
                filters.iter().map(|(filter, qos)| format!(" {filter}:{}", qos as u8)).collect();
            format!("{name} {id}{}{filters}", flag(*dup, " dup"))
        }
        Packet::Unsubscribe(Unsubscribe { id, dup, filters }) => {
            let filters: String = filters.iter().map(|filter| format!(" {filter}")).collect();
            format!("{name} {id}{}{filters}", flag(*dup, " dup"))
        }
        Packet::Suback(_) | Packet::Pingreq | Packet::Pingresp | Packet::Disconnect => name.to_string(),
    }
}

fn packet_id(text: &str) -> PacketId {
    PacketId::new(text.parse().unwrap()).unwrap()
}

fn publish<'a>(words: &[&'a str]) -> Packet<'a> {
    let dup = words.contains(&"dup");
    let delivery = match words[1] {
        "q0" => Delivery::AtMostOnce,
        "q1" => Delivery::AtLeastOnce { id: packet_id(words[0]), dup },
        "q2" => Delivery::ExactlyOnce { id: packet_id(words[0]), dup },
        other => panic!("{other}"),
    };
    Packet::Publish(Publish {
        delivery,
        retain: words.contains(&"retain"),
        topic: TopicNameRef::new("t").unwrap(),
        payload: words.last().unwrap().as_bytes(),
    })
}

pub(crate) fn encode(text: &str, version: ProtocolVersion) -> Vec<u8> {
    let mut words: Vec<_> = text.split(' ').collect();
    let name = words.remove(0);
    let id = words.first().and_then(|word| word.parse().ok()).and_then(PacketId::new);
    let id = || id.expect("an identifier");
    let mut out = BytesMut::new();
    let codes: Vec<SubackCode> = words
        .iter()
        .skip(1)
        .filter_map(|code| code.parse::<u8>().ok())
        .map(|code| QoS::try_from(code).map_or(SubackCode::Failure, SubackCode::Granted))
        .collect();
    let filters: Vec<_> = words.iter().skip(1).map(|word| filter(word)).collect();
    let with_qos: Vec<_> = filters.iter().map(|filter| (filter.clone(), QoS::AtMostOnce)).collect();
    let packet = match name {
        "CONNECT" => Packet::Connect(Connect {
            version,
            clean_session: words[0] == "clean",
            keep_alive: 0,
            client_id: MqttStr::new("c").unwrap(),
            will: None,
            credentials: None,
        }),
        "CONNACK" => {
            let session_present = words[0] == "present";
            let code = ConnectReturnCode::from_u8(words[0].parse().unwrap_or(0));
            Packet::Connack(Connack { session_present, code })
        }
        "PUBLISH" => publish(&words),
        "PUBACK" => Packet::Puback(id()),
        "PUBREC" => Packet::Pubrec(id()),
        "PUBREL" => Packet::Pubrel { id: id(), dup: words.contains(&"dup") },
        "PUBCOMP" => Packet::Pubcomp(id()),
        "SUBSCRIBE" => Packet::Subscribe(Subscribe {
            id: id(),
            dup: false,
            filters: SubscribeFilters::new(&with_qos).unwrap(),
        }),
        "SUBACK" => Packet::Suback(Suback { id: id(), codes: SubackCodes::new(&codes).unwrap() }),
        "UNSUBSCRIBE" => Packet::Unsubscribe(Unsubscribe {
            id: id(),
            dup: false,
            filters: UnsubscribeFilters::new(&filters).unwrap(),
        }),
        "UNSUBACK" => Packet::Unsuback(id()),
        "PINGREQ" => Packet::Pingreq,
        "PINGRESP" => Packet::Pingresp,
        "DISCONNECT" => Packet::Disconnect,
        other => panic!("{other}"),
    };
    packet.encode(version, &mut out).unwrap();
    out.to_vec()
}
