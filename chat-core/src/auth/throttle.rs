//! [`LoginThrottle`]: limits on login attempts and registrations.

mod attempt_history;
#[cfg(test)]
mod tests;

use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant};

use self::attempt_history::AttemptHistory;
use super::TokenHash;
use super::source::{SourceKey, SourceTable};
use crate::model::Source;
use crate::rate::{Bucket, Decaying, Rate, Table};
use crate::sync::{Mutex, MutexGuard};

/// Limits on login attempts, registrations and wrong tokens of a node. A source is an IPv4 address
/// or an IPv6 /64 network. An IPv6 /48 network may use 8 times the rates of a source. An attempt is
/// by a known device if it presents a device token that the store has for the account.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ThrottleOptions {
    /// Number of attempts on one account, or by one known device, that need no wait between them.
    /// Default 5.
    pub account_attempts: u32,
    /// Wait after [`account_attempts`](Self::account_attempts) attempts. Fewer attempts are all
    /// forgotten this long after the first of them. Default 60 s.
    pub account_window: Duration,
    /// Maximum wait before the next attempt; each further attempt doubles the wait up to this
    /// maximum. Attempts that caused a wait are forgotten when this time has passed since the end
    /// of the wait. Default 15 min.
    pub max_account_wait: Duration,
    /// Rate of attempts by unknown devices and of registrations from one source; an attempt with
    /// the right password does not count. Also the rate of wrong session tokens, and that of wrong
    /// device tokens, from one source or by one device that has logged in or resumed from the same
    /// address before. Default 20 per minute.
    pub login_rate_per_source: Rate,
    /// Rate of attempts by unknown devices and of registrations on the node. The limit leaves cores
    /// for the sessions. Default 30 per second.
    pub login_rate: Rate,
    /// Rate of attempts by known devices on the node; other attempts do not count against it.
    /// Default 30 per second.
    pub known_device_rate: Rate,
    /// Rate of registrations from one source. Default 3 per hour.
    pub registration_rate_per_source: Rate,
    /// Exempts attempts, registrations and wrong tokens from this machine from the limits per
    /// source, because local programs have other ways to disturb the server. Set it to false behind
    /// a proxy on the same machine that hides the addresses of clients. Default true.
    pub exempt_loopback: bool,
    /// Maximum number of entries in each table: accounts, names of accounts, devices, sources of
    /// attempts, sources of registrations, and sources and known devices of wrong tokens. An entry
    /// takes about 100 bytes. Default 65 536.
    pub max_table_entries: usize,
}

impl Default for ThrottleOptions {
    fn default() -> Self {
        const SECOND: Duration = Duration::from_secs(1);
        Self {
            account_attempts: 5,
            account_window: 60 * SECOND,
            max_account_wait: 15 * 60 * SECOND,
            login_rate_per_source: Rate::new(20, 60 * SECOND),
            login_rate: Rate::new(30, SECOND),
            known_device_rate: Rate::new(30, SECOND),
            registration_rate_per_source: Rate::new(3, 3600 * SECOND),
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
            login_rate_per_source: Rate::UNLIMITED,
            login_rate: Rate::UNLIMITED,
            known_device_rate: Rate::UNLIMITED,
            registration_rate_per_source: Rate::UNLIMITED,
            ..Self::default()
        }
    }
}

/// A request to compare a password.
#[derive(Debug, Clone, Copy)]
pub struct LoginAttempt<'a> {
    /// Source of the request.
    pub source: Source,
    /// Account as the caller knows it: always the same string for an account that was looked up,
    /// before that the name or id that the peer presented ([`LoginThrottle::identify`] connects the
    /// two). Accounts that do not exist have a history too, so that the throttle does not reveal
    /// which exist.
    pub account: &'a str,
    /// Hash of the device token of the request, **if** the store has it for this account. Attempts
    /// of a known device have a separate history, so that attackers who guess passwords cannot lock
    /// the owner out.
    pub known_device: Option<&'a TokenHash>,
}

/// An attempt that was charged, with the history that counts it. A refund or a success changes this
/// history, even if the name of the attempt belongs to another history by then.
#[derive(Debug, Clone, Copy)]
pub struct ChargedAttempt {
    source: Source,
    history: HistoryKey,
}

/// Key of the history of an attempt.
#[derive(Debug, Clone, Copy)]
enum HistoryKey {
    /// Key in [`State::accounts`].
    Account(u64),
    /// Key in [`State::devices`].
    Device(u64),
}

/// Error of an attempt beyond a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many attempts; try again in {} s", .retry_after.as_millis().div_ceil(1000).max(1))]
#[non_exhaustive]
pub struct Throttled {
    /// Limit that the attempt exceeded, for logs and metrics. Not for the peer.
    pub limit: ThrottleLimit,
    /// Time until an attempt can pass this limit.
    pub retry_after: Duration,
}

