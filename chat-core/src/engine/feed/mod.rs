//! Event feeds: every event of all conversations, or every event that one user may read, from the
//! start of the feed on, for programs such as a bot, a webhook, push notifications or a search
//! index.
//!
//! ```text
//! Feed / FeedItem ──► machine ◄──► driver ──► reader (reads)   ──► store
//!  next, done          decides     one task   leases (writes)
//! ```
//!
//! A feed has a name, and the store keeps a cursor per conversation under that name. Conversations
//! are divided into 16 shards ([`FeedShard`]). Each node that has the feed open works on the shards
//! whose leases it holds. `split` computes which shards a node may claim, and how many it has to
//! give up.
//!
//! A feed reads events from the logs of conversations, whose pages are in order and without gaps. A
//! commit on this node, an announcement of another node, or a scan for logs with events after the
//! feed's cursors only tells the feed that a log has grown. The machine stops reading while
//! [`max_in_flight`] events were read and not acknowledged, so a slow consumer costs a bounded
//! amount of memory and delays no sender.
//!
//! [`FeedShard`]: crate::store::FeedShard
//! [`max_in_flight`]: FeedOptions::max_in_flight

mod driver;
mod handle;
mod item;
mod leases;
mod machine;
mod names;
mod open;
mod options;
mod reader;
mod shared;
mod split;
mod units_of_work;

pub use handle::Feed;
pub use item::{FeedItem, NotRecorded};
pub(super) use open::Feeds;
pub use options::{FeedError, FeedOptions, FeedScope, FeedStart};
