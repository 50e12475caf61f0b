//! Child processes that end: by themselves, or when their time is over.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use crate::Failure;

/// What a finished child has said.
#[derive(Debug)]
pub struct Output {
    /// Its standard output, from where reading began.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

impl Output {
    /// Returns the number behind `key=` in the standard output.
    ///
    /// # Errors
    ///
    /// When there is none.
    pub fn number(&self, key: &str) -> Result<u64, Failure> {
        let pairs = self.stdout.split_whitespace().filter_map(|word| word.split_once('='));
        let value = pairs.filter(|(name, _)| *name == key).map(|(_, value)| value).next_back();
        let value = value.ok_or_else(|| format!("the child did not say {key}=: {}", self.stderr.trim()))?;
        Ok(value.parse()?)
    }
}

/// A running child. Dropping it ends it.
#[derive(Debug)]
pub struct Running {
    child: Child,
    stdout: BufReader<ChildStdout>,
}

impl Running {
    /// Starts `command` with its output captured.
    ///
    /// # Errors
    ///
    /// When the program cannot be started.
    pub fn start(command: &mut Command) -> Result<Self, Failure> {
        let piped = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = piped.spawn()?;
        let stdout = child.stdout.take().ok_or("the child has no standard output")?;
        Ok(Self { child, stdout: BufReader::new(stdout) })
    }

    /// Reads one line, which the child must write at once.
    ///
    /// # Errors
    ///
    /// When reading fails.
    pub fn line(&mut self) -> Result<String, Failure> {
        let mut line = String::new();
        self.stdout.read_line(&mut line)?;
        Ok(line)
    }

    /// Waits for the child, which may say little enough to fit its pipes, and ends it after `patience`.
    ///
    /// # Errors
    ///
    /// When it fails or does not end in time.
    pub fn finish(mut self, patience: Duration) -> Result<Output, Failure> {
        let status = self.wait(patience)?;
        let (mut stdout, mut stderr) = (String::new(), String::new());
        self.stdout.read_to_string(&mut stdout)?;
        if let Some(mut pipe) = self.child.stderr.take() {
            pipe.read_to_string(&mut stderr)?;
        }
        if status.success() {
            Ok(Output { stdout, stderr })
        } else {
            Err(stderr.lines().next_back().unwrap_or("it failed without a word").to_owned().into())
        }
    }

    fn wait(&mut self, patience: Duration) -> Result<ExitStatus, Failure> {
        let started = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            if started.elapsed() > patience {
                return Err(format!("no result after {} s", patience.as_secs()).into());
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail when the child has ended already, which is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