/// Limits on login attempts, registrations and wrong tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ThrottleLimit {
    /// Limit on attempts on the account by unknown devices.
    Account,
    /// Limit on attempts by this known device, or on wrong tokens of a device that has logged in or
    /// resumed from the same address or IPv6 /64 network before.
    Device,
    /// Limit on attempts and registrations, or on wrong tokens, from the source; or a penalty of
    /// the source for failed logins.
    Source,
    /// Limit of the node on attempts by known devices, or on attempts by unknown devices and
    /// registrations.
    Node,
    /// Limit on registrations from the source.
    Registration,
}

/// Limits on login attempts and registrations, with the state that enforces them. Time is an
/// argument; memory is bounded, see [`ThrottleOptions::max_table_entries`].
///
/// The throttle charges an attempt before the password is compared, so that simultaneous attempts
/// cannot all pass. A correct password clears the history of the account, or that of the device for
/// an attempt by a known device. An attempt that [`charge`](Self::charge) rejects is not charged.
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
///     throttle.charge(Instant::now(), &attempt)?;
/// }
/// assert!(throttle.charge(Instant::now(), &attempt).is_err());
/// # Ok::<(), chat_core::auth::Throttled>(())
/// ```
#[derive(Debug)]
pub struct LoginThrottle {
    options: ThrottleOptions,
    /// Hashes accounts to keyed 64-bit values: their size is fixed, and clients cannot choose names
    /// that collide.
    hasher: RandomState,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Attempts by unknown devices, by the hash of the account.
    accounts: Table<u64, AttemptHistory>,
    /// The key in `accounts` of names whose account was found, by the hash of the name.
    identified: Table<u64, Identified>,
    /// Attempts by known devices, by the hash of account and device token.
    devices: Table<u64, AttemptHistory>,
    /// Attempts by unknown devices, and registrations, of each source.
    sources: SourceTable,
    /// Registrations of each source.
    registrations: SourceTable,
    /// Attempts by unknown devices, and registrations, on the node.
    unknown_on_node: Bucket,
    /// Attempts by known devices on the node.
    known_on_node: Bucket,
}

/// The account that was found under a name.
#[derive(Debug, Clone, Copy, Default)]
struct Identified {
    /// Key of the account in [`State::accounts`].
    key: u64,
    /// Time from which this entry may be forgotten: twice the maximum wait after the last lookup by
    /// the name. Without attempts since then, the history has expired by this time.
    forgotten_at: Option<Instant>,
}

impl Decaying for Identified {
    fn remaining(&self, now: Instant) -> Duration {
        self.forgotten_at
            .map_or(Duration::ZERO, |at| at.saturating_duration_since(now))
    }
}

impl LoginThrottle {
    /// Creates a throttle without any history.
    #[must_use]
    pub fn new(options: ThrottleOptions) -> Self {
        let max_entries = options.max_table_entries;
        let by_source = |rate| SourceTable::new(rate, options.exempt_loopback, max_entries);
        let state = State {
            accounts: Table::new(max_entries),
            identified: Table::new(max_entries),
            devices: Table::new(max_entries),
            sources: by_source(options.login_rate_per_source),
            registrations: by_source(options.registration_rate_per_source),
            unknown_on_node: Bucket::default(),
            known_on_node: Bucket::default(),
        };
        Self {
            options,
            hasher: RandomState::new(),
            state: Mutex::new(state),
        }
    }

    /// Charges one attempt, if it is within the limits.
    ///
    /// # Errors
    /// [`Throttled`]: the attempt exceeds a limit. Nothing was charged, and the caller must not
    /// compare the password.
    pub fn charge(&self, now: Instant, attempt: &LoginAttempt<'_>) -> Result<ChargedAttempt, Throttled> {
        let options = &self.options;
        let refused = |limit| move |retry_after| Throttled { limit, retry_after };
        let mut state = self.state();
        let state = &mut *state;
        let history = if let Some(device) = attempt.known_device {
            let key = self.device_key(attempt.account, device);
            let history = state.devices.get(&key).copied().unwrap_or_default();
            history.check(now).map_err(refused(ThrottleLimit::Device))?;
            state
                .known_on_node
                .check(now, &options.known_device_rate)
                .map_err(refused(ThrottleLimit::Node))?;
            state.known_on_node.charge(now, &options.known_device_rate);
            state.devices.entry(now, key).add(now, options);
            HistoryKey::Device(key)
        } else {
            let key = self.account_key(state, attempt.account);
            let history = state.accounts.get(&key).copied().unwrap_or_default();
            history.check(now).map_err(refused(ThrottleLimit::Account))?;
            let source = SourceKey::from(attempt.source);
            state
                .sources
                .check(now, source)
                .map_err(refused(ThrottleLimit::Source))?;
            state
                .unknown_on_node
                .check(now, &options.login_rate)
                .map_err(refused(ThrottleLimit::Node))?;
            state.unknown_on_node.charge(now, &options.login_rate);
            state.sources.charge(now, source);
            state.accounts.entry(now, key).add(now, options);
            HistoryKey::Account(key)
        };
        Ok(ChargedAttempt {
            source: attempt.source,
            history,
        })
    }

