//! [`ConnectionGate`] and the [`ConnectionPermit`]s that it issues.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::ConnectionLimits;
use super::penalties::{Offence, Penalties};
use crate::auth::source::{SourceKey, SourceTable};
use crate::model::Source;
use crate::sync::{Mutex, MutexGuard};

/// Reason why the gate refuses a new connection, or the login of an admitted one. What is said of a
/// source may also apply to the IPv6 /48 network that contains it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectionRefused {
    /// The source is penalised for this remaining time.
    #[error("the source is penalised for another {} s", .0.as_secs())]
    Penalised(Duration),
    /// The source exceeds its rate of connections, and may connect again after this time.
    #[error("the source connects too often")]
    TooFast(Duration),
    /// The source has its maximum number of connections before login, or after login.
    #[error("the source has too many connections")]
    SourceFull,
    /// The node has its maximum number of connections before login.
    #[error("too many connections have not logged in")]
    NodeFull,
    /// The node has many connections before login and rejected this one at random.
    #[error("refused at random, because many connections have not logged in")]
    EarlyDrop,
}

/// Numbers of connections and sources of a gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct GateStats {
    /// Number of connections before login.
    pub unauthenticated: u32,
    /// Number of connections after login.
    pub authenticated: u32,
    /// Number of sources with a connection.
    pub sources: usize,
    /// Number of stored sums of penalties, for connections and for logins, of sources and of IPv6
    /// /48 networks. Includes sums that have expired or are too small to have an effect.
    pub penalties: usize,
}

/// Admission control of connections: admits or rejects each new connection, counts the admitted
/// ones, and remembers the sources that misbehaved and those that logged in.
///
/// Clones share one state. Memory is bounded: counters exist only for sources with open
/// connections, and rates and penalties are in tables of fixed capacity. Time and the random seed
/// are arguments.
///
/// ```text
/// admit ──► permit, before login ── count_as_authenticated ──► permit, after login
///   │                 │                                                  │
///   │                 └───────────────────── drop ───────────────────────┴──► not counted
///   └─► ConnectionRefused
/// ```
#[derive(Debug, Clone)]
pub struct ConnectionGate {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    limits: ConnectionLimits,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    random: SplitMix64,
    /// Counters of all connections.
    total: Counts,
    /// Counters of the sources with at least one connection, and of the IPv6 /48 networks around
    /// them.
    sources: HashMap<SourceKey, Counts>,
    rates: SourceTable,
    penalties: Penalties,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Counts {
    unauthenticated: u32,
    authenticated: u32,
}

impl ConnectionGate {
    /// Creates an empty gate. Outside of tests, `seed` should be unpredictable.
    #[must_use]
    pub fn new(limits: ConnectionLimits, seed: u64) -> Self {
        let state = State {
            random: SplitMix64(seed),
            total: Counts::default(),
            sources: HashMap::new(),
            rates: SourceTable::new(
                limits.connection_rate_per_source,
                limits.exempt_loopback,
                limits.max_table_entries,
            ),
            penalties: Penalties::new(limits.penalties.clone(), limits.max_table_entries),
        };
        Self {
            shared: Arc::new(Shared {
                limits,
                state: Mutex::new(state),
            }),
        }
    }

    /// Admits a new connection, which counts as before login until
    /// [`ConnectionPermit::count_as_authenticated`].
    ///
    /// # Errors
    /// [`ConnectionRefused`]: nothing was counted; the caller closes the connection without an
    /// answer.
    pub fn admit(&self, now: Instant, source: Source) -> Result<ConnectionPermit, ConnectionRefused> {
        let limits = &self.shared.limits;
        let source = SourceKey::from(source);
        let is_exempt = self.shared.exempts(source);
        let mut state = self.shared.state();
        if !is_exempt {
            state.check_source(now, source, limits)?;
        }
        let open = state.total.unauthenticated;
        if open >= limits.max_unauthenticated {
            return Err(ConnectionRefused::NodeFull);
        }
        if state.random.percent() < early_drop_chance(limits, open) {
            return Err(ConnectionRefused::EarlyDrop);
        }
        if !is_exempt {
            state.rates.charge(now, source);
        }
        state.total.unauthenticated += 1;
        for key in source.with_site() {
            state.sources.entry(key).or_default().unauthenticated += 1;
        }
        drop(state);
        Ok(ConnectionPermit {
            shared: Arc::clone(&self.shared),
            source,
            authenticated: false,
        })
    }

