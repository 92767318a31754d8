//! Many people who chat through the client library, and note what happens to them. Some of them come and go; and some devices, whose sessions
//! take over from each other, speak the protocol themselves.

mod gather;
mod guests;
mod person;
mod twins;

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
use tokio::time::{sleep, timeout};

pub(crate) use self::gather::{enroll, found};
use self::guests::Guest;
use self::person::Person;
use crate::history::{What, Writer};
use crate::raw::{Account, Site, dump_for};
use crate::step::step;

/// How many, and how busy.
#[derive(Clone, Debug)]
pub struct Options {
    /// People, each pair of whom also chat with each other. Without groups an even number, so that nobody is alone.
    pub users: usize,
    /// Groups that all of them are in.
    pub groups: usize,
    /// Messages of each person, a second.
    pub rate: f64,
    /// The last so many people are in one more group, which they are put out of and come back to all the time.
    pub guests: usize,
    /// Further people, each with one device on which one session after the other takes over.
    pub twins: usize,
    /// What the names of people and groups begin with.
    pub name: String,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            users: 8,
            groups: 2,
            rate: 5.0,
            guests: 0,
            twins: 0,
            name: "person".into(),
        }
    }
}

/// People and their clients.
#[derive(Debug)]
pub struct Swarm {
    site: Arc<Site>,
    people: Vec<Person>,
    twins: Vec<Account>,
    groups: Vec<u64>,
    history: Arc<Writer>,
    is_over: Arc<AtomicBool>,
    tasks: JoinSet<io::Result<()>>,
    /// Those that end by themselves once it is over.
    restless: JoinSet<io::Result<()>>,
}

impl Options {
    /// Whether somebody would be in no conversation, or there is nobody at all. Twins talk in the first group.
    #[must_use]
    pub const fn is_anybody_alone(&self) -> bool {
        self.users == 0 || (self.groups == 0 && (self.users % 2 == 1 || self.twins > 0))
    }
}

fn named(name: &str) -> io::Result<UserRef> {
    UserName::parse(name).map(UserRef::Name).map_err(io::Error::other)
}

impl Swarm {
    /// Registers everybody, brings them together, and lets them talk.
    ///
    /// # Errors
    /// The cluster refuses something, or does not answer; or somebody would be [alone](Options::is_anybody_alone).
    pub async fn start(
        servers: &[SocketAddr],
        fingerprint: Fingerprint,
        options: &Options,
        history: Arc<Writer>,
    ) -> io::Result<Self> {
        if options.is_anybody_alone() {
            return Err(io::Error::other("somebody would have nobody to talk to"));
        }
        let site = Arc::new(Site::new(servers, fingerprint, history));
        let gathered = gather::gather(&site, options).await?;
        let mut swarm = Self {
            people: Vec::new(),
            twins: gathered.twins.clone(),
            groups: gathered.groups,
            history: Arc::clone(&site.history),
            site: Arc::clone(&site),
            is_over: Arc::default(),
            tasks: JoinSet::new(),
            restless: JoinSet::new(),
        };
        for (number, (account, rooms)) in gathered.people.into_iter().zip(gathered.rooms).enumerate() {
            let person = Person::start(&site, number, account, rooms).await?;
            let history = || Arc::clone(&swarm.history);
            let talking = person.talk(options.rate, history(), Arc::clone(&swarm.is_over));
            swarm.tasks.spawn(person.listen(history()));
            swarm.restless.spawn(talking);
            swarm.people.push(person);
        }
        if let Some(club) = gathered.club {
            swarm.groups.push(club);
            swarm.let_come_and_go(club, options.guests)?;
        }
        for twin in gathered.twins {
            let room = *swarm
                .groups
                .first()
                .ok_or_else(|| io::Error::other("twins need a group"))?;
            let taking_over = twins::take_over(Arc::clone(&site), twin, room, Arc::clone(&swarm.is_over));
            swarm.restless.spawn(taking_over);
        }
        Ok(swarm)
    }

