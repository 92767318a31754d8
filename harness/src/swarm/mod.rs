//! Many users who chat through the client library and record what they send and receive. Some users
//! are repeatedly removed from a group and join it again. Some devices, whose sessions replace each
//! other, use the protocol without the library.

mod churn;
mod client;
mod setup;
mod takeover;

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use chat_core::model::{UserName, UserRef};
use chat_core::secure::Fingerprint;
use chat_core::testkit::Peer;
use tokio::task::JoinSet;
use tokio::time::sleep;

use self::churn::ChurningUser;
use self::client::SwarmClient;
pub(crate) use self::setup::{create_group, enroll};
use crate::deadline::with_deadline;
use crate::history::{Observation, Writer};
use crate::wire_client::{Account, RunContext, dump_for};

/// Size and load of a [`Swarm`].
#[derive(Clone, Debug)]
pub struct Options {
    /// Number of users. Users are paired, and each pair has a direct conversation, so without
    /// groups the number must be even.
    pub users: usize,
    /// Number of groups that all users are members of.
    pub groups: usize,
    /// Messages per user and second.
    pub rate: f64,
    /// Number of users who are repeatedly removed from one more group and join it again.
    pub churn: usize,
    /// Number of additional users with one device each, whose sessions replace each other.
    pub takeovers: usize,
    /// Prefix of the names of users and groups.
    pub name: String,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            users: 8,
            groups: 2,
            rate: 5.0,
            churn: 0,
            takeovers: 0,
            name: "person".into(),
        }
    }
}

/// Users with their clients, and the load they produce.
#[derive(Debug)]
pub struct Swarm {
    context: Arc<RunContext>,
    clients: Vec<SwarmClient>,
    takeovers: Vec<Account>,
    groups: Vec<u64>,
    history: Arc<Writer>,
    stop: Arc<AtomicBool>,
    tasks: JoinSet<io::Result<()>>,
    /// Tasks that send messages; they end after `stop` is set.
    senders: JoinSet<io::Result<()>>,
}

impl Options {
    /// Returns whether a user would have no conversation to send to, or there are no users. Users
    /// with takeovers send to the first group.
    #[must_use]
    pub const fn has_isolated_users(&self) -> bool {
        self.users == 0 || (self.groups == 0 && (self.users % 2 == 1 || self.takeovers > 0))
    }
}

fn user_ref(name: &str) -> io::Result<UserRef> {
    UserName::parse(name).map(UserRef::Name).map_err(io::Error::other)
}

impl Swarm {
    /// Registers the users, creates their conversations, and starts sending.
    ///
    /// # Errors
    /// The cluster refuses a request or does not answer, or `options` leave [users without
    /// conversations](Options::has_isolated_users).
    pub async fn start(
        servers: &[SocketAddr],
        fingerprint: Fingerprint,
        options: &Options,
        history: Arc<Writer>,
    ) -> io::Result<Self> {
        if options.has_isolated_users() {
            return Err(io::Error::other(
                "the options leave users without a conversation; add groups, or make the number of users even",
            ));
        }
        let context = Arc::new(RunContext::new(servers, fingerprint, history));
        let created = setup::run(&context, options).await?;
        let mut swarm = Self {
            clients: Vec::new(),
            takeovers: created.takeovers.clone(),
            groups: created.groups,
            history: Arc::clone(&context.history),
            context: Arc::clone(&context),
            stop: Arc::default(),
            tasks: JoinSet::new(),
            senders: JoinSet::new(),
        };
        for (number, (account, conversations)) in created.accounts.into_iter().zip(created.conversations).enumerate() {
            let client = SwarmClient::start(&context, number, account, conversations).await?;
            let history = || Arc::clone(&swarm.history);
            let sending = client.send_messages(options.rate, history(), Arc::clone(&swarm.stop));
            swarm.tasks.spawn(client.record_deliveries(history()));
            swarm.senders.spawn(sending);
            swarm.clients.push(client);
        }
        if let Some(churn_group) = created.churn_group {
            swarm.groups.push(churn_group);
            swarm.start_churn(churn_group, options.churn)?;
        }
        for account in created.takeovers {
            let conversation = *swarm
                .groups
                .first()
                .ok_or_else(|| io::Error::other("takeovers need at least one group"))?;
            let taking_over = takeover::run(Arc::clone(&context), account, conversation, Arc::clone(&swarm.stop));
            swarm.senders.spawn(taking_over);
        }
        Ok(swarm)
    }

