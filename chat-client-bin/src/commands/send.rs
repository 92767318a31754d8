//! The commands `send`, `edit`, `recall` and `react`, which send through the outbox.

use std::collections::VecDeque;
use std::io::{self, Read};
use std::time::Duration;

use chat_core::client::{Client, ClientError, Receive, SendHandle, SendOutcome, Status};
use chat_core::commands::Commands;
use chat_core::model::{
    Appended, ClientMessageId, ConversationRef, DraftContent, Emoji, MessageText, Seq, UserId, UserRef,
};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

use crate::args::{Global, Modify, Send, seq, user_ref};
use crate::failure::{Failure, Kind};
use crate::lines::{InvalidLine, Line, Lines};
use crate::login::LoginMode;
use crate::outbox;
use crate::output::{ConversationName, Output, SentLine};
use crate::session::{NAME_TIMEOUT, Session, names_for_line};

/// Maximum number of lines read ahead, and of messages in flight.
const MAX_AHEAD: usize = 64;
/// Time that a message waits for its outcome without `--timeout`.
const SEND_TIMEOUT: Duration = Duration::from_secs(10);

pub(super) async fn send(global: &Global, args: Send, output: &mut Output) -> Result<(), Failure> {
    let (conversation, words) = args.target.split(&args.words)?;
    let text = match whole_text(&args)? {
        Some(_) if !words.is_empty() => return Err(Failure::usage("the text is given twice")),
        Some(text) => Some(text),
        None if words.is_empty() => {
            return Err(Failure::usage(
                "the text is missing; - sends each line of standard input, --stdin all of it as one message",
            ));
        }
        None => (words != ["-"]).then(|| words.join(" ")),
    };
    let text = text.map(MessageText::new).transpose().map_err(Failure::usage)?;
    let session = Session::start(global, LoginMode::Automatic, Receive::Nothing, output).await?;
    let sender = Sender::new(&session, conversation, global.timeout_or(SEND_TIMEOUT));
    let sent = match text {
        Some(text) => {
            let content = sender.build_message(text, &args).await;
            match content {
                Ok(content) => sender.send_one(content, output).await,
                Err(failure) => Err(failure),
            }
        }
        None => sender.send_lines(output).await,
    };
    finish(session, &sent).await;
    sent
}

/// Returns the text of `--text`, `--stdin` or `--file`, without the line break at its end, or
/// `None` without these options.
fn whole_text(args: &Send) -> Result<Option<String>, Failure> {
    if args.text.is_some() {
        return Ok(args.text.clone());
    }
    let (name, input): (_, Box<dyn Read>) = match &args.file {
        Some(path) => {
            let open = std::fs::File::open(path);
            let failed = |error| Failure::usage(format!("cannot read {}: {error}", path.display()));
            (path.display().to_string(), Box::new(open.map_err(failed)?))
        }
        None if args.stdin => ("standard input".to_owned(), Box::new(io::stdin().lock())),
        None => return Ok(None),
    };
    read_text(&name, input).map(Some)
}

/// Reads a text that fits into a message, without the line break at its end.
fn read_text(name: &str, input: impl Read) -> Result<String, Failure> {
    /// Maximum length with the line break at the end.
    const MAX_BYTES: usize = MessageText::MAX_BYTES + 2;
    // One byte more shows that the text is too long, and the rest need not be read.
    let mut bytes = Vec::new();
    let read = input.take(MAX_BYTES as u64 + 1).read_to_end(&mut bytes);
    read.map_err(|error| Failure::usage(format!("cannot read {name}: {error}")))?;
    if bytes.len() > MAX_BYTES {
        let text = format!(
            "{name} is too long: a message has at most {} bytes",
            MessageText::MAX_BYTES
        );
        return Err(Failure::usage(text));
    }
    let text = String::from_utf8(bytes);
    let mut text = text.map_err(|_| Failure::usage(format!("cannot read {name}: it is not valid UTF-8")))?;
    let end = text
        .strip_suffix('\n')
        .map_or(text.len(), |line| line.strip_suffix('\r').unwrap_or(line).len());
    text.truncate(end);
    Ok(text)
}

/// Closes the session, without waiting again for a message that stays in the outbox.
async fn finish(session: Session, sent: &Result<(), Failure>) {
    match sent {
        Err(failure) if failure.kind == Kind::Queued => session.close().await,
        _ => session.finish().await,
    }
}

pub(super) async fn edit(global: &Global, args: &Modify, output: &mut Output) -> Result<(), Failure> {
    send_change(global, args, output, |target, words| {
        let text = MessageText::new(words.join(" ")).map_err(Failure::usage)?;
        Ok(DraftContent::Edit { target, text })
    })
    .await
}

pub(super) async fn recall(global: &Global, args: &Modify, output: &mut Output) -> Result<(), Failure> {
    send_change(global, args, output, |target, words| match words {
        [] => Ok(DraftContent::Recall { target }),
        _ => Err(Failure::usage(
            "recall takes a conversation and the number of a message",
        )),
    })
    .await
}

pub(super) async fn react(global: &Global, args: &Modify, remove: bool, output: &mut Output) -> Result<(), Failure> {
    send_change(global, args, output, |target, words| {
        let emoji = Emoji::new(&words.join(" ")).map_err(Failure::usage)?;
        Ok(DraftContent::React { target, emoji, remove })
    })
    .await
}

