//! [`Verb`]: what is done to a cluster by hand, in words. What a verb breaks stays broken until another one mends it.

mod disk;
mod stage;
#[cfg(test)]
mod tests;

use std::str::FromStr;
use std::time::Duration;

use crate::Far;
use crate::proxy::{Change, Order, Side};

pub use disk::Disk;
pub use stage::Stage;

/// The verbs, for those who ask. `PART` is a node's number, `redis` or `mysql`; `FAR` is `redis`, `mysql`, `both` or `clients`.
pub const HELP: &str = "\
status                        what runs, where, and what holds between
kill9 PART                    kill -9; PART: a node's number, redis or mysql
stop PART                     stops it, as SIGSTOP does
cont PART                     lets it go on
term PART                     asks it to end (SIGTERM), waits, and tells its exit code
start PART                    starts it again, on the same data and port
partition NODE FAR [in|out]   nothing gets through to FAR: redis, mysql, both or clients; in: it hears nothing, out: it is not heard
link NODE FAR COMMAND         a command of chaosproxy for that way: delay 50ms, loss 5%, drop, cut, forget, refuse, ...
heal                          mends every way of every node
redis flush                   forgets everything
redis pause SECONDS           answers nobody for so long, or until unpause
redis unpause                 answers again
redis killpubsub              ends the connections of those who listen
redis oom on|off              has no memory for anything more
mysql lockrow SECONDS         somebody else locks the busiest conversation for so long
mysql readonly on|off         takes no changes from nodes
mysql maxconn NUMBER          lets no more connections in than so many
disk full|free                fills the disk that the cluster is on; if it was started with --disk (MariaDB looks for space once a minute)";

/// MariaDB's least `max_connections`; it takes smaller ones for this.
const FEWEST: u32 = 10;

/// Something to do to a cluster.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Verb {
    /// Tells what runs.
    Status,
    /// To one of its processes.
    Process(Act, Part),
    /// To one way of a node, counted from 0.
    Link(usize, Far, Order),
    /// Mends all ways.
    Heal,
    /// Redis forgets everything.
    RedisFlush,
    /// Redis answers nobody for so long.
    RedisPause(Duration),
    /// Redis answers again.
    RedisUnpause,
    /// Redis ends subscribers' connections.
    RedisKillPubsub,
    /// Redis has no memory, or has.
    RedisOom(bool),
    /// A conversation is locked for so long.
    MysqlLockRow(Duration),
    /// The database takes no changes, or does.
    MysqlReadOnly(bool),
    /// So many connections and no more.
    MysqlConnections(u32),
    /// The disk is full, or is not.
    Disk(bool),
}

/// What is done to a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // HELP has them
pub enum Act {
    Kill9,
    Stop,
    Cont,
    Term,
    Start,
}

/// A process of a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// A node, counted from 0.
    Node(usize),
    /// The bus.
    Redis,
    /// The store.
    Mysql,
}

/// The words are no verb.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct VerbError(String);

fn wrong(text: impl Into<String>) -> VerbError {
    VerbError(text.into())
}

impl FromStr for Verb {
    type Err = VerbError;

