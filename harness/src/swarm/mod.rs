//! [`Swarm`]: many users who chat through the client library and record what they send and receive.
//!
//! Some users are repeatedly removed from a group and join it again (`churn.rs`). Further users,
//! who do not use the library, have sessions that replace each other (`takeover.rs`).

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
use crate::wire_client::{Account, RunContext, record_logs_of};

/// Size and load of a [`Swarm`].
#[derive(Clone, Debug)]
pub struct Options {
    /// Number of users. Users are paired, and each pair has a direct conversation. Without groups,
    /// the number must be even.
    pub users: usize,
    /// Number of groups that all users are members of.
    pub groups: usize,
    /// Maximum number of new messages that each user sends per second; above 0.
    pub rate: f64,
    /// Number of users who are repeatedly removed from an additional group and join it again. They
    /// are among `users`; the first user owns the group and is never removed.
    pub churn: usize,
    /// Number of additional users, each with one device whose sessions replace each other.
    pub takeovers: usize,
    /// Prefix of the names of users and groups, different for each swarm on the same service.
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

/// Users with their clients, which produce load on a cluster.
#[derive(Debug)]
pub struct Swarm {
    context: Arc<RunContext>,
    clients: Vec<SwarmClient>,
    /// Users whose sessions replace each other.
    takeovers: Vec<Account>,
    /// Ids of the groups.
    groups: Vec<u64>,
    history: Arc<Writer>,
    /// Set when the users are to send no more messages.
    stop: Arc<AtomicBool>,
    /// Tasks that record deliveries until their client is closed.
    recorders: JoinSet<io::Result<()>>,
    /// Tasks that send messages, change memberships and replace sessions until `stop` is set.
    senders: JoinSet<io::Result<()>>,
}

impl Options {
    /// Returns whether there are no users, or a user would have no conversation to send to, apart
    /// from the group with churn. Users with takeovers send to the first group, so they need one.
    #[must_use]
    pub const fn has_isolated_users(&self) -> bool {
        self.users == 0 || (self.groups == 0 && (self.users % 2 == 1 || self.takeovers > 0))
    }
}

fn user_ref(name: &str) -> io::Result<UserRef> {
    UserName::parse(name).map(UserRef::Name).map_err(io::Error::other)
}

impl Swarm {
    /// Registers the users, creates their conversations, and starts sending, churn and takeovers.
    ///
    /// # Errors
    /// The cluster refuses a request or does not answer, the history cannot be written, or
    /// [`has_isolated_users`](Options::has_isolated_users) is true.
    pub async fn start(
        servers: &[SocketAddr],
        fingerprint: Fingerprint,
        options: &Options,
        history: Arc<Writer>,
    ) -> io::Result<Self> {
        if options.has_isolated_users() {
            return Err(io::Error::other(
                "there are no users, or users without a conversation; add users or groups",
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
            recorders: JoinSet::new(),
            senders: JoinSet::new(),
        };
        for (number, (account, conversations)) in created.accounts.into_iter().zip(created.conversations).enumerate() {
            let client = SwarmClient::start(&context, number, account, conversations).await?;
            let history = || Arc::clone(&swarm.history);
            let sending = client.send_messages(options.rate, history(), Arc::clone(&swarm.stop));
            swarm.recorders.spawn(client.record_deliveries(history()));
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

    /// Starts to remove the last `count` users from `group` and to let them join again.
    fn start_churn(&mut self, group: u64, count: usize) -> io::Result<()> {
        let Some((owner, others)) = self.clients.split_first() else {
            return Ok(());
        };
        let users = others[others.len().saturating_sub(count)..].iter().map(|client| {
            Ok(ChurningUser {
                library_client: Arc::clone(&client.library_client),
                user: user_ref(&client.account.name)?,
            })
        });
        let users = users.collect::<io::Result<Vec<_>>>()?;
        if !users.is_empty() {
            let stop = Arc::clone(&self.stop);
            self.senders
                .spawn(churn::run(Arc::clone(&owner.library_client), users, group, stop));
        }
        Ok(())
    }

    /// Returns the name of a user who is a member of all groups.
    #[must_use]
    pub fn member_of_all_groups(&self) -> &str {
        &self.clients[0].account.name
    }

    /// Returns the ids of the groups, including the one with churn.
    #[must_use]
    pub fn groups(&self) -> &[u64] {
        &self.groups
    }

    /// Returns the number of messages without an outcome yet, over all clients of the library.
    #[must_use]
    pub fn unsettled(&self) -> usize {
        self.clients
            .iter()
            .map(|client| client.library_client.unsettled())
            .sum()
    }

    /// Waits until all clients have received all events up to `heads`, for at most `timeout`. Then
    /// records that the runs have finished, and closes the clients. Returns how long it waited. If
    /// a client still lacks events then, the check of the history reports them.
    ///
    /// `heads` contains the last sequence number of each conversation, by its id.
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
                client.library_client.close().await;
                Ok(())
            };
            with_deadline("closing a client", closing).await?;
        }
        while let Some(ended) = with_deadline("the last deliveries of a client", async {
            Ok(self.recorders.join_next().await)
        })
        .await?
        {
            ended.map_err(io::Error::other)??;
        }
        self.history.flush()?;
        Ok(took)
    }

    /// Waits until all clients have received all events up to `heads`, for at most `timeout`.
    /// Returns the number of clients that still lack events then.
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

    /// Stops sending, and waits until the messages of all clients of the library have outcomes,
    /// removed users have joined again, and the sessions that replaced each other have ended.
    /// Returns how long that took.
    ///
    /// # Errors
    /// That takes longer than `timeout`, a removed user cannot join again, or the history cannot be
    /// written.
    pub async fn stop_sending(&mut self, timeout: Duration) -> io::Result<Duration> {
        self.stop.store(true, Ordering::Relaxed);
        let started = Instant::now();
        let ending = async {
            while let Some(ended) = self.senders.join_next().await {
                ended.map_err(io::Error::other)??;
            }
            io::Result::Ok(())
        };
        match tokio::time::timeout(timeout, ending).await {
            Ok(ended) => ended.map(|()| started.elapsed()),
            Err(_) => {
                let unsettled = self.unsettled();
                let seconds = timeout.as_secs();
                let text = format!("the users did not stop within {seconds} s: {unsettled} messages have no outcome");
                Err(io::Error::other(text))
            }
        }
    }

    /// Returns the last sequence number of each conversation, by its id, as the servers report it
    /// to its members.
    ///
    /// # Errors
    /// A server does not answer, or refuses a request.
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

    /// Records the memberships of all users, and the log of each conversation, as each server
    /// returns it to a user who may read all of it.
    ///
    /// # Errors
    /// A server does not answer or refuses a request, or the history cannot be written.
    pub async fn dump(&self) -> io::Result<()> {
        let accounts = self.clients.iter().map(|client| &client.account);
        let accounts: Vec<Account> = accounts.chain(&self.takeovers).cloned().collect();
        record_logs_of(&self.context, &accounts).await
    }
}
