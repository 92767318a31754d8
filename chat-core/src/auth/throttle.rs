//! [`LoginThrottle`]: how often passwords may be tried and accounts be made.

mod lane;
#[cfg(test)]
mod tests;

use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant};

use self::lane::Lane;
use super::TokenHash;
use super::source::SourceKey;
use crate::model::Source;
use crate::rate::{Bucket, Rate, Table};
use crate::sync::{Mutex, MutexGuard};

/// How many login attempts a node lets through.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ThrottleOptions {
    /// Attempts on one account that cost nothing but time, in [`account_window`](Self::account_window). Default 5.
    pub account_attempts: u32,
    /// Time after which a few attempts are forgotten, and the first wait once they are used up. Default 60 s.
    pub account_window: Duration,
    /// Longest wait between attempts; each one more doubles the wait until then. Default 15 min.
    pub account_max_wait: Duration,
    /// Attempts from one source. Default 20 per minute.
    pub source: Rate,
    /// Attempts on the whole node, to leave cores for the work of those who are in. Default 30 per second.
    pub node: Rate,
    /// Attempts by known devices on the whole node; nobody else's attempts take from it. Default 30 per second.
    pub known_devices: Rate,
    /// Accounts made from one source. Default 3 per hour.
    pub registrations: Rate,
    /// Attempts from this machine are not limited by source: whoever is on it has better ways to disturb the server, and people
    /// try things out there. Set it to false behind a proxy on the same machine that hides where clients come from. Default true.
    pub exempt_loopback: bool,
    /// Accounts, devices and sources remembered, each kind by itself; about 100 bytes each. Default 65 536.
    pub table_entries: usize,
}

impl Default for ThrottleOptions {
    fn default() -> Self {
        const SECOND: Duration = Duration::from_secs(1);
        Self {
            account_attempts: 5,
            account_window: 60 * SECOND,
            account_max_wait: 15 * 60 * SECOND,
            source: Rate::new(20, 60 * SECOND),
            node: Rate::new(30, SECOND),
            known_devices: Rate::new(30, SECOND),
            registrations: Rate::new(3, 3600 * SECOND),
            exempt_loopback: true,
            table_entries: 65_536,
        }
    }
}

impl ThrottleOptions {
    /// No limits, for tests and benchmarks of other things.
    #[must_use]
    pub fn danger_unlimited() -> Self {
        Self {
            account_attempts: u32::MAX,
            source: Rate::UNLIMITED,
            node: Rate::UNLIMITED,
            known_devices: Rate::UNLIMITED,
            registrations: Rate::UNLIMITED,
            ..Self::default()
        }
    }
}

/// Somebody wants to have a password compared.
#[derive(Debug, Clone, Copy)]
pub struct LoginAttempt<'a> {
    /// Where from.
    pub source: Source,
    /// The account, always in the same words for the same account (its id where it exists, so that name and number share a
    /// lane), and for accounts that do not exist too, so that throttling does not tell them apart.
    pub account: &'a str,
    /// The hash of the device token that came with it, **if** the store knows it for this very account. Such an attempt has
    /// a lane of its own: strangers who guess cannot lock the owner out.
    pub known_device: Option<&'a TokenHash>,
}

/// Too many attempts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many attempts; try again in {} s", .retry_after.as_millis().div_ceil(1000))]
#[non_exhaustive]
pub struct Throttled {
    /// Which limit it was, for logs and metrics. Not for the peer.
    pub limit: ThrottleLimit,
    /// When the next attempt can pass this limit.
    pub retry_after: Duration,
}

/// The limits of a [`LoginThrottle`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ThrottleLimit {
    /// Attempts on the account by unknown devices.
    Account,
    /// Attempts by this known device.
    Device,
    /// Attempts from the source.
    Source,
    /// Attempts on the node.
    Node,
    /// Accounts made from the source.
    Registration,
}

