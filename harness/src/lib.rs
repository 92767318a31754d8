//! Runs a cluster of real processes under load and injected faults, and checks the events that its
//! clients received.
//!
//! ```text
//! Cluster ── starts, kills, freezes ──► nodes, MariaDB, Redis
//!    └── NodeLinks ── delay, cut, drop ── traffic between nodes, their services and their clients
//!                                         ▲
//! Swarm ── clients, through the library ──┘
//!   └── history (one line per observation) ──► check ──► report
//! ```
//!
//! The check relies only on what clients sent and received, and on the logs and memberships that
//! the nodes and the database return at the end. Nodes, databases, buses and balancers end with the
//! process that started them, however that process ends.

mod binary;
pub mod check;
mod cluster;
pub mod commands;
mod conclude;
pub mod console;
mod deadline;
mod delays;
mod dump;
mod faults;
pub mod history;
mod impairment;
mod network;
mod pause;
pub mod process;
pub mod proxy;
mod rng;
mod server_process;
pub mod services;
mod signals;
pub mod swarm;
mod temp_dir;
pub mod wire_client;

pub use binary::binary;
pub use cluster::Cluster;
pub use conclude::{Conclusion, conclude, heads};
pub use deadline::with_deadline;
pub use delays::Delays;
pub use dump::{Database, DatabaseUrlError, dump, dump_as};
pub use faults::{Fault, Plan, inject, inject_network};
pub use impairment::{BlockedDirection, Impairment};
pub use network::{NodeLinks, Peers};
pub use pause::pause;
pub use rng::SeededRng;
pub use server_process::ServerProcess;
pub use signals::Signals;
pub use temp_dir::GuardedTempDir;
