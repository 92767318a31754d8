//! The router's tasks. Each task owns only the parts that it uses, and runs until it is dropped;
//! [`inbound`] also ends when the bus is closed.
//!
//! Anti-entropy reads the store to find events whose announcements the bus lost: [`sweep`] decides
//! when to compare, [`compare`] finds feeds that are behind, [`catch_up`] reads their missing
//! events. [`join`], [`recheck`] and [`unconfirmed`] do the same for memberships, logins, and
//! commits that the store did not confirm.
//!
//! Heartbeats decide when anti-entropy has to compare: [`heartbeat`] on the bus,
//! [`store_heartbeat`] in the store.
//!
//! [`subscriptions`], [`publisher`] and [`inbound`] exchange messages with the other nodes over the
//! bus. [`presence`] reports this node's devices to the presence service.

pub(crate) mod catch_up;
pub(crate) mod changed_users;
pub(crate) mod compare;
pub(crate) mod heartbeat;
pub(crate) mod inbound;
pub(crate) mod join;
pub(crate) mod presence;
pub(crate) mod publisher;
pub(crate) mod recheck;
pub(crate) mod store_heartbeat;
pub(crate) mod subscriptions;
pub(crate) mod sweep;
pub(crate) mod unconfirmed;
