//! [`Sender`]: sends messages to one conversation through the outbox, and prints their numbers.

use std::time::Duration;

use chat_core::client::{Client, ClientError, SendHandle, SendOutcome, Status};
use chat_core::commands::Commands;
use chat_core::model::{Appended, ClientMessageId, ConversationRef, DraftContent, MessageText, Seq, UserId, UserRef};
use tokio::time::{Instant, timeout_at};

use crate::args::{Send, user_ref};
use crate::failure::{Failure, FailureKind};
use crate::missing::{self, Referents};
use crate::outbox;
use crate::output::{ConversationName, Output, SentLine};
use crate::session::{NAME_TIMEOUT, Session, names_for_line};

/// Sender of messages to one conversation.
pub(super) struct Sender<'a> {
    pub(super) session: &'a Session,
    /// Client for ids and message numbers of the store epoch that was current at the start.
    pub(super) client: Client,
    pub(super) conversation: ConversationRef,
    /// Maximum time to wait for the outcome of a message.
    pub(super) timeout: Duration,
}

/// A message that has no outcome yet.
pub(super) struct InFlight {
    /// Number of its line of the input, or 0 if the message is not such a line.
    pub(super) line: u64,
    /// Things that the message refers to, so that an error can name a missing one.
    referents: Referents,
    pub(super) handle: SendHandle,
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
            None => Err(Failure::new(
                FailureKind::Refused,
                missing::no_user(&self.client, &user),
            )),
        }
    }

    pub(super) async fn send_one(&self, content: DraftContent, output: &mut Output) -> Result<(), Failure> {
        let mut message = enqueue(&self.client, 0, self.conversation.clone(), content).await?;
        let outcome = self.outcome(&mut message, Instant::now() + self.timeout).await?;
        let appended = self.explained(&message, outcome).await?;
        self.print(message.handle.id(), &appended, output).await
    }

    /// Waits for the outcome of a message.
    ///
    /// # Errors
    /// No outcome arrived before the deadline or the end of the client; the message stays in the
    /// outbox.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub(super) async fn outcome(&self, message: &mut InFlight, deadline: Instant) -> Result<SendOutcome, Failure> {
        let client = &self.session.client;
        let problem = match timeout_at(deadline, message.handle.outcome()).await {
            Ok(Ok(outcome)) => return Ok(outcome),
            Ok(Err(error)) => error,
            Err(_) => ClientError::Timeout,
        };
        Err(queued_failure(client, &connection_problem(client).unwrap_or(problem)))
    }

    /// Returns the stored message, or an error that says why it was not stored, or that it is
    /// unknown whether it was stored.
    pub(super) async fn explained(&self, message: &InFlight, outcome: SendOutcome) -> Result<Appended, Failure> {
        match outcome {
            SendOutcome::Stored(appended) => Ok(appended),
            SendOutcome::NotStored(reason) => Err(message.referents.explain(&self.session.client, reason).await),
            _ => Err(ClientError::Interrupted.into()),
        }
    }

    /// Stores the account and servers in the profile, and prints a message that was stored. The
    /// connection may have been lost since, so an unknown name is looked up only while the client
    /// is connected and for at most 2 s, and one that is not found is no failure.
    pub(super) async fn print(
        &self,
        id: ClientMessageId,
        appended: &Appended,
        output: &mut Output,
    ) -> Result<(), Failure> {
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

pub(super) async fn enqueue(
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
fn queued_failure(client: &Client, reason: &ClientError) -> Failure {
    let failure = Failure::from(reason.clone());
    match failure.kind {
        // The next run cannot send the message either, unless the user logs in or accepts the key
        // of the server. `Session::finish` reports how many messages stay in the outbox.
        FailureKind::Auth | FailureKind::WrongKey => failure,
        _ => {
            let outbox = outbox::describe_unsettled(client.unsettled());
            Failure::new(FailureKind::Queued, format!("{}; {outbox}", failure.text))
        }
    }
}

#[cfg(test)]
mod tests {
    use chat_core::client::Receive;
    use chat_core::model::{ConversationId, EventId, Timestamp};
    use clap::Parser as _;

    use super::*;
    use crate::args::Args;
    use crate::login::LoginMode;

    /// The connection may be lost between the acknowledgement of a message and the output of its
    /// number.
    #[tokio::test]
    async fn line_of_a_stored_message_needs_no_connection() {
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
