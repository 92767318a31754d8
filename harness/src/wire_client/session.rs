//! [`Session`]: one connection of one device. It records the messages that it sends, their outcomes
//! and the events that it receives.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use chat_core::codec::{Answer, Failure, Incoming, RequestId, RequestKind, body};
use chat_core::model::{
    Command, ConversationId, ConversationInfo, ConversationPage, ConversationQuery, ConversationRef, DeviceId, Draft,
    Event, HistoryPage, MessageText, Outcome, Push, ReplyCode,
};
use chat_core::secure::Fingerprint;
use chat_core::testkit::Peer;
use tokio::time::timeout;

use super::Account;
use super::progress::Progress;
use crate::dump::{acked, epoch, first_query, hex, record, record_memberships};
use crate::history::{Digest, LogPosition, Observation, Writer};

/// Maximum time to start a session, and maximum time for one write.
const IO_TIMEOUT: Duration = Duration::from_secs(10);

/// Time without a write after which a ping is sent. Servers close sessions that send nothing for
/// much longer.
const PING_AFTER: Duration = Duration::from_secs(15);

/// Servers, the fingerprint of their key, history and run ids that the sessions of a swarm share.
#[derive(Debug)]
pub(crate) struct RunContext {
    pub(crate) servers: Vec<SocketAddr>,
    pub(crate) pin: Fingerprint,
    pub(crate) history: Arc<Writer>,
    next_run: AtomicU64,
}

impl RunContext {
    /// Creates a context whose run ids start at a random number, so that other processes almost
    /// certainly use other ids.
    pub(crate) fn new(servers: &[SocketAddr], pin: Fingerprint, history: Arc<Writer>) -> Self {
        // JSON numbers are exact up to 2^53. A start below 2^52 leaves at least 2^52 ids.
        let [a, b, c, d, e, f, g, h, ..] = DeviceId::random().0;
        let first_run = u64::from_be_bytes([a, b, c, d, e, f, g, h]) >> 12;
        Self {
            servers: servers.to_vec(),
            pin,
            history,
            next_run: AtomicU64::new(first_run),
        }
    }

    /// Returns the id of a new run.
    pub(crate) fn new_run_id(&self) -> u64 {
        self.next_run.fetch_add(1, Ordering::Relaxed)
    }
}

/// A session with its connection, its run, and its requests that have no answer yet.
#[derive(Debug)]
pub(crate) struct Session {
    peer: Peer,
    /// Id of the run.
    run: u64,
    /// Id of the user.
    user: u64,
    /// Store epoch that the server reported at the start of the session.
    epoch: String,
    history: Arc<Writer>,
    /// Idempotency keys of the messages without an outcome yet.
    pending: HashMap<RequestId, String>,
    /// Ids of the conversations of the requested pages.
    pages: HashMap<RequestId, u64>,
    progress: Progress,
    /// Last position of each conversation; `None` until the server has answered
    /// [`request_conversations`](Self::request_conversations).
    targets: Option<Vec<LogPosition>>,
    /// Last positions of the conversations that the server has listed so far, until the last page
    /// of the list arrives.
    listed: Vec<LogPosition>,
    /// Number of messages sent so far.
    sent_count: u64,
    /// Time of the last write; initially the start of the session.
    written_at: Instant,
}

impl Session {
    /// Connects to `server`, starts a session of `account`, and records its run. In each
    /// conversation that the server lists, deliveries start after the events that it contains at
    /// that time; in others, with the first event that the user may read.
    pub(crate) async fn start(context: &RunContext, server: SocketAddr, account: &Account) -> io::Result<Self> {
        let starting = async {
            let mut peer = Peer::connect(server, context.pin).await?;
            let logged_in = account.resume(&mut peer).await?;
            io::Result::Ok((peer, logged_in))
        };
        let (peer, logged_in) = timeout(IO_TIMEOUT, starting).await.map_err(io::Error::other)??;
        let run = context.new_run_id();
        let cursor = |info: &ConversationInfo| LogPosition {
            conversation: info.id.0,
            seq: info.last_seq.0,
        };
        context.history.note(Observation::Run {
            run,
            user: account.user,
            device: hex(&account.device.0),
            cursors: logged_in.conversations.iter().map(cursor).collect(),
        })?;
        context.history.note(Observation::LoggedIn {
            run,
            server: server.to_string(),
        })?;
        Ok(Self {
            peer,
            run,
            user: account.user,
            epoch: epoch(logged_in.store_epoch),
            history: Arc::clone(&context.history),
            pending: HashMap::new(),
            pages: HashMap::new(),
            progress: Progress::after(&logged_in.conversations),
            targets: None,
            listed: Vec::new(),
            sent_count: 0,
            written_at: Instant::now(),
        })
    }

