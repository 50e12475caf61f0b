//! Measures MQTT clients over loopback TCP; `--help` explains.

use std::process::ExitCode;

fn main() -> ExitCode {
    mqtt_benches::end_to_end::main(None)
}
