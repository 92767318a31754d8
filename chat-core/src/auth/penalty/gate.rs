//! [`ConnectionGate`] and the [`ConnectionPermit`] it hands out.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::ConnectionLimits;
use super::penalties::{Offence, Penalties};
use crate::auth::source::SourceKey;
use crate::model::Source;
use crate::rate::{Bucket, Table};
use crate::sync::{Mutex, MutexGuard};

/// Why a connection is closed as soon as it is accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The source misbehaved; it may come back after this time.
    #[error("source is penalised for another {} s", .0.as_secs())]
    Penalised(Duration),
    /// The source connects too often; it may come back after this time.
    #[error("source connects too often")]
    TooFast(Duration),
    /// The source has as many connections as it may have.
    #[error("too many connections of this source")]
    SourceFull,
    /// The node has as many connections before login as it may have.
    #[error("too many connections before login")]
    NodeFull,
    /// The node has many connections before login, and chance hit this one.
    #[error("dropped early: many connections before login")]
    EarlyDrop,
}

/// How full a gate is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct GateStats {
    /// Connections before login.
    pub unauthenticated: u32,
    /// Connections after login.
    pub authenticated: u32,
    /// Sources with a connection.
    pub sources: usize,
    /// Sources with a penalty, enforced or not, some of them over already.
    pub penalties: usize,
}

/// Decides about each new connection, counts those that are admitted, and remembers who misbehaved.
///
/// Clones share one state. Memory is bounded: counters exist only for sources with open connections, rates and penalties are
/// in tables of fixed capacity. Time and the seed of its chance come as arguments.
///
/// ```text
/// admit ──► permit, before login ── authenticate ──► permit, after login ── drop ──► not counted any more
///   └─► Refusal              └──────────────────── drop ────────────────────────┘
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
    chance: SplitMix64,
    total: Counts,
    /// Sources with at least one connection.
    sources: HashMap<SourceKey, Counts>,
    rates: Table<SourceKey, Bucket>,
    penalties: Penalties,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Counts {
    unauthenticated: u32,
    authenticated: u32,
}

impl ConnectionGate {
    /// An empty gate. `seed` should be unpredictable outside of tests.
    #[must_use]
    pub fn new(limits: ConnectionLimits, seed: u64) -> Self {
        let state = State {
            chance: SplitMix64(seed),
            total: Counts::default(),
            sources: HashMap::new(),
            rates: Table::new(limits.table_entries),
            penalties: Penalties::new(limits.penalties.clone(), limits.table_entries),
        };
        Self {
            shared: Arc::new(Shared {
                limits,
                state: Mutex::new(state),
            }),
        }
    }

    /// Lets a new connection in, which counts as not logged in until [`ConnectionPermit::authenticate`].
    ///
    /// # Errors
    /// [`Refusal`]: close it without a word; nothing was counted.
    pub fn admit(&self, now: Instant, source: Source) -> Result<ConnectionPermit, Refusal> {
        let limits = &self.shared.limits;
        let source = SourceKey::from(source);
        let exempt = self.shared.exempts(source);
        let mut state = self.shared.state();
        if !exempt {
            state.check_source(now, source, limits)?;
        }
        let open = state.total.unauthenticated;
        if open >= limits.unauthenticated {
            return Err(Refusal::NodeFull);
        }
        if state.chance.percent() < early_drop_chance(limits, open) {
            return Err(Refusal::EarlyDrop);
        }
        if !exempt {
            state.rates.entry(now, source).add(now, &limits.new_per_source);
        }
        state.total.unauthenticated += 1;
        state.sources.entry(source).or_default().unauthenticated += 1;
        drop(state);
        Ok(ConnectionPermit {
            shared: Arc::clone(&self.shared),
            source,
            authenticated: false,
        })
    }

    /// Remembers that a source misbehaved.
    pub fn penalise(&self, now: Instant, source: Source, offence: Offence) {
        self.shared.state().penalties.add(now, source.into(), offence);
    }

