//! Engine configuration: every setting with its unit and default, and often the reason for the
//! default.

use std::time::Duration;

use crate::auth::{PasswordPoolOptions, ThrottleOptions};
use crate::model::{ConversationQuery, DirectPolicy};
use crate::rate::Rate;
use crate::router::RouterConfig;

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// Limit on the number of devices on which a user is logged in at the same time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum SessionPolicy {
    /// One session per device, up to [`EngineConfig::max_devices`] devices. A login replaces the
    /// older session of the same device. A login from one device too many revokes another device: a
    /// logged-out one if there is one, otherwise one that is not connected if there is one, and of
    /// several such devices the one that logged in or resumed its session least recently.
    #[default]
    Replace,
    /// One session per user. A login is refused while another device of the user has a live
    /// session; the same device may replace its own session.
    Reject,
    /// One session per device, up to [`EngineConfig::max_devices`] logged-in devices. A login from
    /// one device too many is refused until another device logs out or is revoked.
    RejectNewDevices,
}

/// Outcome of a command if one of its deciding hooks fails, which means that the hook panics or
/// times out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum HookPolicy {
    /// The command is refused.
    #[default]
    FailClosed,
    /// The command proceeds as if the failed hook had allowed it without a change.
    FailOpen,
}

/// Configuration of an [`Engine`](super::Engine). Start from `default()` and change fields.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct EngineConfig {
    /// True if clients, and the application with [`Engine::register`](super::Engine::register), may
    /// register accounts. Operators can create accounts in any case. Default true.
    pub allow_registration: bool,
    /// Direct-message policy of a new account, until its user chooses another one. Default
    /// [`DirectPolicy::Friends`].
    pub default_direct_policy: DirectPolicy,
    /// Password hashing of the built-in authenticator.
    pub passwords: PasswordPoolOptions,
    /// Limits on logins and registrations with the built-in authenticator, and on wrong session
    /// tokens.
    pub throttle: ThrottleOptions,
    /// Limit on the devices of a user. Default [`SessionPolicy::Replace`].
    pub session_policy: SessionPolicy,
    /// Maximum number of devices that are remembered for one user, which also bounds the user's
    /// live sessions. Default 20; each takes about 300 bytes of the store.
    pub max_devices: u32,
    /// Time since the last login or resume of a device after which its session token is no longer
    /// valid. Each resume restarts this period. Default 90 days. It should exceed the maximum age
    /// of a connection, because a connected device does not resume.
    pub session_idle_timeout: Duration,
    /// Age of a session token from which the next resume replaces it; zero replaces it at each
    /// resume. A device whose token was replaced after a backup has to log in again if that backup
    /// is restored. Default 7 days.
    pub session_rotation_interval: Duration,

    /// Maximum duration of one request to the store, including the time that it waits in the
    /// engine; after it, the caller gets `TryAgain`, or `Busy` for a query that waited for earlier
    /// ones. Also the maximum time for which a login waits for the authenticator. Default 5 s:
    /// users accept that delay, and requests to a stuck conversation must not wait longer.
    pub request_timeout: Duration,
    /// Number of consecutive store failures after which requests are refused without asking the
    /// store. Repeated failures of writes to one conversation or one user count once, and so do
    /// those of writes of acknowledgements and read marks. Default 5.
    pub breaker_threshold: u32,
    /// Interval between the requests that probe whether a failing store has recovered. Default 1 s.
    pub breaker_probe_interval: Duration,
    /// Maximum number of logins, changes and operator actions that run at a time; one more is
    /// refused as busy. Sends, changes of existing groups and reads do not count. Default 1 024;
    /// each takes about 2 KiB.
    pub max_concurrent_commands: usize,

    /// Maximum number of drafts in one transaction. Default 128: a larger batch gains little and
    /// delays the drafts behind it.
    pub max_batch_drafts: usize,
    /// Maximum size of the message bodies in one transaction, in bytes. A larger body is written
    /// alone. Default 256 KiB.
    pub max_batch_bytes: usize,
    /// Maximum number of drafts and group changes queued for one conversation; one more is refused
    /// as busy. Default 512.
    pub max_queued_drafts_per_conversation: usize,
    /// Maximum size of the drafts and group changes queued for one conversation, in bytes. Default
    /// 1 MiB.
    pub max_queued_bytes_per_conversation: usize,
    /// Maximum size of the drafts and group changes that this node has not answered yet, of all
    /// conversations, in bytes. Default 16 MiB.
    pub max_queued_bytes: usize,

    /// After a draft was temporarily refused, the time for which later drafts of the same session
    /// to the same conversation are refused too, unless the refused draft is sent again first. This
    /// keeps the order of messages that were already in transit. Default 3 s: longer than a client
    /// takes to learn of the refusal.
    pub resend_window: Duration,

    /// Maximum total duration of the deciding hooks of one command. A hook that has not decided by
    /// then has failed. If `hook_policy` lets the command proceed, the hooks after it are still
    /// asked, but have no time to wait. Default 1 s; a command that hooks decide about may take
    /// this much longer than `request_timeout`.
    pub hook_timeout: Duration,
    /// Outcome of a command whose deciding hook fails. Default [`HookPolicy::FailClosed`].
    pub hook_policy: HookPolicy,
    /// Rate at which hooks decide about one user's commands that join a group, change the profile
    /// of a group or of the user, or accept a friend request by
    /// [`AnswerFriend`](crate::model::Command::AnswerFriend). These also count against
    /// [`change_rate`](Self::change_rate). Commands that the hooks refuse count too. Default 120
    /// per minute.
    pub hook_command_rate: Rate,
    /// Maximum number of observations queued for the observing hooks; further ones are dropped and
    /// counted. Default 4 096.
    pub max_queued_observations: usize,

    /// Maximum age of a message that its author may still edit or recall. Default 24 h.
    pub edit_window: Duration,
    /// Maximum number of users that one message may mention. Default 50.
    pub max_mentions: usize,
    /// Maximum number of members of a group. Default 5 000, which bounds fan-out.
    pub max_group_members: u32,
    /// Maximum number of groups that one user may be in. Default 2 000. A session follows each of
    /// them.
    pub max_groups_per_user: u32,
    /// Maximum number of groups that one user has left, was removed from, or was a member of when
    /// they were deleted, and of which the user may still read events. A user at this limit cannot
    /// create or join further groups, but can return to one of these. There is no other way back
    /// below the limit, so the default, 10 000, is far above what people reach. 0 means no limit.
    pub max_former_groups_per_user: u32,
    /// Maximum number of users whom one user may block. Default 1 000.
    pub max_blocked_users: u32,
    /// Maximum number of friend requests that one user may have received and not answered. Further
    /// requests to this user are refused. Default 1 000.
    pub max_incoming_requests: u32,
    /// Rate at which one user may create groups. Default 10 per hour.
    pub group_creation_rate: Rate,
    /// Rate at which one user may send friend requests. Its count is also the maximum number of the
    /// user's requests of the last 24 hours that are still open, over all nodes. Default 30 per
    /// day.
    pub friend_request_rate: Rate,
    /// Rate at which one user may invite users to groups. Default 200 per day.
    pub invitation_rate: Rate,
    /// Rate at which one user may start direct conversations. Default 100 per hour.
    pub direct_conversation_rate: Rate,
    /// Rate at which one user may change contacts, groups, memberships and the user's own profile,
    /// over all sessions on this node. Commands that are refused or change nothing count too,
    /// unless the user is told to try again. Messages, new groups, friend requests and invitations
    /// do not count, because they have rates of their own. A second limit with the same rate
    /// applies to attempts to create groups, request friends and invite users, because the charges
    /// to the rates of these commands are refunded if they fail. It also applies to repetitions of
    /// changes by a user who exceeds the first limit. Default 60 per minute with a burst of 200.
    pub change_rate: Rate,
    /// Time for which the inbox of a user announces a friend request, a request to join a group or
    /// an invitation only once if the same user repeats it. A repeated request takes effect
    /// without an event in the inbox. Default 24 h.
    pub repeated_request_interval: Duration,

    /// Rate at which one user may send messages, edits, recalls and reactions over all sessions on
    /// this node. A user who exceeds the rate is slowed down: the server reads from the user's
    /// connection later, and a caller in this process gets its answer later, or `Busy` if the
    /// delay would exceed 2 s. Default 40 a second with a burst of 2 000: twice the default burst
    /// of one connection, over which a client sends what it has queued while it was offline.
    pub message_rate_per_user: Rate,
    /// Rate at which one user may read pages of history over all sessions on this node; further
    /// pages are delayed. Default 200 a minute with a burst of 1 000: a device that was offline for
    /// long reads a page of each conversation.
    pub page_rate: Rate,
    /// Rate of the rows that queries read for one user on this node, in all sessions and outside of
    /// sessions. A query counts as 5 rows, and as one more for each row that it reads: a user, a
    /// contact, a group, a member or a device; a conversation counts as 4, and each name in a
    /// request for users as 6. The login of a session counts as a query of all conversations of the
    /// user: 4 rows for each that it lists, and one for each of the others. A page of history
    /// counts as 5, in addition to [`page_rate`](Self::page_rate); so do a typing notice, and a
    /// mark that the store has to check. Beyond the rate, a query is delayed, or refused as busy if
    /// it cannot start within `request_timeout`, a login is delayed by at most 2 s, and a typing
    /// notice is dropped. One query delays the next by at most 2 s. Default 1 000 rows a second
    /// with a burst of 10 000: a client that starts with 500 conversations, and lists them, reads a
    /// page of each and acknowledges it, stays below the burst.
    pub read_rate: Rate,
    /// Maximum number of events in a page of history. Default 500.
    pub max_page_events: u32,
    /// Maximum size of the message bodies in a page of history, in bytes. Default 256 KiB.
    pub max_page_bytes: u32,
    /// Maximum number of users, contacts, groups, members or conversations in one page or result of
    /// a search, and of conversations that a login lists: 1 to 500. Default 500.
    pub max_list_length: u32,

    /// Maximum time for which an acknowledgement or read mark waits for others, to be written
    /// together with them. Default 200 ms; a crash before the write only repeats deliveries, and
    /// makes read messages unread again.
    pub mark_flush_interval: Duration,
    /// Number of queued marks (acknowledgements and read marks) at which they are written without
    /// further waiting, and the maximum number of marks written in one transaction. Default 512.
    pub max_mark_batch: usize,
    /// Maximum number of queued marks, about 200 bytes each; marks accumulate while the store is
    /// unavailable. One more is refused as busy, unless it can be merged with a queued one. The
    /// next mark of the same conversation replaces a refused one. Default 65 536.
    pub max_queued_marks: usize,
    /// Maximum number of marks queued for one user; one more is refused as above. A device that
    /// reconnects acknowledges in every conversation, so the default is 4 096.
    pub max_queued_marks_per_user: usize,
    /// Maximum number of members of a group whose members receive receipts of delivery and reading.
    /// Default 200: the number of receipts grows with the square of the number of members.
    pub max_receipt_members: u32,
    /// Maximum number of members of a group whose members receive typing notices. Default 200.
    pub max_typing_members: u32,

    /// Intervals and bounds of delivery between nodes.
    pub router: RouterConfig,
}

