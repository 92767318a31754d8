//! Every tunable of the engine: unit, default, and why that default.

use std::time::Duration;

use crate::auth::{PasswordPoolOptions, RateLimit, ThrottleOptions};

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// How many sessions a user may have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum SessionPolicy {
    /// Any number of devices, one session each; a login takes over from the same device's older session. Where a user has more
    /// devices than [`EngineConfig::device_rows`], the one that was used least recently is revoked.
    #[default]
    Replace,
    /// One session at all. While another device has a live one, a login is refused; the same device takes over from itself.
    Reject,
    /// At most so many devices that are logged in; one more is refused until another logs out or is revoked.
    MaxDevices(u32),
}

/// What happens when a deciding hook fails, panics or takes too long.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HookPolicy {
    /// The command is refused.
    #[default]
    FailClosed,
    /// The command goes on as if there were no hook.
    FailOpen,
}

/// How an [`Engine`](super::Engine) behaves. Start from `default()` and change fields.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct EngineConfig {
    /// Whether strangers may make accounts. Default true.
    pub registration: bool,
    /// Password hashing of the built-in authenticator.
    pub passwords: PasswordPoolOptions,
    /// Login limits of the built-in authenticator.
    pub throttle: ThrottleOptions,
    /// How many sessions a user may have. Default [`SessionPolicy::Replace`].
    pub sessions: SessionPolicy,
    /// Devices remembered for a user under [`SessionPolicy::Replace`]. Default 20, which bounds a user's live sessions too; about 300 bytes of the store each.
    pub device_rows: u32,

    /// Longest time for one request to the store, waits included; then the answer is "try again". Default 5 s: people wait
    /// that long, and a stuck conversation must not hold requests for longer.
    pub request_deadline: Duration,
    /// Failures of the store in a row after which requests are refused at once. Default 5.
    pub breaker_failures: u32,
    /// Pause between the requests that are let through to see whether the store is back. Default 1 s.
    pub breaker_pause: Duration,
    /// Commands other than sends that run at a time; one more is refused as busy. Default 1 024, some 2 KiB each.
    pub commands_at_once: usize,

    /// Drafts of one conversation in one transaction. Default 128: a larger batch gains little and delays the rest.
    pub batch_drafts: usize,
    /// Bytes of bodies in one transaction. Default 256 KiB.
    pub batch_bytes: usize,
    /// Drafts of one conversation that wait; one more is refused as busy. Default 512.
    pub lane_drafts: usize,
    /// Bytes that wait in one conversation. Default 1 MiB.
    pub lane_bytes: usize,
    /// Bytes that wait on this node. Default 16 MiB.
    pub queued_bytes: usize,

    /// How long a draft that was refused temporarily holds back what its session sends after it to the same conversation, if it does not
    /// come again. Default 3 s: longer than what was sent before the refusal was heard is on its way.
    pub order_patience: Duration,

    /// Longest time for a deciding hook. Default 1 s.
    pub hook_deadline: Duration,
    /// What a deciding hook that fails means. Default [`HookPolicy::FailClosed`].
    pub hook_policy: HookPolicy,
    /// Observations that wait for the observing hooks; beyond that they are dropped and counted. Default 4 096.
    pub observer_queue: usize,

    /// How long own messages may be edited and recalled. Default 24 h.
    pub edit_window: Duration,
    /// Users that one message may mention. Default 50.
    pub mentions: usize,
    /// Members of a group. Default 5 000: fan-out is bounded by it.
    pub group_members: u32,
    /// Groups that one user may be in. Default 2 000: what a login has to list is bounded by it.
    pub groups_per_user: u32,
    /// Groups that one user may make. Default 10 per hour.
    pub groups_created: RateLimit,
    /// Friend requests of one user. Default 30 per day.
    pub friend_requests: RateLimit,
    /// Invitations of one user. Default 200 per day.
    pub invitations: RateLimit,
    /// Direct conversations that one user may open. Default 100 per hour.
    pub directs_opened: RateLimit,

    /// Messages, edits, recalls and reactions of one user, over all their sessions: beyond, the connection that one came from is read
    /// later. A session in this process gets its answer later, and is told `Busy` once that would be more than 2 s. Default 40 a second,
    /// 2 000 at once: twice what an outbox that gathered offline may bring at once on one connection.
    pub user_messages: RateLimit,
    /// Pages of history that one user reads, over all their sessions: beyond, the answer comes later. Default 200 a minute, 1 000
    /// at once: a device that was away for long reads a page of each conversation.
    pub user_pages: RateLimit,
    /// Events in a page of history. Default 500.
    pub page_events: u32,
    /// Bytes of bodies in a page of history. Default 256 KiB.
    pub page_bytes: u32,
    /// Users, groups and members in one answer. Default 500.
    pub list_rows: u32,

    /// Longest time that an acknowledgement or read mark waits to be written with others. Default 200 ms; a crash in between
    /// only repeats deliveries.
    pub cursor_interval: Duration,
    /// Marks after which they are written at once, and the most that are written in one transaction. Default 512.
    pub cursor_batch: usize,
    /// Marks that wait while the store is away, about 200 bytes each; one more is dropped, and made up for by the next of its
    /// conversation. Default 65 536.
    pub cursor_queue: usize,
    /// Marks of one user that wait, likewise. Default 4 096: a device that comes back acknowledges in every conversation.
    pub cursor_queue_per_user: usize,
    /// Members up to which a group is told who has got and read what. Default 200: receipts grow with the square.
    pub receipt_members: u32,
    /// Members up to which a group is told who is writing. Default 200.
    pub typing_members: u32,
}

