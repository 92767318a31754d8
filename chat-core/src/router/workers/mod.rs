//! The router's tasks. Each owns exactly what it uses, and runs until it is dropped.
//!
//! Anti-entropy, which finds what the bus lost by reading the store: [`sweep`] decides when to
//! compare, [`compare`] finds feeds that are behind, [`catch_up`] reads what they lack; [`join`],
//! [`recheck`] and [`unconfirmed`] do the same for memberships, logins and commits without an
//! answer.
//!
//! Heartbeats, which tell when to look: [`heartbeat`] on the bus, [`store_heartbeat`] in the store.
//!
//! The bus: [`subscriptions`], [`publisher`] and [`inbound`]; and [`presence`], which is no part of
//! it.

pub(crate) mod catch_up;
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