impl Default for EngineConfig {
    fn default() -> Self {
        Self {
            allow_registration: true,
            default_direct_policy: DirectPolicy::Friends,
            passwords: PasswordPoolOptions::default(),
            throttle: ThrottleOptions::default(),
            session_policy: SessionPolicy::default(),
            max_devices: 20,
            session_idle_timeout: 90 * 24 * 3600 * SECOND,
            session_rotation_interval: 7 * 24 * 3600 * SECOND,
            request_timeout: 5 * SECOND,
            breaker_threshold: 5,
            breaker_probe_interval: SECOND,
            max_concurrent_commands: 1024,
            max_batch_drafts: 128,
            max_batch_bytes: 256 * 1024,
            max_queued_drafts_per_conversation: 512,
            max_queued_bytes_per_conversation: 1024 * 1024,
            max_queued_bytes: 16 * 1024 * 1024,
            resend_window: 3 * SECOND,
            hook_timeout: SECOND,
            hook_policy: HookPolicy::default(),
            hook_command_rate: Rate::new(120, 60 * SECOND),
            max_queued_observations: 4096,
            edit_window: DAY,
            max_mentions: 50,
            max_group_members: 5000,
            max_groups_per_user: 2000,
            max_former_groups_per_user: 10_000,
            max_blocked_users: 1000,
            max_incoming_requests: 1000,
            group_creation_rate: Rate::new(10, HOUR),
            friend_request_rate: Rate::new(30, DAY),
            invitation_rate: Rate::new(200, DAY),
            direct_conversation_rate: Rate::new(100, HOUR),
            change_rate: Rate::new(60, 60 * SECOND).with_burst(200),
            repeated_request_interval: DAY,
            message_rate_per_user: Rate::new(40, SECOND).with_burst(2000),
            page_rate: Rate::new(200, 60 * SECOND).with_burst(1000),
            read_rate: Rate::new(1000, SECOND).with_burst(10_000),
            max_page_events: 500,
            max_page_bytes: 256 * 1024,
            max_list_length: 500,
            mark_flush_interval: Duration::from_millis(200),
            max_mark_batch: 512,
            max_queued_marks: 65_536,
            max_queued_marks_per_user: 4096,
            max_receipt_members: 200,
            max_typing_members: 200,
            router: RouterConfig::default(),
        }
    }
}

