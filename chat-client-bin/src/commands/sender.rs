//! [`Sender`]: sends messages to one conversation through the outbox, and prints their numbers.

use std::collections::VecDeque;
use std::time::Duration;

use chat_core::client::{Client, ClientError, SendHandle, SendOutcome, Status};
use chat_core::commands::Commands;
use chat_core::model::{Appended, ClientMessageId, ConversationRef, DraftContent, MessageText, Seq, UserId, UserRef};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

use crate::args::{Send, user_ref};
use crate::failure::{Failure, Kind};
use crate::lines::{InvalidLine, Line, Lines};
use crate::missing::{self, Referents};
use crate::outbox;
use crate::output::{ConversationName, Output, SentLine};
use crate::session::{NAME_TIMEOUT, Session, names_for_line};

/// Maximum number of lines read ahead, and of messages in flight.
const MAX_AHEAD: usize = 64;

/// Sender of messages to one conversation.
pub(super) struct Sender<'a> {
    session: &'a Session,
    /// Client for ids and message numbers of the store epoch that was current at the start.
    client: Client,
    conversation: ConversationRef,
    /// Maximum time to wait for the outcome of a message.
    timeout: Duration,
}

/// A message that has no outcome yet.
struct InFlight {
    /// Number of its line of the input.
    line: u64,
    /// Things that the message refers to, so that an error can name a missing one.
    referents: Referents,
    handle: SendHandle,
}

impl<'a> Sender<'a> {
    /// Returns a sender of messages to `conversation`. Ids and message numbers that the user gave
    /// on the command line count as those of the server's current store epoch.
    pub(super) fn new(session: &'a Session, conversation: ConversationRef, timeout: Duration) -> Self {
        Self {
            session,
            client: session.client.with_current_epoch(),
            conversation,
            timeout,
        }
    }

    /// Builds the content of a message. A message contains mentions as ids, so users that are
    /// mentioned by name are looked up first.
    pub(super) async fn build_message(&self, text: MessageText, args: &Send) -> Result<DraftContent, Failure> {
        let mut mentions = Vec::new();
        for user in &args.mention {
            mentions.push(self.user_id(user).await?);
        }
        Ok(DraftContent::Message {
            text,
            reply_to: args.reply_to.map(Seq),
            mentions,
            mention_all: args.mention_all,
        })
    }

    async fn user_id(&self, mention: &str) -> Result<UserId, Failure> {
        let user = user_ref(mention)?;
        if let UserRef::Id(id) = user {
            return Ok(id);
        }
        self.session.ready().await?;
        let users = self
            .session
            .within(async { Ok(self.client.users([user.clone()]).await?) })
            .await?;
        match users.first() {
            Some(user) => Ok(user.id),
            None => Err(Failure::new(Kind::Refused, missing::no_user(&self.client, &user))),
        }
    }

    pub(super) async fn send_one(&self, content: DraftContent, output: &mut Output) -> Result<(), Failure> {
        let mut message = enqueue(&self.client, 0, self.conversation.clone(), content).await?;
        match self.outcome(&mut message, Instant::now() + self.timeout).await? {
            Ok(appended) => self.print(message.handle.id(), &appended, output).await,
            Err(refused) => Err(refused),
        }
    }

