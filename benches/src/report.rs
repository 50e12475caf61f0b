//! The report: one markdown table for each case.

use std::fmt::Write;

use crate::workload::Case;

/// What one client needed for one case. `None` is what could not be measured.
#[derive(Clone, Debug, Default)]
pub struct Figures {
    /// The client, as in the table.
    pub client: String,
    /// Seconds of CPU time per million messages, in the best round.
    pub cpu: Option<f64>,
    /// Messages per second, in the best round.
    pub rate: Option<f64>,
    /// Instructions in user mode, per message.
    pub instructions: Option<f64>,
    /// System calls, per message.
    pub syscalls: Option<f64>,
    /// Allocations and reallocations, per message.
    pub allocations: Option<f64>,
    /// Why there are no figures.
    pub failure: Option<String>,
}

/// Writes the table of one case. Ratios are against the first client that has figures.
pub fn table(case: Case, window: u16, rows: &[Figures]) -> String {
    let mut out =
        format!("\n### {case}{}\n\n", if case.qos == 0 { String::new() } else { window_text(window) });
    out.push_str("| client | CPU s per million | ratio | messages/s | ratio | ");
    out.push_str("instructions | ratio | system calls | allocations |\n");
    out.push_str("|---|--:|--:|--:|--:|--:|--:|--:|--:|\n");
    let reference = rows.iter().find(|row| row.failure.is_none()).cloned().unwrap_or_default();
    for row in rows {
        if let Some(failure) = &row.failure {
            writeln!(out, "| {} | {failure} | | | | | | | |", row.client).expect("a string takes everything");
            continue;
        }
        let cells = [
            row.client.clone(),
            number(row.cpu, 3),
            ratio(row.cpu, reference.cpu),
            number(row.rate, 0),
            ratio(row.rate, reference.rate),
            number(row.instructions, 0),
            ratio(row.instructions, reference.instructions),
            number(row.syscalls, 4),
            number(row.allocations, 2),
        ];
        writeln!(out, "| {} |", cells.join(" | ")).expect("a string takes everything");
    }
    out
}

fn window_text(window: u16) -> String {
    format!(", window {window}")
}

/// Formats a number that may not have been measured.
pub fn number(value: Option<f64>, digits: usize) -> String {
    // Adding zero turns -0.0, which a difference of counts can be, into 0.0.
    value.map_or_else(|| "n/a".into(), |value| format!("{:.digits$}", value + 0.0))
}

fn ratio(value: Option<f64>, reference: Option<f64>) -> String {
    let ratio = value.zip(reference).filter(|(_, reference)| *reference > 0.0);
    ratio.map_or_else(|| "n/a".into(), |(value, reference)| format!("{:.2}", value / reference))
}

/// Finds the version of a package in the lock file this was built with.
pub fn version_of(package: &str) -> &'static str {
    let mut lines = include_str!("../../Cargo.lock").lines();
    let name = format!("name = \"{package}\"");
    lines.find(|line| *line == name);
    let version = lines.next().and_then(|line| line.strip_prefix("version = "));
    version.map_or("", |version| version.trim_matches('"'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_are_against_the_first_client_that_ran() {
        let failed = Figures { client: "a".into(), failure: Some("no".into()), ..Figures::default() };
        let first = Figures { client: "b".into(), cpu: Some(0.5), ..Figures::default() };
        let second = Figures { client: "c".into(), cpu: Some(1.25), ..Figures::default() };
        let table = table(Case::ALL[1], 100, &[failed, first, second]);
        let rows: Vec<_> = table.lines().skip(5).collect();
        assert_eq!(rows[0], "| a | no | | | | | | | |");
        assert!(rows[1].starts_with("| b | 0.500 | 1.00 | n/a | n/a |"), "{}", rows[1]);
        assert!(rows[2].starts_with("| c | 1.250 | 2.50 | n/a | n/a |"), "{}", rows[2]);
    }

    #[test]
    fn versions_are_those_of_the_lock_file() {
        assert!(version_of("rumqttc").starts_with("0.25."));
        assert_eq!(version_of("no-such-package"), "");
    }
}