    fn start_churn(&mut self, group: u64, count: usize) -> io::Result<()> {
        let Some((owner, others)) = self.clients.split_first() else {
            return Ok(());
        };
        let users = others[others.len().saturating_sub(count)..].iter().map(|client| {
            Ok(ChurningUser {
                library: Arc::clone(&client.library),
                user: user_ref(&client.account.name)?,
            })
        });
        let users = users.collect::<io::Result<Vec<_>>>()?;
        if !users.is_empty() {
            let stop = Arc::clone(&self.stop);
            self.senders
                .spawn(churn::run(Arc::clone(&owner.library), users, group, stop));
        }
        Ok(())
    }

    /// Returns the name of a user who is a member of all groups.
    #[must_use]
    pub fn reader(&self) -> &str {
        &self.clients[0].account.name
    }

    /// Returns the ids of the groups.
    #[must_use]
    pub fn groups(&self) -> &[u64] {
        &self.groups
    }

    /// Returns the number of messages without an outcome yet.
    #[must_use]
    pub fn unsettled(&self) -> usize {
        self.clients.iter().map(|client| client.library.unsettled()).sum()
    }

    /// Waits until all clients have received everything up to `heads`, for at most `timeout`, then
    /// closes them. Returns the time that the clients took to catch up. The check reports the
    /// events that a client lacks after that.
    ///
    /// # Errors
    /// A client does not close, or the history cannot be written.
    pub async fn finish(mut self, heads: &HashMap<u64, u64>, timeout: Duration) -> io::Result<Duration> {
        let started = Instant::now();
        self.catch_up(heads, timeout).await;
        let took = started.elapsed();
        for client in &self.clients {
            self.history.note(Observation::Finished { run: client.run })?;
            let closing = async {
                client.library.close().await;
                Ok(())
            };
            with_deadline("closing a client", closing).await?;
        }
        while let Some(task) = with_deadline("the last deliveries of a client", async {
            Ok(self.tasks.join_next().await)
        })
        .await?
        {
            task.map_err(io::Error::other)??;
        }
        self.history.flush()?;
        Ok(took)
    }

    /// Waits until all clients have received everything up to `heads`, for at most `timeout`.
    /// Returns the number of clients that have not.
    pub async fn catch_up(&self, heads: &HashMap<u64, u64>, timeout: Duration) -> usize {
        let started = Instant::now();
        loop {
            let incomplete = self
                .clients
                .iter()
                .filter(|client| !client.has_everything(heads))
                .count();
            if incomplete == 0 || started.elapsed() >= timeout {
                return incomplete;
            }
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// Stops sending and waits until every message has its outcome. Returns the time it took.
    ///
    /// # Errors
    /// Messages have no outcome after `timeout`.
    pub async fn stop_sending(&mut self, timeout: Duration) -> io::Result<Duration> {
        self.stop.store(true, Ordering::Relaxed);
        let started = Instant::now();
        let ending = async {
            // Each task ends after its last outcome.
            while let Some(ended) = self.senders.join_next().await {
                ended.map_err(io::Error::other)??;
            }
            io::Result::Ok(())
        };
        match tokio::time::timeout(timeout, ending).await {
            Ok(ended) => ended.map(|()| started.elapsed()),
            Err(_) => {
                let left = self.unsettled();
                let text = format!("{left} messages have no outcome after {} s", timeout.as_secs());
                Err(io::Error::other(text))
            }
        }
    }

    /// Returns the last position of each conversation, as the servers report it to its members.
    ///
    /// # Errors
    /// A server does not answer.
    pub async fn heads(&self) -> io::Result<HashMap<u64, u64>> {
        let mut heads = HashMap::new();
        for (number, client) in self.clients.iter().enumerate() {
            let server = self.context.servers[number % self.context.servers.len()];
            let mut peer = with_deadline(server, Peer::connect(server, self.context.pin)).await?;
            for info in client.account.resume(&mut peer).await?.conversations {
                let head = heads.entry(info.id.0).or_insert(0);
                *head = info.last_seq.0.max(*head);
            }
        }
        Ok(heads)
    }

    /// Records each log as each server returns it to users who may read all of it.
    ///
    /// # Errors
    /// A server does not answer.
    pub async fn dump(&self) -> io::Result<()> {
        let accounts = self.clients.iter().map(|client| &client.account);
        let accounts: Vec<Account> = accounts.chain(&self.takeovers).cloned().collect();
        dump_for(&self.context, &accounts).await
    }
}