    /// Adds the penalty for an offence to those of a source, except in the cases that
    /// [`PenaltyOptions`](super::PenaltyOptions) lists, such as an open session from the source.
    /// Logs a warning when penalties take effect.
    pub fn penalise(&self, now: Instant, source: Source, offence: Offence) {
        self.shared.penalise(now, source.into(), offence, 0);
    }

    /// Returns the numbers of connections and sources.
    #[must_use]
    pub fn stats(&self) -> GateStats {
        let state = self.shared.state();
        GateStats {
            unauthenticated: state.total.unauthenticated,
            authenticated: state.total.authenticated,
            sources: state.sources.keys().filter(|key| key.limit_factor() == 1).count(),
            penalties: state.penalties.sum_count(),
        }
    }
}

impl State {
    /// Checks a new connection against the limits of its source: penalty, rate, and number of
    /// connections before login.
    fn check_source(
        &mut self,
        now: Instant,
        source: SourceKey,
        limits: &ConnectionLimits,
    ) -> Result<(), ConnectionRefused> {
        if self.counts(source).authenticated == 0
            && !self.penalties.is_known(now, source)
            && let Some(remaining) = self.penalties.of_connections(now, source)
        {
            return Err(ConnectionRefused::Penalised(remaining));
        }
        self.rates.check(now, source).map_err(ConnectionRefused::TooFast)?;
        let is_full = |key: SourceKey| {
            let max = limits.max_unauthenticated_per_source.saturating_mul(key.limit_factor());
            self.counts(key).unauthenticated >= max
        };
        if source.with_site().any(is_full) {
            return Err(ConnectionRefused::SourceFull);
        }
        Ok(())
    }

    fn counts(&self, source: SourceKey) -> Counts {
        self.sources.get(&source).copied().unwrap_or_default()
    }

    /// Changes the counts of the node, of a source and of the network around it. Forgets sources
    /// without connections.
    fn change_counts(&mut self, source: SourceKey, change: impl Fn(&mut Counts)) {
        change(&mut self.total);
        for key in source.with_site() {
            if let Entry::Occupied(mut counts) = self.sources.entry(key) {
                change(counts.get_mut());
                if *counts.get() == Counts::default() {
                    counts.remove();
                }
            }
        }
    }
}

impl Shared {
    /// Returns whether the limits per source do not apply to `source`.
    fn exempts(&self, source: SourceKey) -> bool {
        self.limits.exempt_loopback && source.is_loopback()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// Adds the penalty for an offence, unless the source has open sessions other than those of the
    /// offender, whose number is `own_sessions`. Logs when the penalties of a source that is not
    /// exempt take effect, but not when they are extended.
    fn penalise(&self, now: Instant, source: SourceKey, offence: Offence, own_sessions: u32) {
        let mut state = self.state();
        let open = state.sources.get(&source);
        if open.is_some_and(|open| open.authenticated > own_sessions) {
            return;
        }
        let enforced = state.penalties.add(now, source, offence);
        drop(state);
        let Some(wait) = enforced.filter(|_| !self.exempts(source)) else {
            return;
        };
        let seconds = wait.as_secs();
        match offence {
            Offence::AuthFailed => {
                tracing::warn!(
                    %source,
                    seconds,
                    "logins without a device token are refused: too many logins have failed"
                );
            }
            Offence::Malformed | Offence::TimedOut => {
                tracing::warn!(
                    %source,
                    seconds,
                    ?offence,
                    "connections are refused: too many have violated the protocol or missed a deadline"
                );
            }
        }
    }
}

/// A counted connection, owned by its task. When the permit is dropped, the connection is no longer
/// counted.
#[derive(Debug)]
#[must_use = "a connection is counted only until its permit is dropped"]
pub struct ConnectionPermit {
    shared: Arc<Shared>,
    source: SourceKey,
    /// True if the connection counts as after login.
    authenticated: bool,
}

impl ConnectionPermit {
    /// Counts the connection as after login. Does nothing if it is counted so already.
    ///
    /// # Errors
    /// [`ConnectionRefused::SourceFull`]: the source has its maximum number of connections after
    /// login; this connection still counts as before login.
    pub fn count_as_authenticated(&mut self) -> Result<(), ConnectionRefused> {
        if self.authenticated {
            return Ok(());
        }
        let mut state = self.shared.state();
        let max = self.shared.limits.max_authenticated_per_source;
        let is_full = |key: SourceKey| state.counts(key).authenticated >= max.saturating_mul(key.limit_factor());
        if !self.shared.exempts(self.source) && self.source.with_site().any(is_full) {
            return Err(ConnectionRefused::SourceFull);
        }
        state.change_counts(self.source, |counts| {
            counts.unauthenticated = counts.unauthenticated.saturating_sub(1);
            counts.authenticated += 1;
        });
        drop(state);
        self.authenticated = true;
        Ok(())
    }

