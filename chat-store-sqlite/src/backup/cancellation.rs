//! [`Cancellation`] of a backup or a restoration.

use std::sync::Arc;

use chat_core::sync::{Mutex, MutexGuard};
use rusqlite::{Connection, InterruptHandle};

use super::BackupError;

/// Signal from the future of a backup or a restoration to the thread that copies. Clones share the
/// signal.
#[derive(Clone, Default)]
pub(super) struct Cancellation(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    is_cancelled: bool,
    /// Interrupts the running statement of the connection that the thread uses, if one was given to
    /// [`Cancellation::let_interrupt`].
    interrupt: Option<InterruptHandle>,
}

/// Guard that cancels the copying when it is dropped. After the end of the copying, that has no
/// effect.
pub(super) struct CancelOnDrop(Cancellation);

impl Cancellation {
    pub(super) fn cancel_on_drop(self) -> CancelOnDrop {
        CancelOnDrop(self)
    }

    /// Fails with [`BackupError::Cancelled`] if the copying was cancelled.
    pub(super) fn check(&self) -> Result<(), BackupError> {
        match self.state().is_cancelled {
            true => Err(BackupError::Cancelled),
            false => Ok(()),
        }
    }

    /// Lets a later cancellation interrupt the statement that `conn` then runs.
    pub(super) fn let_interrupt(&self, conn: &Connection) {
        let mut state = self.state();
        let handle = conn.get_interrupt_handle();
        if state.is_cancelled {
            handle.interrupt();
        }
        state.interrupt = Some(handle);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock()
    }
}

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.is_cancelled = true;
        if let Some(handle) = state.interrupt.take() {
            handle.interrupt();
        }
    }
}
