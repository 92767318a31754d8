//! [`TokenThrottle`]: limits on wrong session tokens and wrong device tokens.

use std::hash::{BuildHasher, DefaultHasher, Hash, Hasher, RandomState};
use std::time::{Duration, Instant};

use super::source::{SourceKey, SourceTable};
use super::throttle::{ThrottleLimit, ThrottleOptions, Throttled};
use crate::model::{DeviceId, Source, UserId, UserRef};
use crate::rate::{Bucket, Decaying, Rate, Table};
use crate::sync::Mutex;

/// Time after which the throttle may forget that a device has logged in or resumed.
const KNOWN_FOR: Duration = Duration::from_secs(7 * 24 * 3600);

/// A request to resume a session or to log in.
#[derive(Debug, Clone, Copy)]
pub struct TokenAttempt {
    source: Source,
    /// Id of the user, or the hash of the name that the peer presented.
    user: u64,
    device: DeviceId,
}

/// Limits on wrong session tokens, or on wrong device tokens. A token cannot be guessed, but each
/// wrong one costs reads of the store. The caller charges wrong tokens, and device tokens of logins
/// that it refuses as throttled.
///
/// A device that has logged in or resumed from an IPv4 address or IPv6 /64 network has a limit of
/// its own there, so that the wrong tokens of other clients behind that address do not lock the
/// device out. Time is an argument, and memory is bounded by
/// [`ThrottleOptions::max_table_entries`].
#[derive(Debug)]
pub struct TokenThrottle {
    rate: Rate,
    hasher: RandomState,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Wrong tokens of unknown devices.
    sources: SourceTable,
    /// Devices that have logged in or resumed, by the hash of source, user and device.
    known: Table<u64, KnownDevice>,
}

/// A device that has logged in or resumed from one source, with the charges of its wrong tokens.
#[derive(Debug, Clone, Copy, Default)]
struct KnownDevice {
    /// Time from which the throttle may forget the device.
    until: Option<Instant>,
    /// Charges of its wrong tokens.
    failures: Bucket,
}

impl Decaying for KnownDevice {
    fn remaining(&self, now: Instant) -> Duration {
        let known = self
            .until
            .map_or(Duration::ZERO, |until| until.saturating_duration_since(now));
        known.max(self.failures.remaining(now))
    }
}

impl TokenAttempt {
    /// Returns an attempt of this device to resume its session, or its login that succeeded.
    #[must_use]
    pub const fn new(source: Source, user: UserId, device: DeviceId) -> Self {
        Self {
            source,
            user: user.0,
            device,
        }
    }

    /// Returns an attempt to log in to an account that was not looked up yet.
    pub(super) fn of_login(source: Source, account: &UserRef, device: DeviceId) -> Self {
        let user = match account {
            UserRef::Id(id) => id.0,
            UserRef::Name(name) => {
                let mut hasher = DefaultHasher::new();
                name.as_str().hash(&mut hasher);
                hasher.finish()
            }
        };
        Self { source, user, device }
    }
}

impl TokenThrottle {
    /// Creates a throttle without any history. The rate of a source, and of each device that has a
    /// limit of its own, is [`ThrottleOptions::login_rate_per_source`].
    #[must_use]
    pub fn new(options: &ThrottleOptions) -> Self {
        let capacity = options.max_table_entries;
        Self {
            rate: options.login_rate_per_source,
            hasher: RandomState::new(),
            state: Mutex::new(State {
                sources: SourceTable::new(options.login_rate_per_source, options.exempt_loopback, capacity),
                known: Table::new(capacity),
            }),
        }
    }

    /// Checks whether the attempt is allowed. Charges nothing.
    ///
    /// # Errors
    /// [`Throttled`]: too many wrong tokens came from the source, or from this known device; the
    /// caller must not look the token up.
    pub fn check(&self, now: Instant, attempt: TokenAttempt) -> Result<(), Throttled> {
        let state = self.state.lock();
        let (checked, limit) = match state.known.get(&self.key(attempt)) {
            Some(known) => (known.failures.check(now, &self.rate), ThrottleLimit::Device),
            None => (state.sources.check(now, attempt.source.into()), ThrottleLimit::Source),
        };
        checked.map_err(|retry_after| Throttled { limit, retry_after })
    }

