//! [`CommandExecutor`]: executes commands on a cluster.

use std::fmt::Write as _;
use std::io;
use std::thread;
use std::time::Duration;

use super::{ClusterCommand, Component, Disk, ProcessAction};
use crate::proxy::ProxyCommand;
use crate::services::{Administrator, ClientPause, GuardedProcess, ProcessState, Redis};
use crate::{Cluster, GuardedTempDir};

/// A cluster that executes commands. Dropping it ends all processes and removes their data.
#[derive(Debug)]
pub struct CommandExecutor {
    cluster: Cluster,
    /// Disk of limited size that holds all data, if there is one.
    disk: Option<Disk>,
    /// Last pause of Redis, unless [`ClusterCommand::RedisUnpause`] has ended it.
    pause: Option<ClientPause>,
    /// Directory of all data. Dropped last, after the processes that use it.
    _temp_dir: GuardedTempDir,
}

/// Returns an error unless the process runs, because a stopped or ended process never answers.
fn require_running(process: &GuardedProcess, component: &str) -> io::Result<()> {
    match process.state() {
        ProcessState::Runs => Ok(()),
        ProcessState::Stopped => refuse(format!("{component} is stopped; continue it first (cont)")),
        ProcessState::Ended => refuse(format!("{component} has ended; start it first (start)")),
    }
}

fn refuse<T>(text: impl Into<String>) -> io::Result<T> {
    Err(io::Error::other(text.into()))
}

impl CommandExecutor {
    /// Creates an executor for a cluster with links, whose data are in `temp_dir`. `disk` is the
    /// disk that is mounted there, if there is one.
    #[must_use]
    pub const fn new(cluster: Cluster, temp_dir: GuardedTempDir, disk: Option<Disk>) -> Self {
        Self {
            cluster,
            disk,
            pause: None,
            _temp_dir: temp_dir,
        }
    }

    /// Executes a command; blocks. Returns the text to print.
    ///
    /// # Errors
    /// The node or the disk of the command does not exist, the state of a process does not allow
    /// the command, or the command failed.
    pub fn execute(&mut self, command: &ClusterCommand) -> io::Result<String> {
        match *command {
            ClusterCommand::Status => return self.status(),
            ClusterCommand::Process(action, component) => return self.act(action, component),
            ClusterCommand::Link(node, peers, command) => {
                let links = self.cluster.links.get(node);
                let links = links.ok_or_else(|| io::Error::other(self.no_node(node)))?;
                let outputs = links.to(peers).into_iter().map(|proxy| command.execute(proxy));
                let outputs = outputs.collect::<io::Result<Vec<_>>>()?;
                return Ok(outputs.join("\n"));
            }
            ClusterCommand::Heal => {
                for proxy in self.cluster.links.iter().flat_map(|links| links.all()) {
                    ProxyCommand::Heal.execute(proxy)?;
                }
            }
            ClusterCommand::RedisFlush => self.run_redis(&["FLUSHALL"], "OK")?,
            ClusterCommand::RedisPause(time) => self.pause = Some(self.available_redis()?.pause(time)?),
            ClusterCommand::RedisUnpause if self.is_paused() => {
                require_running(self.cluster.redis.process(), "redis")?;
                if let Some(pause) = self.pause.take() {
                    pause.end()?;
                }
            }
            ClusterCommand::RedisUnpause => return refuse("redis is not paused"),
            ClusterCommand::RedisKillPubsub => match self.ask_redis(&["CLIENT", "KILL", "TYPE", "pubsub"])?.as_str() {
                "0" => return refuse("redis has no subscribers"),
                killed => return Ok(format!("{killed} connections ended\n")),
            },
            ClusterCommand::RedisOom(on) => {
                self.run_redis(&["CONFIG", "SET", "maxmemory", if on { "1" } else { "0" }], "OK")?
            }
            ClusterCommand::MysqlLockRow(time) => self.lock_row(time)?,
            ClusterCommand::MysqlReadOnly(on) => self.sql(&format!("SET GLOBAL read_only = {}", u8::from(on)))?,
            ClusterCommand::MysqlConnections(number) => self.sql(&format!("SET GLOBAL max_connections = {number}"))?,
            ClusterCommand::Disk(is_full) => match &self.disk {
                None => return refuse("the cluster has no disk of limited size; start it with --disk"),
                Some(disk) if is_full => disk.fill()?,
                Some(disk) => disk.free()?,
            },
        }
        Ok(String::new())
    }

    /// Returns Redis, or an error if it is stopped, ended or paused and so cannot answer.
    fn available_redis(&self) -> io::Result<&Redis> {
        let redis = &self.cluster.redis;
        require_running(redis.process(), "redis")?;
        if self.is_paused() {
            return refuse("redis is paused; redis unpause ends the pause");
        }
        Ok(redis)
    }

    fn is_paused(&self) -> bool {
        self.pause.as_ref().is_some_and(|pause| !pause.is_over())
    }

