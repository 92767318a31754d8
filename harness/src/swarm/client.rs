//! [`SwarmClient`]: one user of a swarm, with a client of the library.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use chat_core::client::{Client, ClientEvent, ClientOptions, Credentials, MemoryStore, SendOutcome, ServerAddress};
use chat_core::model::{ConversationId, ConversationRef, Draft, MessageText, Secret};
use chat_core::sync::Mutex;
use chat_core::testkit::PASSWORD;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

use super::user_ref;
use crate::deadline::with_deadline;
use crate::dump::{acked, hex, record};
use crate::history::{Digest, LogPosition, Observation, Writer};
use crate::wire_client::{Account, RunContext};

/// Number of messages without an outcome at which a client sends no new messages until some have
/// outcomes.
const MAX_UNSETTLED: usize = 50;

/// Every `RESEND_PERIOD`th message is sent again, with the same id, after it was acknowledged. The
/// server must return the same acknowledgement and store the message once.
const RESEND_PERIOD: usize = 10;

/// A user with a client of the library, and the id under which the history records its run.
#[derive(Debug)]
pub(super) struct SwarmClient {
    pub(super) account: Account,
    /// Id of the client's only run.
    pub(super) run: u64,
    /// Client of the library.
    pub(super) library_client: Arc<Client>,
    /// Sequence number up to which events were delivered, by the id of the conversation.
    pub(super) received_up_to: Arc<Mutex<HashMap<u64, u64>>>,
    /// Ids of the conversations that the user sends to.
    pub(super) conversations: Vec<u64>,
}

impl SwarmClient {
    /// Returns whether the events of the conversations that the user sends to were delivered up to
    /// `heads`, which contains the last sequence number of each conversation, by its id.
    pub(super) fn has_everything(&self, heads: &HashMap<u64, u64>) -> bool {
        let received_up_to = self.received_up_to.lock();
        self.conversations
            .iter()
            .all(|conversation| received_up_to.get(conversation) >= heads.get(conversation))
    }

    /// Starts the client of an account on a new device, and waits until it is logged in. `number`
    /// is the index of the user, which determines the servers of the client. Records the run.
    pub(super) async fn start(
        context: &RunContext,
        number: usize,
        account: Account,
        conversations: Vec<u64>,
    ) -> io::Result<Self> {
        let mut servers = context.servers.clone();
        servers.rotate_left(number % context.servers.len());
        if number.is_multiple_of(2) {
            // Every second client knows only one node. If all clients switched nodes whenever
            // theirs was killed, they would gather on the nodes that have not been killed lately.
            servers.truncate(1);
        }
        let mut addresses = Vec::new();
        for server in servers {
            addresses.push(server.to_string().parse::<ServerAddress>().map_err(io::Error::other)?);
        }
        let credentials = Credentials::Password {
            account: user_ref(&account.name)?,
            secret: Secret::new(PASSWORD),
            fresh: false,
        };
        let mut options = ClientOptions::new(addresses, credentials);
        options.pins = vec![context.pin];
        let run = context.new_run_id();
        let client = Client::start(options, MemoryStore::new())
            .await
            .map_err(io::Error::other)?;
        let device = hex(&client.device().0);
        context.history.note(Observation::Run {
            run,
            user: account.user,
            device,
            cursors: Vec::new(),
        })?;
        with_deadline(&account.name, async { client.ready().await.map_err(io::Error::other) }).await?;
        Ok(Self {
            account,
            run,
            library_client: Arc::new(client),
            received_up_to: Arc::default(),
            conversations,
        })
    }