    fn from_str(line: &str) -> Result<Self, VerbError> {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            ["status"] => Ok(Self::Status),
            ["heal"] => Ok(Self::Heal),
            ["kill9", part] => Ok(Self::Process(Act::Kill9, part.parse()?)),
            ["stop", part] => Ok(Self::Process(Act::Stop, part.parse()?)),
            ["cont", part] => Ok(Self::Process(Act::Cont, part.parse()?)),
            ["term", part] => Ok(Self::Process(Act::Term, part.parse()?)),
            ["start", part] => Ok(Self::Process(Act::Start, part.parse()?)),
            ["partition", node, far] => Ok(partition(parse_node(node)?, parse_far(far)?, Side::Both)),
            ["partition", node, far, way @ ("in" | "out")] => {
                let far = parse_far(far)?;
                // Clients connect to the node; to the others, it does.
                let side = if (way == "in") == (far == Far::Clients) {
                    Side::Up
                } else {
                    Side::Down
                };
                Ok(partition(parse_node(node)?, far, side))
            }
            ["link", node, far, ref command @ ..] if !command.is_empty() => {
                let order: Order = command.join(" ").parse().map_err(|error| wrong(format!("{error}")))?;
                Ok(Self::Link(parse_node(node)?, parse_far(far)?, order))
            }
            ["redis", "flush"] => Ok(Self::RedisFlush),
            ["redis", "pause", time] => parse_seconds(time).map(Self::RedisPause),
            ["redis", "unpause"] => Ok(Self::RedisUnpause),
            ["redis", "killpubsub"] => Ok(Self::RedisKillPubsub),
            ["redis", "oom", switch] => parse_switch(switch).map(Self::RedisOom),
            ["mysql", "lockrow", time] => parse_seconds(time).map(Self::MysqlLockRow),
            ["mysql", "readonly", switch] => parse_switch(switch).map(Self::MysqlReadOnly),
            ["mysql", "maxconn", number] => match number.parse() {
                Ok(number) if number >= FEWEST => Ok(Self::MysqlConnections(number)),
                Ok(_) => Err(wrong(format!("MariaDB always lets {FEWEST} in"))),
                Err(_) => Err(wrong(format!("{number} is no number of connections"))),
            },
            ["disk", "full"] => Ok(Self::Disk(true)),
            ["disk", "free"] => Ok(Self::Disk(false)),
            _ => Err(usage(&words)),
        }
    }
}

fn partition(node: usize, far: Far, side: Side) -> Verb {
    Verb::Link(node, far, Order::Change(side, Change::Freeze))
}

/// What would have been right.
fn usage(words: &[&str]) -> VerbError {
    let alike = |count: usize| {
        let known = HELP.lines().filter(move |line| {
            let mut known = line.split_whitespace();
            words.len() >= count && words.iter().take(count).all(|word| known.next() == Some(word))
        });
        known
            .map(|line| line.split("  ").next().unwrap_or(line))
            .collect::<Vec<_>>()
    };
    let found = [2, 1].map(alike).into_iter().find(|found| !found.is_empty());
    match (words.first(), found) {
        (_, Some(found)) => wrong(format!("usage: {}", found.join(" | "))),
        (Some(word), None) => wrong(format!("what is \"{word}\"? say help")),
        (None, None) => wrong("nothing was said"),
    }
}

fn parse_node(text: &str) -> Result<usize, VerbError> {
    let number = text.parse::<usize>().ok().and_then(|number| number.checked_sub(1));
    number.ok_or_else(|| wrong(format!("{text} is no node: they are numbered from 1")))
}

impl FromStr for Part {
    type Err = VerbError;

    fn from_str(text: &str) -> Result<Self, VerbError> {
        match text {
            "redis" => Ok(Self::Redis),
            "mysql" => Ok(Self::Mysql),
            number => match parse_node(number) {
                Ok(node) => Ok(Self::Node(node)),
                Err(_) => Err(wrong(format!("{text} is no part: a node's number, redis or mysql"))),
            },
        }
    }
}

fn parse_far(text: &str) -> Result<Far, VerbError> {
    match text {
        "redis" => Ok(Far::Redis),
        "mysql" => Ok(Far::Database),
        "both" => Ok(Far::Both),
        "clients" => Ok(Far::Clients),
        _ => Err(wrong(format!("{text} is nowhere: redis, mysql, both or clients"))),
    }
}

fn parse_seconds(text: &str) -> Result<Duration, VerbError> {
    let seconds = text.strip_suffix('s').unwrap_or(text).parse::<f64>().ok();
    let time = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    time.filter(|time| *time <= Duration::from_secs(3600))
        .ok_or_else(|| wrong(format!("{text} is no time in seconds")))
}

fn parse_switch(text: &str) -> Result<bool, VerbError> {
    match text {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err(wrong(format!("{text} is neither on nor off"))),
    }
}
