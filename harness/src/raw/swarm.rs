//! [`RawSwarm`].

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
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until, timeout};

use super::{Account, Session, Site};
use crate::dump::{Source, dump_readable, epoch, note_stays};
use crate::history::{Place, What, Writer};
use crate::step::step;
use crate::swarm::{enroll, found};

/// How many, and how busy.
#[derive(Clone, Debug)]
pub struct RawOptions {
    /// Connections, each of a person of its own.
    pub people: usize,
    /// People in one group; everybody is in one.
    pub group_size: NonZeroUsize,
    /// Writes of each connection, a second.
    pub rate: f64,
    /// Messages in one write.
    pub burst: usize,
    /// Messages of a connection that may be without an outcome; beyond that it waits.
    pub window: usize,
    /// What the names of people and groups begin with.
    pub name: String,
}

impl Default for RawOptions {
    fn default() -> Self {
        Self {
            people: 8,
            group_size: NonZeroUsize::MIN.saturating_add(7),
            rate: 5.0,
            burst: 1,
            window: 128,
            name: "raw".into(),
        }
    }
}

/// After a server did not let somebody in.
const BACK_OFF: Duration = Duration::from_millis(200);
/// Between two looks at what is left to do, for those who say nothing.
const LOOK: Duration = Duration::from_millis(20);
/// Where everything ends is asked again after so long.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// What everybody does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    Talk,
    /// Say nothing more, and wait for what was said.
    Hush,
    /// Get everything until then, and end.
    End(Instant),
}

impl Phase {
    const fn is_end(&self) -> bool {
        matches!(self, Self::End(_))
    }
}

/// People who speak the protocol themselves, and go back as soon as they lose their connection. Each connection is a run of its own.
#[derive(Debug)]
pub struct RawSwarm {
    site: Arc<Site>,
    accounts: Vec<Account>,
    phase: watch::Sender<Phase>,
    /// Tells how many are silent.
    silent: watch::Sender<usize>,
    tasks: JoinSet<io::Result<bool>>,
}

impl RawSwarm {
    /// Registers everybody, puts them into groups, and lets them talk.
    ///
    /// # Errors
    /// A server refuses something, or does not answer.
    pub async fn start(
        servers: &[SocketAddr],
        pin: Fingerprint,
        options: &RawOptions,
        history: Arc<Writer>,
    ) -> io::Result<Self> {
        let site = Arc::new(Site::new(servers, pin, history));
        let mut rooms = Vec::with_capacity(options.people);
        let mut accounts = Vec::with_capacity(options.people);
        for first in (0..options.people).step_by(options.group_size.get()) {
            let count = options.group_size.get().min(options.people - first);
            let name = |number| format!("{}-{}", options.name, first + number);
            let (mut peers, mut some) = enroll(&site, count, name).await?;
            let (host, others) = peers.split_first_mut().ok_or_else(|| io::Error::other("nobody"))?;
            let room = found(host, others.iter_mut(), &format!("{} {first}", options.name), true).await?;
            rooms.extend(vec![room; count]);
            accounts.append(&mut some);
        }
        let mut swarm = Self {
            site,
            accounts,
            phase: watch::channel(Phase::Talk).0,
            silent: watch::channel(0).0,
            tasks: JoinSet::new(),
        };
        for (number, (account, room)) in swarm.accounts.iter().zip(rooms).enumerate() {
            let person = Person {
                site: Arc::clone(&swarm.site),
                account: account.clone(),
                room,
                server: number,
                options: options.clone(),
                phase: swarm.phase.subscribe(),
                silent: swarm.silent.clone(),
                is_silent: false,
                last_run: None,
            };
            swarm.tasks.spawn(person.live());
        }
        Ok(swarm)
    }

    /// Nobody says anything more; waits until everything said has its outcome, or its connection has ended. Returns how long it took.
    ///
    /// # Errors
    /// Something has none after `patience`.
    pub async fn hush(&mut self, patience: Duration) -> io::Result<Duration> {
        let started = Instant::now();
        self.phase.send_replace(Phase::Hush);
        let everybody = self.accounts.len();
        let mut silent = self.silent.subscribe();
        let all = timeout(patience, silent.wait_for(|silent| *silent >= everybody)).await;
        match all {
            Ok(_) => Ok(started.elapsed()),
            Err(_) => Err(io::Error::other("messages have no outcome")),
        }
    }

    /// Lets everybody get what they may read, for at most `patience` from now, and ends. Returns how many did not.
    ///
    /// # Errors
    /// The history cannot be written.
    pub async fn finish(&mut self, patience: Duration) -> io::Result<usize> {
        self.phase.send_replace(Phase::End(Instant::now() + patience));
        let mut lacking = self.accounts.len();
        while let Some(ended) = self.tasks.join_next().await {
            lacking -= usize::from(ended.map_err(io::Error::other)??);
        }
        self.site.history.flush()?;
        Ok(lacking)
    }