    /// Runs a command of Redis. Returns its answer.
    fn ask_redis(&self, words: &[&str]) -> io::Result<String> {
        Ok(self.available_redis()?.command(words)?.trim_end().to_owned())
    }

    /// Runs a command of Redis. Fails unless the answer is `expected`.
    fn run_redis(&self, words: &[&str], expected: &str) -> io::Result<()> {
        match self.ask_redis(words)? {
            answer if answer == expected => Ok(()),
            answer => refuse(format!("redis answered {answer}")),
        }
    }

    fn database(&self) -> io::Result<Administrator> {
        require_running(self.cluster.database.process(), "mysql")?;
        Ok(self.cluster.database.administrator())
    }

    fn sql(&self, statement: &str) -> io::Result<()> {
        self.database()?.sql(statement).map(drop)
    }

    fn lock_row(&self, time: Duration) -> io::Result<()> {
        let lock = self.database()?.lock_busiest_conversation(time)?;
        // The wait fails if the database is killed, which ends the lock too.
        let wait_for_release = move || drop(lock.wait());
        thread::Builder::new()
            .name("lock".into())
            .spawn(wait_for_release)
            .map(drop)
    }

    fn no_node(&self, node: usize) -> String {
        format!(
            "there is no node {}: the nodes are 1 to {}",
            node + 1,
            self.cluster.nodes.len()
        )
    }

    fn process(&self, component: Component) -> io::Result<&GuardedProcess> {
        match component {
            Component::Redis => Ok(self.cluster.redis.process()),
            Component::Mysql => Ok(self.cluster.database.process()),
            Component::Node(node) => match self.cluster.nodes.get(node) {
                Some(node) => Ok(node.process()),
                None => refuse(self.no_node(node)),
            },
        }
    }

    fn act(&mut self, action: ProcessAction, component: Component) -> io::Result<String> {
        let process = self.process(component)?;
        match (action, process.state()) {
            (ProcessAction::Start, ProcessState::Ended) => self.start(component)?,
            (ProcessAction::Start, _) => {
                return refuse(format!("{component} has not ended; end it first (term, kill9)"));
            }
            (_, ProcessState::Ended) => return refuse(format!("{component} has ended; start it first (start)")),
            (ProcessAction::Kill9, _) => self.kill(component),
            (ProcessAction::Stop, _) => process.signal("STOP")?,
            (ProcessAction::Cont, _) => process.signal("CONT")?,
            (ProcessAction::Term, ProcessState::Stopped) => {
                return refuse(format!("{component} is stopped; continue it first (cont)"));
            }
            (ProcessAction::Term, ProcessState::Runs) => return self.end(component),
        }
        Ok(String::new())
    }

    fn start(&mut self, component: Component) -> io::Result<()> {
        match component {
            Component::Redis => self.cluster.redis.restart(),
            Component::Mysql => self.cluster.database.restart(),
            Component::Node(node) => self.cluster.nodes[node].restart(),
        }
    }

    fn kill(&mut self, component: Component) {
        match component {
            Component::Redis => self.cluster.redis.kill(),
            Component::Mysql => self.cluster.database.kill(),
            Component::Node(node) => self.cluster.nodes[node].kill(),
        }
    }

    fn end(&mut self, component: Component) -> io::Result<String> {
        self.process(component)?.signal("TERM")?;
        match component {
            Component::Redis => self.cluster.redis.wait()?,
            Component::Mysql => self.cluster.database.wait()?,
            Component::Node(node) => {
                let code = self.cluster.nodes[node].wait()?;
                return Ok(code.map_or_else(|| "ended by a signal".to_owned(), |code| format!("exit code {code}")));
            }
        }
        Ok(String::new())
    }

    fn status(&self) -> io::Result<String> {
        let mut text = String::new();
        let process = |process: &GuardedProcess| format!("process {} {}", process.pid(), process.state().name());
        let addresses = self.cluster.addresses();
        for (number, (node, address)) in (1..).zip(self.cluster.nodes.iter().zip(addresses)) {
            let _ = writeln!(text, "node {number}  {address}  {}", process(node.process()));
        }
        let (redis, database) = (&self.cluster.redis, &self.cluster.database);
        let paused = if self.is_paused() { " paused" } else { "" };
        let _ = writeln!(text, "redis   {}  {}{paused}", redis.url(), process(redis.process()));
        let _ = writeln!(
            text,
            "mysql   {}  {}",
            database.url("chat"),
            process(database.process())
        );
        let _ = writeln!(text, "key     {}", self.cluster.fingerprint());
        for (number, links) in (1..).zip(self.cluster.links.iter()) {
            for (peers, proxy) in [
                ("redis", &links.redis),
                ("mysql", &links.database),
                ("clients", &links.clients),
            ] {
                if proxy.wires() != Default::default() || proxy.refuses() || proxy.forgotten() > 0 {
                    let _ = writeln!(text, "link {number} {peers}: {}", ProxyCommand::Status.execute(proxy)?);
                }
            }
        }
        Ok(text)
    }
}
