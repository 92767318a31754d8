//! The router's tasks. Each task owns only the parts that it uses, and runs until it is dropped;
//! [`inbound`] also ends when the bus is closed.
//!
//! Anti-entropy reads the store to find events whose announcements did not arrive: [`sweep`]
//! decides when to compare, [`compare`] finds feeds that are behind, [`catch_up`] reads their
//! missing events. [`changed_users`] and [`recheck`] find changes of logins and memberships,
//! [`join`] makes sessions follow the conversations that their users joined, and [`unconfirmed`]
//! looks for commits that the store did not confirm.
//!
//! [`heartbeat`] (on the bus) and [`store_heartbeat`] (in the store) request a sweep when this node
//! may have missed commits of another node. Without a bus, [`heartbeat`] requests sweeps as long as
//! the store lists other nodes.
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
