//! [`Fault`]: a fault that is injected into a cluster, and [`Plan`]: a sequence of faults.

use std::fmt;
use std::io;
use std::sync::{Arc, MutexGuard};
use std::time::{Duration, Instant};

use crate::history::{Observation, Writer};
use crate::impairment::{Impairment, describe, impair, impair_all};
use crate::{Cluster, NodeLinks, Peers, SeededRng, pause};

/// A fault of a cluster. [`inject`] causes it and, if it lasts, heals it after a random time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A node is killed with SIGKILL and restarted.
    KillNode,
    /// A node is stopped with SIGSTOP and continues later.
    FreezeNode,
    /// Redis is killed with SIGKILL and restarted, empty.
    KillRedis,
    /// Redis loses all keys.
    FlushRedis,
    /// Redis closes the connections of subscribers.
    DropSubscribers,
    /// MariaDB is killed with SIGKILL and restarted.
    KillDatabase,
    /// MariaDB is stopped with SIGSTOP and continues later.
    FreezeDatabase,
    /// Another database client locks a conversation for a while.
    LockConversation,
    /// A network fault between one node and its peers; needs a cluster with [`NodeLinks`].
    Network(Peers, Impairment),
    /// A network fault between all nodes and their peers; needs a cluster with [`NodeLinks`].
    Everywhere(Peers, Impairment),
}

impl Fault {
    /// Returns whether this is a network fault, which [`inject_network`] can inject while other
    /// faults last.
    #[must_use]
    pub const fn is_network(&self) -> bool {
        matches!(self, Self::Network(..) | Self::Everywhere(..))
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::KillNode => "node killed",
            Self::FreezeNode => "node frozen",
            Self::KillRedis => "Redis killed",
            Self::FlushRedis => "Redis flushed",
            Self::DropSubscribers => "subscribers dropped",
            Self::KillDatabase => "MariaDB killed",
            Self::FreezeDatabase => "MariaDB frozen",
            Self::LockConversation => "conversation locked",
            Self::Network(peers, impairment) => return describe(f, *peers, *impairment),
            Self::Everywhere(peers, impairment) => {
                describe(f, *peers, *impairment)?;
                return f.write_str(" (all nodes)");
            }
        })
    }
}

/// Faults in an order that the seed determines.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Number of injections of each fault.
    pub counts: Vec<(Fault, u32)>,
    /// Determines the order. The nodes and the durations depend on the generator that is passed to
    /// [`inject`].
    pub seed: u64,
}

impl Plan {
    /// Returns all faults in shuffled order.
    #[must_use]
    pub fn sequence(&self) -> Vec<Fault> {
        let mut faults: Vec<Fault> = self
            .counts
            .iter()
            .flat_map(|(fault, count)| vec![*fault; *count as usize])
            .collect();
        let mut rng = SeededRng::new(self.seed);
        for last in (1..faults.len()).rev() {
            faults.swap(last, rng.below(last as u64 + 1) as usize);
        }
        faults
    }
}

const SECOND: Duration = Duration::from_secs(1);

