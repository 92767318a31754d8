//! Mode of the terminal, shared by the thread of the line editor and the thread that restores it.

use std::sync::{Arc, Condvar, PoisonError};
use std::time::Duration;

use chat_core::sync::Mutex;

use crate::terminal::EditorMode;

/// Mode of the terminal while the line editor reads a line, and whether it may read another one.
#[derive(Clone, Debug, Default)]
pub(super) struct SharedEditorMode(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// Mode in which the line editor reads; `None` while it does not read.
    mode: Option<EditorMode>,
    /// True once the line editor may read no further line.
    is_closed: bool,
    /// True once the line editor has noticed that it may read no further line.
    has_ended: bool,
}

impl SharedEditorMode {
    /// Stores the mode in which the line editor reads, or `None` once it has read the line.
    pub(super) fn store(&self, mode: Option<EditorMode>) {
        self.0.state.lock().mode = mode;
        self.0.changed.notify_all();
    }

    /// Sets the mode of the terminal again if the line editor reads and a shell has changed the
    /// mode while the process was stopped. Returns whether the mode was set.
    pub(super) fn set_again(&self) -> bool {
        self.0.state.lock().mode.as_ref().is_some_and(EditorMode::set_again)
    }

    /// Returns whether the line editor may read a line, for which it sets its mode.
    pub(super) fn may_read(&self) -> bool {
        let mut state = self.0.state.lock();
        state.has_ended |= state.is_closed;
        if state.has_ended {
            self.0.changed.notify_all();
        }
        !state.has_ended
    }

    /// Lets the line editor read no further line. Then waits, for at most `timeout`, until the line
    /// editor has set the mode in which it reads, or has noticed that it may not read. Returns
    /// whether it has.
    pub(super) fn close(&self, timeout: Duration) -> bool {
        self.0.state.lock().is_closed = true;
        let is_between = |state: &mut State| state.mode.is_none() && !state.has_ended;
        let (_state, waited) = self
            .0
            .changed
            .wait_timeout_while(self.0.state.lock(), timeout, is_between)
            .unwrap_or_else(PoisonError::into_inner);
        !waited.timed_out()
    }
}

#[cfg(test)]
mod tests {
    use nix::pty::openpty;

    use super::*;

    /// Time that no test waits for.
    const AMPLE: Duration = Duration::from_secs(60);

    #[test]
    fn closing_waits_until_the_mode_is_stored() {
        let shared = SharedEditorMode::default();
        assert!(shared.may_read());
        let closer = shared.clone();
        let closing = std::thread::spawn(move || closer.close(AMPLE));
        let terminal = openpty(None, None).unwrap();
        shared.store(EditorMode::of(&terminal.slave));
        assert!(closing.join().unwrap());
    }

    #[test]
    fn closing_waits_until_the_editor_has_noticed_it() {
        let shared = SharedEditorMode::default();
        let closer = shared.clone();
        let closing = std::thread::spawn(move || closer.close(AMPLE));
        while shared.may_read() {
            std::thread::yield_now();
        }
        assert!(closing.join().unwrap());
        assert!(!shared.may_read(), "for ever");
    }

    #[test]
    fn closing_ends_at_the_timeout_if_the_editor_does_nothing() {
        assert!(!SharedEditorMode::default().close(Duration::from_millis(1)));
    }
}
