//! [`LoginThrottle`]: limits on login attempts and registrations.

mod attempt_history;
#[cfg(test)]
mod tests;

use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant};

use self::attempt_history::AttemptHistory;
use super::TokenHash;
use super::source::SourceKey;
use crate::model::Source;
use crate::rate::{Bucket, Rate, Table};
use crate::sync::{Mutex, MutexGuard};

/// Limits on login attempts and registrations of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ThrottleOptions {
    /// Number of attempts on one account within [`account_window`](Self::account_window) that cause
    /// no wait. Default 5.
    pub account_attempts: u32,
    /// Time after which these attempts are forgotten. Also the first wait once they are used up.
    /// Default 60 s.
    pub account_window: Duration,
    /// Maximum wait between attempts; each further attempt doubles the wait up to this maximum.
    /// Default 15 min.
    pub max_account_wait: Duration,
    /// Rate of attempts from one source. Default 20 per minute.
    pub source_rate: Rate,
    /// Rate of attempts on the node, which leaves cores for the sessions. Default 30 per second.
    pub node_rate: Rate,
    /// Rate of attempts by known devices on the node; other attempts do not count against it.
    /// Default 30 per second.
    pub known_device_rate: Rate,
    /// Rate of registrations from one source. Default 3 per hour.
    pub registration_rate: Rate,
    /// Exempts attempts from this machine from the limits per source, because local programs have
    /// other ways to disturb the server. Set it to false behind a proxy on the same machine that
    /// hides the addresses of clients. Default true.
    pub exempt_loopback: bool,
    /// Maximum number of accounts, of devices and of sources remembered; about 100 bytes each.
    /// Default 65 536.
    pub max_table_entries: usize,
}

impl Default for ThrottleOptions {
    fn default() -> Self {
        const SECOND: Duration = Duration::from_secs(1);
        Self {
            account_attempts: 5,
            account_window: 60 * SECOND,
            max_account_wait: 15 * 60 * SECOND,
            source_rate: Rate::new(20, 60 * SECOND),
            node_rate: Rate::new(30, SECOND),
            known_device_rate: Rate::new(30, SECOND),
            registration_rate: Rate::new(3, 3600 * SECOND),
            exempt_loopback: true,
            max_table_entries: 65_536,
        }
    }
}

impl ThrottleOptions {
    /// Returns limits that never apply, for tests and benchmarks of other code.
    #[must_use]
    pub fn danger_unlimited() -> Self {
        Self {
            account_attempts: u32::MAX,
            source_rate: Rate::UNLIMITED,
            node_rate: Rate::UNLIMITED,
            known_device_rate: Rate::UNLIMITED,
            registration_rate: Rate::UNLIMITED,
            ..Self::default()
        }
    }
}

/// A request to compare a password.
#[derive(Debug, Clone, Copy)]
pub struct LoginAttempt<'a> {
    /// Source of the request.
    pub source: Source,
    /// Account, always with the same string for the same account: its id if it exists, so that name
    /// and number share one history. Accounts that do not exist have a history too, so that the
    /// throttle does not reveal which exist.
    pub account: &'a str,
    /// Hash of the device token of the request, **if** the store has it for this account. Attempts
    /// of a known device have a separate history, so that strangers who guess passwords cannot lock
    /// the owner out.
    pub known_device: Option<&'a TokenHash>,
}

/// Error of an attempt beyond a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many attempts; try again in {} s", .retry_after.as_millis().div_ceil(1000))]
#[non_exhaustive]
pub struct Throttled {
    /// Limit that the attempt exceeded, for logs and metrics. Not for the peer.
    pub limit: ThrottleLimit,
    /// Time until an attempt can pass this limit.
    pub retry_after: Duration,
}

/// Limits of a [`LoginThrottle`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ThrottleLimit {
    /// Limit on attempts on the account by unknown devices.
    Account,
    /// Limit on attempts by this known device.
    Device,
    /// Limit on attempts from the source.
    Source,
    /// Limit on attempts on the node.
    Node,
    /// Limit on registrations from the source.
    Registration,
}

/// Counts login attempts and registrations. Time is an argument; memory is bounded, see
/// [`ThrottleOptions::max_table_entries`].
///
/// The throttle charges an attempt before the password is compared, so that simultaneous attempts
/// cannot all pass. A correct password clears the history. A rejected attempt charges nothing.
///
/// # Examples
/// ```
/// use std::time::Instant;
/// use chat_core::auth::{LoginAttempt, LoginThrottle, ThrottleOptions};
/// use chat_core::model::Source;
///
/// let throttle = LoginThrottle::new(ThrottleOptions::default());
/// let attempt = LoginAttempt { source: Source::Local, account: "alice", known_device: None };
/// for _ in 0..5 {
///     throttle.begin(Instant::now(), &attempt)?;
/// }
/// assert!(throttle.begin(Instant::now(), &attempt).is_err());
/// # Ok::<(), chat_core::auth::Throttled>(())
/// ```
#[derive(Debug)]
pub struct LoginThrottle {
    options: ThrottleOptions,
    /// Hashes accounts to keyed 64-bit values, which have a fixed size and for which clients cannot
    /// choose colliding names.
    hasher: RandomState,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    accounts: Table<u64, AttemptHistory>,
    devices: Table<u64, AttemptHistory>,
    sources: Table<SourceKey, Bucket>,
    registrations: Table<SourceKey, Bucket>,
    node: Bucket,
    known_devices: Bucket,
}

