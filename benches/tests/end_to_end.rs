//! The end-to-end bench runs, and every case of every client that is built in gives figures.

use std::process::Command;

/// What no client can be blamed for: the reason stands in README.md.
const EXPECTED_FAILURES: [(&str, &str); 1] = [("ntex", "receive-2")];

#[test]
fn every_client_completes_every_case() {
    let output = Command::new(env!("CARGO_BIN_EXE_end_to_end"))
        .args(["--messages", "700", "--rounds", "1", "--probe", "0", "--window", "7"])
        .output()
        .expect("the program starts");
    let report = String::from_utf8(output.stdout).expect("the report is text");
    assert!(output.status.success(), "{report}");

    let mut case = "";
    let mut rows = 0;
    for line in report.lines() {
        if let Some(heading) = line.strip_prefix("### ") {
            case = heading.split(',').next().unwrap_or(heading);
        }
        let cells: Vec<_> = line.split('|').map(str::trim).collect();
        let is_row = cells.len() > 5 && !cells[1].starts_with("client") && !cells[1].starts_with("--");
        if is_row {
            rows += 1;
            let name = cells[1].split(' ').next().unwrap_or_default();
            let measured = cells[4].parse::<f64>().is_ok();
            assert_eq!(measured, !EXPECTED_FAILURES.contains(&(name, case)), "{case}: {line}");
        }
    }
    assert_eq!(rows, 6 * mqtt_benches::clients::ALL.len(), "{report}");
}
