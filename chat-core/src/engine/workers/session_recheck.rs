//! The end of sessions after a change in the store, and rechecks of sessions whose end may have
//! been committed without an answer.
//!
//! A change that ends sessions (a revocation, a new password, a logout, a login that takes over)
//! may be committed although the store's answer was lost. Then the ended sessions would continue to
//! receive and read. So after a lost answer the router compares the user's sessions with the store,
//! on every node: at once, and again later, since the store may still be committing.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::router_ports::SessionCloser;
use crate::engine::error::CommandError;
use crate::model::{CloseCode, ReplyCode, UserId};
use crate::panics;
use crate::router::SessionSelector;
use crate::sync::Mutex;

/// Delays between the checks. Their sum exceeds the time that a store takes to end a transaction
/// whose client has disconnected.
const DELAYS: [Duration; 4] = [
    Duration::from_millis(500),
    Duration::from_secs(2),
    Duration::from_secs(10),
    Duration::from_secs(30),
];
/// Added to the current time, it makes every scheduled check due.
const LONGER_THAN_ANY_DELAY: Duration = Duration::from_secs(60);
/// Maximum number of users with scheduled checks. The sessions of additional users are checked only
/// once, at the failure of the change.
const MAX_USERS: usize = 65_536;

/// Users whose sessions are compared with the store again later.
#[derive(Debug, Default)]
struct Schedule(HashMap<UserId, Recheck>);

#[derive(Clone, Copy, Debug)]
struct Recheck {
    /// Close code for sessions that have ended.
    code: CloseCode,
    /// Number of scheduled checks that were made.
    checks: usize,
    /// Time of the next check.
    due: Instant,
}

impl Schedule {
    fn add(&mut self, now: Instant, user: UserId, code: CloseCode) {
        if self.0.len() < MAX_USERS || self.0.contains_key(&user) {
            let due = now + DELAYS[0];
            self.0.insert(user, Recheck { code, checks: 0, due });
        }
    }

    /// Returns the users to check now, and the time at which the next user is due. Schedules the
    /// next check of the returned users, or removes them after their last check.
    fn take_due(&mut self, now: Instant) -> (Vec<(UserId, CloseCode)>, Option<Instant>) {
        let mut due = Vec::new();
        self.0.retain(|user, recheck| {
            if recheck.due > now {
                return true;
            }
            due.push((*user, recheck.code));
            recheck.checks += 1;
            let delay = DELAYS.get(recheck.checks);
            recheck.due = delay.map_or(now, |delay| now + *delay);
            delay.is_some()
        });
        (due, self.0.values().map(|recheck| recheck.due).min())
    }
}

/// Closes sessions on all nodes after a change in the store has ended them, or may have ended them.
#[derive(Debug)]
pub(in crate::engine) struct SessionEnder {
    closer: Arc<dyn SessionCloser>,
    schedule: Mutex<Schedule>,
    scheduled: Notify,
}

impl SessionEnder {
    pub(in crate::engine) fn new(closer: Arc<dyn SessionCloser>) -> Self {
        Self {
            closer,
            schedule: Mutex::default(),
            scheduled: Notify::new(),
        }
    }

    /// Handles the result of a change that ends `sessions` of the user, and returns that result. If
    /// the change was committed, the sessions are closed. After an error, the user's sessions are
    /// [rechecked](Self::recheck_after_failure).
    pub(in crate::engine) fn end_after<T>(
        &self,
        user: UserId,
        sessions: SessionSelector,
        code: CloseCode,
        changed: Result<T, CommandError>,
    ) -> Result<T, CommandError> {
        match &changed {
            Ok(_) => self.close(user, sessions, code),
            // Even a refusal may mean that the change was committed: by an earlier attempt, whose
            // retry is refused.
            Err(error) => self.recheck_after_failure(user, code, error),
        }
        changed
    }

    /// Closes sessions that a committed change has ended, on all nodes.
    pub(in crate::engine) fn close(&self, user: UserId, sessions: SessionSelector, code: CloseCode) {
        self.closer.close(user, sessions, code);
    }

    /// Closes sessions on this node that a committed change has ended. On the other nodes, the
    /// caller must have the user's sessions compared with the store.
    pub(in crate::engine) fn close_here(&self, user: UserId, sessions: SessionSelector, code: CloseCode) {
        self.closer.close_here(user, sessions, code);
    }

    /// Makes every node compare a user's sessions with the store, and close those that have ended.
    pub(in crate::engine) fn recheck(&self, user: UserId, code: CloseCode) {
        self.closer.recheck(user, code);
    }

    /// Has a user's sessions [rechecked](Self::recheck) after a change failed with `error`: at
    /// once, and several times more if the outcome of the change is unknown.
    pub(in crate::engine) fn recheck_after_failure(&self, user: UserId, code: CloseCode, error: &CommandError) {
        self.recheck(user, code);
        if matches!(error.code, ReplyCode::TryAgain | ReplyCode::Internal) {
            self.schedule.lock().add(Instant::now(), user, code);
            self.scheduled.notify_one();
        }
    }
}

/// Worker that makes the scheduled checks.
#[derive(Debug)]
pub(in crate::engine) struct SessionRecheckWorker(Arc<SessionEnder>);

impl SessionRecheckWorker {
    pub(in crate::engine) fn new(ender: Arc<SessionEnder>) -> Self {
        Self(ender)
    }

    /// Runs until the engine drains; then checks every remaining user once more.
    pub(in crate::engine) async fn run(self, draining: CancellationToken) {
        let mut next = None;
        loop {
            let due = async {
                match next {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = self.0.scheduled.notified() => {}
                () = due => {}
                () = draining.cancelled() => {
                    self.check_due(Instant::now() + LONGER_THAN_ANY_DELAY).await;
                    return;
                }
            }
            next = self.check_due(Instant::now()).await;
        }
    }

    /// Checks the users that are due at `now`. Returns the time of the next check.
    async fn check_due(&self, now: Instant) -> Option<Instant> {
        let (users, next) = self.0.schedule.lock().take_due(now);
        for (user, code) in users {
            panics::step("session recheck", async { self.0.recheck(user, code) }).await;
        }
        next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const USER: UserId = UserId(1);

    #[test]
    fn schedule_checks_a_user_after_each_delay_and_then_removes_the_user() {
        let start = Instant::now();
        let mut schedule = Schedule::default();
        schedule.add(start, USER, CloseCode::Revoked);
        assert_eq!(schedule.take_due(start), (vec![], Some(start + DELAYS[0])));
        let mut now = start;
        for (index, delay) in DELAYS.iter().enumerate() {
            now += *delay;
            let next = DELAYS.get(index + 1).map(|delay| now + *delay);
            assert_eq!(schedule.take_due(now), (vec![(USER, CloseCode::Revoked)], next));
        }
        assert!(schedule.0.is_empty());
    }

    #[test]
    fn schedule_starts_over_when_another_change_fails() {
        let start = Instant::now();
        let mut schedule = Schedule::default();
        schedule.add(start, USER, CloseCode::Replaced);
        let later = start + DELAYS[0];
        schedule.take_due(later);
        schedule.add(later, USER, CloseCode::Revoked);
        let (due, _) = schedule.take_due(later + DELAYS[0]);
        assert_eq!(due, [(USER, CloseCode::Revoked)]);
        assert!(schedule.0.len() == 1 && schedule.0[&USER].checks == 1);
    }
}
