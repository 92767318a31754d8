//! [`ClusterCommand`]: a command to a cluster, parsed from a line. A lasting effect ends after the
//! time that its command gives, or, without a time, when another command ends it. Only connections
//! that a link has forgotten stay forgotten.

mod disk;
mod executor;
#[cfg(test)]
mod tests;

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::Peers;
use crate::proxy::{Change, Directions, ProxyCommand};

pub use disk::Disk;
pub use executor::CommandExecutor;

/// Help text: all commands and their arguments.
pub const HELP: &str = "\
status                             prints processes, addresses and impaired links
kill9 COMPONENT                    kills the process with SIGKILL; COMPONENT: the number of a node, redis or mysql
stop COMPONENT                     stops the process with SIGSTOP
cont COMPONENT                     continues the process with SIGCONT
term COMPONENT                     ends the process with SIGTERM, waits, and prints the exit code of a node
start COMPONENT                    starts an ended process again, on the same data and port
partition NODE ENDPOINT [in|out]   blocks traffic with ENDPOINT: redis, mysql, both (of these) or clients; in: to the node, out: from it
link NODE ENDPOINT COMMAND         executes a command of chaosproxy: delay 50ms, loss 5%, drop, cut, forget, refuse, ...
heal                               ends all impairments of all links; forgotten connections stay forgotten
redis flush                        deletes all keys of Redis
redis pause SECONDS                makes Redis answer no client for a time, or until redis unpause
redis unpause                      ends the pause
redis killpubsub                   closes the connections of all subscribers of Redis
redis oom on|off                   makes Redis refuse writes as if memory were exhausted
mysql lockrow SECONDS              locks the conversation with the most events for a time
mysql readonly on|off              makes MariaDB refuse writes of nodes
mysql maxconn NUMBER               limits the number of connections of MariaDB
disk full|free                     fills or frees the disk of a cluster started with --disk (MariaDB looks for space once a minute)";

/// Minimum of `max_connections` in MariaDB, which raises smaller values to this minimum.
const MIN_CONNECTIONS: u32 = 10;

/// Command to a cluster.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum ClusterCommand {
    /// Reports processes, addresses and impaired links.
    Status,
    /// Acts on one process.
    Process(ProcessAction, Component),
    /// Executes a command on the links between a node, counted from 0, and these peers.
    Link(usize, Peers, ProxyCommand),
    /// Ends all impairments of all links. Forgotten connections stay forgotten.
    Heal,
    /// Deletes all keys of Redis.
    RedisFlush,
    /// Makes Redis answer no client for a time.
    RedisPause(Duration),
    /// Ends the pause of Redis.
    RedisUnpause,
    /// Closes the connections of all subscribers of Redis.
    RedisKillPubsub,
    /// Makes Redis refuse writes as if memory were exhausted (true), or accept writes again.
    RedisOom(bool),
    /// Locks the conversation with the most events for a time.
    MysqlLockRow(Duration),
    /// Makes the database refuse writes of nodes (true), or accept them again.
    MysqlReadOnly(bool),
    /// Sets the maximum number of connections to the database.
    MysqlConnections(u32),
    /// Fills the disk (true), or frees the space again.
    Disk(bool),
}

/// Action on a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // `HELP` describes them
pub enum ProcessAction {
    Kill9,
    Stop,
    Cont,
    Term,
    Start,
}

/// A process of a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Component {
    /// A node, counted from 0.
    Node(usize),
    /// Redis, the bus.
    Redis,
    /// MariaDB, the store.
    Mysql,
}

/// Error of parsing a [`ClusterCommand`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ParseCommandError(String);

fn parse_error(text: impl Into<String>) -> ParseCommandError {
    ParseCommandError(text.into())
}

impl FromStr for ClusterCommand {
    type Err = ParseCommandError;