    /// Records the events that the client delivers, its logins, and its notices of skipped events,
    /// replaced stores and rewound logs, until the client is closed. Keeps `received_up_to`
    /// current.
    pub(super) fn record_deliveries(
        &self,
        history: Arc<Writer>,
    ) -> impl Future<Output = io::Result<()>> + Send + use<> {
        let (run, received_up_to, events) = (self.run, Arc::clone(&self.received_up_to), self.library_client.events());
        let mut epoch = self.account.epoch.clone();
        async move {
            let Some(mut events) = events else {
                return Ok(());
            };
            while let Some(received) = events.next().await {
                match &received.event {
                    ClientEvent::Event(delivery) => {
                        let event = record(&delivery.event.event, &delivery.body);
                        received_up_to
                            .lock()
                            .insert(event.position.conversation, event.position.seq);
                        history.note(Observation::Delivered {
                            run,
                            epoch: epoch.clone(),
                            event,
                        })?;
                        received.done();
                    }
                    ClientEvent::Truncated { conversation, from, to } => {
                        let from = LogPosition {
                            conversation: conversation.id.0,
                            seq: from.0,
                        };
                        history.note(Observation::Skipped { run, from, to: to.0 })?;
                        received.done();
                    }
                    ClientEvent::StoreReplaced => {
                        history.note(Observation::Reset { run })?;
                        // The library does not report the new epoch, so the history gets a
                        // made-up one that differs from all earlier ones.
                        epoch = format!("after {epoch}");
                        received_up_to.lock().clear();
                        received.done();
                    }
                    ClientEvent::Rewound { conversation, to } => {
                        let to = LogPosition {
                            conversation: conversation.id.0,
                            seq: to.0,
                        };
                        history.note(Observation::Rewound { run, to })?;
                        received_up_to.lock().insert(to.conversation, to.seq);
                        received.done();
                    }
                    ClientEvent::Connected { server } => {
                        history.note(Observation::LoggedIn {
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

    /// Sends up to `rate` new messages a second until `stop` is set, sends some of them again (see
    /// [`RESEND_PERIOD`]), and records them and their outcomes. Ends after the last outcome.
    pub(super) fn send_messages(
        &self,
        rate: f64,
        history: Arc<Writer>,
        stop: Arc<AtomicBool>,
    ) -> impl Future<Output = io::Result<()>> + Send + use<> {
        let (run, conversations, name) = (self.run, self.conversations.clone(), self.account.name.clone());
        let client = Arc::clone(&self.library_client);
        async move {
            let mut ticks = interval(Duration::from_secs_f64(1.0 / rate));
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            let mut outcomes: JoinSet<io::Result<()>> = JoinSet::new();
            let mut number = 0_usize;
            while !stop.load(Ordering::Relaxed) {
                ticks.tick().await;
                while let Some(recorded) = outcomes.try_join_next() {
                    recorded.map_err(io::Error::other)??;
                }
                if client.unsettled() >= MAX_UNSETTLED {
                    continue;
                }
                number += 1;
                let conversation = conversations[number % conversations.len()];
                let text = format!("{number} 你好 😀 from {name}");
                let digest = Digest::of(text.as_bytes());
                let draft = Draft::text(MessageText::new(text).map_err(io::Error::other)?);
                let message = hex(&draft.client_message_id.0);
                history.note(Observation::Send {
                    run,
                    conversation,
                    message: message.clone(),
                    digest,
                })?;
                let conversation = ConversationRef::Id(ConversationId(conversation));
                let resend = number
                    .is_multiple_of(RESEND_PERIOD)
                    .then(|| (Arc::clone(&client), conversation.clone(), draft.clone()));
                let mut handle = client
                    .enqueue_draft(conversation, draft, None)
                    .await
                    .map_err(io::Error::other)?;
                let history = Arc::clone(&history);
                outcomes.spawn(async move {
                    let outcome = handle.outcome().await.map_err(io::Error::other)?;
                    let is_stored = matches!(outcome, SendOutcome::Stored(_));
                    history.note(outcome_observation(run, message.clone(), outcome))?;
                    if let Some((client, conversation, draft)) = resend.filter(|_| is_stored) {
                        let mut handle = client
                            .enqueue_draft(conversation, draft, None)
                            .await
                            .map_err(io::Error::other)?;
                        let outcome = handle.outcome().await.map_err(io::Error::other)?;
                        history.note(outcome_observation(run, message, outcome))?;
                    }
                    Ok(())
                });
            }
            while let Some(recorded) = outcomes.join_next().await {
                recorded.map_err(io::Error::other)??;
            }
            Ok(())
        }
    }
}

/// Returns the observation of a message's outcome.
pub(super) fn outcome_observation(run: u64, message: String, outcome: SendOutcome) -> Observation {
    match outcome {
        SendOutcome::Stored(appended) => acked(run, message, &appended),
        SendOutcome::NotStored(error) => Observation::Refused {
            run,
            message,
            reason: error.to_string(),
        },
        _ => Observation::Unknown { run, message },
    }
}
