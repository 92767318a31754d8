//! Event feeds: every event of all conversations, or of those of one user, for a program that runs
//! beside the engine: a bot, a webhook, push notifications, a search index.
//!
//! ```text
//! Feed / FeedItem ──► machine ◄──► driver ──► source (reads)   ──► store
//!  next, done          decides     one task   leases (writes)
//! ```
//!
//! A feed has a name, and in the store a cursor per conversation under that name. The feed of each
//! node that opens the name works on a part of the conversations ([`FeedShard`]): those of the
//! shards whose lease the node holds. `split` says which node gets how many shards.
//!
//! A feed reads logs and no pushes: a commit on this node, a doorbell of another node or a scan of
//! the backlog tells it only that a log has grown, and a page of the log is gapless and in order by
//! itself. So a consumer that falls behind costs no memory and delays no sender: the machine stops
//! reading.
//!
//! [`FeedShard`]: crate::store::FeedShard

mod driver;
mod handle;
mod item;
mod leases;
mod machine;
mod names;
mod open;
mod operations;
mod options;
mod shared;
mod source;
mod split;

pub use handle::Feed;
pub use item::{FeedItem, LeaseLost};
pub(super) use open::Feeds;
pub use options::{FeedError, FeedOptions, FeedScope, FeedStart};
