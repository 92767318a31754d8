//! [`WireSwarm`]: many users with clients of the bare protocol.

use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use chat_core::secure::Fingerprint;
use chat_core::testkit::Peer;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until};

use super::{Account, RunContext, Session};
use crate::deadline::with_deadline;
use crate::dump::{Source, all_conversations, dump_readable, epoch, record_memberships};
use crate::history::{LogPosition, Observation, Writer};
use crate::swarm::{create_group, enroll};

/// Size and load of a [`WireSwarm`].
#[derive(Clone, Debug)]
pub struct WireSwarmOptions {
    /// Number of users, each with one connection.
    pub users: usize,
    /// Maximum number of users in a group. Each user is in one group.
    pub group_size: NonZeroUsize,
    /// Maximum number of writes with messages per second on each connection; above 0.
    pub rate: f64,
    /// Number of messages in one write.
    pub burst: usize,
    /// Number of messages without an outcome at which a connection pauses sending. The last write
    /// before the pause may raise their number above this one.
    pub window: usize,
    /// Prefix of the names of users and groups, different for each swarm on the same service.
    pub name: String,
}

impl Default for WireSwarmOptions {
    fn default() -> Self {
        Self {
            users: 8,
            group_size: NonZeroUsize::MIN.saturating_add(7),
            rate: 5.0,
            burst: 1,
            window: 128,
            name: "wire".into(),
        }
    }
}

/// Delay after a session could not be started.
const RETRY_DELAY: Duration = Duration::from_millis(200);
/// Interval between checks for missing events after [`Phase::Send`]. In that phase, the client
/// checks for them at the rate of its writes.
const CHECK_INTERVAL: Duration = Duration::from_millis(20);
/// Minimum time between requests for the last positions of the conversations, in
/// [`Phase::End`].
const LIST_INTERVAL: Duration = Duration::from_secs(1);

/// Phase of a swarm. The phases follow each other in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    /// Clients send messages.
    Send,
    /// Clients send no more messages and wait for outcomes.
    Settle,
    /// Clients receive all events, but wait no longer than until this deadline, and then end.
    End(Instant),
}

impl Phase {
    const fn is_end(&self) -> bool {
        matches!(self, Self::End(_))
    }
}

/// Users with clients of the bare protocol, which reconnect as soon as they lose their connection.
/// Each connection is a separate run.
#[derive(Debug)]
pub struct WireSwarm {
    context: Arc<RunContext>,
    accounts: Vec<Account>,
    phase: watch::Sender<Phase>,
    /// Number of clients that were without pending messages after the users had stopped sending.
    settled: watch::Sender<usize>,
    /// Tasks of the clients. Each returns whether its user received all events.
    tasks: JoinSet<io::Result<bool>>,
}

impl WireSwarm {
    /// Registers the users, creates their groups, and starts sending.
    ///
    /// # Errors
    /// A server refuses a request, or does not answer.
    pub async fn start(
        servers: &[SocketAddr],
        pin: Fingerprint,
        options: &WireSwarmOptions,
        history: Arc<Writer>,
    ) -> io::Result<Self> {
        let context = Arc::new(RunContext::new(servers, pin, history));
        let mut conversations = Vec::with_capacity(options.users);
        let mut accounts = Vec::with_capacity(options.users);
        for first in (0..options.users).step_by(options.group_size.get()) {
            let count = options.group_size.get().min(options.users - first);
            let name = |number| format!("{}-{}", options.name, first + number);
            let (mut peers, mut enrolled) = enroll(&context, count, name).await?;
            let (owner, others) = peers
                .split_first_mut()
                .ok_or_else(|| io::Error::other("a group needs at least one user"))?;
            let conversation =
                create_group(owner, others.iter_mut(), &format!("{} {first}", options.name), true).await?;
            conversations.extend(vec![conversation; count]);
            accounts.append(&mut enrolled);
        }
        let mut swarm = Self {
            context,
            accounts,
            phase: watch::channel(Phase::Send).0,
            settled: watch::channel(0).0,
            tasks: JoinSet::new(),
        };
        for (number, (account, conversation)) in swarm.accounts.iter().zip(conversations).enumerate() {
            let client = WireClient {
                context: Arc::clone(&swarm.context),
                account: account.clone(),
                conversation,
                next_server: number,
                options: options.clone(),
                phase: swarm.phase.subscribe(),
                settled: swarm.settled.clone(),
                is_settled: false,
                last_run: None,
            };
            swarm.tasks.spawn(client.run());
        }
        Ok(swarm)
    }

    /// Stops sending, and waits until every message has its outcome or its connection was lost.
    /// Returns how long that took.
    ///
    /// # Errors
    /// After `timeout`, messages have no outcome, or a client that lost its connection has no new
    /// one.
    pub async fn stop_sending(&mut self, timeout: Duration) -> io::Result<Duration> {
        let started = Instant::now();
        self.phase.send_replace(Phase::Settle);
        let clients = self.accounts.len();
        let mut settled = self.settled.subscribe();
        let all = tokio::time::timeout(timeout, settled.wait_for(|settled| *settled >= clients)).await;
        match all {
            Ok(_) => Ok(started.elapsed()),
            Err(_) => Err(io::Error::other(format!(
                "messages have no outcome, or clients no connection, after {} s",
                timeout.as_secs()
            ))),
        }
    }

    /// Waits until all clients have received all events that their users may read, for at most
    /// `timeout`, and ends the clients. Returns the number of clients that still lack events then.
    ///
    /// # Errors
    /// The history cannot be written.
    pub async fn finish(&mut self, timeout: Duration) -> io::Result<usize> {
        self.phase.send_replace(Phase::End(Instant::now() + timeout));
        let mut incomplete = self.accounts.len();
        while let Some(ended) = self.tasks.join_next().await {
            incomplete -= usize::from(ended.map_err(io::Error::other)??);
        }
        self.context.history.flush()?;
        Ok(incomplete)
    }

