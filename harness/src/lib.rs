//! A cluster of real processes, load and faults upon it, and a checker that reads what happened.
//!
//! ```text
//! Cluster ── starts, kills, freezes ──► nodes, MariaDB, Redis
//!    └── links, if wanted ── delay, cut, swallow ── what they say to each other, and clients to them
//!                                         ▲
//! Swarm ── clients, through the library ──┘
//!   └── history (one line a thing that happened) ──► check ──► report
//! ```
//! The checker trusts nobody: it knows only what clients were told and handed, and what the logs say in the end, as every node and the
//! database itself tell them. Nodes, databases, buses and balancers end with the process that started them, however that one ends.

pub mod check;
mod cluster;
pub mod console;
mod delays;
mod dump;
mod ending;
mod faults;
pub mod history;
mod links;
mod node;
mod partitions;
pub mod proxy;
pub mod raw;
pub mod services;
mod signals;
mod step;
pub mod swarm;
pub mod verbs;
mod workplace;

pub use cluster::Cluster;
pub use delays::Delays;
pub use dump::{Database, DatabaseUrlError, dump, dump_as};
pub use ending::{Ending, conclude};
pub use faults::{Dice, Fault, Plan, inject, inject_network, pause};
pub use links::{Far, Links};
pub use node::Node;
pub use partitions::{Trouble, Ways};
pub use signals::Signals;
pub use step::step;
pub use workplace::Workplace;