    /// Notes each log as each server tells it.
    ///
    /// # Errors
    /// A server does not answer.
    pub async fn dump(&self) -> io::Result<()> {
        dump_for(&self.site, &self.accounts).await
    }
}

/// Notes each log that one of these people may read whole, as each server tells it.
pub(crate) async fn dump_for(site: &Site, accounts: &[Account]) -> io::Result<()> {
    let mut servers = Vec::with_capacity(site.servers.len());
    for server in &site.servers {
        let (asked, mut told) = (site.history.now(), BTreeSet::new());
        for account in accounts {
            let mut peer = step(server, Peer::connect(*server, site.pin)).await?;
            let logged_in = account.resume(&mut peer).await?;
            note_stays(account.user, &logged_in.conversations, &site.history)?;
            let source = Source {
                name: server.to_string(),
                epoch: epoch(logged_in.store_epoch),
            };
            dump_readable(&mut peer, &logged_in.conversations, &source, &mut told, &site.history).await?;
        }
        servers.push((server, asked, told));
    }
    // Of a conversation that others tell, who does not even know it has nothing.
    let all: BTreeSet<u64> = servers.iter().flat_map(|(_, _, told)| told).copied().collect();
    for (server, asked, told) in &servers {
        for conversation in all.difference(told) {
            site.history.note(What::Head {
                source: server.to_string(),
                last: Place {
                    conversation: *conversation,
                    seq: 0,
                },
                asked: *asked,
            })?;
        }
    }
    site.history.flush()
}

/// Somebody, over all their connections.
struct Person {
    site: Arc<Site>,
    account: Account,
    room: u64,
    /// Which one is next.
    server: usize,
    options: RawOptions,
    phase: watch::Receiver<Phase>,
    silent: watch::Sender<usize>,
    is_silent: bool,
    last_run: Option<u64>,
}

impl Person {
    /// Whether they got everything in the end.
    async fn live(mut self) -> io::Result<bool> {
        let mut session = None;
        let mut phase = self.phase.clone();
        let is_too_late = async move {
            let told = phase.wait_for(Phase::is_end).await.map(|phase| *phase);
            match told {
                Ok(Phase::End(deadline)) => sleep_until(deadline).await,
                // The swarm is gone, and this soon with it.
                _ => std::future::pending().await,
            }
        };
        let has_everything = tokio::select! {
            biased;
            lived = self.come_back(&mut session) => lived.map(|()| true)?,
            () = is_too_late => false,
        };
        session.map_or(Ok(()), Session::end)?;
        if let Some(run) = self.last_run {
            // In time or not: what it should have by now is judged.
            self.site.history.note(What::Finished { run })?;
        }
        Ok(has_everything)
    }

    /// One session after the other, until one gets everything. It is left open.
    async fn come_back(&mut self, session: &mut Option<Session>) -> io::Result<()> {
        loop {
            let server = self.site.servers[self.server % self.site.servers.len()];
            self.server += 1;
            let Ok(begun) = Session::begin(&self.site, server, &self.account).await else {
                sleep(BACK_OFF).await;
                continue;
            };
            self.last_run = Some(begun.run());
            if self.run(session.insert(begun)).await.is_ok() {
                return Ok(());
            }
            session.take().map_or(Ok(()), Session::end)?;
        }
    }

    /// Until everything is done, or the connection has ended.
    async fn run(&mut self, session: &mut Session) -> io::Result<()> {
        let pause = Duration::from_secs_f64(1.0 / self.options.rate);
        let mut pace = interval(pause);
        let mut look = interval(LOOK);
        let mut asked: Option<Instant> = None;
        for ticks in [&mut pace, &mut look] {
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        }
        loop {
            let phase = *self.phase.borrow();
            tokio::select! {
                // First what has come: it frees the window.
                biased;
                taken = session.take() => taken?,
                _ = pace.tick(), if phase == Phase::Talk => {
                    if session.under_way() < self.options.window {
                        session.say(self.room, self.options.burst).await?;
                    }
                    session.catch_up().await?;
                }
                _ = look.tick(), if phase != Phase::Talk => session.catch_up().await?,
                _ = self.phase.changed() => {}
            }
            if phase > Phase::Talk && session.under_way() == 0 && !self.is_silent {
                self.is_silent = true;
                self.silent.send_modify(|silent| *silent += 1);
            }
            if phase.is_end() {
                if session.is_complete() {
                    return Ok(());
                }
                if asked.is_none_or(|asked| asked.elapsed() > ASK_AGAIN) {
                    asked = Some(Instant::now());
                    session.ask_for_the_ends().await?;
                }
            }
        }
    }
}
