//! Marks: acknowledgements of devices and read marks of users, which are collected and written in
//! batches. If the latest marks are lost, events are only delivered again and read messages count
//! as unread again, so marks are written without units of work (the durable transactions of
//! commands). A mark waits for others for at most `EngineConfig::mark_flush_interval`; less if a
//! command of its user reads marks, or if enough marks for a batch are queued. It is merged with
//! later marks of the same device (or, if it is a read mark, of the same user) in the same
//! conversation, and is kept while the store is unavailable and the queue has room. Once a read
//! mark is written, the user's other devices get it. Once any mark is written, other members get a
//! receipt, except in large groups and in a conversation that has ended for the user, and except
//! the peer of a direct conversation who may not see the user's receipts.

mod pending;
mod queue;
mod worker;

pub(in crate::engine) use queue::MarkQueue;
pub(in crate::engine) use worker::MarkWorker;
