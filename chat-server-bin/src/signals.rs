//! Signals that stop the server or a command.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::failure::Failure;

/// Handlers of SIGTERM, SIGINT and SIGHUP.
///
/// SIGHUP is only logged. It comes from terminals that close, from log rotation, and from operators
/// who expect a configuration reload, and none of these should stop the server.
#[derive(Debug)]
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

/// A signal that stops the server or a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StopSignal {
    Terminate,
    Interrupt,
}

impl StopSignal {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Terminate => "SIGTERM",
            Self::Interrupt => "SIGINT",
        }
    }

    /// Returns the exit code that a shell reports for a process ended by this signal.
    pub(crate) const fn exit_code(self) -> u8 {
        match self {
            Self::Terminate => 143,
            Self::Interrupt => 130,
        }
    }
}

/// Runs `work`. If SIGINT or SIGTERM arrives first, drops `work` and fails, so that the work can
/// clean up before the process ends.
pub(crate) async fn unless_stopped<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let handler =
        |kind| signal(kind).map_err(|error| Failure::Failed(format!("cannot install signal handlers: {error}")));
    let mut terminate = handler(SignalKind::terminate())?;
    let mut interrupt = handler(SignalKind::interrupt())?;
    tokio::select! {
        result = work => result,
        Some(()) = terminate.recv() => Err(Failure::Stopped(StopSignal::Terminate)),
        Some(()) = interrupt.recv() => Err(Failure::Stopped(StopSignal::Interrupt)),
    }
}

impl Signals {
    /// Installs the signal handlers.
    pub(crate) fn install() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    /// Waits for the next SIGTERM or SIGINT.
    ///
    /// # Cancel safety
    /// Dropping the future loses no signal.
    pub(crate) async fn next(&mut self) -> StopSignal {
        loop {
            tokio::select! {
                Some(()) = self.terminate.recv() => return StopSignal::Terminate,
                Some(()) = self.interrupt.recv() => return StopSignal::Interrupt,
                Some(()) = self.hang_up.recv() => {
                    tracing::info!("SIGHUP is ignored: to load a new configuration, restart the server; SIGTERM stops the server");
                }
                else => std::future::pending().await,
            }
        }
    }
}