    /// Moves an attempt by an unknown device, which was charged under the name or id that the peer
    /// presented, to the history of the account that was found, so that attempts by name and by id
    /// share one history. Later attempts under the presented name are charged to that history at
    /// once. An attempt by a known device stays where it is.
    ///
    /// # Errors
    /// [`Throttled`]: the history of the account allows no attempt now. The charges of the
    /// presented name and of the source are refunded, that of the node stays. The caller must not
    /// compare the password.
    pub fn identify(
        &self,
        now: Instant,
        charged: ChargedAttempt,
        presented: &str,
        account: &str,
    ) -> Result<ChargedAttempt, Throttled> {
        let HistoryKey::Account(charged_key) = charged.history else {
            return Ok(charged);
        };
        let key = self.hasher.hash_one(account);
        let mut state = self.state();
        let presented_key = self.hasher.hash_one(presented);
        if presented_key != key {
            let identified = state.identified.entry(now, presented_key);
            *identified = Identified {
                key,
                forgotten_at: now.checked_add(2 * self.options.max_account_wait),
            };
        }
        if charged_key == key {
            return Ok(charged);
        }
        if let Some(history) = state.accounts.get_mut(&charged_key) {
            history.refund(&self.options);
        }
        let history = state.accounts.entry(now, key);
        match history.check(now) {
            Ok(()) => {
                history.add(now, &self.options);
                Ok(ChargedAttempt {
                    history: HistoryKey::Account(key),
                    ..charged
                })
            }
            Err(retry_after) => {
                state.sources.refund(now, charged.source.into());
                Err(Throttled {
                    limit: ThrottleLimit::Account,
                    retry_after,
                })
            }
        }
    }

    /// Records that the password was correct: clears the history, and refunds the charge of the
    /// source, which many users may share.
    pub fn succeeded(&self, now: Instant, charged: ChargedAttempt) {
        self.refund_source_and_change(now, charged, AttemptHistory::clear);
    }

    /// Refunds the charge of the source and of the account or device, because the password was not
    /// compared: the store failed, the pool that hashes passwords was busy or closed, or hashing
    /// failed. The charge of the node stays.
    pub fn refund(&self, now: Instant, charged: ChargedAttempt) {
        let options = &self.options;
        self.refund_source_and_change(now, charged, |history| history.refund(options));
    }

    /// Charges one registration, if it is within the limits. A registration also counts as a login
    /// attempt of the source and on the node. That charge is never refunded, so that a client
    /// cannot probe names without a limit.
    ///
    /// # Errors
    /// [`Throttled`]: the registration exceeds a limit; nothing was charged.
    pub fn charge_registration(&self, now: Instant, source: Source) -> Result<(), Throttled> {
        let options = &self.options;
        let source = SourceKey::from(source);
        let refused = |limit| move |retry_after| Throttled { limit, retry_after };
        let mut state = self.state();
        state
            .registrations
            .check(now, source)
            .map_err(refused(ThrottleLimit::Registration))?;
        state
            .sources
            .check(now, source)
            .map_err(refused(ThrottleLimit::Source))?;
        state
            .unknown_on_node
            .check(now, &options.login_rate)
            .map_err(refused(ThrottleLimit::Node))?;
        state.unknown_on_node.charge(now, &options.login_rate);
        state.sources.charge(now, source);
        state.registrations.charge(now, source);
        Ok(())
    }

    /// Refunds the charge of a registration that created no account, for example because the name
    /// was taken or the password pool was busy. The charge as a login attempt stays.
    pub fn refund_registration(&self, now: Instant, source: Source) {
        self.state().registrations.refund(now, source.into());
    }

    /// Refunds the charge of the source, and applies `change` to the history of the attempt. An
    /// attempt of a known device charged no source.
    fn refund_source_and_change(
        &self,
        now: Instant,
        charged: ChargedAttempt,
        change: impl FnOnce(&mut AttemptHistory),
    ) {
        let mut state = self.state();
        match charged.history {
            HistoryKey::Device(key) => drop(state.devices.get_mut(&key).map(change)),
            HistoryKey::Account(key) => {
                state.accounts.get_mut(&key).map(change);
                state.sources.refund(now, charged.source.into());
            }
        }
    }

    /// Returns the key of the history of an account: that of the account which was found under
    /// this name, if the table remembers it, and otherwise the hash of the name.
    fn account_key(&self, state: &State, account: &str) -> u64 {
        let presented = self.hasher.hash_one(account);
        state.identified.get(&presented).map_or(presented, |found| found.key)
    }

    fn device_key(&self, account: &str, device: &TokenHash) -> u64 {
        self.hasher.hash_one((account, device))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }
}
