//! How the operating system asks the server to stop.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// SIGTERM and SIGINT, caught; SIGHUP, survived.
///
/// SIGHUP comes when the terminal is closed, from scripts that rotate logs, and from operators who hope that the configuration
/// is read again. None of them wants the service to end, so it is only logged.
#[derive(Debug)]
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

/// A signal that asks for the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stop {
    Terminate,
    Interrupt,
}

impl Stop {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Terminate => "SIGTERM",
            Self::Interrupt => "SIGINT",
        }
    }

    /// What a shell calls the end by this signal.
    pub(crate) const fn exit_code(self) -> u8 {
        match self {
            Self::Terminate => 143,
            Self::Interrupt => 130,
        }
    }
}

impl Signals {
    /// Catches the signals from now on.
    pub(crate) fn install() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    /// Waits for the next one that asks for the end.
    pub(crate) async fn next(&mut self) -> Stop {
        loop {
            tokio::select! {
                Some(()) = self.terminate.recv() => return Stop::Terminate,
                Some(()) = self.interrupt.recv() => return Stop::Interrupt,
                Some(()) = self.hang_up.recv() => {
                    tracing::info!("SIGHUP changes nothing; SIGTERM ends the server, and a new configuration needs a new start");
                }
                else => std::future::pending().await,
            }
        }
    }
}
