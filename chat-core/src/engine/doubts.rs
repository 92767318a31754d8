//! Logins of which it is not known whether they were ended: they are looked at again.
//!
//! A change that ends sessions (a revocation, a new password, a logout, a login that takes over) may be committed although the
//! store's answer was lost. Then nobody would tell the sessions that are over, and they would go on to hear and to read. So
//! after such an answer the router compares the user's sessions with the store, here and on every node: at once, and again,
//! since a commit that nobody waits for any more may still be on its way.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::core::Core;
use super::error::CommandError;
use crate::model::{CloseCode, ReplyCode, UserId};
use crate::router::SessionSelector;
use crate::sync::Mutex;

/// Pauses between the looks. Their sum is longer than a store takes to end a transaction that its client left.
const PAUSES: [Duration; 4] = [
    Duration::from_millis(500),
    Duration::from_secs(2),
    Duration::from_secs(10),
    Duration::from_secs(30),
];
/// Longer than any pause.
const MOST_PATIENCE: Duration = Duration::from_secs(60);
/// Most users that wait for another look; of more, only the first look is certain.
const MOST: usize = 65_536;

/// Users whose logins have to be looked at again.
#[derive(Debug, Default)]
pub(super) struct Doubts {
    users: Mutex<HashMap<UserId, Doubt>>,
    some: Notify,
}

#[derive(Clone, Copy, Debug)]
struct Doubt {
    code: CloseCode,
    /// The next pause.
    looks: usize,
    due: Instant,
}

impl Doubts {
    /// Compares a user's sessions with the store, on every node.
    pub(super) fn look_once(&self, core: &Core, user: UserId, code: CloseCode) {
        core.router.recheck_sessions(user, code);
    }

    fn add(&self, user: UserId, code: CloseCode) {
        let doubt = Doubt {
            code,
            looks: 0,
            due: Instant::now() + PAUSES[0],
        };
        let mut users = self.users.lock();
        if users.len() < MOST || users.contains_key(&user) {
            users.insert(user, doubt);
        }
        drop(users);
        self.some.notify_one();
    }

    /// Whom to look at now, and when the next is due.
    fn take_due(&self, now: Instant) -> (Vec<(UserId, CloseCode)>, Option<Instant>) {
        let mut users = self.users.lock();
        let mut due = Vec::new();
        users.retain(|user, doubt| {
            if doubt.due > now {
                return true;
            }
            due.push((*user, doubt.code));
            doubt.looks += 1;
            match PAUSES.get(doubt.looks) {
                Some(pause) => doubt.due = now + *pause,
                None => return false,
            }
            true
        });
        (due, users.values().map(|doubt| doubt.due).min())
    }
}

impl Core {
    /// Ends sessions after a change that was to end them, and passes its result on.
    pub(super) fn end_sessions<T>(
        &self,
        user: UserId,
        which: SessionSelector,
        code: CloseCode,
        done: Result<T, CommandError>,
    ) -> Result<T, CommandError> {
        match &done {
            Ok(_) => self.router.close_sessions(user, which, code),
            // A refusal may be what the retry of a change that was committed is told.
            Err(error) => self.doubt(user, code, error),
        }
        done
    }

    /// A change that ends sessions failed, or was done before.
    pub(super) fn doubt(&self, user: UserId, code: CloseCode, error: &CommandError) {
        self.doubts.look_once(self, user, code);
        if matches!(error.code, ReplyCode::TryAgain | ReplyCode::Internal) {
            self.doubts.add(user, code);
        }
    }
}

/// Looks again until the engine drains; then a last time.
pub(super) async fn run(core: Arc<Core>) {
    let mut next = None;
    loop {
        let due = async {
            match next {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        let mut now = None;
        tokio::select! {
            () = core.doubts.some.notified() => {}
            () = due => {}
            () = core.draining.cancelled() => now = Instant::now().checked_add(MOST_PATIENCE),
        }
        let (users, later) = core.doubts.take_due(now.unwrap_or_else(Instant::now));
        for (user, code) in users {
            core.doubts.look_once(&core, user, code);
        }
        if now.is_some() {
            return;
        }
        next = later;
    }
}
