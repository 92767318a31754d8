//! How often one user may do what disturbs others, or costs much. Per node; time is the monotonic clock.

use std::time::Duration;

use super::config::EngineConfig;
use super::error::CommandError;
use crate::model::{ReplyCode, UserId};
use crate::rate::{Bucket, Rate, Table};
use crate::sync::Mutex;
use crate::time::now;

/// Users remembered for each limit; about 60 bytes each.
const USERS: usize = 65_536;

/// One limit, for every user.
#[derive(Debug)]
pub(crate) struct UserLimit {
    limit: Rate,
    users: Mutex<Table<UserId, Bucket>>,
}

impl UserLimit {
    fn new(limit: Rate) -> Self {
        Self {
            limit,
            users: Mutex::new(Table::new(USERS)),
        }
    }

    /// Charges one, if there is one left.
    pub(crate) fn charge(&self, user: UserId) -> Result<(), CommandError> {
        let now = now();
        let mut users = self.users.lock();
        let bucket = users.get(&user).copied().unwrap_or_default();
        bucket.check(now, &self.limit).map_err(|wait| {
            CommandError::new(ReplyCode::LimitExceeded, "you have done that too often; wait a while").retry_after(wait)
        })?;
        users.entry(now, user).add(now, &self.limit);
        Ok(())
    }

    /// Charges one in any case, and says how long to wait: a limit that delays.
    pub(crate) fn take(&self, user: UserId) -> Duration {
        if self.limit.per.is_zero() {
            return Duration::ZERO;
        }
        let now = now();
        let mut users = self.users.lock();
        let bucket = users.entry(now, user);
        let wait = bucket.check(now, &self.limit).err().unwrap_or_default();
        bucket.add(now, &self.limit);
        wait
    }

    /// The same, but nothing is charged if that would be longer than `most`: then says how long as an error.
    pub(crate) fn take_within(&self, user: UserId, most: Duration) -> Result<Duration, Duration> {
        let wait = self.take(user);
        if wait > most {
            self.take_back(user);
            return Err(wait);
        }
        Ok(wait)
    }

    /// Nothing was done after all.
    pub(crate) fn take_back(&self, user: UserId) {
        let mut users = self.users.lock();
        if let Some(bucket) = users.get_mut(&user) {
            bucket.take_back(now(), &self.limit);
        }
    }
}

/// All of them.
#[derive(Debug)]
pub(crate) struct UserLimits {
    pub(crate) group_creations: UserLimit,
    pub(crate) friend_requests: UserLimit,
    pub(crate) invitations: UserLimit,
    pub(crate) direct_openings: UserLimit,
    pub(crate) messages: UserLimit,
    pub(crate) pages: UserLimit,
}

impl UserLimits {
    pub(crate) fn new(config: &EngineConfig) -> Self {
        Self {
            group_creations: UserLimit::new(config.group_creation_rate),
            friend_requests: UserLimit::new(config.friend_request_rate),
            invitations: UserLimit::new(config.invitation_rate),
            direct_openings: UserLimit::new(config.direct_opening_rate),
            messages: UserLimit::new(config.message_rate),
            pages: UserLimit::new(config.page_rate),
        }
    }
}