    /// Sends each line of the input that is not empty, with up to [`MAX_AHEAD`] messages in flight.
    /// Lines after a refused line are still sent. Once a message was stored, lines that are read
    /// later are addressed by the id of the conversation, so that they arrive there even if the
    /// conversation is renamed. After the server was restored from a backup, they are addressed by
    /// name again.
    pub(super) async fn send_lines(&self, output: &mut Output) -> Result<(), Failure> {
        // The input may go on for a long time, in which other commands can use the session.
        let _agent = self.session.share_if_open();
        let mut lines = lines();
        let mut in_flight = VecDeque::<InFlight>::new();
        let (mut client, mut conversation) = (self.client.clone(), self.conversation.clone());
        let mut failed_lines = 0_u64;
        let (mut reading, mut read_result) = (true, Ok(()));
        let mut deadline = Instant::now() + self.timeout;
        let mut report_failure = |number: u64, failure: Failure, output: &Output| {
            failed_lines += 1;
            output.failure(&failure.at_line(number));
        };
        while reading || !in_flight.is_empty() {
            tokio::select! {
                biased;
                outcome = self.first_outcome(&mut in_flight, deadline), if !in_flight.is_empty() => {
                    let (number, id, outcome) = match outcome {
                        Ok(outcome) => outcome,
                        Err(failure) => {
                            let last = in_flight.back().map_or(0, |message| message.line);
                            return Err(failure.after_last_line(last));
                        }
                    };
                    in_flight.pop_front();
                    deadline = Instant::now() + self.timeout;
                    match outcome {
                        Ok(appended) => {
                            conversation = ConversationRef::Id(appended.conversation);
                            let last = in_flight.back().map_or(number, |message| message.line);
                            let printed = self.print(id, &appended, output).await;
                            printed.map_err(|failure| failure.after_last_line(last))?;
                        }
                        Err(failure) => report_failure(number, failure, output),
                    }
                }
                line = lines.recv(), if reading && in_flight.len() < MAX_AHEAD => match line.transpose() {
                    Ok(Some(line)) => {
                        if in_flight.is_empty() {
                            deadline = Instant::now() + self.timeout;
                        }
                        match text_of(line.text) {
                            Ok(None) => {}
                            Ok(Some(text)) => {
                                let content = DraftContent::text(text);
                                let mut queued = enqueue(&client, line.number, conversation.clone(), content.clone()).await;
                                if matches!(queued, Err(ClientError::StoreReplaced)) && self.conversation.is_by_name() {
                                    client = self.session.client.with_current_epoch();
                                    conversation = self.conversation.clone();
                                    queued = enqueue(&client, line.number, conversation.clone(), content).await;
                                }
                                match queued {
                                    Ok(message) => in_flight.push_back(message),
                                    // Further lines would fail too; messages in flight may still
                                    // succeed.
                                    Err(error) => {
                                        let failure = Failure::from(error).at_line(line.number);
                                        (reading, read_result) = (false, Err(failure));
                                    }
                                }
                            }
                            Err(failure) => report_failure(line.number, failure, output),
                        }
                    }
                    Ok(None) => reading = false,
                    Err(failure) => (reading, read_result) = (false, Err(failure)),
                },
            }
        }
        read_result?;
        let text = match failed_lines {
            0 => return Ok(()),
            1 => "1 line was not sent, or its outcome is unknown".to_owned(),
            lines => format!("{lines} lines were not sent, or their outcomes are unknown"),
        };
        Err(Failure::new(Kind::Failed, text))
    }

    /// Waits for the outcome of the oldest message. Returns the number of its line, its idempotency
    /// key and its outcome.
    ///
    /// # Errors
    /// As [`outcome`](Self::outcome).
    async fn first_outcome(
        &self,
        in_flight: &mut VecDeque<InFlight>,
        deadline: Instant,
    ) -> Result<(u64, ClientMessageId, Result<Appended, Failure>), Failure> {
        match in_flight.front_mut() {
            Some(message) => Ok((
                message.line,
                message.handle.id(),
                self.outcome(message, deadline).await?,
            )),
            None => std::future::pending().await,
        }
    }

    /// Waits for the outcome of a message: it was stored, or the inner error says why it was not,
    /// or that this is unknown.
    ///
    /// # Errors
    /// No outcome arrived before the deadline or the end of the client; the message stays in the
    /// outbox.
    async fn outcome(&self, message: &mut InFlight, deadline: Instant) -> Result<Result<Appended, Failure>, Failure> {
        let client = &self.session.client;
        match timeout_at(deadline, message.handle.outcome()).await {
            Ok(Ok(SendOutcome::Stored(appended))) => Ok(Ok(appended)),
            Ok(Ok(SendOutcome::NotStored(reason))) => Ok(Err(message.referents.explain(client, reason).await)),
            Ok(Ok(_)) => Ok(Err(ClientError::Interrupted.into())),
            Ok(Err(error)) => Err(queued(client, &connection_problem(client).unwrap_or(error))),
            Err(_) => Err(queued(
                client,
                &connection_problem(client).unwrap_or(ClientError::Timeout),
            )),
        }
    }

    /// Prints a message that was stored. The connection may have been lost since, so nothing here
    /// waits for it, and an unknown name does not fail.
    async fn print(&self, id: ClientMessageId, appended: &Appended, output: &mut Output) -> Result<(), Failure> {
        self.session.remember()?;
        let name = self.name_of_conversation(appended).await;
        output.print(&SentLine::new(name, id, appended))
    }

