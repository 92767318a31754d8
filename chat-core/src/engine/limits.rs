//! Per-user rate limits, each enforced by one node over all sessions that a user has there.

use std::sync::Arc;
use std::time::Duration;

use super::config::EngineConfig;
use super::error::CommandError;
use crate::model::{ReplyCode, UserId};
use crate::rate::{Bucket, Rate, Table};
use crate::sync::Mutex;
use crate::time::now;

/// Maximum number of users remembered for each limit; about 60 bytes each.
const MAX_USERS: usize = 65_536;

/// One rate, applied to each user.
#[derive(Debug)]
pub(crate) struct UserLimit {
    rate: Rate,
    users: Mutex<Table<UserId, Bucket>>,
}

impl UserLimit {
    fn new(rate: Rate) -> Self {
        Self {
            rate,
            users: Mutex::new(Table::new(MAX_USERS)),
        }
    }

    /// Charges one event, or refuses it.
    pub(crate) fn charge(self: &Arc<Self>, user: UserId) -> Result<Charge, CommandError> {
        let now = now();
        let mut users = self.users.lock();
        let bucket = users.get(&user).copied().unwrap_or_default();
        bucket.check(now, &self.rate).map_err(|wait| {
            CommandError::new(ReplyCode::LimitExceeded, "rate limit exceeded; wait a while").retry_after(wait)
        })?;
        users.entry(now, user).add(now, &self.rate);
        Ok(Charge {
            limit: Arc::clone(self),
            user,
            is_kept: false,
        })
    }

    /// Charges one event even above the rate. Returns the delay that the event needs.
    pub(crate) fn take(&self, user: UserId) -> Duration {
        if self.rate.per.is_zero() {
            return Duration::ZERO;
        }
        let now = now();
        let mut users = self.users.lock();
        let bucket = users.entry(now, user);
        let wait = bucket.check(now, &self.rate).err().unwrap_or_default();
        bucket.add(now, &self.rate);
        wait
    }

    /// Charges one event. If its delay would exceed `max`, charges nothing and fails with that
    /// delay.
    pub(crate) fn take_within(&self, user: UserId, max: Duration) -> Result<Duration, Duration> {
        let wait = self.take(user);
        if wait > max {
            self.take_back(user);
            return Err(wait);
        }
        Ok(wait)
    }

    /// Returns the charge of one event, because nothing was done.
    fn take_back(&self, user: UserId) {
        let mut users = self.users.lock();
        if let Some(bucket) = users.get_mut(&user) {
            bucket.take_back(now(), &self.rate);
        }
    }
}

/// An event that was charged to a user. Dropping the charge refunds it, unless it was
/// [kept](Self::keep).
#[derive(Debug)]
#[must_use]
pub(crate) struct Charge {
    limit: Arc<UserLimit>,
    user: UserId,
    is_kept: bool,
}

impl Charge {
    /// Makes the charge final: something was done, or the application's hooks are asked.
    pub(crate) const fn keep(&mut self) {
        self.is_kept = true;
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        if !self.is_kept {
            self.limit.take_back(self.user);
        }
    }
}

/// The rate limits of users.
#[derive(Debug)]
pub(crate) struct UserLimits {
    pub(crate) group_creations: Arc<UserLimit>,
    pub(crate) friend_requests: Arc<UserLimit>,
    pub(crate) invitations: Arc<UserLimit>,
    pub(crate) direct_openings: Arc<UserLimit>,
    /// Commands that hooks decide about and that have no other rate.
    pub(crate) hook_commands: Arc<UserLimit>,
    pub(crate) messages: UserLimit,
    pub(crate) pages: UserLimit,
}

impl UserLimits {
    pub(crate) fn new(config: &EngineConfig) -> Self {
        let charged = |rate| Arc::new(UserLimit::new(rate));
        Self {
            group_creations: charged(config.group_creation_rate),
            friend_requests: charged(config.friend_request_rate),
            invitations: charged(config.invitation_rate),
            direct_openings: charged(config.direct_opening_rate),
            hook_commands: charged(config.hook_command_rate),
            messages: UserLimit::new(config.message_rate),
            pages: UserLimit::new(config.page_rate),
        }
    }
}