    /// Counts the connection as before login again, because the login failed. Does nothing if it is
    /// counted so already.
    pub fn count_as_unauthenticated(&mut self) {
        if !std::mem::take(&mut self.authenticated) {
            return;
        }
        self.shared.state().change_counts(self.source, |counts| {
            counts.authenticated = counts.authenticated.saturating_sub(1);
            counts.unauthenticated += 1;
        });
    }

    /// Adds the penalty for an offence of this connection to those of its source, as
    /// [`ConnectionGate::penalise`] does. The session of this connection, if it has one, does not
    /// protect the source.
    pub fn penalise(&self, now: Instant, offence: Offence) {
        self.shared
            .penalise(now, self.source, offence, self.authenticated.into());
    }

    /// Records that a login of this connection succeeded, which makes its source a known one.
    pub fn record_login(&self, now: Instant) {
        self.shared.state().penalties.add_known(now, self.source);
    }

    /// Returns how long a login without a device token has to wait, because earlier logins from
    /// this source, or from the network around it, have failed. Returns `None` if it need not wait,
    /// for example because another session from this source is open.
    #[must_use]
    pub fn login_wait(&self, now: Instant) -> Option<Duration> {
        let state = self.shared.state();
        let open = state.sources.get(&self.source).copied().unwrap_or_default();
        if self.shared.exempts(self.source) || open.authenticated > u32::from(self.authenticated) {
            return None;
        }
        state.penalties.of_logins(now, self.source)
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        let authenticated = self.authenticated;
        self.shared.state().change_counts(self.source, |counts| {
            let count = if authenticated {
                &mut counts.authenticated
            } else {
                &mut counts.unauthenticated
            };
            *count = count.saturating_sub(1);
        });
    }
}

/// Returns the probability, in percent, that the gate rejects a connection while `open` connections
/// have not logged in. The formula is that of `MaxStartups start:rate:full` in OpenSSH.
fn early_drop_chance(limits: &ConnectionLimits, open: u32) -> u64 {
    let full = u64::from(limits.max_unauthenticated);
    let start = full * u64::from(limits.early_drop_from.min(100)) / 100;
    let open = u64::from(open);
    if open < start || full <= start {
        return 0;
    }
    let chance = u64::from(limits.early_drop_chance.min(100));
    chance + (100 - chance) * (open - start) / (full - start)
}

/// Random number generator SplitMix64 of Steele, Lea and Flood. Not for secrets.
#[derive(Debug)]
struct SplitMix64(u64);

impl SplitMix64 {
    /// Returns a random number from 0 to 99.
    fn percent(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % 100
    }
}