    async fn name_of_conversation(&self, appended: &Appended) -> ConversationName {
        let client = &self.session.client;
        if let Some(info) = client.known_conversation(appended.conversation) {
            return ConversationName::of(&info);
        }
        let is_online = matches!(client.status(), Status::Online(_));
        match &self.conversation {
            ConversationRef::Direct(UserRef::Name(name)) => ConversationName::Direct(name.to_string()),
            ConversationRef::Direct(UserRef::Id(id)) => {
                let names = if is_online {
                    names_for_line(client, vec![*id]).await
                } else {
                    client.known_names([*id])
                };
                ConversationName::Direct(names.get(id).cloned().unwrap_or_else(|| format!("#{id}")))
            }
            ConversationRef::Group(name) => ConversationName::Group(name.to_string()),
            ConversationRef::Id(id) => {
                let find = client.conversation(self.conversation.clone());
                let end = Instant::now() + if is_online { NAME_TIMEOUT } else { Duration::ZERO };
                match timeout_at(end, find).await {
                    Ok(Ok(info)) => ConversationName::of(&info),
                    _ => ConversationName::Group(format!("#{id}")),
                }
            }
        }
    }
}

async fn enqueue(
    client: &Client,
    line: u64,
    to: ConversationRef,
    content: DraftContent,
) -> Result<InFlight, ClientError> {
    let referents = Referents::of_message(&to, &content);
    let handle = client.enqueue(to, content).await?;
    Ok(InFlight {
        line,
        referents,
        handle,
    })
}

/// Returns why the client has ended or is not connected, or `None` if it is connected or the reason
/// is not known yet.
fn connection_problem(client: &Client) -> Option<ClientError> {
    match client.status() {
        Status::Ended(reason) => Some(reason),
        Status::Connecting(reason) => reason,
        _ => None,
    }
}

/// Creates the failure of a message that has no outcome yet and stays in the outbox.
fn queued(client: &Client, reason: &ClientError) -> Failure {
    let failure = Failure::from(reason.clone());
    match failure.kind {
        // The next run cannot send the message either, unless the user logs in or accepts the key
        // of the server. The end of the session reports the outbox.
        Kind::Auth | Kind::WrongKey => failure,
        _ => {
            let outbox = outbox::describe_rest(client.unsettled());
            Failure::new(Kind::Queued, format!("{}; {outbox}", failure.text))
        }
    }
}

/// Returns the text of a line, or `None` if the line is empty.
fn text_of(line: Result<String, InvalidLine>) -> Result<Option<MessageText>, Failure> {
    match line.map_err(Failure::usage)? {
        line if line.is_empty() => Ok(None),
        line => MessageText::new(line).map(Some).map_err(Failure::usage),
    }
}

/// Starts a thread that reads the lines of standard input: a blocking read cannot be cancelled.
fn lines() -> mpsc::Receiver<Result<Line, Failure>> {
    let (sender, receiver) = mpsc::channel(MAX_AHEAD);
    std::thread::spawn(move || {
        for line in Lines::of(std::io::stdin().lock()) {
            let is_last = line.is_err();
            let line = line.map_err(|error| Failure::usage(format!("cannot read standard input: {error}")));
            if sender.blocking_send(line).is_err() || is_last {
                break;
            }
        }
    });
    receiver
}

#[cfg(test)]
mod tests {
    use chat_core::client::Receive;
    use chat_core::model::{ConversationId, EventId, Timestamp};
    use clap::Parser as _;

    use super::*;
    use crate::args::Args;
    use crate::login::LoginMode;

    /// The connection may be lost between the acknowledgement of a message and its line.
    #[tokio::test]
    async fn line_of_a_stored_message_does_not_wait_for_the_connection() {
        let directory = tempfile::tempdir().unwrap();
        let password = directory.path().join("password");
        std::fs::write(&password, "correct horse battery").unwrap();
        // The connection is accepted by the system, and nothing ever answers.
        let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let server = silent.local_addr().unwrap().to_string();
        let (profile, password) = (directory.path().join("profile"), password.display().to_string());
        let profile = profile.display().to_string();
        let words = [
            "chat-client",
            "--server",
            &server,
            "--user",
            "alice",
            "--profile",
            &profile,
        ];
        let options = ["--password-file", &password, "--timeout", "0.1", "send", "bob", "hi"];
        let args = Args::try_parse_from(words.iter().chain(&options)).unwrap();
        let mut output = Output::new(true);
        let session = Session::start(&args.global, LoginMode::Automatic, Receive::Nothing, &output);
        let session = session.await.unwrap();
        let peers = [user_ref("bob"), user_ref("7")];
        for peer in peers {
            let conversation = ConversationRef::Direct(peer.unwrap());
            let sender = Sender::new(&session, conversation, Duration::from_secs(1));
            let stored = Appended::new(ConversationId(3), Seq(1), EventId([9; 16]), Timestamp(0));
            let id = ClientMessageId::random();
            sender.print(id, &stored, &mut output).await.unwrap();
        }
        session.close().await;
    }
}