    fn let_come_and_go(&mut self, club: u64, guests: usize) -> io::Result<()> {
        let Some((host, others)) = self.people.split_first() else {
            return Ok(());
        };
        let guests = others[others.len().saturating_sub(guests)..].iter().map(|person| {
            Ok(Guest {
                client: Arc::clone(&person.client),
                user: named(&person.account.name)?,
            })
        });
        let guests = guests.collect::<io::Result<Vec<_>>>()?;
        if !guests.is_empty() {
            let is_over = Arc::clone(&self.is_over);
            self.restless
                .spawn(guests::come_and_go(Arc::clone(&host.client), guests, club, is_over));
        }
        Ok(())
    }

    /// Somebody who is in all groups.
    #[must_use]
    pub fn reader(&self) -> &str {
        &self.people[0].account.name
    }

    /// The groups.
    #[must_use]
    pub fn groups(&self) -> &[u64] {
        &self.groups
    }

    /// Messages that have no outcome yet.
    #[must_use]
    pub fn unsettled(&self) -> usize {
        self.people.iter().map(|person| person.client.unsettled()).sum()
    }

    /// Lets everybody finish: nothing more is said; what was said gets its outcome, and reaches everybody. Then all clients end. Returns how
    /// long it took; whoever does not have everything after `patience` does not get it any more, and the check will say so.
    ///
    /// # Errors
    /// Messages have no outcome after `patience`, or the history cannot be written.
    pub async fn finish(mut self, heads: &HashMap<u64, u64>, patience: Duration) -> io::Result<Duration> {
        let started = Instant::now();
        self.catch_up(heads, patience).await;
        let took = started.elapsed();
        for person in &self.people {
            self.history.note(What::Finished { run: person.run })?;
            let closing = async {
                person.client.close().await;
                Ok(())
            };
            step("a client's end", closing).await?;
        }
        while let Some(task) = step("what a client was handed last", async {
            Ok(self.tasks.join_next().await)
        })
        .await?
        {
            task.map_err(io::Error::other)??;
        }
        self.history.flush()?;
        Ok(took)
    }

    /// Waits until everybody has everything up to these ends, for at most `patience`. Returns how many do not.
    pub async fn catch_up(&self, heads: &HashMap<u64, u64>, patience: Duration) -> usize {
        let started = Instant::now();
        loop {
            let lacking = self
                .people
                .iter()
                .filter(|person| !person.has_everything(heads))
                .count();
            if lacking == 0 || started.elapsed() >= patience {
                return lacking;
            }
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// Nobody says anything more; waits until everything said has its outcome.
    ///
    /// # Errors
    /// Something has none after `patience`.
    pub async fn hush(&mut self, patience: Duration) -> io::Result<Duration> {
        self.is_over.store(true, Ordering::Relaxed);
        let started = Instant::now();
        let ending = async {
            // Each waits for its outcomes, so nobody says anything after the last one.
            while let Some(ended) = self.restless.join_next().await {
                ended.map_err(io::Error::other)??;
            }
            io::Result::Ok(())
        };
        match timeout(patience, ending).await {
            Ok(ended) => ended.map(|()| started.elapsed()),
            Err(_) => {
                let left = self.unsettled();
                let text = format!("{left} messages have no outcome, or somebody does not end");
                Err(io::Error::other(text))
            }
        }
    }

    /// Where each conversation ends, as servers tell those who are in it.
    ///
    /// # Errors
    /// A server does not answer.
    pub async fn heads(&self) -> io::Result<HashMap<u64, u64>> {
        let mut heads = HashMap::new();
        for (number, person) in self.people.iter().enumerate() {
            let server = self.site.servers[number % self.site.servers.len()];
            let mut peer = step(server, Peer::connect(server, self.site.pin)).await?;
            for info in person.account.resume(&mut peer).await?.conversations {
                let head = heads.entry(info.id.0).or_insert(0);
                *head = info.last_seq.0.max(*head);
            }
        }
        Ok(heads)
    }

    /// Notes each log as each server tells it, to those who may read it whole.
    ///
    /// # Errors
    /// A server does not answer.
    pub async fn dump(&self) -> io::Result<()> {
        let people = self.people.iter().map(|person| &person.account);
        let accounts: Vec<Account> = people.chain(&self.twins).cloned().collect();
        dump_for(&self.site, &accounts).await
    }
}
