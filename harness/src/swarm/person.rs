//! [`Person`].

use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chat_core::client::{Client, ClientEvent, ClientOptions, Credentials, MemoryStore, SendOutcome, ServerAddress};
use chat_core::model::{ConversationId, ConversationRef, Draft, MessageText, Secret};
use chat_core::testkit::PASSWORD;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

use super::named;
use crate::dump::{acked, hex, record};
use crate::history::{Digest, Place, What, Writer};
use crate::raw::{Account, Site};
use crate::step::step;

/// Messages that one person lets wait for the server before saying more.
const PATIENT: usize = 50;

/// Each so many messages one is sent again after it was acknowledged: the same message, which changes nothing.
const REPEATED: usize = 10;

/// Somebody with a client of their own.
#[derive(Debug)]
pub(super) struct Person {
    pub(super) account: Account,
    pub(super) run: u64,
    pub(super) client: Arc<Client>,
    /// Up to where each conversation was handed out.
    pub(super) got: Arc<Mutex<HashMap<u64, u64>>>,
    /// Conversations to write to.
    pub(super) rooms: Vec<u64>,
}

impl Person {
    /// Whether everything up to these ends was handed out.
    pub(super) fn has_everything(&self, heads: &HashMap<u64, u64>) -> bool {
        let got = lock(&self.got);
        self.rooms.iter().all(|room| got.get(room) >= heads.get(room))
    }

    /// Begins somebody's client, on a device of its own.
    pub(super) async fn start(site: &Site, number: usize, account: Account, rooms: Vec<u64>) -> io::Result<Self> {
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
        step(&account.name, async { client.ready().await.map_err(io::Error::other) }).await?;
        Ok(Self {
            account,
            run,
            client: Arc::new(client),
            got: Arc::default(),
            rooms,
        })
    }

    /// Notes what they are handed, until their client ends.
    pub(super) fn listen(&self, history: Arc<Writer>) -> impl Future<Output = io::Result<()>> + Send + use<> {
        let (run, got, events) = (self.run, Arc::clone(&self.got), self.client.events());
        let mut epoch = self.account.epoch.clone();
        async move {
            let Some(mut events) = events else {
                return Ok(());
            };
            while let Some(received) = events.next().await {
                match &received.event {
                    ClientEvent::Event(delivery) => {
                        let event = record(&delivery.event.event, &delivery.body);
                        lock(&got).insert(event.place.conversation, event.place.seq);
                        history.note(What::Delivered {
                            run,
                            epoch: epoch.clone(),
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
                    ClientEvent::HistoryReset => {
                        history.note(What::Reset { run })?;
                        // Which one it is now the library does not say: none that anything else is compared with.
                        epoch = format!("after {epoch}");
                        lock(&got).clear();
                        received.done();
                    }
                    ClientEvent::Rewound { conversation, to } => {
                        let to = Place {
                            conversation: conversation.id.0,
                            seq: to.0,
                        };
                        history.note(What::Rewound { run, to })?;
                        lock(&got).insert(to.conversation, to.seq);
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
        }
    }

    /// Says something so many times a second until it is over, and notes what becomes of it.
    pub(super) fn talk(
        &self,
        rate: f64,
        history: Arc<Writer>,
        is_over: Arc<AtomicBool>,
    ) -> impl Future<Output = io::Result<()>> + Send + use<> {
        let (run, rooms, name) = (self.run, self.rooms.clone(), self.account.name.clone());
        let client = Arc::clone(&self.client);
        async move {
            let mut pace = interval(Duration::from_secs_f64(1.0 / rate));
            pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
            let mut outcomes: JoinSet<io::Result<()>> = JoinSet::new();
            let mut number = 0_usize;
            while !is_over.load(Ordering::Relaxed) {
                pace.tick().await;
                while let Some(noted) = outcomes.try_join_next() {
                    noted.map_err(io::Error::other)??;
                }
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
                let mut handle = client
                    .enqueue_draft(room, draft, None)
                    .await
                    .map_err(io::Error::other)?;
                let history = Arc::clone(&history);
                outcomes.spawn(async move {
                    let outcome = handle.outcome().await.map_err(io::Error::other)?;
                    let is_stored = matches!(outcome, SendOutcome::Acked(_));
                    history.note(told(run, message.clone(), outcome))?;
                    if let Some((client, room, draft)) = again.filter(|_| is_stored) {
                        let mut handle = client
                            .enqueue_draft(room, draft, None)
                            .await
                            .map_err(io::Error::other)?;
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
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How a send ended.
pub(super) fn told(run: u64, message: String, outcome: SendOutcome) -> What {
    match outcome {
        SendOutcome::Acked(appended) => acked(run, message, &appended),
        SendOutcome::Rejected(error) => What::Refused {
            run,
            message,
            reason: error.to_string(),
        },
        _ => What::Unknown { run, message },
    }
}
