//! [`GroupLimits`]: limits on groups and on their members.

use std::time::Duration;

use crate::engine::config::EngineConfig;
use crate::engine::error::{CommandError, Rejection};
use crate::model::UserId;
use crate::store::Transaction;

/// Limits on the members of a group, on the groups of a user, and on repeated requests.
#[derive(Clone, Copy, Debug)]
pub(in crate::engine) struct GroupLimits {
    pub(super) max_members: u32,
    max_groups_per_user: u32,
    /// 0 stands for no limit.
    max_former_groups_per_user: u32,
    /// Time for which a repeated request or invitation is not announced in an inbox again.
    pub(super) repeat_interval: Duration,
}

impl From<&EngineConfig> for GroupLimits {
    fn from(config: &EngineConfig) -> Self {
        Self {
            max_members: config.max_group_members,
            max_groups_per_user: config.max_groups_per_user,
            max_former_groups_per_user: config.max_former_groups_per_user,
            repeat_interval: config.repeated_request_interval,
        }
    }
}

/// The user whose groups are counted, as seen by the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Joiner {
    /// The caller.
    Caller,
    /// A user whom the caller admits.
    Other,
}

impl GroupLimits {
    /// Fails if `user` may not be in a further group. The argument `is_returning` says whether the
    /// user comes back to a group whose events the user may still read: that group is counted
    /// already, so the limit on former groups does not apply.
    pub(super) async fn require_below_group_limits(
        self,
        tx: &mut dyn Transaction,
        user: UserId,
        joiner: Joiner,
        is_returning: bool,
    ) -> Result<(), Rejection> {
        if tx.group_count(user, self.max_groups_per_user).await? >= self.max_groups_per_user {
            return Err(CommandError::limit(match joiner {
                Joiner::Caller => "you are in the maximum number of groups; leave one first",
                Joiner::Other => "the user is in the maximum number of groups",
            })
            .into());
        }
        let max_former = self.max_former_groups_per_user;
        if !is_returning && max_former > 0 && tx.former_group_count(user, max_former).await? >= max_former {
            return Err(CommandError::limit(match joiner {
                Joiner::Caller => {
                    "you have left the maximum number of groups; return to one of them, or ask the operator"
                }
                Joiner::Other => "the user has left the maximum number of groups",
            })
            .into());
        }
        Ok(())
    }
}
