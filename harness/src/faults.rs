//! What can go wrong with a cluster.

use std::fmt;
use std::io;
use std::sync::{Arc, MutexGuard};
use std::time::{Duration, Instant};

use crate::history::{What, Writer};
use crate::partitions::{Trouble, describe, trouble, trouble_all};
use crate::{Cluster, Far, Links};

/// Something that goes wrong, and is mended after a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// `kill -9` of a node, which starts again.
    KillNode,
    /// A node is stopped, and goes on later as if nothing had been.
    FreezeNode,
    /// `kill -9` of Redis, which starts again, empty.
    KillRedis,
    /// Redis forgets everything.
    FlushRedis,
    /// Redis ends the connections of those who listen.
    DropSubscribers,
    /// `kill -9` of the database, which starts again.
    KillDatabase,
    /// The database is stopped, and goes on later.
    FreezeDatabase,
    /// Somebody else locks a conversation, and lets go later.
    LockConversation,
    /// The network between a node and these; in a cluster with links.
    Network(Far, Trouble),
    /// The network between all nodes and these.
    Everywhere(Far, Trouble),
}

impl Fault {
    /// Whether it is one of the network: it can happen beside one of the others, by [`inject_network`].
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
            Self::Network(far, trouble) => return describe(f, *far, *trouble),
            Self::Everywhere(far, trouble) => {
                f.write_str("each ")?;
                return describe(f, *far, *trouble);
            }
        })
    }
}

/// Faults in an order that only the seed decides.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What goes wrong, how often.
    pub counts: Vec<(Fault, u32)>,
    /// Decides the order, the nodes and the durations.
    pub seed: u64,
}

impl Plan {
    /// All of them, shuffled.
    #[must_use]
    pub fn sequence(&self) -> Vec<Fault> {
        let mut faults: Vec<Fault> = self
            .counts
            .iter()
            .flat_map(|(fault, count)| vec![*fault; *count as usize])
            .collect();
        let mut dice = Dice::new(self.seed);
        for last in (1..faults.len()).rev() {
            faults.swap(last, dice.roll(last as u64 + 1) as usize);
        }
        faults
    }
}

/// Chance that can be repeated (xorshift64*, Vigna 2016).
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    /// From this seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// A number below `sides`.
    pub fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % sides.max(1)
    }

    /// Whether something happens that does in this share (0 to 1) of all cases.
    pub fn happens(&mut self, share: f64) -> bool {
        const CASES: u64 = 1 << 20;
        share > 0.0 && (self.roll(CASES) as f64) < share * CASES as f64
    }

    /// A time between these.
    pub fn between(&mut self, least: Duration, most: Duration) -> Duration {
        let range = u64::try_from((most - least).as_millis()).unwrap_or(u64::MAX);
        least + Duration::from_millis(self.roll(range))
    }
}

/// Waits on a thread that may block: how long a fault lasts, or the cluster is left alone, is part of the plan.
pub fn pause(time: Duration) {
    #[expect(
        clippy::disallowed_methods,
        reason = "nothing happens that could be waited for, and no runtime's thread is blocked"
    )]
    std::thread::sleep(time);
}

const SECOND: Duration = Duration::from_secs(1);

/// Does it to the cluster, and mends it. Blocks.
///
/// # Errors
/// What was to be mended does not start again.
pub fn inject(cluster: &mut Cluster, fault: Fault, dice: &mut Dice, history: &Writer) -> io::Result<()> {
    if fault.is_network() {
        return inject_network(&cluster.links, fault, dice, history);
    }
    note(history, fault, true)?;
    let links = Arc::clone(&cluster.links);
    let node = dice.roll(cluster.nodes.len() as u64) as usize;
    match fault {
        Fault::KillNode => {
            let (node, _held) = killable(&links, node, cluster.nodes.len());
            cluster.nodes[node].kill();
            pause(dice.between(Duration::ZERO, 2 * SECOND));
            cluster.nodes[node].kill_and_restart()?;
        }
        Fault::FreezeNode => {
            cluster.nodes[node].signal("STOP")?;
            pause(dice.between(SECOND, 8 * SECOND));
            cluster.nodes[node].signal("CONT")?;
        }
        Fault::KillRedis => {
            cluster.redis.kill();
            pause(dice.between(Duration::ZERO, 3 * SECOND));
            cluster.redis.restart()?;
        }
        Fault::FlushRedis => {
            let said = cluster.redis.command(&["FLUSHALL"])?;
            if said.trim() != "OK" {
                return Err(io::Error::other(format!("Redis does not forget: {said}")));
            }
        }
        Fault::DropSubscribers => until_it_happens(fault, || {
            let said = cluster.redis.command(&["CLIENT", "KILL", "TYPE", "pubsub"])?;
            let dropped: u64 = said.trim().parse().map_err(io::Error::other)?;
            Ok(dropped > 0)
        })?,
        Fault::KillDatabase => {
            cluster.database.kill();
            pause(dice.between(Duration::ZERO, 3 * SECOND));
            cluster.database.restart()?;
        }
        Fault::FreezeDatabase => {
            cluster.database.process().signal("STOP")?;
            pause(dice.between(SECOND, 6 * SECOND));
            cluster.database.process().signal("CONT")?;
        }
        Fault::LockConversation => {
            let time = Duration::from_secs(1 + dice.roll(5));
            cluster.database.administrator().lock_busiest(time)?.wait()?;
        }
        Fault::Network(..) | Fault::Everywhere(..) => {}
    }
    note(history, fault, false)
}

/// Breaks the network of a cluster with these links, and mends it. If nobody was there to notice it, it is tried again, at another node
/// maybe. Blocks.
///
/// # Errors
/// The operating system's; nothing happened for a long time; there are no links, or the fault is not one of the network.
pub fn inject_network(links: &[Links], fault: Fault, dice: &mut Dice, history: &Writer) -> io::Result<()> {
    if links.is_empty() || !fault.is_network() {
        let text = format!("{fault}: there is no network in between to break");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    }
    note(history, fault, true)?;
    until_it_happens(fault, || match fault {
        Fault::Network(far, what) => trouble(&links[dice.roll(links.len() as u64) as usize], far, what, dice),
        Fault::Everywhere(far, what) => trouble_all(links, far, what, dice),
        _ => Ok(true),
    })?;
    note(history, fault, false)
}

/// A cluster that is broken in other ways too may have nobody who would notice, for so long.
const SOON: Duration = Duration::from_secs(60);

/// Does it until it has happened to somebody: a fault that is counted was one.
fn until_it_happens(fault: Fault, mut attempt: impl FnMut() -> io::Result<bool>) -> io::Result<()> {
    let started = Instant::now();
    while !attempt()? {
        if started.elapsed() > SOON {
            return Err(io::Error::other(format!("{fault}: nothing happened to anybody")));
        }
        pause(SECOND / 10);
    }
    Ok(())
}

/// A node, this one if possible, that can be killed now and started again: none that is cut off from the store.
fn killable(links: &[Links], first: usize, nodes: usize) -> (usize, Option<MutexGuard<'_, ()>>) {
    for node in (first..nodes).chain(0..first) {
        match links.get(node).map(Links::try_hold) {
            None => return (node, None),
            Some(Some(held)) => return (node, Some(held)),
            Some(None) => {}
        }
    }
    (first, links.get(first).map(Links::hold))
}

fn note(history: &Writer, fault: Fault, begins: bool) -> io::Result<()> {
    let name = fault.to_string();
    history.note(What::Fault { name, begins })
}
