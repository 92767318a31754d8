//! Faults of a cluster, and plans of them.

use std::fmt;
use std::io;
use std::sync::{Arc, MutexGuard};
use std::time::{Duration, Instant};

use crate::history::{Observation, Writer};
use crate::impairment::{Impairment, describe, impair, impair_all};
use crate::{Cluster, Endpoint, NodeLinks, SeededRng, pause};

/// A fault that is injected, and healed after a while.
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
    /// A fault of the network between one node and an endpoint; needs a cluster with links.
    Network(Endpoint, Impairment),
    /// A fault of the network between all nodes and an endpoint.
    Everywhere(Endpoint, Impairment),
}

impl Fault {
    /// Returns whether this is a fault of the network, which [`inject_network`] can inject while
    /// other faults last.
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
            Self::Network(endpoint, impairment) => return describe(f, *endpoint, *impairment),
            Self::Everywhere(endpoint, impairment) => {
                f.write_str("each ")?;
                return describe(f, *endpoint, *impairment);
            }
        })
    }
}

/// Faults in an order that the seed determines.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Number of injections of each fault.
    pub counts: Vec<(Fault, u32)>,
    /// Determines the order, the nodes and the durations.
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

/// Injects a fault and heals it. Blocks the thread meanwhile.
///
/// # Errors
/// A process does not start again, or a command fails.
pub fn inject(cluster: &mut Cluster, fault: Fault, rng: &mut SeededRng, history: &Writer) -> io::Result<()> {
    if fault.is_network() {
        return inject_network(&cluster.links, fault, rng, history);
    }
    note(history, fault, true)?;
    let links = Arc::clone(&cluster.links);
    let node = rng.below(cluster.nodes.len() as u64) as usize;
    match fault {
        Fault::KillNode => {
            let (node, _held) = killable(&links, node, cluster.nodes.len());
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
            cluster.database.administrator().lock_busiest(time)?.wait()?;
        }
        Fault::Network(..) | Fault::Everywhere(..) => {}
    }
    note(history, fault, false)
}

/// Injects a fault of the network and heals it. If the fault affected no connection, it is injected
/// again, possibly at another node. Blocks.
///
/// # Errors
/// No connection was affected within a minute; there are no links; the fault is not one of the
/// network; or a proxy fails.
pub fn inject_network(links: &[NodeLinks], fault: Fault, rng: &mut SeededRng, history: &Writer) -> io::Result<()> {
    if links.is_empty() || !fault.is_network() {
        let text = format!("cannot inject {fault}: it is not a fault of the network, or the cluster has no links");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    }
    note(history, fault, true)?;
    retry_until_effective(fault, || match fault {
        Fault::Network(endpoint, impairment) => impair(
            &links[rng.below(links.len() as u64) as usize],
            endpoint,
            impairment,
            rng,
        ),
        Fault::Everywhere(endpoint, impairment) => impair_all(links, endpoint, impairment, rng),
        _ => Ok(true),
    })?;
    note(history, fault, false)
}

/// Maximum wait until a fault affects a connection. Because of other faults, there may be no
/// connection for a while.
const EFFECT_TIMEOUT: Duration = Duration::from_secs(60);

/// Injects a fault until it affects a connection, so that every counted fault had an effect.
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

/// Returns a node that can be killed and restarted now, because it is not cut off from the store:
/// `first` if possible. The guard keeps other threads from cutting the node off.
fn killable(links: &[NodeLinks], first: usize, nodes: usize) -> (usize, Option<MutexGuard<'_, ()>>) {
    for node in (first..nodes).chain(0..first) {
        match links.get(node).map(NodeLinks::try_hold) {
            None => return (node, None),
            Some(Some(held)) => return (node, Some(held)),
            Some(None) => {}
        }
    }
    (first, links.get(first).map(NodeLinks::hold))
}

fn note(history: &Writer, fault: Fault, begins: bool) -> io::Result<()> {
    let name = fault.to_string();
    history.note(Observation::Fault { name, begins })
}
