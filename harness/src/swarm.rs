//! Many people who chat through the client library, and note what happens to them.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use chat_core::client::{Client, ClientEvent, ClientOptions, Credentials, MemoryStore, SendOutcome, ServerAddress};
use chat_core::model::{
    ClientMessageId, Command, ConversationId, ConversationRef, Description, Draft, GroupName, JoinPolicy, MessageText,
    Note, Outcome, Secret, UserName, UserRef,
};
use chat_core::secure::Fingerprint;
use chat_core::testkit::{PASSWORD, Peer};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep};

use crate::dump::{EPOCH, hex, record};
use crate::history::{Digest, Place, What, Writer};

/// How many, and how busy.
#[derive(Clone, Debug)]
pub struct Options {
    /// People; an even number, each pair of whom also chat with each other.
    pub users: usize,
    /// Groups that all of them are in.
    pub groups: usize,
    /// Messages of each person, a second.
    pub rate: f64,
}

/// Messages that one person lets wait for the server before saying more.
const PATIENT: usize = 50;

/// Each so many messages one is sent again after it was acknowledged: the same message, which changes nothing.
const REPEATED: usize = 10;

/// People and their clients.
#[derive(Debug)]
pub struct Swarm {
    people: Vec<Person>,
    groups: Vec<u64>,
    history: Arc<Writer>,
    is_over: Arc<AtomicBool>,
    tasks: JoinSet<io::Result<()>>,
}

#[derive(Debug)]
struct Person {
    name: String,
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

fn group_name(number: usize) -> io::Result<GroupName> {
    GroupName::parse(&format!("crowd {number}")).map_err(io::Error::other)
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
        let setting = Setting {
            servers,
            fingerprint,
            history: &history,
        };
        let (groups, users, rooms) = setting.gather(options).await?;
        let mut swarm = Self {
            people: Vec::new(),
            groups,
            history: Arc::clone(&history),
            is_over: Arc::default(),
            tasks: JoinSet::new(),
        };
        for (number, (user, rooms)) in users.into_iter().zip(rooms).enumerate() {
            let person = setting.person(number, user, rooms).await?;
            swarm.listen(&person);
            swarm.talk(&person, options.rate);
            swarm.people.push(person);
        }
        Ok(swarm)
    }

    /// Somebody who is in all groups.
    #[must_use]
    pub fn reader(&self) -> &str {
        &self.people[0].name
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
            person.name.clone(),
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
                    history.note(told(run, message.clone(), outcome))?;
                    if let Some((client, room, draft)) = again {
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
        while !self.has_everything(heads) && started.elapsed() < patience {
            sleep(Duration::from_millis(20)).await;
        }
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

    /// Nobody says anything more; waits until everything said has its outcome.
    ///
    /// # Errors
    /// Something has none after `patience`.
    pub async fn hush(&self, patience: Duration) -> io::Result<Duration> {
        self.is_over.store(true, Ordering::Relaxed);
        let started = Instant::now();
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

    fn has_everything(&self, heads: &HashMap<u64, u64>) -> bool {
        self.people.iter().all(|person| {
            let got = lock(&person.got);
            person.rooms.iter().all(|room| got.get(room) >= heads.get(room))
        })
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

/// Where it takes place.
struct Setting<'a> {
    servers: &'a [SocketAddr],
    fingerprint: Fingerprint,
    history: &'a Writer,
}

impl Setting<'_> {
    /// Makes accounts, groups and friends. Returns the groups, the users' ids, and the conversations of each.
    async fn gather(&self, options: &Options) -> io::Result<(Vec<u64>, Vec<u64>, Vec<Vec<u64>>)> {
        let mut peers = Vec::new();
        let mut users = Vec::new();
        for number in 0..options.users {
            let name = format!("person-{number}");
            let server = self.servers[number % self.servers.len()];
            let mut peer = Peer::connect(server, self.fingerprint).await?;
            peer.register(&name).await?;
            users.push(peer.login(&name).await?.user.id.0);
            peers.push(peer);
        }
        let mut groups = Vec::new();
        for number in 0..options.groups {
            let create = Command::CreateGroup {
                client_message_id: ClientMessageId::random(),
                name: group_name(number)?,
                description: Description::default(),
                join_policy: JoinPolicy::Open,
                history_visible: true,
                unlisted: false,
            };
            let Outcome::Conversation(made) = peers[0].run(create).await? else {
                return Err(io::Error::other("no group was made"));
            };
            for peer in &mut peers[1..] {
                let group = ConversationRef::Id(made.id);
                peer.run(Command::JoinGroup {
                    group,
                    note: Note::default(),
                })
                .await?;
            }
            groups.push(made.id.0);
        }
        let mut rooms = vec![groups.clone(); options.users];
        for first in (0..options.users.saturating_sub(1)).step_by(2) {
            let (one, other) = (format!("person-{first}"), format!("person-{}", first + 1));
            let request = Command::RequestFriend {
                user: named(&other)?,
                note: Note::default(),
            };
            peers[first].run(request).await?;
            let accept = Command::AnswerFriend {
                user: named(&one)?,
                accept: true,
            };
            peers[first + 1].run(accept).await?;
            let run = u64::MAX - first as u64;
            let room = self.open(&mut peers[first], run, users[first], &other).await?;
            rooms[first].push(room);
            rooms[first + 1].push(room);
        }
        Ok((groups, users, rooms))
    }

    /// A first message makes a conversation of two.
    async fn open(&self, peer: &mut Peer, run: u64, user: u64, other: &str) -> io::Result<u64> {
        let text = MessageText::new("hello").map_err(io::Error::other)?;
        let digest = Digest::of(text.as_str().as_bytes());
        let draft = Draft::text(text);
        let message = hex(&draft.client_message_id.0);
        let conversation = ConversationRef::Direct(named(other)?);
        let Outcome::Appended(appended) = peer.run(Command::Send { conversation, draft }).await? else {
            return Err(io::Error::other("no acknowledgement"));
        };
        let conversation = appended.conversation.0;
        let device = format!("setup-{run}");
        self.history.note(What::Run {
            run,
            user,
            device,
            cursors: Vec::new(),
        })?;
        self.history.note(What::Send {
            run,
            conversation,
            message: message.clone(),
            digest,
        })?;
        self.history.note(told(run, message, SendOutcome::Acked(appended)))?;
        Ok(conversation)
    }

    async fn person(&self, number: usize, user: u64, rooms: Vec<u64>) -> io::Result<Person> {
        let name = format!("person-{number}");
        let mut servers = self.servers.to_vec();
        servers.rotate_left(number % self.servers.len());
        if number.is_multiple_of(2) {
            // Faithful to one node. If everybody went elsewhere when theirs dies, all would end up on the one that died last.
            servers.truncate(1);
        }
        let mut addresses = Vec::new();
        for server in servers {
            addresses.push(server.to_string().parse::<ServerAddress>().map_err(io::Error::other)?);
        }
        let credentials = Credentials::Password {
            account: named(&name)?,
            secret: Secret::new(PASSWORD),
            fresh: false,
        };
        let mut options = ClientOptions::new(addresses, credentials);
        options.pins = vec![self.fingerprint];
        let run = number as u64 + 1;
        let client = Client::start(options, MemoryStore::new())
            .await
            .map_err(io::Error::other)?;
        let device = hex(&client.device().0);
        self.history.note(What::Run {
            run,
            user,
            device,
            cursors: Vec::new(),
        })?;
        client.ready().await.map_err(io::Error::other)?;
        Ok(Person {
            name,
            run,
            client: Arc::new(client),
            got: Arc::default(),
            rooms,
        })
    }
}
