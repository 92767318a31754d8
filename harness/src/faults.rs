//! What can go wrong with a cluster.

use std::fmt;
use std::io;
use std::time::Duration;

use crate::Cluster;
use crate::history::{What, Writer};

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
    let note = |begins| {
        history.note(What::Fault {
            name: fault.to_string(),
            begins,
        })
    };
    note(true)?;
    let node = dice.roll(cluster.nodes.len() as u64) as usize;
    match fault {
        Fault::KillNode => {
            cluster.nodes[node].kill()?;
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
        Fault::FlushRedis => drop(cluster.redis.command(&["FLUSHALL"])?),
        Fault::DropSubscribers => drop(cluster.redis.command(&["CLIENT", "KILL", "TYPE", "pubsub"])?),
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
            let seconds = 1 + dice.roll(5);
            cluster.database.sql(&format!(
                "BEGIN; SELECT id FROM chat.conversation ORDER BY last_seq DESC LIMIT 1 FOR UPDATE; SELECT SLEEP({seconds}); COMMIT"
            ))?;
        }
    }
    note(false)
}