    fn from_str(line: &str) -> Result<Self, ParseCommandError> {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            ["status"] => Ok(Self::Status),
            ["heal"] => Ok(Self::Heal),
            ["kill9", component] => Ok(Self::Process(ProcessAction::Kill9, component.parse()?)),
            ["stop", component] => Ok(Self::Process(ProcessAction::Stop, component.parse()?)),
            ["cont", component] => Ok(Self::Process(ProcessAction::Cont, component.parse()?)),
            ["term", component] => Ok(Self::Process(ProcessAction::Term, component.parse()?)),
            ["start", component] => Ok(Self::Process(ProcessAction::Start, component.parse()?)),
            ["partition", node, peers] => Ok(partition(parse_node(node)?, parse_peers(peers)?, Directions::Both)),
            ["partition", node, peers, way @ ("in" | "out")] => {
                let peers = parse_peers(peers)?;
                // Clients connect to the node; the node connects to its other peers.
                let directions = if (way == "in") == (peers == Peers::Clients) {
                    Directions::Up
                } else {
                    Directions::Down
                };
                Ok(partition(parse_node(node)?, peers, directions))
            }
            ["link", node, peers, ref words @ ..] if !words.is_empty() => {
                let command: ProxyCommand = words
                    .join(" ")
                    .parse()
                    .map_err(|error| parse_error(format!("{error}")))?;
                Ok(Self::Link(parse_node(node)?, parse_peers(peers)?, command))
            }
            ["redis", "flush"] => Ok(Self::RedisFlush),
            ["redis", "pause", time] => parse_seconds(time).map(Self::RedisPause),
            ["redis", "unpause"] => Ok(Self::RedisUnpause),
            ["redis", "killpubsub"] => Ok(Self::RedisKillPubsub),
            ["redis", "oom", switch] => parse_switch(switch).map(Self::RedisOom),
            ["mysql", "lockrow", time] => parse_seconds(time).map(Self::MysqlLockRow),
            ["mysql", "readonly", switch] => parse_switch(switch).map(Self::MysqlReadOnly),
            ["mysql", "maxconn", number] => match number.parse() {
                Ok(number) if number >= MIN_CONNECTIONS => Ok(Self::MysqlConnections(number)),
                Ok(_) => Err(parse_error(format!(
                    "{number} connections are too few: the minimum of MariaDB is {MIN_CONNECTIONS}"
                ))),
                Err(_) => Err(parse_error(format!("{number} is not a number of connections"))),
            },
            ["disk", "full"] => Ok(Self::Disk(true)),
            ["disk", "free"] => Ok(Self::Disk(false)),
            _ => Err(usage(&words)),
        }
    }
}

fn partition(node: usize, peers: Peers, directions: Directions) -> ClusterCommand {
    ClusterCommand::Link(node, peers, ProxyCommand::Change(directions, Change::Freeze))
}

/// Returns an error that shows the usage of similar commands. If there are none, the error says
/// that the command is unknown or empty.
fn usage(words: &[&str]) -> ParseCommandError {
    let usages_of_first_words = |count: usize| {
        let similar = HELP.lines().filter(move |line| {
            let mut known = line.split_whitespace();
            words.len() >= count && words.iter().take(count).all(|word| known.next() == Some(word))
        });
        similar
            .map(|line| line.split("  ").next().unwrap_or(line))
            .collect::<Vec<_>>()
    };
    let found = [2, 1]
        .map(usages_of_first_words)
        .into_iter()
        .find(|found| !found.is_empty());
    match (words.first(), found) {
        (_, Some(found)) => parse_error(format!("usage: {}", found.join(" | "))),
        (Some(word), None) => parse_error(format!("unknown command \"{word}\"; help lists the commands")),
        (None, None) => parse_error("the command is empty"),
    }
}

fn parse_node(text: &str) -> Result<usize, ParseCommandError> {
    let number = text.parse::<usize>().ok().and_then(|number| number.checked_sub(1));
    number.ok_or_else(|| parse_error(format!("{text} is not the number of a node; nodes are numbered from 1")))
}

impl fmt::Display for Component {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Node(node) => write!(f, "node {}", node + 1),
            Self::Redis => f.write_str("redis"),
            Self::Mysql => f.write_str("mysql"),
        }
    }
}

impl FromStr for Component {
    type Err = ParseCommandError;

    fn from_str(text: &str) -> Result<Self, ParseCommandError> {
        match text {
            "redis" => Ok(Self::Redis),
            "mysql" => Ok(Self::Mysql),
            number => match parse_node(number) {
                Ok(node) => Ok(Self::Node(node)),
                Err(_) => Err(parse_error(format!(
                    "{text} is not a component: the number of a node, redis or mysql"
                ))),
            },
        }
    }
}

fn parse_peers(text: &str) -> Result<Peers, ParseCommandError> {
    match text {
        "redis" => Ok(Peers::Redis),
        "mysql" => Ok(Peers::Database),
        "both" => Ok(Peers::RedisAndDatabase),
        "clients" => Ok(Peers::Clients),
        _ => Err(parse_error(format!(
            "{text} is not an endpoint: redis, mysql, both or clients"
        ))),
    }
}

fn parse_seconds(text: &str) -> Result<Duration, ParseCommandError> {
    let seconds = text.strip_suffix('s').unwrap_or(text).parse::<f64>().ok();
    let time = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    time.filter(|time| *time <= Duration::from_secs(3600))
        .ok_or_else(|| parse_error(format!("{text} is not a time in seconds, up to 3600")))
}

fn parse_switch(text: &str) -> Result<bool, ParseCommandError> {
    match text {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err(parse_error(format!("{text} is neither on nor off"))),
    }
}
