//! A client with a blocking face (`facade.rs`, and the run loop in `run.rs`), over `std::net` and two threads: whoever asks, and one that reads.
//!
//! ```text
//! cargo run --example blocking                        against a broker in memory
//! cargo run --example blocking -- 127.0.0.1:1883      against a broker of yours; --v31 speaks MQTT 3.1
//! ```
//!
//! Sends messages to itself with each QoS while its wire is cut twice. Ends with 0 if none was lost or doubled.

mod facade;
mod inner;
mod run;
#[path = "../support/mod.rs"]
mod support;

use std::error::Error;
use std::process::ExitCode;
use std::thread;

use mqtt_client::{Message, QoS, TopicFilter, TopicName};

use facade::Blocking;
use support::{EACH_QOS, MESSAGES, PATIENCE, Stage, Tally, client_id, random};

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let stage = Stage::new()?;
    let id = client_id("blocking");
    let client = Blocking::start(stage.options(&id), stage.address, random)?;
    if !client.subscribe(TopicFilter::new(&id)?, QoS::ExactlyOnce)? {
        return Err("the Server refuses the subscription".into());
    }

    let topic = TopicName::new(&id)?;
    let mut tally = Tally::default();
    for qos in EACH_QOS {
        // From a thread each, so that all are in flight together.
        thread::scope(|scope| {
            let publish = |number| {
                let message = Message::new(topic.clone(), Tally::text(qos, number)).qos(qos);
                client.publish(message)
            };
            let threads: Vec<_> = (0..MESSAGES).map(|number| scope.spawn(move || publish(number))).collect();
            for thread in threads {
                println!("QoS {}: {:?}", qos as u8, thread.join());
            }
        });
        while !tally.has_all(qos) {
            tally.arrived(&client.receive(PATIENCE)?.payload);
        }
    }
    client.disconnect()?;
    Ok(stage.end(&[&tally]))
}
