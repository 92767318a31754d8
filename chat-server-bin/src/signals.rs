//! Signals that stop the server or a command, or make the server read its TLS certificate again.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::failure::Failure;

/// Handlers of SIGTERM, SIGINT and SIGHUP.
///
/// SIGHUP comes from terminals that close, from log rotation, and from operators and programs that
/// renewed a certificate, and none of these should stop the server.
#[derive(Debug)]
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

/// A signal to the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ServerSignal {
    Stop(StopSignal),
    /// SIGHUP: read the TLS certificate again.
    Reload,
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

/// Runs `work`, which writes a file. If SIGINT or SIGTERM arrives before its end, drops `work` and
/// fails. The signal does not end the process, so the destructors of `work` can clean up.
pub(crate) async fn unless_stopped<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let handler =
        |kind| signal(kind).map_err(|error| Failure::Failed(format!("cannot install signal handlers: {error}")));
    let mut terminate = handler(SignalKind::terminate())?;
    let mut interrupt = handler(SignalKind::interrupt())?;
    let stopped = |signal| Err(Failure::Stopped(signal, "no unfinished file is left"));
    tokio::select! {
        result = work => result,
        Some(()) = terminate.recv() => stopped(StopSignal::Terminate),
        Some(()) = interrupt.recv() => stopped(StopSignal::Interrupt),
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

    /// Waits for the next signal.
    ///
    /// # Cancel safety
    /// Dropping the future loses no signal.
    pub(crate) async fn next(&mut self) -> ServerSignal {
        tokio::select! {
            Some(()) = self.terminate.recv() => ServerSignal::Stop(StopSignal::Terminate),
            Some(()) = self.interrupt.recv() => ServerSignal::Stop(StopSignal::Interrupt),
            Some(()) = self.hang_up.recv() => ServerSignal::Reload,
            else => std::future::pending().await,
        }
    }

    /// Waits for the next SIGTERM or SIGINT, and calls `reload` at each SIGHUP that arrives before.
    ///
    /// # Cancel safety
    /// As for [`next`](Self::next).
    pub(crate) async fn stopped(&mut self, mut reload: impl FnMut()) -> StopSignal {
        loop {
            match self.next().await {
                ServerSignal::Stop(signal) => return signal,
                ServerSignal::Reload => reload(),
            }
        }
    }
}
