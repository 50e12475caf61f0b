//! A progress bar on long input, for people: on a terminal alone.

use std::io::IsTerminal;

use clap::ArgMatches;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::input::Input;

/// So often a second it is drawn.
const HERTZ: u8 = 10;

/// Counts messages that are confirmed, or bytes of them where it is known how many there will be.
pub(crate) fn bar(matches: &ArgMatches, input: &Input) -> ProgressBar {
    let (len, template) = match input {
        // There is nothing to see in one message, nor in lines that are typed.
        Input::Same { left: 1, .. } => return ProgressBar::hidden(),
        Input::Same { left, .. } => (Some(*left), "{wide_bar} {human_pos}/{human_len} {per_sec} {eta}"),
        Input::Lines { .. } if std::io::stdin().is_terminal() => return ProgressBar::hidden(),
        Input::Lines { .. } => match size_of_input() {
            Some(size) => (Some(size), "{wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta}"),
            None => (None, "{spinner} {bytes} confirmed, {bytes_per_sec}"),
        },
    };
    if matches.get_flag("quiet") || matches.get_flag("debug") {
        return ProgressBar::hidden();
    }
    // Hidden by itself where standard error is no terminal.
    let bar = ProgressBar::with_draw_target(len, ProgressDrawTarget::stderr_with_hz(HERTZ));
    ProgressStyle::with_template(template)
        .map_or_else(|_| ProgressBar::hidden(), |style| bar.with_style(style))
}

/// How much a confirmed payload moves the bar.
pub(crate) fn weight(input: &Input, payload_len: usize) -> u64 {
    match input {
        Input::Same { .. } => 1,
        // And the end of the line.
        Input::Lines { .. } => payload_len as u64 + 1,
    }
}

/// The size of standard input, if that is a file.
fn size_of_input() -> Option<u64> {
    #[cfg(unix)]
    {
        use std::os::fd::AsFd;
        let input = std::io::stdin().as_fd().try_clone_to_owned().ok()?;
        let metadata = std::fs::File::from(input).metadata().ok()?;
        Some(metadata.len()).filter(|_| metadata.is_file())
    }
    #[cfg(not(unix))]
    None
}
