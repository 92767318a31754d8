//! Routing: delivers each event to the sessions of its recipients, on this node and on other nodes.
//!
//! Every event reaches a conversation's sessions on one ordered path, the conversation's feed
//! (`conversation_feed`), whether this node committed the event or another node announced it. An
//! event that directly follows the delivered ones is delivered, an older one is dropped, and a
//! later one reveals a gap, which is read from the log. The announcement of an event is a doorbell:
//! it contains only the id of the conversation and the last `Seq` of its log. Pushing never waits:
//! if a client does not read, its [`Outbox`] overflows, and the client later reads the log itself.
//!
//! The bus carries doorbells, but no events. A lost doorbell is repaired by the doorbell of the
//! next event, by the heartbeats in which every node repeats its announcements, or by comparing
//! with the store (anti-entropy, in `workers`).
//!
//! ```text
//! handle  start                       the API · builds everything below and starts the workers
//!   workers/*                         the tasks; each owns exactly what it uses
//!   follow_starter cluster_link       adds sessions to feeds · announces to the other nodes
//!   local_delivery                    event → outboxes
//!   registry ► conversation_feed ► session ► outbox ► shared_push    ► means "contains"
//!   work_set topic_requests publish_queue announcements unconfirmed sweep_request    queues
//!   commit_watch                      news of all logs, for `Engine::feed`
//!   peer_monitor store_peers other_nodes clock_skew    knowledge about other nodes and the clock
//!   event_log envelope                                 the store · the bus
//! ```

mod announcements;
mod clock_skew;
mod cluster_link;
mod commit_watch;
mod config;
mod conversation_feed;
mod envelope;
mod event_log;
mod follow_starter;
mod handle;
mod local_delivery;
mod membership_pages;
mod other_nodes;
mod outbox;
mod peer_monitor;
mod publish_queue;
mod registry;
mod session;
mod session_selector;
mod shared_push;
mod start;
mod store_peers;
mod subscription;
mod sweep_request;
mod tasks;
mod topic_requests;
mod unconfirmed;
mod work_set;
mod workers;

#[cfg(test)]
mod tests;

pub(crate) use commit_watch::{CommitWatch, News};
pub use config::RouterConfig;
pub(crate) use conversation_feed::joined_user;
pub use event_log::{DeviceLogin, EventLog, LogPage, ReadLimit, StoreEventLog};
pub use handle::{Router, RouterStats};
pub use outbox::{Outbox, OutboxLimits};
pub(crate) use session::SessionHandle;
pub use session_selector::SessionSelector;
pub use shared_push::SharedPush;
pub use start::RouterParts;
pub use subscription::SubscriptionGuard;
pub use unconfirmed::UnconfirmedCommit;