    /// Returns the id of the session's run.
    pub(crate) const fn run(&self) -> u64 {
        self.run
    }

    /// Returns the number of messages without an outcome yet.
    pub(crate) fn pending_count(&self) -> usize {
        self.pending.len()
    }

    /// Sends `count` messages to `conversation` in one write, without waiting for answers.
    pub(crate) async fn send(&mut self, conversation: u64, count: usize) -> io::Result<()> {
        let mut sends = Vec::with_capacity(count);
        for offset in 0..count {
            self.sent_count += 1;
            let text = format!("{} 你好 😀 in run {}", self.sent_count, self.run);
            let digest = Digest::of(text.as_bytes());
            let draft = Draft::text(MessageText::new(text).map_err(io::Error::other)?);
            let message = hex(&draft.client_message_id.0);
            self.history.note(Observation::Send {
                run: self.run,
                conversation,
                message: message.clone(),
                digest,
            })?;
            self.pending.insert(self.peer.id_after(offset as u64), message);
            let conversation = ConversationRef::Id(ConversationId(conversation));
            sends.push(RequestKind::Command(Command::Send { conversation, draft }));
        }
        self.write(sends).await
    }

    /// Requests pages with missing events. Also pings the server if nothing was written for
    /// [`PING_AFTER`].
    pub(crate) async fn request_missing(&mut self) -> io::Result<()> {
        let requests = self.progress.next_requests();
        let mut reads = Vec::with_capacity(requests.len());
        for (offset, (number, conversation, page)) in requests.into_iter().enumerate() {
            self.pages.insert(self.peer.id_after(offset as u64), number);
            reads.push(RequestKind::Command(Command::ReadHistory { conversation, page }));
        }
        if self.written_at.elapsed() > PING_AFTER {
            reads.push(RequestKind::Ping);
        }
        self.write(reads).await
    }

    async fn write(&mut self, kinds: Vec<RequestKind>) -> io::Result<()> {
        if kinds.is_empty() {
            return Ok(());
        }
        self.written_at = Instant::now();
        // After a timeout, part of a packet may have been written, so the connection cannot be used
        // again.
        timeout(IO_TIMEOUT, self.peer.send_all(kinds))
            .await
            .map_err(io::Error::other)?
    }

    /// Waits for the next packet, and records the outcome or the events that it contains.
    ///
    /// # Cancel safety
    /// No packet is lost. But if the call is cancelled while it requests the next page of
    /// conversations, part of the request may have been written.
    pub(crate) async fn receive(&mut self) -> io::Result<()> {
        match self.peer.next().await? {
            Incoming::Reply { request_id, result } => {
                if let Some(message) = self.pending.remove(&request_id) {
                    return self.record_outcome(message, result);
                }
                match (self.pages.remove(&request_id), result) {
                    (None, Ok(Answer::Outcome(Outcome::Conversations(page)))) => {
                        self.handle_conversations(page).await?;
                    }
                    (Some(_), Ok(Answer::Outcome(Outcome::History(page)))) => self.handle_page(&page)?,
                    (Some(conversation), _) => self.progress.request_failed(conversation),
                    (None, _) => {}
                }
            }
            Incoming::Push(Push::Event(event)) => self.handle_push(&event)?,
            Incoming::Push(Push::Behind { conversation, last_seq }) => self.progress.note_last_seq(LogPosition {
                conversation: conversation.0,
                seq: last_seq.0,
            }),
            _ => {}
        }
        Ok(())
    }

