//! Mode of the terminal, shared by the thread of the line editor and the thread that restores it.

use std::sync::{Arc, Condvar, PoisonError};
use std::time::Duration;

use chat_core::sync::Mutex;

use crate::terminal::EditorMode;

/// Mode of the terminal while the line editor reads a line; empty at other times.
#[derive(Clone, Debug, Default)]
pub(super) struct SharedEditorMode(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    mode: Mutex<Option<EditorMode>>,
    changed: Condvar,
}

impl SharedEditorMode {
    /// Stores the mode in which the line editor reads, or `None` once it has read the line.
    pub(super) fn store(&self, mode: Option<EditorMode>) {
        *self.0.mode.lock() = mode;
        self.0.changed.notify_all();
    }

    /// Sets the mode of the terminal again if the line editor reads and a shell has changed the
    /// mode while the process was stopped. Returns whether the mode had to be changed.
    pub(super) fn set_again(&self) -> bool {
        self.0.mode.lock().as_ref().is_some_and(EditorMode::set_again)
    }

    /// Waits until the line editor has set the mode in which it reads a line, for at most
    /// `timeout`. Returns whether it has set the mode.
    pub(super) fn wait_until_stored(&self, timeout: Duration) -> bool {
        let (_mode, waited) = self
            .0
            .changed
            .wait_timeout_while(self.0.mode.lock(), timeout, |mode| mode.is_none())
            .unwrap_or_else(PoisonError::into_inner);
        !waited.timed_out()
    }
}

#[cfg(test)]
mod tests {
    use nix::pty::openpty;

    use super::*;

    #[test]
    fn waiting_ends_when_the_mode_is_stored() {
        let shared = SharedEditorMode::default();
        let waiter = shared.clone();
        let waiting = std::thread::spawn(move || waiter.wait_until_stored(Duration::from_secs(60)));
        let terminal = openpty(None, None).unwrap();
        shared.store(EditorMode::of(&terminal.slave));
        assert!(waiting.join().unwrap());
    }

    #[test]
    fn waiting_ends_at_the_timeout_when_nothing_is_stored() {
        let shared = SharedEditorMode::default();
        assert!(!shared.wait_until_stored(Duration::from_millis(1)));
    }
}
