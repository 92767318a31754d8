//! Group commit: sends of all sessions are collected, sorted by conversation, and committed in batches.
//!
//! ```text
//! execute ─► queue ─► prepare (names, hooks; only where needed, one at a time for each session)
//!                        └─► lane of the conversation ─► one transaction at a time ─► router ─► replies
//! ```
//!
//! One task does it all; nothing is spawned for a message. A lane collects while its commit is under way, so an idle server
//! adds no delay and a busy one makes large batches. Whatever else changes a group runs in its lane too, so that what a
//! session asked for happens in the order it asked. A draft that is refused temporarily holds back what its session sends after it, until
//! it has come again.

mod holds;
mod job;
mod lane;
mod task;
mod work;

pub(super) use holds::Refused;
pub(super) use job::{AppendQueue, Charge, Job, LaneWork, Work};
pub(super) use task::run;
