//! Scripts of packets and time: no socket, no runtime, no clock.

mod order;
mod outbox;
mod resume;
mod script;
mod session;
