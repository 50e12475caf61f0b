//! QoS and RETAIN by topic.

mod common;

use common::{builder, options, topic};
use mqtt_tokio::{Client, Message, PubSub, QoS};

#[tokio::test(start_paused = true)]
async fn a_publish_that_does_not_say_gets_the_default_of_its_topic() {
    let broker = common::broker();
    let client: Client<PubSub> = builder(&broker, 4096, options())
        .publish_default("plant/+/alarm", QoS::ExactlyOnce, false)
        .and_then(|it| it.publish_default("plant/#", QoS::AtLeastOnce, true))
        .unwrap()
        .connect()
        .await
        .unwrap();
    let mut stream = client.subscribe("#", QoS::ExactlyOnce).await.unwrap();
    let retained = |name: &str| broker.with(|it| it.retained().iter().any(|(of, ..)| *of == topic(name)));

    client.publish("plant/7/alarm", "x").await.unwrap();
    assert_eq!(stream.next().await.unwrap().qos(), QoS::ExactlyOnce);
    client.publish("plant/7/state", "x").await.unwrap();
    assert_eq!(stream.next().await.unwrap().qos(), QoS::AtLeastOnce);
    assert!(!retained("plant/7/alarm") && retained("plant/7/state"));
    // The others, those that say so, and messages as they are.
    client.publish("other", "x").await.unwrap();
    assert_eq!(stream.next().await.unwrap().qos(), QoS::AtMostOnce);
    client.publish("plant/8/state", "x").qos(QoS::ExactlyOnce).retain(false).await.unwrap();
    assert_eq!(stream.next().await.unwrap().qos(), QoS::ExactlyOnce);
    client.publish_message(Message::new(topic("plant/9/alarm"), "x")).await.unwrap();
    assert_eq!(stream.next().await.unwrap().qos(), QoS::AtMostOnce);
    assert!(!retained("plant/8/state"));

    let wrong = builder(&broker, 64, options()).publish_default("a/#/b", QoS::AtMostOnce, false);
    assert!(wrong.is_err());
}