/// Injects a fault and heals it; `rng` chooses the node, if the fault concerns one, and the
/// duration. Records the beginning and the end of the fault in `history`. Blocks the thread until
/// the fault is healed.
///
/// # Errors
/// A process does not start again, a command fails, Redis has no subscribers to drop for a minute,
/// or the history cannot be written. For a network fault, see [`inject_network`].
pub fn inject(cluster: &mut Cluster, fault: Fault, rng: &mut SeededRng, history: &Writer) -> io::Result<()> {
    if fault.is_network() {
        return inject_network(&cluster.links, fault, rng, history);
    }
    note(history, fault, true)?;
    let links = Arc::clone(&cluster.links);
    let node = rng.below(cluster.nodes.len() as u64) as usize;
    match fault {
        Fault::KillNode => {
            let (node, _start_lock) = choose_killable(&links, node, cluster.nodes.len());
            cluster.nodes[node].kill();
            pause(rng.between(Duration::ZERO, 2 * SECOND));
            cluster.nodes[node].kill_and_restart()?;
        }
        Fault::FreezeNode => {
            cluster.nodes[node].signal("STOP")?;
            pause(rng.between(SECOND, 8 * SECOND));
            cluster.nodes[node].signal("CONT")?;
        }
        Fault::KillRedis => {
            cluster.redis.kill();
            pause(rng.between(Duration::ZERO, 3 * SECOND));
            cluster.redis.restart()?;
        }
        Fault::FlushRedis => {
            let answer = cluster.redis.command(&["FLUSHALL"])?;
            if answer.trim() != "OK" {
                return Err(io::Error::other(format!("Redis refused FLUSHALL: {answer}")));
            }
        }
        Fault::DropSubscribers => retry_until_effective(fault, || {
            let answer = cluster.redis.command(&["CLIENT", "KILL", "TYPE", "pubsub"])?;
            let dropped: u64 = answer.trim().parse().map_err(io::Error::other)?;
            Ok(dropped > 0)
        })?,
        Fault::KillDatabase => {
            cluster.database.kill();
            pause(rng.between(Duration::ZERO, 3 * SECOND));
            cluster.database.restart()?;
        }
        Fault::FreezeDatabase => {
            cluster.database.process().signal("STOP")?;
            pause(rng.between(SECOND, 6 * SECOND));
            cluster.database.process().signal("CONT")?;
        }
        Fault::LockConversation => {
            let time = Duration::from_secs(1 + rng.below(5));
            cluster
                .database
                .administrator()
                .lock_busiest_conversation(time)?
                .wait()?;
        }
        Fault::Network(..) | Fault::Everywhere(..) => {}
    }
    note(history, fault, false)
}

/// Injects a network fault and heals it. If the fault affected no connection, it is injected again,
/// possibly at another node. Records the beginning and the end of the fault in `history`. Blocks
/// the thread until the fault is healed.
///
/// # Errors
/// No connection was affected within a minute; `links` is empty; the fault is not a network fault,
/// or not possible between these peers; a proxy fails; or the history cannot be written.
pub fn inject_network(links: &[NodeLinks], fault: Fault, rng: &mut SeededRng, history: &Writer) -> io::Result<()> {
    if links.is_empty() || !fault.is_network() {
        let text = format!("cannot inject {fault}: it is not a network fault, or the cluster has no links");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    }
    note(history, fault, true)?;
    retry_until_effective(fault, || match fault {
        Fault::Network(peers, impairment) => {
            impair(&links[rng.below(links.len() as u64) as usize], peers, impairment, rng)
        }
        Fault::Everywhere(peers, impairment) => impair_all(links, peers, impairment, rng),
        _ => Ok(true),
    })?;
    note(history, fault, false)
}

/// Maximum time in which a fault must affect a connection. Because of other faults, there may be no
/// connection for a while.
const EFFECT_TIMEOUT: Duration = Duration::from_secs(60);

/// Repeats `attempt`, which injects a fault, until it returns true because a connection was
/// affected. So every fault that is counted had an effect.
fn retry_until_effective(fault: Fault, mut attempt: impl FnMut() -> io::Result<bool>) -> io::Result<()> {
    let started = Instant::now();
    while !attempt()? {
        if started.elapsed() > EFFECT_TIMEOUT {
            return Err(io::Error::other(format!(
                "{fault}: no connection was affected within {} s",
                EFFECT_TIMEOUT.as_secs()
            )));
        }
        pause(SECOND / 10);
    }
    Ok(())
}

/// Returns the index of a node that can be killed and restarted now, because no network fault
/// impairs its connections to the store: `first` if possible. If one impairs those of every node,
/// waits for `first`. The guard keeps other threads from injecting such a fault at the node; a
/// cluster without links needs none.
fn choose_killable(links: &[NodeLinks], first: usize, nodes: usize) -> (usize, Option<MutexGuard<'_, ()>>) {
    for node in (first..nodes).chain(0..first) {
        match links.get(node).map(NodeLinks::try_lock_start) {
            None => return (node, None),
            Some(Some(guard)) => return (node, Some(guard)),
            Some(None) => {}
        }
    }
    (first, links.get(first).map(NodeLinks::lock_start))
}

/// Records the beginning or the end of a fault.
fn note(history: &Writer, fault: Fault, begins: bool) -> io::Result<()> {
    let name = fault.to_string();
    history.note(Observation::Fault { name, begins })
}
