//! Many people who chat through the client library, and note what happens to them. Some of them come and go; and some devices, whose sessions
//! take over from each other, speak the protocol themselves.

mod gather;
mod guests;
mod twins;

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use chat_core::client::{Client, ClientEvent, ClientOptions, Credentials, MemoryStore, SendOutcome, ServerAddress};
use chat_core::model::{ConversationId, ConversationRef, Draft, MessageText, Secret, UserName, UserRef};
use chat_core::secure::Fingerprint;
use chat_core::testkit::{PASSWORD, Peer};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep};

pub(crate) use self::gather::{enroll, found};
use self::guests::Guest;
use crate::dump::{EPOCH, hex, record};
use crate::history::{Digest, Place, What, Writer};
use crate::raw::{Account, Site, dump_for};

/// How many, and how busy.
#[derive(Clone, Debug)]
pub struct Options {
    /// People; an even number, each pair of whom also chat with each other.
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

/// Messages that one person lets wait for the server before saying more.
const PATIENT: usize = 50;

/// Each so many messages one is sent again after it was acknowledged: the same message, which changes nothing.
const REPEATED: usize = 10;

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

#[derive(Debug)]
struct Person {
    account: Account,
    run: u64,
    client: Arc<Client>,
    /// Up to where each conversation was handed out.
    got: Arc<Mutex<HashMap<u64, u64>>>,
    /// Conversations to write to.
    rooms: Vec<u64>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn named(name: &str) -> io::Result<UserRef> {
    UserName::parse(name).map(UserRef::Name).map_err(io::Error::other)
}

impl Swarm {
    /// Registers everybody, brings them together, and lets them talk.
    ///
    /// # Errors
    /// The cluster refuses something, or does not answer.
    pub async fn start(
        servers: &[SocketAddr],
        fingerprint: Fingerprint,
        options: &Options,
        history: Arc<Writer>,
    ) -> io::Result<Self> {
        let site = Arc::new(Site::new(servers, fingerprint, history, 1));
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
            swarm.listen(&person);
            swarm.talk(&person, options.rate);
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

    fn listen(&mut self, person: &Person) {
        let (history, run, got) = (Arc::clone(&self.history), person.run, Arc::clone(&person.got));
        let Some(mut events) = person.client.events() else {
            return;
        };
        self.tasks.spawn(async move {
            while let Some(received) = events.next().await {
                match &received.event {
                    ClientEvent::Event(delivery) => {
                        let event = record(&delivery.event.event, &delivery.body);
                        lock(&got).insert(event.place.conversation, event.place.seq);
                        history.note(What::Delivered {
                            run,
                            epoch: EPOCH.to_owned(),
                            event,
                        })?;
                        received.done();
                    }
                    ClientEvent::Truncated { conversation, from, to } => {
                        let from = Place {
                            conversation: conversation.id.0,
                            seq: from.0,
                        };
                        history.note(What::Skipped { run, from, to: to.0 })?;
                        received.done();
                    }
                    ClientEvent::Connected { server } => {
                        history.note(What::LoggedIn {
                            run,
                            server: server.clone(),
                        })?;
                    }
                    _ => {}
                }
            }
            Ok(())
        });
    }

    fn talk(&mut self, person: &Person, rate: f64) {
        let (history, run, rooms) = (Arc::clone(&self.history), person.run, person.rooms.clone());
        let (client, is_over, name) = (
            Arc::clone(&person.client),
            Arc::clone(&self.is_over),
            person.account.name.clone(),
        );
        self.tasks.spawn(async move {
            let mut pace = interval(Duration::from_secs_f64(1.0 / rate));
            pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
            let mut outcomes: JoinSet<io::Result<()>> = JoinSet::new();
            let mut number = 0_usize;
            while !is_over.load(Ordering::Relaxed) {
                pace.tick().await;
                while outcomes.try_join_next().is_some() {}
                if client.unsettled() >= PATIENT {
                    continue;
                }
                number += 1;
                let conversation = rooms[number % rooms.len()];
                let text = format!("{number} 你好 😀 from {name}");
                let digest = Digest::of(text.as_bytes());
                let draft = Draft::text(MessageText::new(text).map_err(io::Error::other)?);
                let message = hex(&draft.client_message_id.0);
                history.note(What::Send {
                    run,
                    conversation,
                    message: message.clone(),
                    digest,
                })?;
                let room = ConversationRef::Id(ConversationId(conversation));
                let again = number
                    .is_multiple_of(REPEATED)
                    .then(|| (Arc::clone(&client), room.clone(), draft.clone()));
                let mut handle = client.send_draft(room, draft, None).await.map_err(io::Error::other)?;
                let history = Arc::clone(&history);
                outcomes.spawn(async move {
                    let outcome = handle.outcome().await.map_err(io::Error::other)?;
                    let is_stored = matches!(outcome, SendOutcome::Acked(_));
                    history.note(told(run, message.clone(), outcome))?;
                    if let Some((client, room, draft)) = again.filter(|_| is_stored) {
                        let mut handle = client.send_draft(room, draft, None).await.map_err(io::Error::other)?;
                        let outcome = handle.outcome().await.map_err(io::Error::other)?;
                        history.note(told(run, message, outcome))?;
                    }
                    Ok(())
                });
            }
            while let Some(noted) = outcomes.join_next().await {
                noted.map_err(io::Error::other)??;
            }
            Ok(())
        });
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
            person.client.close().await;
        }
        while let Some(task) = self.tasks.join_next().await {
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
        while let Some(ended) = self.restless.join_next().await {
            ended.map_err(io::Error::other)??;
        }
        while self.unsettled() > 0 {
            if started.elapsed() > patience {
                return Err(io::Error::other(format!(
                    "{} messages have no outcome",
                    self.unsettled()
                )));
            }
            sleep(Duration::from_millis(20)).await;
        }
        Ok(started.elapsed())
    }

    /// Where each conversation ends, as servers tell those who are in it.
    ///
    /// # Errors
    /// A server does not answer.
    pub async fn heads(&self) -> io::Result<HashMap<u64, u64>> {
        let mut heads = HashMap::new();
        for (number, person) in self.people.iter().enumerate() {
            let server = self.site.servers[number % self.site.servers.len()];
            let mut peer = Peer::connect(server, self.site.pin).await?;
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

fn told(run: u64, message: String, outcome: SendOutcome) -> What {
    match outcome {
        SendOutcome::Acked(appended) => What::Acked {
            run,
            message,
            event: hex(&appended.event_id.0),
            place: Place {
                conversation: appended.conversation.0,
                seq: appended.seq.0,
            },
        },
        SendOutcome::Rejected(error) => What::Refused {
            run,
            message,
            reason: error.to_string(),
        },
        _ => What::Unknown { run, message },
    }
}

impl Person {
    fn has_everything(&self, heads: &HashMap<u64, u64>) -> bool {
        let got = lock(&self.got);
        self.rooms.iter().all(|room| got.get(room) >= heads.get(room))
    }

    /// Begins somebody's client, on a device of its own.
    async fn start(site: &Site, number: usize, account: Account, rooms: Vec<u64>) -> io::Result<Self> {
        let mut servers = site.servers.clone();
        servers.rotate_left(number % site.servers.len());
        if number.is_multiple_of(2) {
            // Faithful to one node. If everybody went elsewhere when theirs dies, all would end up on the one that died last.
            servers.truncate(1);
        }
        let mut addresses = Vec::new();
        for server in servers {
            addresses.push(server.to_string().parse::<ServerAddress>().map_err(io::Error::other)?);
        }
        let credentials = Credentials::Password {
            account: named(&account.name)?,
            secret: Secret::new(PASSWORD),
            fresh: false,
        };
        let mut options = ClientOptions::new(addresses, credentials);
        options.pins = vec![site.pin];
        let run = site.run();
        let client = Client::start(options, MemoryStore::new())
            .await
            .map_err(io::Error::other)?;
        let device = hex(&client.device().0);
        site.history.note(What::Run {
            run,
            user: account.user,
            device,
            cursors: Vec::new(),
        })?;
        client.ready().await.map_err(io::Error::other)?;
        Ok(Self {
            account,
            run,
            client: Arc::new(client),
            got: Arc::default(),
            rooms,
        })
    }
}
