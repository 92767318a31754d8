//! [`ClusterCommand`]: what is done to a cluster by hand, in words. What a verb breaks stays broken
//! until another one mends it.

mod disk;
mod executor;
#[cfg(test)]
mod tests;

use std::str::FromStr;
use std::time::Duration;

use crate::Endpoint;
use crate::proxy::{Change, Order, Side};

pub use disk::Disk;
pub use executor::CommandExecutor;

/// The verbs, for those who ask. `COMPONENT` is a node's number, `redis` or `mysql`; `ENDPOINT` is
/// `redis`, `mysql`, `both` or `clients`.
pub const HELP: &str = "\
status                        what runs, where, and what holds between
kill9 COMPONENT                    kill -9; COMPONENT: a node's number, redis or mysql
stop COMPONENT                     stops it, as SIGSTOP does
cont COMPONENT                     lets it go on
term COMPONENT                     asks it to end (SIGTERM), waits, and tells its exit code
start COMPONENT                    starts it again, on the same data and port
partition NODE ENDPOINT [in|out]   nothing gets through to ENDPOINT: redis, mysql, both or clients; in: it hears nothing, out: it is not heard
link NODE ENDPOINT COMMAND         a command of chaosproxy for that way: delay 50ms, loss 5%, drop, cut, forget, refuse, ...
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
pub enum ClusterCommand {
    /// Tells what runs.
    Status,
    /// To one of its processes.
    Process(ProcessAction, Component),
    /// To one way of a node, counted from 0.
    Link(usize, Endpoint, Order),
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
    /// The bus.
    Redis,
    /// The store.
    Mysql,
}

/// The words are no verb.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ParseCommandError(String);

fn wrong(text: impl Into<String>) -> ParseCommandError {
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
            ["partition", node, endpoint] => Ok(partition(parse_node(node)?, parse_endpoint(endpoint)?, Side::Both)),
            ["partition", node, endpoint, way @ ("in" | "out")] => {
                let endpoint = parse_endpoint(endpoint)?;
                // Clients connect to the node; to the others, it does.
                let side = if (way == "in") == (endpoint == Endpoint::Clients) {
                    Side::Up
                } else {
                    Side::Down
                };
                Ok(partition(parse_node(node)?, endpoint, side))
            }
            ["link", node, endpoint, ref command @ ..] if !command.is_empty() => {
                let order: Order = command.join(" ").parse().map_err(|error| wrong(format!("{error}")))?;
                Ok(Self::Link(parse_node(node)?, parse_endpoint(endpoint)?, order))
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

fn partition(node: usize, endpoint: Endpoint, side: Side) -> ClusterCommand {
    ClusterCommand::Link(node, endpoint, Order::Change(side, Change::Freeze))
}

/// What would have been right.
fn usage(words: &[&str]) -> ParseCommandError {
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

fn parse_node(text: &str) -> Result<usize, ParseCommandError> {
    let number = text.parse::<usize>().ok().and_then(|number| number.checked_sub(1));
    number.ok_or_else(|| wrong(format!("{text} is no node: they are numbered from 1")))
}

impl FromStr for Component {
    type Err = ParseCommandError;

    fn from_str(text: &str) -> Result<Self, ParseCommandError> {
        match text {
            "redis" => Ok(Self::Redis),
            "mysql" => Ok(Self::Mysql),
            number => match parse_node(number) {
                Ok(node) => Ok(Self::Node(node)),
                Err(_) => Err(wrong(format!(
                    "{text} is no component: a node's number, redis or mysql"
                ))),
            },
        }
    }
}

fn parse_endpoint(text: &str) -> Result<Endpoint, ParseCommandError> {
    match text {
        "redis" => Ok(Endpoint::Redis),
        "mysql" => Ok(Endpoint::Database),
        "both" => Ok(Endpoint::Both),
        "clients" => Ok(Endpoint::Clients),
        _ => Err(wrong(format!("{text} is nowhere: redis, mysql, both or clients"))),
    }
}

fn parse_seconds(text: &str) -> Result<Duration, ParseCommandError> {
    let seconds = text.strip_suffix('s').unwrap_or(text).parse::<f64>().ok();
    let time = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    time.filter(|time| *time <= Duration::from_secs(3600))
        .ok_or_else(|| wrong(format!("{text} is no time in seconds")))
}

fn parse_switch(text: &str) -> Result<bool, ParseCommandError> {
    match text {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err(wrong(format!("{text} is neither on nor off"))),
    }
}