    /// How full the gate is.
    #[must_use]
    pub fn stats(&self) -> GateStats {
        let state = self.shared.state();
        GateStats {
            unauthenticated: state.total.unauthenticated,
            authenticated: state.total.authenticated,
            sources: state.sources.len(),
            penalties: state.penalties.len(),
        }
    }
}

impl State {
    /// What a source is held to, as far as it is known before its connection counts.
    fn check_source(&mut self, now: Instant, source: SourceKey, limits: &ConnectionLimits) -> Result<(), Refusal> {
        self.penalties.check(now, source).map_err(Refusal::Penalised)?;
        let rate = self.rates.get(&source).copied().unwrap_or_default();
        rate.check(now, &limits.new_per_source).map_err(Refusal::TooFast)?;
        let here = self.sources.get(&source).copied().unwrap_or_default();
        if here.unauthenticated >= limits.unauthenticated_per_source {
            return Err(Refusal::SourceFull);
        }
        Ok(())
    }
}

impl Shared {
    fn exempts(&self, source: SourceKey) -> bool {
        self.limits.exempt_loopback && source.is_loopback()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }
}

/// A counted connection, owned by its task; dropping it ends the count.
#[derive(Debug)]
#[must_use = "dropping a permit ends its count"]
pub struct ConnectionPermit {
    shared: Arc<Shared>,
    source: SourceKey,
    authenticated: bool,
}

impl ConnectionPermit {
    /// The connection logs in: it counts among those that have from now on. Once is enough.
    ///
    /// # Errors
    /// [`Refusal::SourceFull`]: the source has as many as it may have; the connection still counts as not logged in.
    pub fn authenticate(&mut self) -> Result<(), Refusal> {
        if self.authenticated {
            return Ok(());
        }
        let mut state = self.shared.state();
        let State { sources, total, .. } = &mut *state;
        let here = sources.entry(self.source).or_default();
        if here.authenticated >= self.shared.limits.authenticated_per_source && !self.shared.exempts(self.source) {
            return Err(Refusal::SourceFull);
        }
        for counts in [here, total] {
            counts.unauthenticated = counts.unauthenticated.saturating_sub(1);
            counts.authenticated += 1;
        }
        self.authenticated = true;
        Ok(())
    }

    /// The login failed: the connection counts among those that have not logged in again.
    pub fn unauthenticate(&mut self) {
        if !std::mem::take(&mut self.authenticated) {
            return;
        }
        let mut state = self.shared.state();
        let State { sources, total, .. } = &mut *state;
        let here = sources.entry(self.source).or_default();
        for counts in [here, total] {
            counts.authenticated = counts.authenticated.saturating_sub(1);
            counts.unauthenticated += 1;
        }
    }

    /// Remembers that this connection's source misbehaved.
    pub fn penalise(&self, now: Instant, offence: Offence) {
        self.shared.state().penalties.add(now, self.source, offence);
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        let mut state = self.shared.state();
        let State { sources, total, .. } = &mut *state;
        let authenticated = self.authenticated;
        let leave = |counts: &mut Counts| {
            let count = if authenticated {
                &mut counts.authenticated
            } else {
                &mut counts.unauthenticated
            };
            *count = count.saturating_sub(1);
        };
        leave(total);
        if let Entry::Occupied(mut here) = sources.entry(self.source) {
            leave(here.get_mut());
            if *here.get() == Counts::default() {
                here.remove();
            }
        }
    }
}

/// The chance in percent that one more connection is refused when `open` are open: OpenSSH's `MaxStartups` start:rate:full.
fn early_drop_chance(limits: &ConnectionLimits, open: u32) -> u64 {
    let full = u64::from(limits.unauthenticated);
    let start = full * u64::from(limits.early_drop_from.min(100)) / 100;
    let open = u64::from(open);
    if open < start || full <= start {
        return 0;
    }
    let chance = u64::from(limits.early_drop_chance.min(100));
    chance + (100 - chance) * (open - start) / (full - start)
}

/// Steele, Lea and Flood's generator: not for secrets, enough for a die.
#[derive(Debug)]
struct SplitMix64(u64);

impl SplitMix64 {
    /// 0 to 99.
    fn percent(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % 100
    }
}