    /// Charges an attempt with a wrong token, or a login with a token that was refused as
    /// throttled.
    pub fn failed(&self, now: Instant, attempt: TokenAttempt) {
        let mut state = self.state.lock();
        match state.known.get_mut(&self.key(attempt)) {
            Some(known) => known.failures.charge(now, &self.rate),
            None => state.sources.charge(now, attempt.source.into()),
        }
    }

    /// Refunds the charge of an attempt whose token was wrong but whose password was right, as
    /// after the restoration of a backup that is older than the token.
    pub(super) fn refund(&self, now: Instant, attempt: TokenAttempt) {
        let mut state = self.state.lock();
        match state.known.get_mut(&self.key(attempt)) {
            Some(known) => known.failures.refund(now, &self.rate),
            None => state.sources.refund(now, attempt.source.into()),
        }
    }

    /// Remembers a device that has logged in or resumed, so that its wrong tokens have their own
    /// limit.
    pub fn succeeded(&self, now: Instant, attempt: TokenAttempt) {
        let key = self.key(attempt);
        self.state.lock().known.entry(now, key).until = now.checked_add(KNOWN_FOR);
    }

    fn key(&self, attempt: TokenAttempt) -> u64 {
        // A device often changes its address within an IPv6 network.
        let source = SourceKey::from(attempt.source);
        self.hasher.hash_one((source, attempt.user, attempt.device))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attempt(user: u64, device: u8) -> TokenAttempt {
        attempt_from("192.0.2.7", user, device)
    }

    fn attempt_from(address: &str, user: u64, device: u8) -> TokenAttempt {
        let source = Source::Ip(address.parse().unwrap());
        TokenAttempt::new(source, UserId(user), DeviceId([device; 16]))
    }

    #[test]
    fn wrong_tokens_are_limited_by_source_and_known_devices_are_not_affected() {
        let options = ThrottleOptions {
            login_rate_per_source: Rate::new(3, Duration::from_secs(60)),
            ..Default::default()
        };
        let throttle = TokenThrottle::new(&options);
        let now = Instant::now();
        throttle.succeeded(now, attempt(1, 1));
        for device in 10..13 {
            throttle.check(now, attempt(2, device)).unwrap();
            throttle.failed(now, attempt(2, device));
        }
        let refused = throttle.check(now, attempt(3, 99)).unwrap_err();
        assert_eq!(
            (refused.limit, refused.retry_after),
            (ThrottleLimit::Source, Duration::from_secs(20))
        );
        // Right tokens cost nothing, and the wrong ones of a known device are limited too.
        for _ in 0..3 {
            throttle.check(now, attempt(1, 1)).unwrap();
            throttle.succeeded(now, attempt(1, 1));
        }
        for _ in 0..3 {
            throttle.check(now, attempt(1, 1)).unwrap();
            throttle.failed(now, attempt(1, 1));
        }
        assert_eq!(
            throttle.check(now, attempt(1, 1)).unwrap_err().limit,
            ThrottleLimit::Device
        );
        assert!(throttle.check(now + Duration::from_secs(20), attempt(3, 99)).is_ok());
    }

    #[test]
    fn device_stays_known_when_its_address_changes_within_its_network() {
        let options = ThrottleOptions {
            login_rate_per_source: Rate::new(1, Duration::from_secs(60)),
            ..Default::default()
        };
        let throttle = TokenThrottle::new(&options);
        let now = Instant::now();
        for (first, changed) in [("2001:db8::1", "2001:db8::2"), ("192.0.2.7", "::ffff:192.0.2.7")] {
            throttle.succeeded(now, attempt_from(first, 1, 1));
            throttle.failed(now, attempt_from(first, 2, 2));
            assert!(
                throttle.check(now, attempt_from(changed, 3, 3)).is_err(),
                "an unknown device"
            );
            throttle.check(now, attempt_from(changed, 1, 1)).unwrap();
        }
    }
}
