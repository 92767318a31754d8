//! [`QueryLanes`]: fair queuing of the queries of users. At most one query of each user on this
//! node reads the store at a time.
//!
//! A store serves reads in the order in which they arrive. Since a node gives it at most one query
//! of each user at a time, the queries of a user who asks for much wait for each other, in the lane
//! of this user, and hardly delay other users.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};
use tokio::time::{sleep, timeout_at};

use super::error::CommandError;
use super::limits::UserLimits;
use crate::model::{Caller, Origin, UserId};
use crate::sync::Mutex;
use crate::time::now;

/// Number of rows that each query is charged for, in addition to those of
/// [`add_rows`](QueryPermit::add_rows). This is less than a query costs: passing it to the store
/// and back takes longer than reading this number of rows. A higher charge would delay a client
/// that starts, which sends many small queries, and the lanes already keep these queries from
/// delaying other users.
pub(super) const ROWS_PER_QUERY: u32 = 5;

/// Number of rows that a conversation in an answer is charged for: it is read with the user's
/// membership, cursor and counts, and with the peer or the group.
pub(super) const ROWS_PER_CONVERSATION: usize = 4;

/// Queues of queries that wait for their turn to read the store: a lane for each session, and
/// behind these a lane for each user. So the sessions of a user take turns, and one that asks for
/// much does not keep the queries of the others from being answered. The queries that an
/// application makes for a user count as those of one session, and so do those that operators make.
#[derive(Debug)]
pub(super) struct QueryLanes {
    sessions: Lanes<(UserId, Origin)>,
    users: Lanes<UserId>,
    limits: Arc<UserLimits>,
}

/// Permission for one query of a user to read the store. Dropping the permit charges the user for
/// the rows, and lets the next query of the user begin.
#[derive(Debug)]
#[must_use]
pub(super) struct QueryPermit {
    limits: Arc<UserLimits>,
    user: UserId,
    /// Number of rows that the user will be charged for.
    rows: u32,
    /// Dropped after the user was charged, so that the charge already delays the next query.
    _turns: (Turn<UserId>, Turn<(UserId, Origin)>),
}

impl QueryLanes {
    pub(super) fn new(limits: Arc<UserLimits>) -> Self {
        Self {
            sessions: Lanes::default(),
            users: Lanes::default(),
            limits,
        }
    }

    /// Waits until a query of the caller may read the store: until the earlier queries of the
    /// session have ended, the other sessions of the user have had their turns, and the user's rate
    /// of reads allows a query.
    ///
    /// # Errors
    /// `Busy`, if this would take until the deadline or longer.
    ///
    /// # Cancel safety
    /// If the future is dropped, the query loses its place.
    pub(super) async fn enter(&self, caller: Caller, deadline: Instant) -> Result<QueryPermit, CommandError> {
        let user = caller.user;
        let turns = async {
            let session = self.sessions.turn((user, caller.origin)).await;
            (self.users.turn(user).await, session)
        };
        let turns = timeout_at(deadline.into(), turns).await;
        let turns = turns.map_err(|_| CommandError::busy())?;
        let delay = self.limits.read_delay(user);
        if now() + delay >= deadline {
            return Err(CommandError::busy().retry_after(delay));
        }
        if !delay.is_zero() {
            sleep(delay).await;
        }
        Ok(QueryPermit {
            limits: Arc::clone(&self.limits),
            user,
            rows: ROWS_PER_QUERY,
            _turns: turns,
        })
    }
}

impl QueryPermit {
    /// Adds rows that the query reads to those that the user is charged for.
    pub(super) fn add_rows(&mut self, rows: usize) {
        self.rows = self.rows.saturating_add(u32::try_from(rows).unwrap_or(u32::MAX));
    }
}

impl Drop for QueryPermit {
    fn drop(&mut self) {
        self.limits.charge_read(self.user, self.rows);
    }
}

/// Lanes by key. A lane lets one query pass at a time, in the order in which they arrived, and
/// exists while it has a query.
#[derive(Debug)]
struct Lanes<K>(Arc<Mutex<LaneMap<K>>>);

type LaneMap<K> = HashMap<K, Arc<AsyncMutex<()>>>;

impl<K> Default for Lanes<K> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

/// Turn of a query in its lane. Dropping it ends the turn.
#[derive(Debug)]
struct Turn<K: Copy + Eq + Hash> {
    lanes: Arc<Mutex<LaneMap<K>>>,
    key: K,
    /// `None` while the query waits for its turn, and when the turn has ended.
    guard: Option<OwnedMutexGuard<()>>,
}

impl<K: Copy + Eq + Hash> Lanes<K> {
    async fn turn(&self, key: K) -> Turn<K> {
        let lane = Arc::clone(self.0.lock().entry(key).or_default());
        // The turn exists before the wait, so that dropping this future removes the lane if it is
        // empty then.
        let mut turn = Turn {
            lanes: Arc::clone(&self.0),
            key,
            guard: None,
        };
        turn.guard = Some(lane.lock_owned().await);
        turn
    }
}