/// Sends an edit, recall or reaction. `build_content` gets the number of the message, and the words
/// after it.
async fn send_change(
    global: &Global,
    args: &Modify,
    output: &mut Output,
    build_content: impl FnOnce(Seq, &[String]) -> Result<DraftContent, Failure>,
) -> Result<(), Failure> {
    let (conversation, words) = args.target.split(&args.words)?;
    let [target, rest @ ..] = words else {
        return Err(Failure::usage(
            "the number of the message is missing; `history` prints the numbers",
        ));
    };
    let content = build_content(seq(target)?, rest)?;
    let session = Session::start(global, LoginMode::Automatic, Receive::Nothing, output).await?;
    let sender = Sender::new(&session, conversation, global.timeout_or(SEND_TIMEOUT));
    let sent = sender.send_one(content, output).await;
    finish(session, &sent).await;
    sent
}

/// Sender of messages to one conversation.
struct Sender<'a> {
    session: &'a Session,
    /// Client for ids and message numbers of the store epoch that was current at the start.
    client: Client,
    conversation: ConversationRef,
    /// Maximum time to wait for the outcome of a message.
    timeout: Duration,
}

impl<'a> Sender<'a> {
    /// Returns a sender of messages to `conversation`. Ids and message numbers that the user gave
    /// on the command line count as those of the server's current store epoch.
    fn new(session: &'a Session, conversation: ConversationRef, timeout: Duration) -> Self {
        Self {
            session,
            client: session.client.with_current_epoch(),
            conversation,
            timeout,
        }
    }

    /// Builds the content of a message. A message contains mentions as ids, so users that are
    /// mentioned by name are looked up first.
    async fn build_message(&self, text: MessageText, args: &Send) -> Result<DraftContent, Failure> {
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
            .within(async { Ok(self.client.users([user]).await?) })
            .await?;
        match users.first() {
            Some(user) => Ok(user.id),
            None => Err(Failure::new(
                Kind::Refused,
                format!("the mentioned user {mention:?} does not exist, or is not visible to you"),
            )),
        }
    }

    async fn send_one(&self, content: DraftContent, output: &mut Output) -> Result<(), Failure> {
        let mut handle = self.client.enqueue(self.conversation.clone(), content).await?;
        match self.outcome(&mut handle, Instant::now() + self.timeout).await? {
            Ok(appended) => self.print(handle.id(), &appended, output).await,
            Err(refused) => Err(refused),
        }
    }

    /// Sends each line of the input that is not empty, with up to [`MAX_AHEAD`] messages in flight.
    /// Lines after a refused line are still sent.
    async fn send_lines(&self, output: &mut Output) -> Result<(), Failure> {
        let mut lines = lines();
        let mut in_flight = VecDeque::new();
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
                            let last = in_flight.back().map_or(0, |(number, _)| *number);
                            return Err(failure.after_last_line(last));
                        }
                    };
                    in_flight.pop_front();
                    deadline = Instant::now() + self.timeout;
                    match outcome {
                        Ok(appended) => {
                            let last = in_flight.back().map_or(number, |(number, _)| *number);
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
                            Ok(Some(text)) => match self.client.enqueue(self.conversation.clone(), DraftContent::text(text)).await {
                                Ok(handle) => in_flight.push_back((line.number, handle)),
                                // Further lines would fail too; messages in flight may still
                                // succeed.
                                Err(error) => (reading, read_result) = (false, Err(Failure::from(error).at_line(line.number))),
                            },
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
        in_flight: &mut VecDeque<(u64, SendHandle)>,
        deadline: Instant,
    ) -> Result<(u64, ClientMessageId, Result<Appended, Failure>), Failure> {
        match in_flight.front_mut() {
            Some((number, handle)) => Ok((*number, handle.id(), self.outcome(handle, deadline).await?)),
            None => std::future::pending().await,
        }
    }

    /// Waits for the outcome of a message: it was stored, or the inner error says why it was not,
    /// or that this is unknown.
    ///
    /// # Errors
    /// No outcome arrived before the deadline or the end of the client; the message stays in the
    /// outbox.
    async fn outcome(&self, handle: &mut SendHandle, deadline: Instant) -> Result<Result<Appended, Failure>, Failure> {
        let client = &self.session.client;
        match timeout_at(deadline, handle.outcome()).await {
            Ok(Ok(SendOutcome::Acked(appended))) => Ok(Ok(appended)),
            Ok(Ok(SendOutcome::Rejected(reason))) => Ok(Err(reason.into())),
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
                let find = super::history::fetch_conversation(client, self.conversation.clone());
                let end = Instant::now() + if is_online { NAME_TIMEOUT } else { Duration::ZERO };
                match timeout_at(end, find).await {
                    Ok(Ok(info)) => ConversationName::of(&info),
                    _ => ConversationName::Group(format!("#{id}")),
                }
            }
        }
    }
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
            if sender.blocking_send(line.map_err(Failure::from)).is_err() || is_last {
                break;
            }
        }
    });
    receiver
}

#[cfg(test)]
mod tests {
    use chat_core::model::{ConversationId, EventId, Timestamp};
    use clap::Parser as _;

    use super::*;
    use crate::args::Args;

    #[test]
    fn longer_text_is_refused_and_not_cut() {
        let read = |text: &str| read_text("input", text.as_bytes()).map_err(|failure| failure.text);
        let longest = "x".repeat(MessageText::MAX_BYTES);
        assert_eq!(read(&format!("{longest}\r\n")), Ok(longest.clone()));
        let refused = read(&format!("{longest}\r\nmore")).unwrap_err();
        assert!(refused.contains("too long"), "{refused}");
        // The end of what is read is inside a character.
        let refused = read(&"\u{20ac}".repeat(MessageText::MAX_BYTES)).unwrap_err();
        assert!(refused.contains("too long"), "{refused}");
        assert!(read_text("input", &b"\xff"[..]).is_err());
    }

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