impl LoginThrottle {
    /// Creates a throttle without any history.
    #[must_use]
    pub fn new(options: ThrottleOptions) -> Self {
        let entries = options.max_table_entries;
        Self {
            options,
            hasher: RandomState::new(),
            state: Mutex::new(State {
                accounts: Table::new(entries),
                devices: Table::new(entries),
                sources: Table::new(entries),
                registrations: Table::new(entries),
                node: Bucket::default(),
                known_devices: Bucket::default(),
            }),
        }
    }

    /// Charges one attempt, if it is within the limits.
    ///
    /// # Errors
    /// [`Throttled`]: the attempt exceeds a limit. Nothing was charged, and the caller must not
    /// compare the password.
    pub fn begin(&self, now: Instant, attempt: &LoginAttempt<'_>) -> Result<(), Throttled> {
        let options = &self.options;
        let refused = |limit| move |retry_after| Throttled { limit, retry_after };
        let mut state = self.state();
        let state = &mut *state;
        if let Some(device) = attempt.known_device {
            let key = self.device_key(attempt.account, device);
            let history = state.devices.get(&key).copied().unwrap_or_default();
            history.check(now).map_err(refused(ThrottleLimit::Device))?;
            state
                .known_devices
                .check(now, &options.known_device_rate)
                .map_err(refused(ThrottleLimit::Node))?;
            state.known_devices.add(now, &options.known_device_rate);
            state.devices.entry(now, key).add(now, options);
        } else {
            let key = self.account_key(attempt.account);
            let history = state.accounts.get(&key).copied().unwrap_or_default();
            history.check(now).map_err(refused(ThrottleLimit::Account))?;
            let source = SourceKey::from(attempt.source);
            let attempts = state.sources.get(&source).copied().unwrap_or_default();
            attempts
                .check(now, self.source_limit(source))
                .map_err(refused(ThrottleLimit::Source))?;
            state
                .node
                .check(now, &options.node_rate)
                .map_err(refused(ThrottleLimit::Node))?;
            state.node.add(now, &options.node_rate);
            state.sources.entry(now, source).add(now, self.source_limit(source));
            state.accounts.entry(now, key).add(now, options);
        }
        Ok(())
    }

    /// Records that the password was correct: clears the history, and refunds the charge of the
    /// source, which many users may share.
    pub fn succeeded(&self, now: Instant, attempt: &LoginAttempt<'_>) {
        self.settle(now, attempt, AttemptHistory::clear);
    }

    /// Refunds the charge, because the password was not compared: the pool was busy or the store
    /// unavailable.
    pub fn take_back(&self, now: Instant, attempt: &LoginAttempt<'_>) {
        let options = &self.options;
        self.settle(now, attempt, |history| history.take_back(options));
    }

    /// Charges one registration, if it is within the limits. A registration also counts as a login
    /// attempt of the source. That charge is never refunded, so that a client cannot probe names
    /// without a limit.
    ///
    /// # Errors
    /// [`Throttled`]: the registration exceeds a limit; nothing was charged.
    pub fn begin_registration(&self, now: Instant, source: Source) -> Result<(), Throttled> {
        let options = &self.options;
        let source = SourceKey::from(source);
        let refused = |limit| move |retry_after| Throttled { limit, retry_after };
        let mut state = self.state();
        let made = state.registrations.get(&source).copied().unwrap_or_default();
        let registrations = self.registration_limit(source);
        made.check(now, registrations)
            .map_err(refused(ThrottleLimit::Registration))?;
        let attempts = state.sources.get(&source).copied().unwrap_or_default();
        attempts
            .check(now, self.source_limit(source))
            .map_err(refused(ThrottleLimit::Source))?;
        state
            .node
            .check(now, &options.node_rate)
            .map_err(refused(ThrottleLimit::Node))?;
        state.node.add(now, &options.node_rate);
        state.sources.entry(now, source).add(now, self.source_limit(source));
        state.registrations.entry(now, source).add(now, registrations);
        Ok(())
    }

    /// Refunds the charge, because no account was created: the name was taken, or the pool was
    /// busy.
    pub fn take_back_registration(&self, now: Instant, source: Source) {
        let source = SourceKey::from(source);
        if let Some(made) = self.state().registrations.get_mut(&source) {
            made.take_back(now, self.registration_limit(source));
        }
    }

    fn settle(&self, now: Instant, attempt: &LoginAttempt<'_>, history: impl FnOnce(&mut AttemptHistory)) {
        let mut state = self.state();
        if let Some(device) = attempt.known_device {
            let key = self.device_key(attempt.account, device);
            state.devices.get_mut(&key).map(history);
        } else {
            state.accounts.get_mut(&self.account_key(attempt.account)).map(history);
            let source = SourceKey::from(attempt.source);
            if let Some(attempts) = state.sources.get_mut(&source) {
                attempts.take_back(now, self.source_limit(source));
            }
        }
    }

    fn source_limit(&self, source: SourceKey) -> &Rate {
        if self.options.exempt_loopback && source.is_loopback() {
            &Rate::UNLIMITED
        } else {
            &self.options.source_rate
        }
    }

    fn registration_limit(&self, source: SourceKey) -> &Rate {
        if self.options.exempt_loopback && source.is_loopback() {
            &Rate::UNLIMITED
        } else {
            &self.options.registration_rate
        }
    }

    fn account_key(&self, account: &str) -> u64 {
        self.hasher.hash_one(account)
    }

    fn device_key(&self, account: &str, device: &TokenHash) -> u64 {
        self.hasher.hash_one((account, device))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }
}
