//! Ctrl-C and SIGTERM.

use std::process;
use std::time::Duration;

use tokio::sync::watch;

use super::exit::{Failure, code};

/// What is under way may take so long; then the process ends, whatever it waits for.
const PATIENCE: Duration = Duration::from_millis(900);

/// Tells that the user wants to leave.
#[derive(Debug, Clone)]
pub(crate) struct Interrupt {
    code: watch::Receiver<u8>,
}

impl Interrupt {
    /// Listens from now on. The first signal is told; a second one, or time, ends the process.
    pub(crate) fn listen() -> Result<Self, Failure> {
        let (sender, code) = watch::channel(0);
        let mut signals = Signals::new().map_err(|error| Failure::new(code::OTHER, error))?;
        drop(tokio::spawn(async move {
            let code = signals.next().await;
            let _ = sender.send(code);
            let _ = tokio::time::timeout(PATIENCE, signals.next()).await;
            process::exit(i32::from(code));
        }));
        Ok(Self { code })
    }

    /// Waits for the signal and returns what the tool ends with. Cancel-safe.
    pub(crate) async fn wait(&mut self) -> Failure {
        match self.code.wait_for(|code| *code != 0).await {
            Ok(code) => Failure::silent(*code),
            // The task that listens never ends.
            Err(_) => std::future::pending().await,
        }
    }
}

/// 128 and the number of the signal, as shells have it.
const SIGINT: u8 = 130;

#[cfg(unix)]
struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    fn new() -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    async fn next(&mut self) -> u8 {
        tokio::select! {
            _ = self.interrupt.recv() => SIGINT,
            _ = self.terminate.recv() => 143,
        }
    }
}

#[cfg(not(unix))]
struct Signals;

#[cfg(not(unix))]
impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self)
    }

    async fn next(&mut self) -> u8 {
        match tokio::signal::ctrl_c().await {
            Ok(()) => SIGINT,
            Err(_) => std::future::pending().await,
        }
    }
}
