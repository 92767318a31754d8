//! Penalties: durations that offences add to sums of their source. A sum that is large enough makes
//! the gate reject the connections or logins of the source until the sum is 0.

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
    /// The client did not complete the handshake, `Hello` or the login within its deadline.
    TimedOut,
}

/// Penalties for offences. Each offence adds its penalty, a duration, to one of two sums of the
/// source: [`Malformed`](Offence::Malformed) and [`TimedOut`](Offence::TimedOut) to that of its
/// connections, [`AuthFailed`](Offence::AuthFailed) to that of its logins. A sum decreases as time
/// passes. As with `PerSourcePenalties` in OpenSSH, it has no effect until it reaches `min`, and
/// then has an effect until it is 0: the first sum makes the gate reject the connections of the
/// source, and the second its logins without a device token, which are answered with the remaining
/// time.
///
/// Many users may share an address. Therefore, sums have no effect on a source that has an open
/// session, and an offence adds nothing while its source has an open session other than that of the
/// offender. Penalties do not reject the connections of a known source, from which a login has
/// succeeded: others at its address must not be able to lock out the devices that are usually
/// there. The limits on the rate and the number of connections still apply to it.
///
/// An offence of an IPv6 source also adds an eighth of its penalty to the corresponding sum, of
/// connections or of logins, of the /48 network that contains the source. That sum has the same
/// effect on all sources in the network.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PenaltyOptions {
    /// Penalty for [`Offence::AuthFailed`]. Default 5 s.
    pub auth_failed: Duration,
    /// Penalty for [`Offence::Malformed`]. Default 10 s.
    pub malformed: Duration,
    /// Penalty for [`Offence::TimedOut`]. Default 10 s.
    pub timed_out: Duration,
    /// Value from which a sum has an effect. Default 15 s.
    pub min: Duration,
    /// Maximum of each sum; 0 disables penalties. Default 600 s.
    pub max: Duration,
    /// Time for which a source is known after a login from it has succeeded. Default 30 days.
    pub known_source_duration: Duration,
}

impl Default for PenaltyOptions {
    fn default() -> Self {
        Self {
            auth_failed: Duration::from_secs(5),
            malformed: Duration::from_secs(10),
            timed_out: Duration::from_secs(10),
            min: Duration::from_secs(15),
            max: Duration::from_secs(600),
            known_source_duration: Duration::from_hours(30 * 24),
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
    /// Sums for the offences that reject connections.
    connections: Table<SourceKey, PenaltySum>,
    /// Sums for the offences that reject logins.
    logins: Table<SourceKey, PenaltySum>,
    known_sources: Table<SourceKey, KnownSource>,
}

/// A source from which a login has succeeded.
#[derive(Debug, Clone, Copy, Default)]
struct KnownSource {
    /// Time until which the source is known; `None` if it is not.
    until: Option<Instant>,
}

impl Decaying for KnownSource {
    fn remaining(&self, now: Instant) -> Duration {
        remaining_until(self.until, now)
    }
}

/// Sum of the penalties of one source, or of one IPv6 /48 network.
#[derive(Debug, Clone, Copy, Default)]
struct PenaltySum {
    /// Time at which the sum is 0 again; `None` before the first offence.
    until: Option<Instant>,
    /// True if the sum has reached the minimum since it was last 0. Meaningless once `until` has
    /// passed.
    enforced: bool,
}

impl PenaltySum {
    /// Returns the time until the sum is 0, or `None` if it has no effect.
    fn enforced_for(&self, now: Instant) -> Option<Duration> {
        let remaining = self.remaining(now);
        (self.enforced && !remaining.is_zero()).then_some(remaining)
    }
}

impl Decaying for PenaltySum {
    fn remaining(&self, now: Instant) -> Duration {
        remaining_until(self.until, now)
    }
}

fn remaining_until(until: Option<Instant>, now: Instant) -> Duration {
    until.map_or(Duration::ZERO, |until| until.saturating_duration_since(now))
}

impl Penalties {
    pub(super) fn new(options: PenaltyOptions, max_entries: usize) -> Self {
        Self {
            options,
            connections: Table::new(max_entries),
            logins: Table::new(max_entries),
            known_sources: Table::new(max_entries),
        }
    }

    /// Returns the remaining time for which connections of the source are rejected, or `None` if
    /// they are not. The caller makes the exceptions: for loopback, if it is exempt, for known
    /// sources, and for sources with an open session.
    pub(super) fn of_connections(&self, now: Instant, source: SourceKey) -> Option<Duration> {
        Self::enforced_in(&self.connections, now, source)
    }

    /// Returns the remaining time for which logins of the source are rejected, or `None` if they
    /// are not. The callers make the exceptions: for loopback, if it is exempt, for sources with
    /// another open session, and for logins with a device token or a session token.
    pub(super) fn of_logins(&self, now: Instant, source: SourceKey) -> Option<Duration> {
        Self::enforced_in(&self.logins, now, source)
    }

    /// Returns the time until the sum of the source is 0 or, if that sum has no effect, the sum of
    /// the network around it; `None` if neither has an effect.
    fn enforced_in(table: &Table<SourceKey, PenaltySum>, now: Instant, source: SourceKey) -> Option<Duration> {
        source.with_site().find_map(|key| table.get(&key)?.enforced_for(now))
    }

    /// Records that a login from the source has succeeded.
    pub(super) fn add_known(&mut self, now: Instant, source: SourceKey) {
        let until = now.checked_add(self.options.known_source_duration);
        self.known_sources.entry(now, source).until = until;
    }

    /// Returns whether a login from the source has succeeded lately, so that penalties do not apply
    /// to its connections.
    pub(super) fn is_known(&self, now: Instant, source: SourceKey) -> bool {
        let known = self.known_sources.get(&source);
        known.is_some_and(|known| !known.remaining(now).is_zero())
    }

    /// Adds the penalty for an offence to the sums of the source and of the network around it. Adds
    /// nothing if penalties are disabled, or if the offence concerns connections and the source is
    /// known. Returns the time for which the source is penalised if that begins now, and `None` if
    /// it is not penalised, or was before.
    pub(super) fn add(&mut self, now: Instant, source: SourceKey, offence: Offence) -> Option<Duration> {
        if self.options.max.is_zero() {
            return None;
        }
        let table = match offence {
            Offence::AuthFailed => &mut self.logins,
            Offence::Malformed | Offence::TimedOut if self.is_known(now, source) => return None,
            Offence::Malformed | Offence::TimedOut => &mut self.connections,
        };
        let options = &self.options;
        let before = Self::enforced_in(table, now, source);
        for key in source.with_site() {
            let penalties = table.entry(now, key);
            let remaining = penalties.remaining(now);
            let added = options.penalty_for(offence) / key.limit_factor();
            let sum = remaining.saturating_add(added).min(options.max);
            penalties.enforced = (penalties.enforced && !remaining.is_zero()) || sum >= options.min;
            penalties.until = now.checked_add(sum);
        }
        Self::enforced_in(table, now, source).filter(|_| before.is_none())
    }

    /// Returns the number of stored sums, including those without effect.
    pub(super) fn sum_count(&self) -> usize {
        self.connections.len() + self.logins.len()
    }
}
