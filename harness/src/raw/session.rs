//! [`Session`]: one connection of one device, with everything noted that it says and hears.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use chat_core::codec::{Answer, Failure, Incoming, RequestId, RequestKind, body};
use chat_core::model::{
    Command, ConversationId, ConversationInfo, ConversationRef, DeviceId, Draft, Event, HistoryPage, MessageText,
    Outcome, Push, ReplyCode,
};
use chat_core::secure::Fingerprint;
use chat_core::testkit::Peer;
use tokio::time::timeout;

use super::Account;
use super::places::Places;
use crate::dump::{acked, epoch, hex, note_stays, record};
use crate::history::{Digest, Place, What, Writer};

/// A server that takes longer to begin a session, or to take what is said, is gone.
const PATIENCE: Duration = Duration::from_secs(10);

/// Servers end sessions that say nothing for much longer.
const SILENCE: Duration = Duration::from_secs(15);

/// Where sessions take place, and how their runs are named.
#[derive(Debug)]
pub(crate) struct Site {
    pub(crate) servers: Vec<SocketAddr>,
    pub(crate) pin: Fingerprint,
    pub(crate) history: Arc<Writer>,
    next_run: AtomicU64,
}

impl Site {
    /// Runs get numbers that no other site gives, in this process or in another one.
    pub(crate) fn new(servers: &[SocketAddr], pin: Fingerprint, history: Arc<Writer>) -> Self {
        // Chance keeps them apart. JSON's numbers are exact up to 2^53: this leaves as many runs as anybody can have.
        let [a, b, c, d, e, f, g, h, ..] = DeviceId::random().0;
        let first_run = u64::from_be_bytes([a, b, c, d, e, f, g, h]) >> 12;
        Self {
            servers: servers.to_vec(),
            pin,
            history,
            next_run: AtomicU64::new(first_run),
        }
    }

    /// A name for a run.
    pub(crate) fn run(&self) -> u64 {
        self.next_run.fetch_add(1, Ordering::Relaxed)
    }
}

/// The connection, its run, and what is open.
#[derive(Debug)]
pub(crate) struct Session {
    peer: Peer,
    run: u64,
    user: u64,
    epoch: String,
    history: Arc<Writer>,
    /// Messages that have no outcome yet.
    under_way: HashMap<RequestId, String>,
    pages: HashMap<RequestId, u64>,
    places: Places,
    /// Where everything ends, once that was asked for.
    ends: Option<Vec<Place>>,
    said: u64,
    written: Instant,
}

impl Session {
    /// Connects and begins a session of this account. What it is handed begins where its conversations stand then.
    pub(crate) async fn begin(site: &Site, server: SocketAddr, account: &Account) -> io::Result<Self> {
        let beginning = async {
            let mut peer = Peer::connect(server, site.pin).await?;
            let logged_in = account.resume(&mut peer).await?;
            io::Result::Ok((peer, logged_in))
        };
        let (peer, logged_in) = timeout(PATIENCE, beginning).await.map_err(io::Error::other)??;
        let run = site.run();
        let stands = |info: &ConversationInfo| Place {
            conversation: info.id.0,
            seq: info.last_seq.0,
        };
        site.history.note(What::Run {
            run,
            user: account.user,
            device: hex(&account.device.0),
            cursors: logged_in.conversations.iter().map(stands).collect(),
        })?;
        site.history.note(What::LoggedIn {
            run,
            server: server.to_string(),
        })?;
        Ok(Self {
            peer,
            run,
            user: account.user,
            epoch: epoch(logged_in.store_epoch),
            history: Arc::clone(&site.history),
            under_way: HashMap::new(),
            pages: HashMap::new(),
            places: Places::after(&logged_in.conversations),
            ends: None,
            said: 0,
            written: Instant::now(),
        })
    }

    /// Its run.
    pub(crate) const fn run(&self) -> u64 {
        self.run
    }

    /// Messages that have no outcome yet.
    pub(crate) fn under_way(&self) -> usize {
        self.under_way.len()
    }

    /// Says so many things at once, and waits for nothing.
    pub(crate) async fn say(&mut self, conversation: u64, count: usize) -> io::Result<()> {
        let mut sends = Vec::with_capacity(count);
        for other in 0..count {
            self.said += 1;
            let text = format!("{} 你好 😀 in run {}", self.said, self.run);
            let digest = Digest::of(text.as_bytes());
            let draft = Draft::text(MessageText::new(text).map_err(io::Error::other)?);
            let message = hex(&draft.client_message_id.0);
            self.history.note(What::Send {
                run: self.run,
                conversation,
                message: message.clone(),
                digest,
            })?;
            self.under_way.insert(self.peer.id_after(other as u64), message);
            let conversation = ConversationRef::Id(ConversationId(conversation));
            sends.push(RequestKind::Command(Command::Send { conversation, draft }));
        }
        self.write(sends).await
    }

