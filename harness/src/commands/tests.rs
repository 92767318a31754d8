//! Tests of the parser of cluster commands, of its error texts and of the help text.

use super::*;

#[test]
fn commands_are_parsed() {
    let freeze = |directions| ProxyCommand::Change(directions, Change::Freeze);
    for (line, expected) in [
        ("status", ClusterCommand::Status),
        (
            "kill9 2",
            ClusterCommand::Process(ProcessAction::Kill9, Component::Node(1)),
        ),
        (
            " stop  redis ",
            ClusterCommand::Process(ProcessAction::Stop, Component::Redis),
        ),
        (
            "cont mysql",
            ClusterCommand::Process(ProcessAction::Cont, Component::Mysql),
        ),
        (
            "partition 1 redis",
            ClusterCommand::Link(0, Peers::Redis, freeze(Directions::Both)),
        ),
        (
            "partition 1 mysql in",
            ClusterCommand::Link(0, Peers::Database, freeze(Directions::Down)),
        ),
        (
            "partition 1 both out",
            ClusterCommand::Link(0, Peers::RedisAndDatabase, freeze(Directions::Up)),
        ),
        (
            "partition 3 clients in",
            ClusterCommand::Link(2, Peers::Clients, freeze(Directions::Up)),
        ),
        (
            "link 1 clients cut 10 up",
            ClusterCommand::Link(0, Peers::Clients, ProxyCommand::Change(Directions::Up, Change::Cut(10))),
        ),
        (
            "redis pause 1.5",
            ClusterCommand::RedisPause(Duration::from_millis(1500)),
        ),
        ("redis unpause", ClusterCommand::RedisUnpause),
        ("mysql lockrow 5s", ClusterCommand::MysqlLockRow(Duration::from_secs(5))),
        ("mysql readonly on", ClusterCommand::MysqlReadOnly(true)),
        ("mysql maxconn 20", ClusterCommand::MysqlConnections(20)),
        ("disk free", ClusterCommand::Disk(false)),
    ] {
        assert_eq!(line.parse::<ClusterCommand>(), Ok(expected), "{line}");
    }
}

#[test]
fn parse_error_explains_the_command() {
    for (line, expected) in [
        ("", "the command is empty"),
        ("melt 1", "unknown command \"melt\"; help lists the commands"),
        ("kill9", "usage: kill9 COMPONENT"),
        ("kill9 0", "0 is not a component: the number of a node, redis or mysql"),
        ("partition 1", "usage: partition NODE ENDPOINT [in|out]"),
        (
            "partition 0 redis",
            "0 is not the number of a node; nodes are numbered from 1",
        ),
        (
            "partition 1 moon",
            "moon is not an endpoint: redis, mysql, both or clients",
        ),
        ("partition 1 redis up", "usage: partition NODE ENDPOINT [in|out]"),
        ("link 1 redis melt", "unknown command \"melt\"; help lists the commands"),
        ("redis oom maybe", "maybe is neither on nor off"),
        ("redis pause long", "long is not a time in seconds, up to 3600"),
        ("mysql maxconn few", "few is not a number of connections"),
        (
            "mysql maxconn 9",
            "9 connections are too few: the minimum of MariaDB is 10",
        ),
        ("mysql readonly", "usage: mysql readonly on|off"),
        ("disk", "usage: disk full|free"),
    ] {
        assert_eq!(
            line.parse::<ClusterCommand>().unwrap_err().to_string(),
            expected,
            "{line}"
        );
    }
}

#[test]
fn every_line_of_help_is_a_command_with_a_description() {
    for line in HELP.lines() {
        let (form, description) = line.split_once("  ").unwrap();
        assert!(!description.trim().is_empty(), "{line}");
        let example = form
            .replace("COMPONENT", "1")
            .replace("NODE", "1")
            .replace("ENDPOINT", "redis")
            .replace(" [in|out]", "")
            .replace("COMMAND", "freeze")
            .replace("SECONDS", "1")
            .replace("NUMBER", "10")
            .replace("on|off", "on")
            .replace("full|free", "full");
        assert!(example.parse::<ClusterCommand>().is_ok(), "{example}");
    }
}
