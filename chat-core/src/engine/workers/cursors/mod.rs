//! Marks: acknowledgements of devices and read marks of users, which are collected and written in
//! batches. Losing the latest marks only repeats deliveries, so they are written without units of
//! work (the durable transactions of commands). A mark waits for at most
//! `EngineConfig::cursor_flush_interval`, or until a command of its user reads marks. It is merged
//! with later marks of the same conversation, and is kept while the store is unavailable. Once it
//! is written, other members get a receipt, and the user's other devices get the new read mark.

mod marks;
mod queue;
mod worker;

pub(in crate::engine) use queue::CursorQueue;
pub(in crate::engine) use worker::CursorWorker;
