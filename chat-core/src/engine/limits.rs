//! Per-user rate limits. Each node enforces them over everything that a user does on that node, in
//! any session or without one.
//!
//! A user who exceeds a rate is refused ([`UserLimit::charge`]), or slowed down
//! ([`UserLimit::charge_paced`]).

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

/// Maximum time by which [`UserLimits::charge_attempt`] delays a command. A command that it would
/// have to delay for longer is refused at once.
const MAX_ATTEMPT_DELAY: Duration = Duration::from_secs(2);

/// Maximum time by which one read delays the next reads of its user, however many rows it read: a
/// session that reads much must not lock out the other sessions of the user.
const MAX_READ_DELAY: Duration = Duration::from_secs(2);

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

    /// Charges one command to a user. Fails with `LimitExceeded` if the user exceeds the rate.
    pub(crate) fn charge(self: &Arc<Self>, user: UserId) -> Result<Charge, CommandError> {
        self.charge_unguarded(user)?;
        Ok(Charge {
            limit: Arc::clone(self),
            user,
            is_kept: false,
        })
    }

    /// Charges one command to a user, without a [`Charge`] that refunds it on drop. Fails with
    /// `LimitExceeded`, and charges nothing, if the user exceeds the rate.
    pub(crate) fn charge_unguarded(&self, user: UserId) -> Result<(), CommandError> {
        let now = now();
        let mut users = self.users.lock();
        let bucket = users.get(&user).copied().unwrap_or_default();
        bucket.check(now, &self.rate).map_err(exceeded)?;
        users.entry(now, user).charge(now, &self.rate);
        Ok(())
    }

    /// Charges one command to a user, even if the user exceeds the rate. Returns the time until the
    /// rate would have allowed the command, for which the caller has to slow the user down; zero
    /// within the rate.
    pub(crate) fn charge_paced(&self, user: UserId) -> Duration {
        if self.rate.per.is_zero() {
            return Duration::ZERO;
        }
        let now = now();
        let mut users = self.users.lock();
        let bucket = users.entry(now, user);
        let wait = bucket.check(now, &self.rate).err().unwrap_or_default();
        bucket.charge(now, &self.rate);
        wait
    }

    /// Charges one command to a user, and returns the time for which the caller has to slow the
    /// user down. If this time would exceed `max`, charges nothing and fails with the time.
    pub(crate) fn charge_paced_within(&self, user: UserId, max: Duration) -> Result<Duration, Duration> {
        let wait = self.charge_paced(user);
        if wait > max {
            self.refund(user);
            return Err(wait);
        }
        Ok(wait)
    }

    /// Charges `count` uses of the rate to a user, even if the user exceeds the rate, but not so
    /// many that the delay until the next allowed use would exceed `max_delay`.
    fn charge_up_to(&self, user: UserId, count: u32, max_delay: Duration) {
        if self.rate.per.is_zero() {
            return;
        }
        let now = now();
        let mut users = self.users.lock();
        users.entry(now, user).charge_up_to(now, &self.rate, count, max_delay);
    }

    /// Returns the time until the rate allows a user the next use; zero within the rate.
    fn delay(&self, user: UserId) -> Duration {
        let users = self.users.lock();
        let bucket = users.get(&user).copied().unwrap_or_default();
        bucket.check(now(), &self.rate).err().unwrap_or_default()
    }

    /// Refunds one command, because nothing was done.
    pub(crate) fn refund(&self, user: UserId) {
        let mut users = self.users.lock();
        if let Some(bucket) = users.get_mut(&user) {
            bucket.refund(now(), &self.rate);
        }
    }
}

fn exceeded(wait: Duration) -> CommandError {
    CommandError::new(ReplyCode::LimitExceeded, "rate limit exceeded; wait a while").retry_after(wait)
}

/// A command that was charged to a user's rate. Dropping the charge refunds it, unless it was
/// [kept](Self::keep).
#[derive(Debug)]
#[must_use]
pub(crate) struct Charge {
    limit: Arc<UserLimit>,
    user: UserId,
    is_kept: bool,
}

impl Charge {
    /// Makes the charge final. Called when the command takes effect, or before hooks are asked.
    pub(crate) const fn keep(&mut self) {
        self.is_kept = true;
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        if !self.is_kept {
            self.limit.refund(self.user);
        }
    }
}

/// The rate limits of users.
#[derive(Debug)]
pub(crate) struct UserLimits {
    pub(crate) group_creations: Arc<UserLimit>,
    pub(crate) friend_requests: Arc<UserLimit>,
    pub(crate) invitations: Arc<UserLimit>,
    pub(crate) direct_conversations: Arc<UserLimit>,
    /// Limit on the changes of profiles, joins and accepted friend requests that hooks decide
    /// about; see [`EngineConfig::hook_command_rate`]. They are also charged to `changes`.
    pub(crate) hook_commands: Arc<UserLimit>,
    /// Limit on changes of contacts, groups, memberships and the own profile; see
    /// [`EngineConfig::change_rate`].
    pub(crate) changes: Arc<UserLimit>,
    /// Limit on attempts of commands whose own charge may be refunded or missing; see
    /// [`charge_attempt`](Self::charge_attempt).
    attempts: UserLimit,
    pub(crate) messages: UserLimit,
    pub(crate) pages: UserLimit,
    /// Limit on the rows that are read for a user; see [`EngineConfig::read_rate`].
    reads: UserLimit,
}

impl UserLimits {
    pub(crate) fn new(config: &EngineConfig) -> Self {
        let charged = |rate| Arc::new(UserLimit::new(rate));
        Self {
            group_creations: charged(config.group_creation_rate),
            friend_requests: charged(config.friend_request_rate),
            invitations: charged(config.invitation_rate),
            direct_conversations: charged(config.direct_conversation_rate),
            hook_commands: charged(config.hook_command_rate),
            changes: charged(config.change_rate),
            attempts: UserLimit::new(config.change_rate),
            messages: UserLimit::new(config.message_rate_per_user),
            pages: UserLimit::new(config.page_rate),
            reads: UserLimit::new(config.read_rate),
        }
    }

    /// Charges rows that a command or login reads for a user. This does not delay the command or
    /// login itself, but the next reads of the user, by [`MAX_READ_DELAY`] at most.
    pub(crate) fn charge_read(&self, user: UserId, rows: u32) {
        self.reads.charge_up_to(user, rows, MAX_READ_DELAY);
    }

    /// Returns the time until the rate of reads allows a user another read; zero within the rate.
    pub(crate) fn read_delay(&self, user: UserId) -> Duration {
        self.reads.delay(user)
    }

    /// Charges one attempt of a command that would otherwise be free if it fails or changes
    /// nothing, because its own charge is refunded then, or because it is executed beyond its rate.
    /// This charge is not refunded, so that no user can make the store run transactions without a
    /// limit. Beyond the rate, delays the command by at most [`MAX_ATTEMPT_DELAY`]; if that is not
    /// enough, charges nothing and fails with `LimitExceeded`.
    pub(crate) async fn charge_attempt(&self, user: UserId) -> Result<(), CommandError> {
        let delay = self.attempts.charge_paced_within(user, MAX_ATTEMPT_DELAY);
        tokio::time::sleep(delay.map_err(exceeded)?).await;
        Ok(())
    }
}