    /// Records the memberships of all users, and the log of each conversation, as each server
    /// returns it to a user who may read all of it.
    ///
    /// # Errors
    /// A server does not answer or refuses a request, or the history cannot be written.
    pub async fn dump(&self) -> io::Result<()> {
        record_logs_of(&self.context, &self.accounts).await
    }
}

/// Records the memberships of these accounts, and the log of each conversation that one of them may
/// read from the start to the end, as each server returns it.
pub(crate) async fn record_logs_of(context: &RunContext, accounts: &[Account]) -> io::Result<()> {
    let mut servers = Vec::with_capacity(context.servers.len());
    for server in &context.servers {
        let (asked, mut recorded) = (context.history.now(), BTreeSet::new());
        for account in accounts {
            let mut peer = with_deadline(server, Peer::connect(*server, context.pin)).await?;
            let logged_in = account.resume(&mut peer).await?;
            let conversations = with_deadline(server, all_conversations(&mut peer)).await?;
            record_memberships(account.user, &conversations, &context.history)?;
            let source = Source {
                name: server.to_string(),
                epoch: epoch(logged_in.store_epoch),
            };
            dump_readable(&mut peer, &conversations, &source, &mut recorded, &context.history).await?;
        }
        servers.push((server, asked, recorded));
    }
    // If a server does not list a conversation that another server lists, its log of that
    // conversation counts as empty.
    let all: BTreeSet<u64> = servers.iter().flat_map(|(_, _, recorded)| recorded).copied().collect();
    for (server, asked, recorded) in &servers {
        for conversation in all.difference(recorded) {
            context.history.note(Observation::Head {
                source: server.to_string(),
                last: LogPosition {
                    conversation: *conversation,
                    seq: 0,
                },
                asked: *asked,
            })?;
        }
    }
    context.history.flush()
}

/// Client of one user, over all connections of the user.
struct WireClient {
    context: Arc<RunContext>,
    account: Account,
    conversation: u64,
    /// Index of the server that the next session uses, modulo the number of servers.
    next_server: usize,
    options: WireSwarmOptions,
    phase: watch::Receiver<Phase>,
    /// [`WireSwarm::settled`].
    settled: watch::Sender<usize>,
    /// True after this client was counted in `settled`.
    is_settled: bool,
    /// Id of the last run; `None` before the first session.
    last_run: Option<u64>,
}

impl WireClient {
    /// Runs until the end of the swarm. Returns whether the user received all events.
    async fn run(mut self) -> io::Result<bool> {
        let mut session = None;
        let mut phase = self.phase.clone();
        let timed_out = async move {
            let end = phase.wait_for(Phase::is_end).await.map(|phase| *phase);
            match end {
                Ok(Phase::End(deadline)) => sleep_until(deadline).await,
                // The swarm was dropped, which aborts this task.
                _ => std::future::pending().await,
            }
        };
        let has_everything = tokio::select! {
            biased;
            completed = self.run_sessions(&mut session) => completed.map(|()| true)?,
            () = timed_out => false,
        };
        session.map_or(Ok(()), Session::end)?;
        if let Some(run) = self.last_run {
            // Recorded even after a timeout, so that the check reports the events that the user
            // lacks.
            self.context.history.note(Observation::Finished { run })?;
        }
        Ok(has_everything)
    }

    /// Runs one session after the other until the user has received all events. Leaves the last
    /// session open.
    async fn run_sessions(&mut self, session: &mut Option<Session>) -> io::Result<()> {
        loop {
            let server = self.context.servers[self.next_server % self.context.servers.len()];
            self.next_server += 1;
            let Ok(started) = Session::start(&self.context, server, &self.account).await else {
                sleep(RETRY_DELAY).await;
                continue;
            };
            self.last_run = Some(started.run());
            if self.run_session(session.insert(started)).await.is_ok() {
                return Ok(());
            }
            session.take().map_or(Ok(()), Session::end)?;
        }
    }

    /// Runs a session until the user has received all events.
    ///
    /// # Errors
    /// The connection ends first, or the history cannot be written.
    async fn run_session(&mut self, session: &mut Session) -> io::Result<()> {
        let send_interval = Duration::from_secs_f64(1.0 / self.options.rate);
        let mut sends = interval(send_interval);
        let mut check = interval(CHECK_INTERVAL);
        let mut requested_at: Option<Instant> = None;
        for ticks in [&mut sends, &mut check] {
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        }
        loop {
            let phase = *self.phase.borrow();
            tokio::select! {
                // Received packets come first, because outcomes allow the client to send again.
                biased;
                received = session.receive() => received?,
                _ = sends.tick(), if phase == Phase::Send => {
                    if session.pending_count() < self.options.window {
                        session.send(self.conversation, self.options.burst).await?;
                    }
                    session.request_missing().await?;
                }
                _ = check.tick(), if phase != Phase::Send => session.request_missing().await?,
                _ = self.phase.changed() => {}
            }
            if phase > Phase::Send && session.pending_count() == 0 && !self.is_settled {
                self.is_settled = true;
                self.settled.send_modify(|settled| *settled += 1);
            }
            if phase.is_end() {
                if session.is_complete() {
                    return Ok(());
                }
                if requested_at.is_none_or(|time| time.elapsed() > LIST_INTERVAL) {
                    requested_at = Some(Instant::now());
                    session.request_conversations().await?;
                }
            }
        }
    }
}
