//! Penalties: time a source has to stay away for what it did.

use std::time::{Duration, Instant};

use crate::auth::source::SourceKey;
use crate::rate::{Decaying, Table};

/// What a connection did wrong before it had logged in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Offence {
    /// A wrong password, token or invitation.
    AuthFailed,
    /// Bytes that are not the protocol.
    Malformed,
    /// No handshake or login within its deadline.
    TimedOut,
}

/// What offences cost. They add up; as in OpenSSH's `PerSourcePenalties`, nothing happens until the sum reaches `min`, then
/// the source is refused until all of it has passed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PenaltyOptions {
    /// For [`Offence::AuthFailed`]. Default 5 s.
    pub auth_failed: Duration,
    /// For [`Offence::Malformed`]. Default 10 s.
    pub malformed: Duration,
    /// For [`Offence::TimedOut`]. Default 10 s.
    pub timed_out: Duration,
    /// Sum from which on the source is refused. Default 15 s.
    pub min: Duration,
    /// Most that adds up. Default 600 s.
    pub max: Duration,
}

impl Default for PenaltyOptions {
    fn default() -> Self {
        Self {
            auth_failed: Duration::from_secs(5),
            malformed: Duration::from_secs(10),
            timed_out: Duration::from_secs(10),
            min: Duration::from_secs(15),
            max: Duration::from_secs(600),
        }
    }
}

impl PenaltyOptions {
    /// No penalties, for tests and benchmarks of other things.
    #[must_use]
    pub fn danger_none() -> Self {
        Self {
            max: Duration::ZERO,
            ..Self::default()
        }
    }

    fn cost(&self, offence: Offence) -> Duration {
        match offence {
            Offence::AuthFailed => self.auth_failed,
            Offence::Malformed => self.malformed,
            Offence::TimedOut => self.timed_out,
        }
    }
}

/// The penalties of all sources.
#[derive(Debug)]
pub(super) struct Penalties {
    options: PenaltyOptions,
    table: Table<SourceKey, Penalty>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Penalty {
    until: Option<Instant>,
    /// The sum has reached the minimum.
    enforced: bool,
}

impl Decaying for Penalty {
    fn remaining(&self, now: Instant) -> Duration {
        self.until
            .map_or(Duration::ZERO, |until| until.saturating_duration_since(now))
    }
}

impl Penalties {
    pub(super) fn new(options: PenaltyOptions, entries: usize) -> Self {
        Self {
            options,
            table: Table::new(entries),
        }
    }

    /// How long the source has to stay away yet.
    pub(super) fn check(&self, now: Instant, source: SourceKey) -> Result<(), Duration> {
        match self.table.get(&source) {
            Some(penalty) if penalty.enforced && !penalty.remaining(now).is_zero() => Err(penalty.remaining(now)),
            _ => Ok(()),
        }
    }

    pub(super) fn add(&mut self, now: Instant, source: SourceKey, offence: Offence) {
        let Self { options, table } = self;
        if options.max.is_zero() {
            return;
        }
        let penalty = table.entry(now, source);
        let before = penalty.remaining(now);
        let sum = before.saturating_add(options.cost(offence)).min(options.max);
        penalty.enforced = (penalty.enforced && !before.is_zero()) || sum >= options.min;
        penalty.until = now.checked_add(sum);
    }

    pub(super) fn len(&self) -> usize {
        self.table.len()
    }
}
