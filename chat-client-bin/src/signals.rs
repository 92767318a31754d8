//! Signals that ask the client to end.

use std::{fs, io};

use chat_core::sync::Mutex;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::AbortHandle;

use crate::failure::{Failure, FailureKind};

/// A signal that asks the client to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StopSignal {
    HangUp,
    Interrupt,
    Terminate,
}

impl StopSignal {
    const fn name(self) -> &'static str {
        match self {
            Self::HangUp => "SIGHUP",
            Self::Interrupt => "SIGINT",
            Self::Terminate => "SIGTERM",
        }
    }

    /// Returns the exit code that a shell reports for a process ended by this signal.
    pub(crate) const fn exit_code(self) -> u8 {
        match self {
            Self::HangUp => 129,
            Self::Interrupt => 130,
            Self::Terminate => 143,
        }
    }
}

impl From<StopSignal> for Failure {
    fn from(signal: StopSignal) -> Self {
        Self::new(FailureKind::Stopped(signal), format!("stopped by {}", signal.name()))
    }
}

/// Handlers of SIGHUP, SIGINT and SIGTERM, which otherwise end the process at once. On Linux, a
/// signal that the process was started to ignore, as by `nohup`, stays ignored.
#[derive(Debug)]
pub(crate) struct StopSignals {
    hang_up: Option<Signal>,
    interrupt: Option<Signal>,
    terminate: Option<Signal>,
}

/// Task of [`StopSignals::let_end_process`], which ends the process at a signal.
static EXIT_TASK: Mutex<Option<AbortHandle>> = Mutex::new(None);

impl StopSignals {
    /// Installs the handlers. Until [`let_end_process`](Self::let_end_process) is called, the
    /// signals do not end the process.
    pub(crate) fn install() -> io::Result<Self> {
        let ignored = ignored_signals();
        let install = |kind: SignalKind| {
            let is_ignored = ignored >> (kind.as_raw_value() - 1) & 1 == 1;
            (!is_ignored).then(|| signal(kind)).transpose()
        };
        let signals = Self {
            hang_up: install(SignalKind::hangup())?,
            interrupt: install(SignalKind::interrupt())?,
            terminate: install(SignalKind::terminate())?,
        };
        set_exit_task(None);
        Ok(signals)
    }

    /// Lets the signals end the process again, until handlers are installed the next time. A task
    /// has to do that, because tokio keeps its handlers until the process ends.
    pub(crate) fn let_end_process(mut self) {
        let task = tokio::spawn(async move {
            let signal = self.next().await;
            std::process::exit(signal.exit_code().into());
        });
        set_exit_task(Some(task.abort_handle()));
    }

    /// Waits for the next of the signals.
    ///
    /// # Cancel safety
    /// Dropping the future loses no signal.
    pub(crate) async fn next(&mut self) -> StopSignal {
        tokio::select! {
            () = received(&mut self.hang_up) => StopSignal::HangUp,
            () = received(&mut self.interrupt) => StopSignal::Interrupt,
            () = received(&mut self.terminate) => StopSignal::Terminate,
        }
    }
}

/// Waits for a signal, or forever if it has no handler.
async fn received(signal: &mut Option<Signal>) {
    if let Some(signal) = signal
        && signal.recv().await.is_some()
    {
        return;
    }
    std::future::pending().await
}

/// Replaces the task that ends the process at a signal.
fn set_exit_task(task: Option<AbortHandle>) {
    let mut current = EXIT_TASK.lock();
    if let Some(former) = std::mem::replace(&mut *current, task) {
        former.abort();
    }
}

/// Returns the signals that this process ignores: bit N-1 stands for signal N. Linux reports them
/// in a file; elsewhere, none is known to be ignored.
fn ignored_signals() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    parse_ignored(&status).unwrap_or_default()
}

fn parse_ignored(status: &str) -> Option<u64> {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"))?;
    u64::from_str_radix(mask.trim(), 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ignored_signals_are_read_from_the_status_of_the_process() {
        let status = "Name:\tx\nSigBlk:\t0000000000000002\nSigIgn:\t0000000000001001\n";
        assert_eq!(parse_ignored(status), Some(0x1001));
        assert_eq!(parse_ignored("Name:\tx\n"), None);
    }
}