/// Returns an error with the field's name and the rule unless the field's value satisfies the
/// predicate `$holds`.
macro_rules! require {
    ($config:ident.$field:ident, $holds:expr, $rule:literal) => {
        if !$holds(&$config.$field) {
            return Err((stringify!($field), $rule));
        }
    };
}

impl EngineConfig {
    /// Checks the fields whose values are restricted; those of `passwords`, `throttle` and `router`
    /// are not checked here.
    ///
    /// # Errors
    /// The name of the first invalid field, and its valid values.
    pub(crate) fn validate(&self) -> Result<(), (&'static str, &'static str)> {
        let is_nonzero = |duration: &Duration| !duration.is_zero();
        let positive = |number: &usize| *number > 0;
        let positive_u32 = |number: &u32| *number > 0;
        let positive_rate = |rate: &Rate| rate.count > 0;
        let is_list_length = |length: &u32| (1..=ConversationQuery::MAX_LIMIT).contains(length);
        require!(self.request_timeout, is_nonzero, "more than 0");
        require!(self.hook_timeout, is_nonzero, "more than 0");
        require!(self.breaker_probe_interval, is_nonzero, "more than 0");
        require!(self.mark_flush_interval, is_nonzero, "more than 0");
        require!(self.breaker_threshold, positive_u32, "at least 1");
        require!(self.max_concurrent_commands, positive, "at least 1");
        require!(self.max_batch_drafts, positive, "at least 1");
        require!(self.max_batch_bytes, positive, "at least 1");
        let min = self.max_batch_drafts;
        require!(
            self.max_queued_drafts_per_conversation,
            |max: &usize| *max >= min,
            "at least max_batch_drafts"
        );
        let min = self.max_batch_bytes;
        require!(
            self.max_queued_bytes_per_conversation,
            |max: &usize| *max >= min,
            "at least max_batch_bytes"
        );
        let min = self.max_queued_bytes_per_conversation;
        require!(
            self.max_queued_bytes,
            |max: &usize| *max >= min,
            "at least max_queued_bytes_per_conversation"
        );
        require!(self.max_queued_observations, positive, "at least 1");
        require!(self.max_mark_batch, positive, "at least 1");
        let min = self.max_mark_batch;
        require!(
            self.max_queued_marks,
            |max: &usize| *max >= min,
            "at least max_mark_batch"
        );
        require!(self.max_queued_marks_per_user, positive, "at least 1");
        require!(self.change_rate, positive_rate, "a rate with a count of at least 1");
        require!(
            self.message_rate_per_user,
            positive_rate,
            "a rate with a count of at least 1"
        );
        require!(self.page_rate, positive_rate, "a rate with a count of at least 1");
        require!(self.read_rate, positive_rate, "a rate with a count of at least 1");
        require!(self.max_page_events, positive_u32, "at least 1");
        require!(self.max_page_bytes, positive_u32, "at least 1");
        require!(self.max_list_length, is_list_length, "1 to 500");
        require!(self.max_devices, positive_u32, "at least 1");
        require!(self.session_idle_timeout, is_nonzero, "more than 0");
        require!(self.max_group_members, |max: &u32| *max >= 2, "at least 2");
        Ok(())
    }
}
