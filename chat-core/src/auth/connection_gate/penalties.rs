//! Penalties: the times for which the gate rejects sources that have misbehaved.

use std::time::{Duration, Instant};

use crate::auth::source::SourceKey;
use crate::rate::{Decaying, Table};

/// Misbehaviour of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Offence {
    /// A login of the client was denied, for example because of a wrong password.
    AuthFailed,
    /// The client violated the protocol before login, or sent an invalid SC1 record at any time.
    Malformed,
    /// The client did not complete the handshake or the login within the deadline.
    TimedOut,
}

/// Penalties for offences. They add up; as with `PerSourcePenalties` in OpenSSH, they have no
/// effect until the sum reaches `min`. Then the gate rejects the source until the whole sum has
/// passed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PenaltyOptions {
    /// Penalty for [`Offence::AuthFailed`]. Default 5 s.
    pub auth_failed: Duration,
    /// Penalty for [`Offence::Malformed`]. Default 10 s.
    pub malformed: Duration,
    /// Penalty for [`Offence::TimedOut`]. Default 10 s.
    pub timed_out: Duration,
    /// Sum from which the gate rejects the source. Default 15 s.
    pub min: Duration,
    /// Maximum of the sum. Default 600 s.
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
    /// Returns options without penalties, for tests and benchmarks of other code.
    #[must_use]
    pub fn danger_none() -> Self {
        Self {
            max: Duration::ZERO,
            ..Self::default()
        }
    }

    fn penalty_for(&self, offence: Offence) -> Duration {
        match offence {
            Offence::AuthFailed => self.auth_failed,
            Offence::Malformed => self.malformed,
            Offence::TimedOut => self.timed_out,
        }
    }
}

/// Penalties of all sources.
#[derive(Debug)]
pub(super) struct Penalties {
    options: PenaltyOptions,
    table: Table<SourceKey, Penalty>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Penalty {
    /// Time at which the sum has passed; `None` before the first offence.
    until: Option<Instant>,
    /// True once the sum has reached the minimum.
    enforced: bool,
}

impl Decaying for Penalty {
    fn remaining(&self, now: Instant) -> Duration {
        self.until
            .map_or(Duration::ZERO, |until| until.saturating_duration_since(now))
    }
}

impl Penalties {
    pub(super) fn new(options: PenaltyOptions, max_entries: usize) -> Self {
        Self {
            options,
            table: Table::new(max_entries),
        }
    }

    /// Returns the remaining time of the penalty as an error if the gate must reject the source.
    pub(super) fn check(&self, now: Instant, source: SourceKey) -> Result<(), Duration> {
        source.with_site().try_for_each(|key| match self.table.get(&key) {
            Some(penalty) if penalty.enforced && !penalty.remaining(now).is_zero() => Err(penalty.remaining(now)),
            _ => Ok(()),
        })
    }

    pub(super) fn add(&mut self, now: Instant, source: SourceKey, offence: Offence) {
        let Self { options, table } = self;
        if options.max.is_zero() {
            return;
        }
        for key in source.with_site() {
            let penalty = table.entry(now, key);
            let before = penalty.remaining(now);
            let added = options.penalty_for(offence) / key.factor();
            let sum = before.saturating_add(added).min(options.max);
            penalty.enforced = (penalty.enforced && !before.is_zero()) || sum >= options.min;
            penalty.until = now.checked_add(sum);
        }
    }

    pub(super) fn len(&self) -> usize {
        self.table.len()
    }
}
