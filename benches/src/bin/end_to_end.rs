//! Measures MQTT clients over loopback TCP; `--help` explains.

fn main() -> Result<(), mqtt_benches::Failure> {
    mqtt_benches::end_to_end::main(None)
}
