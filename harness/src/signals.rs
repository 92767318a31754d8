//! [`Signals`]: the signals that ask a program to end.

use std::fs;
use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Caught signals that ask the program to end: SIGINT, SIGTERM and, unless the program was started
/// with `nohup`, SIGHUP.
#[derive(Debug)]
pub struct Signals {
    interrupted: Signal,
    terminated: Signal,
    hung_up: Option<Signal>,
}

impl Signals {
    /// Catches the signals from now on.
    ///
    /// # Errors
    /// A handler cannot be installed.
    pub fn catch() -> io::Result<Self> {
        let hung_up = if is_hang_up_ignored() {
            None
        } else {
            Some(signal(SignalKind::hangup())?)
        };
        Ok(Self {
            interrupted: signal(SignalKind::interrupt())?,
            terminated: signal(SignalKind::terminate())?,
            hung_up,
        })
    }

    /// Waits for the next of the caught signals.
    ///
    /// # Cancel safety
    /// No signal is lost.
    pub async fn next(&mut self) {
        let hung_up = async {
            match &mut self.hung_up {
                Some(hung_up) => drop(hung_up.recv().await),
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.interrupted.recv() => {}
            _ = self.terminated.recv() => {}
            () = hung_up => {}
        }
    }
}

/// Returns whether the process was started with SIGHUP ignored: bit 0 of `SigIgn` in proc(5).
fn is_hang_up_ignored() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    ignored.is_some_and(|mask| u64::from_str_radix(mask.trim(), 16).is_ok_and(|mask| mask & 1 == 1))
}