    /// Asks for whatever is known to lack; shows the server that this end lives.
    pub(crate) async fn catch_up(&mut self) -> io::Result<()> {
        let asks = self.places.asks();
        let mut reads = Vec::with_capacity(asks.len());
        for (other, (number, conversation, page)) in asks.into_iter().enumerate() {
            self.pages.insert(self.peer.id_after(other as u64), number);
            reads.push(RequestKind::Command(Command::ReadHistory { conversation, page }));
        }
        if self.written.elapsed() > SILENCE {
            reads.push(RequestKind::Ping);
        }
        self.write(reads).await
    }

    async fn write(&mut self, kinds: Vec<RequestKind>) -> io::Result<()> {
        if kinds.is_empty() {
            return Ok(());
        }
        self.written = Instant::now();
        // What is not written in time was written in part: the connection is of no use any more.
        timeout(PATIENCE, self.peer.send_all(kinds))
            .await
            .map_err(io::Error::other)?
    }

    /// Takes the next thing that comes, and notes it.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub(crate) async fn take(&mut self) -> io::Result<()> {
        match self.peer.next().await? {
            Incoming::Reply { request_id, result } => {
                if let Some(message) = self.under_way.remove(&request_id) {
                    return self.told(message, result);
                }
                match (self.pages.remove(&request_id), result) {
                    (None, Ok(Answer::Outcome(Outcome::Conversations(conversations)))) => {
                        self.reaches_its_ends(&conversations)?;
                    }
                    (Some(_), Ok(Answer::Outcome(Outcome::History(page)))) => self.read(&page)?,
                    (Some(conversation), _) => self.places.failed(conversation),
                    (None, _) => {}
                }
            }
            Incoming::Push(Push::Event(event)) => self.pushed(&event)?,
            Incoming::Push(Push::Behind { conversation, last_seq }) => self.places.reaches(Place {
                conversation: conversation.0,
                seq: last_seq.0,
            }),
            _ => {}
        }
        Ok(())
    }

    fn told(&self, message: String, result: Result<Answer, Failure>) -> io::Result<()> {
        let run = self.run;
        let what = match result {
            Ok(Answer::Outcome(Outcome::Appended(appended))) => acked(run, message, &appended),
            Ok(other) => return Err(io::Error::other(format!("a message was answered with {other:?}"))),
            Err(failure) => match failure.code() {
                Some(
                    ReplyCode::TryAgain
                    | ReplyCode::Busy
                    | ReplyCode::ShuttingDown
                    | ReplyCode::Throttled
                    | ReplyCode::Internal,
                )
                | None => What::Unknown { run, message },
                // Each is sent once: one that another session has fenced off is stored by nobody.
                Some(_) => What::Refused {
                    run,
                    message,
                    reason: failure.to_string(),
                },
            },
        };
        self.history.note(what)
    }

    fn pushed(&mut self, event: &Event) -> io::Result<()> {
        let place = Place {
            conversation: event.conversation.0,
            seq: event.seq.0,
        };
        if self.places.takes(place) {
            self.hand(event)?;
        }
        Ok(())
    }

    fn read(&mut self, page: &HistoryPage) -> io::Result<()> {
        let read = self.places.read(page);
        if let Some((from, to)) = read.skipped {
            let from = Place {
                conversation: page.conversation.0,
                seq: from,
            };
            let run = self.run;
            self.history.note(What::Skipped { run, from, to })?;
        }
        page.events
            .iter()
            .skip(read.known)
            .try_for_each(|read| self.hand(&read.event))
    }

    fn hand(&self, event: &Event) -> io::Result<()> {
        let decoded = body::decode(event.kind, &event.body).map_err(io::Error::other)?;
        self.history.note(What::Delivered {
            run: self.run,
            epoch: self.epoch.clone(),
            event: record(event, &decoded),
        })
    }

    /// Asks what this user may read, and where that ends.
    pub(crate) async fn ask_for_the_ends(&mut self) -> io::Result<()> {
        self.ends = None;
        self.write(vec![RequestKind::Command(Command::ListConversations)]).await
    }

    /// The answer.
    fn reaches_its_ends(&mut self, conversations: &[ConversationInfo]) -> io::Result<()> {
        let ends = note_stays(self.user, conversations, &self.history)?;
        ends.iter().for_each(|end| self.places.reaches(*end));
        self.ends = Some(ends);
        Ok(())
    }

    /// Whether everything was handed out up to the ends that were told.
    pub(crate) fn is_complete(&self) -> bool {
        let has = |end: &Place| self.places.got(end.conversation) >= end.seq;
        self.ends.as_ref().is_some_and(|ends| ends.iter().all(has))
    }

    /// It is over; what has no outcome gets none.
    pub(crate) fn end(self) -> io::Result<()> {
        let run = self.run;
        let mut left = self.under_way.into_values();
        left.try_for_each(|message| self.history.note(What::Unknown { run, message }))
    }
}