impl Default for EngineConfig {
    fn default() -> Self {
        Self {
            registration: true,
            passwords: PasswordPoolOptions::default(),
            throttle: ThrottleOptions::default(),
            sessions: SessionPolicy::default(),
            device_rows: 20,
            request_deadline: 5 * SECOND,
            breaker_failures: 5,
            breaker_pause: SECOND,
            commands_at_once: 1024,
            batch_drafts: 128,
            batch_bytes: 256 * 1024,
            lane_drafts: 512,
            lane_bytes: 1024 * 1024,
            queued_bytes: 16 * 1024 * 1024,
            order_patience: 3 * SECOND,
            hook_deadline: SECOND,
            hook_policy: HookPolicy::default(),
            observer_queue: 4096,
            edit_window: DAY,
            mentions: 50,
            group_members: 5000,
            groups_per_user: 2000,
            groups_created: RateLimit::new(10, HOUR),
            friend_requests: RateLimit::new(30, DAY),
            invitations: RateLimit::new(200, DAY),
            directs_opened: RateLimit::new(100, HOUR),
            user_messages: RateLimit::new(40, SECOND).with_burst(2000),
            user_pages: RateLimit::new(200, 60 * SECOND).with_burst(1000),
            page_events: 500,
            page_bytes: 256 * 1024,
            list_rows: 500,
            cursor_interval: Duration::from_millis(200),
            cursor_batch: 512,
            cursor_queue: 65_536,
            cursor_queue_per_user: 4096,
            receipt_members: 200,
            typing_members: 200,
        }
    }
}

impl EngineConfig {
    /// What is wrong with it, if anything: a field, and what it has to be.
    pub(crate) fn problem(&self) -> Option<(&'static str, &'static str)> {
        let zero = |duration: Duration| duration.is_zero();
        let checks = [
            (zero(self.request_deadline), "request_deadline", "more than 0"),
            (zero(self.hook_deadline), "hook_deadline", "more than 0"),
            (zero(self.breaker_pause), "breaker_pause", "more than 0"),
            (zero(self.cursor_interval), "cursor_interval", "more than 0"),
            (self.breaker_failures == 0, "breaker_failures", "at least 1"),
            (self.commands_at_once == 0, "commands_at_once", "at least 1"),
            (self.batch_drafts == 0, "batch_drafts", "at least 1"),
            (self.batch_bytes == 0, "batch_bytes", "at least 1"),
            (
                self.lane_drafts < self.batch_drafts,
                "lane_drafts",
                "at least batch_drafts",
            ),
            (self.lane_bytes < self.batch_bytes, "lane_bytes", "at least batch_bytes"),
            (
                self.queued_bytes < self.lane_bytes,
                "queued_bytes",
                "at least lane_bytes",
            ),
            (self.observer_queue == 0, "observer_queue", "at least 1"),
            (self.cursor_batch == 0, "cursor_batch", "at least 1"),
            (
                self.cursor_queue < self.cursor_batch,
                "cursor_queue",
                "at least cursor_batch",
            ),
            (self.cursor_queue_per_user == 0, "cursor_queue_per_user", "at least 1"),
            (self.user_messages.count == 0, "user_messages", "at least 1"),
            (self.user_pages.count == 0, "user_pages", "at least 1"),
            (self.page_events == 0, "page_events", "at least 1"),
            (self.page_bytes == 0, "page_bytes", "at least 1"),
            (self.list_rows == 0, "list_rows", "at least 1"),
            (self.device_rows == 0, "device_rows", "at least 1"),
            (self.group_members < 2, "group_members", "at least 2"),
            (
                matches!(self.sessions, SessionPolicy::MaxDevices(0)),
                "sessions",
                "at least one device",
            ),
        ];
        checks
            .into_iter()
            .find_map(|(wrong, field, rule)| wrong.then_some((field, rule)))
    }
}