    fn record_outcome(&self, message: String, result: Result<Answer, Failure>) -> io::Result<()> {
        let run = self.run;
        let observation = match result {
            Ok(Answer::Outcome(Outcome::Appended(appended))) => acked(run, message, &appended),
            Ok(other) => return Err(io::Error::other(format!("the server answered Send with {other:?}"))),
            Err(failure) => match failure.code() {
                // After `TryAgain`, `Internal` or a code that this version does not know, the
                // message may be stored. The other codes here are temporary refusals, after which
                // `Unknown` is true too.
                Some(
                    ReplyCode::TryAgain
                    | ReplyCode::Busy
                    | ReplyCode::ShuttingDown
                    | ReplyCode::Throttled
                    | ReplyCode::Internal,
                )
                | None => Observation::Unknown { run, message },
                // Each message is sent only once, so no other request may have stored it.
                Some(_) => Observation::Refused {
                    run,
                    message,
                    reason: failure.to_string(),
                },
            },
        };
        self.history.note(observation)
    }

    fn handle_push(&mut self, event: &Event) -> io::Result<()> {
        let position = LogPosition {
            conversation: event.conversation.0,
            seq: event.seq.0,
        };
        if self.progress.accept(position) {
            self.record_delivery(event)?;
        }
        Ok(())
    }

    fn handle_page(&mut self, page: &HistoryPage) -> io::Result<()> {
        let accepted = self.progress.accept_page(page);
        if let Some((from, to)) = accepted.skipped {
            let from = LogPosition {
                conversation: page.conversation.0,
                seq: from,
            };
            let run = self.run;
            self.history.note(Observation::Skipped { run, from, to })?;
        }
        page.events
            .iter()
            .skip(accepted.duplicates)
            .try_for_each(|read| self.record_delivery(&read.event))
    }

    fn record_delivery(&self, event: &Event) -> io::Result<()> {
        let decoded = body::decode(event.kind, &event.body).map_err(io::Error::other)?;
        self.history.note(Observation::Delivered {
            run: self.run,
            epoch: self.epoch.clone(),
            event: record(event, &decoded),
        })
    }

    /// Requests the conversations of the user with their last positions. Afterwards
    /// [`is_complete`](Self::is_complete) is false until the last page of the answer has arrived.
    pub(crate) async fn request_conversations(&mut self) -> io::Result<()> {
        self.targets = None;
        self.listed.clear();
        let list = Command::ListConversations(first_query());
        self.write(vec![RequestKind::Command(list)]).await
    }

    /// Records a page of the answer to [`request_conversations`](Self::request_conversations), and
    /// requests the next one, if there is one.
    async fn handle_conversations(&mut self, page: ConversationPage) -> io::Result<()> {
        let positions = record_memberships(self.user, &page.conversations, &self.history)?;
        positions.iter().for_each(|last| self.progress.note_last_seq(*last));
        self.listed.extend(positions);
        if let Some(after) = page.next {
            let query = ConversationQuery { after, ..first_query() };
            let list = Command::ListConversations(query);
            return self.write(vec![RequestKind::Command(list)]).await;
        }
        self.targets = Some(std::mem::take(&mut self.listed));
        Ok(())
    }

    /// Returns whether the requested last positions have arrived, and all events up to them were
    /// delivered or skipped.
    pub(crate) fn is_complete(&self) -> bool {
        let has = |last: &LogPosition| self.progress.last_delivered(last.conversation) >= last.seq;
        self.targets.as_ref().is_some_and(|targets| targets.iter().all(has))
    }

    /// Ends the session, and records that the outcomes of its pending messages are unknown.
    pub(crate) fn end(self) -> io::Result<()> {
        let run = self.run;
        let mut pending = self.pending.into_values();
        pending.try_for_each(|message| self.history.note(Observation::Unknown { run, message }))
    }
}