/// Counts login attempts and registrations. Time comes as an argument; memory is bounded, see
/// [`ThrottleOptions::table_entries`].
///
/// An attempt is charged before the password is compared, so that attempts at the same time cannot all pass; one that turns
/// out right clears its lane. A refused attempt charges nothing.
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
    /// Accounts are kept as keyed 64-bit hashes: of one size, and nobody can choose names that collide.
    hasher: RandomState,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    accounts: Table<u64, Lane>,
    devices: Table<u64, Lane>,
    sources: Table<SourceKey, Bucket>,
    registrations: Table<SourceKey, Bucket>,
    node: Bucket,
    known_devices: Bucket,
}

impl LoginThrottle {
    /// A throttle that has seen nobody yet.
    #[must_use]
    pub fn new(options: ThrottleOptions) -> Self {
        let entries = options.table_entries;
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

    /// Charges one attempt, if it may be made.
    ///
    /// # Errors
    /// [`Throttled`]: it may not; nothing was charged, and the password must not be compared.
    pub fn begin(&self, now: Instant, attempt: &LoginAttempt<'_>) -> Result<(), Throttled> {
        let options = &self.options;
        let refused = |limit| move |retry_after| Throttled { limit, retry_after };
        let mut state = self.state();
        let state = &mut *state;
        if let Some(device) = attempt.known_device {
            let key = self.device_key(attempt.account, device);
            let lane = state.devices.get(&key).copied().unwrap_or_default();
            lane.check(now).map_err(refused(ThrottleLimit::Device))?;
            state
                .known_devices
                .check(now, &options.known_devices)
                .map_err(refused(ThrottleLimit::Node))?;
            state.known_devices.add(now, &options.known_devices);
            state.devices.entry(now, key).add(now, options);
        } else {
            let key = self.account_key(attempt.account);
            let lane = state.accounts.get(&key).copied().unwrap_or_default();
            lane.check(now).map_err(refused(ThrottleLimit::Account))?;
            let source = SourceKey::from(attempt.source);
            let attempts = state.sources.get(&source).copied().unwrap_or_default();
            attempts
                .check(now, self.source_limit(source))
                .map_err(refused(ThrottleLimit::Source))?;
            state
                .node
                .check(now, &options.node)
                .map_err(refused(ThrottleLimit::Node))?;
            state.node.add(now, &options.node);
            state.sources.entry(now, source).add(now, self.source_limit(source));
            state.accounts.entry(now, key).add(now, options);
        }
        Ok(())
    }

    /// The password was right: its lane is clear again, and the source has its charge back, since many people may share it.
    pub fn succeeded(&self, now: Instant, attempt: &LoginAttempt<'_>) {
        self.settle(now, attempt, Lane::clear);
    }

    /// The password was not compared after all, because the pool was busy or the store away: the charge is taken back.
    pub fn take_back(&self, now: Instant, attempt: &LoginAttempt<'_>) {
        let options = &self.options;
        self.settle(now, attempt, |lane| lane.take_back(options));
    }

    /// Charges the making of one account, if it may be made. It counts as a login attempt of the source as well, which
    /// stays charged, so that nobody asks for names without end.
    ///
    /// # Errors
    /// [`Throttled`]: it may not; nothing was charged.
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
            .check(now, &options.node)
            .map_err(refused(ThrottleLimit::Node))?;
        state.node.add(now, &options.node);
        state.sources.entry(now, source).add(now, self.source_limit(source));
        state.registrations.entry(now, source).add(now, registrations);
        Ok(())
    }

    /// No account was made: the name was taken, or the pool busy.
    pub fn take_back_registration(&self, now: Instant, source: Source) {
        let source = SourceKey::from(source);
        if let Some(made) = self.state().registrations.get_mut(&source) {
            made.take_back(now, self.registration_limit(source));
        }
    }

    fn settle(&self, now: Instant, attempt: &LoginAttempt<'_>, lane: impl FnOnce(&mut Lane)) {
        let mut state = self.state();
        if let Some(device) = attempt.known_device {
            let key = self.device_key(attempt.account, device);
            state.devices.get_mut(&key).map(lane);
        } else {
            state.accounts.get_mut(&self.account_key(attempt.account)).map(lane);
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
            &self.options.source
        }
    }

    fn registration_limit(&self, source: SourceKey) -> &Rate {
        if self.options.exempt_loopback && source.is_loopback() {
            &Rate::UNLIMITED
        } else {
            &self.options.registrations
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