impl<K: Copy + Eq + Hash> Drop for Turn<K> {
    fn drop(&mut self) {
        self.guard = None;
        let mut lanes = self.lanes.lock();
        // Without other clones, no query has or waits for a turn in the lane.
        if lanes.get(&self.key).is_some_and(|lane| Arc::strong_count(lane) == 1) {
            lanes.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures_util::FutureExt;

    use super::*;
    use crate::engine::EngineConfig;
    use crate::model::{DeviceId, SessionEpoch};
    use crate::rate::Rate;

    fn lanes(read_rate: Rate) -> QueryLanes {
        let config = EngineConfig {
            read_rate,
            ..EngineConfig::default()
        };
        QueryLanes::new(Arc::new(UserLimits::new(&config)))
    }

    fn caller(user: u64, device: u8) -> Caller {
        Caller::login(UserId(user), DeviceId([device; 16]), SessionEpoch(1))
    }

    fn is_empty(lanes: &QueryLanes) -> bool {
        lanes.sessions.0.lock().is_empty() && lanes.users.0.lock().is_empty()
    }

    #[tokio::test(start_paused = true)]
    async fn queries_of_one_user_wait_for_each_other_and_those_of_others_do_not() {
        let lanes = lanes(Rate::UNLIMITED);
        let deadline = now() + Duration::from_secs(5);
        let enter = |user, device| Box::pin(lanes.enter(caller(user, device), deadline));
        let first = enter(1, 1).await.unwrap();
        drop(enter(2, 1).await.unwrap());
        let mut second = enter(1, 1);
        let mut third = enter(1, 1);
        let mut other_device = enter(1, 2);
        for waiting in [&mut second, &mut third, &mut other_device] {
            assert!(waiting.now_or_never().is_none());
        }
        drop(first);
        // `second` now enters the lane of the user, behind the other device.
        assert!((&mut second).now_or_never().is_none());
        assert!((&mut third).now_or_never().is_none());
        drop(other_device.now_or_never().unwrap().unwrap());
        assert!((&mut third).now_or_never().is_none());
        drop(second.now_or_never().unwrap().unwrap());
        drop(third.now_or_never().unwrap().unwrap());
        assert!(is_empty(&lanes), "empty lanes are removed");
    }

    #[tokio::test(start_paused = true)]
    async fn dropped_query_leaves_its_lanes() {
        let lanes = lanes(Rate::UNLIMITED);
        let deadline = now() + Duration::from_secs(5);
        let first = lanes.enter(caller(1, 1), deadline).await.unwrap();
        let mut waiting: Vec<_> = [1, 1, 2]
            .map(|device| Box::pin(lanes.enter(caller(1, device), deadline)))
            .into();
        for query in &mut waiting {
            assert!(query.now_or_never().is_none());
        }
        drop(first);
        drop(waiting);
        assert!(is_empty(&lanes));
    }

    #[tokio::test(start_paused = true)]
    async fn query_that_cannot_start_before_its_deadline_is_refused() {
        let lanes = lanes(Rate::UNLIMITED);
        let started = now();
        let deadline = started + Duration::from_secs(5);
        let _first = lanes.enter(caller(1, 1), deadline).await.unwrap();
        let refused = lanes.enter(caller(1, 1), deadline).await.unwrap_err();
        assert_eq!(refused.code, crate::model::ReplyCode::Busy);
        assert!(refused.retry_after.is_some());
        assert_eq!(now(), deadline);
    }

    #[tokio::test(start_paused = true)]
    async fn rows_of_a_query_delay_the_next_query_of_the_user() {
        let second = Duration::from_secs(1);
        let lanes = lanes(Rate::new(100, second).with_burst(200));
        let query = async |user, rows| {
            let started = now();
            let mut permit = lanes.enter(caller(user, 1), started + 5 * second).await?;
            permit.add_rows(rows);
            Ok::<_, CommandError>(now() - started)
        };
        // With `ROWS_PER_QUERY`, 300 rows: 100 beyond the burst, from which the rate recovers in a
        // second.
        assert_eq!(query(1, 295).await, Ok(Duration::ZERO));
        let delay = query(1, 10_000).await.unwrap();
        assert!((second..second + second / 10).contains(&delay), "{delay:?}");
        // However many rows a query reads, it delays the next one by two seconds at most.
        let delay = query(1, 10_000).await.unwrap();
        assert!((2 * second..2 * second + second / 10).contains(&delay), "{delay:?}");
        assert_eq!(query(2, 0).await, Ok(Duration::ZERO));
        let deadline = now() + second;
        let refused = lanes.enter(caller(1, 1), deadline).await.unwrap_err();
        assert!(refused.retry_after.is_some_and(|delay| delay > second));
    }
}
