//! send, edit, recall, react: what goes through the outbox.

use std::collections::VecDeque;
use std::time::Duration;

use chat_core::client::{Client, ClientError, Receive, SendHandle, SendOutcome};
use chat_core::model::{
    Appended, ClientMessageId, ConversationRef, DraftContent, Emoji, MessageText, Seq, UserId, UserRef,
};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

use crate::args::{Global, Send, Touch, seq, user_ref};
use crate::failure::{Failure, Kind};
use crate::lines::{Line, Lines, NoText};
use crate::output::{Output, Place, SentLine};
use crate::session::{How, Session};

/// Lines that are read ahead of the outbox, and messages that are under way at once.
const AHEAD: usize = 64;
const PATIENCE: Duration = Duration::from_secs(10);

pub(super) async fn send(global: &Global, args: Send, output: &mut Output) -> Result<(), Failure> {
    let (conversation, words) = args.target.split(&args.words)?;
    let from_input = matches!(words, [dash] if dash == "-");
    if words.is_empty() {
        return Err(Failure::usage("say what to send; - sends each line of the input"));
    }
    let text = words.join(" ");
    let first = if from_input {
        None
    } else {
        Some(MessageText::new(text).map_err(Failure::usage)?)
    };
    let session = Session::start(global, How::AsIs, Receive::Nothing, output).await?;
    let sender = Sender {
        session: &session,
        conversation,
        patience: Duration::from_secs_f64(args.timeout),
    };
    let sent = match first {
        Some(text) => {
            let content = message(&session, text, &args).await;
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

/// Who was told that the message waits for the next run is not kept waiting.
async fn finish(session: Session, sent: &Result<(), Failure>) {
    match sent {
        Err(failure) if failure.kind == Kind::Queued => session.end().await,
        _ => session.finish().await,
    }
}

/// Mentions are by id, so their names have to be looked up first.
async fn message(session: &Session, text: MessageText, args: &Send) -> Result<DraftContent, Failure> {
    let mut mentions = Vec::new();
    for user in &args.mention {
        mentions.push(user_id(session, user_ref(user)?).await?);
    }
    Ok(DraftContent::Message {
        text,
        reply_to: args.reply_to.map(Seq),
        mentions,
        mention_all: args.mention_all,
    })
}

async fn user_id(session: &Session, user: UserRef) -> Result<UserId, Failure> {
    use chat_core::model::{Command, Outcome};

    if let UserRef::Id(id) = user {
        return Ok(id);
    }
    session.ready().await?;
    match session.client.execute(Command::GetUsers(vec![user])).await? {
        Outcome::Users(users) if !users.is_empty() => Ok(users[0].id),
        _ => Err(Failure::new(Kind::Refused, "nobody of that name can be mentioned")),
    }
}

pub(super) async fn edit(global: &Global, touch: &Touch, output: &mut Output) -> Result<(), Failure> {
    touched(global, touch, output, |target, words| {
        let text = MessageText::new(words.join(" ")).map_err(Failure::usage)?;
        Ok(DraftContent::Edit { target, text })
    })
    .await
}

pub(super) async fn recall(global: &Global, touch: &Touch, output: &mut Output) -> Result<(), Failure> {
    touched(global, touch, output, |target, words| match words {
        [] => Ok(DraftContent::Recall { target }),
        _ => Err(Failure::usage("recall takes a conversation and a message's number")),
    })
    .await
}

pub(super) async fn react(global: &Global, touch: &Touch, remove: bool, output: &mut Output) -> Result<(), Failure> {
    touched(global, touch, output, |target, words| {
        let emoji = Emoji::new(&words.join(" ")).map_err(Failure::usage)?;
        Ok(DraftContent::React { target, emoji, remove })
    })
    .await
}

async fn touched(
    global: &Global,
    touch: &Touch,
    output: &mut Output,
    content: impl FnOnce(Seq, &[String]) -> Result<DraftContent, Failure>,
) -> Result<(), Failure> {
    let (conversation, words) = touch.target.split(&touch.words)?;
    let [target, rest @ ..] = words else {
        return Err(Failure::usage("say which message, by its number"));
    };
    let content = content(seq(target)?, rest)?;
    let session = Session::start(global, How::AsIs, Receive::Nothing, output).await?;
    let sender = Sender {
        session: &session,
        conversation,
        patience: PATIENCE,
    };
    let sent = sender.send_one(content, output).await;
    finish(session, &sent).await;
    sent
}

/// Sends to one conversation.
struct Sender<'a> {
    session: &'a Session,
    conversation: ConversationRef,
    /// How long an outcome is waited for.
    patience: Duration,
}

impl Sender<'_> {
    async fn send_one(&self, content: DraftContent, output: &mut Output) -> Result<(), Failure> {
        let mut handle = self.session.client.send(self.conversation.clone(), content).await?;
        match self.outcome(&mut handle, Instant::now() + self.patience).await? {
            Ok(appended) => self.print(handle.id(), &appended, output).await,
            Err(refused) => Err(refused),
        }
    }

    /// Sends each line of the input, several under way at once. A line that is refused does not hold up the others.
    async fn send_lines(&self, output: &mut Output) -> Result<(), Failure> {
        let mut lines = lines();
        let mut under_way = VecDeque::new();
        let mut unsent = 0_u64;
        let (mut reading, mut ended) = (true, Ok(()));
        let mut patient_until = Instant::now() + self.patience;
        let mut refuse = |number: u64, failure: Failure, output: &Output| {
            unsent += 1;
            output.failure(&failure.at_line(number));
        };
        while reading || !under_way.is_empty() {
            tokio::select! {
                biased;
                outcome = self.first_outcome(&mut under_way, patient_until), if !under_way.is_empty() => {
                    let (number, id, outcome) = outcome?;
                    under_way.pop_front();
                    patient_until = Instant::now() + self.patience;
                    match outcome {
                        Ok(appended) => self.print(id, &appended, output).await?,
                        Err(failure) => refuse(number, failure, output),
                    }
                }
                line = lines.recv(), if reading && under_way.len() < AHEAD => match line.transpose() {
                    Ok(Some(line)) => {
                        if under_way.is_empty() {
                            patient_until = Instant::now() + self.patience;
                        }
                        match text_of(line.text) {
                            Ok(None) => {}
                            Ok(Some(text)) => match self.session.client.send_text(self.conversation.clone(), text).await {
                                Ok(handle) => under_way.push_back((line.number, handle)),
                                // The next one would fare no better; those under way may.
                                Err(error) => (reading, ended) = (false, Err(Failure::from(error).at_line(line.number))),
                            },
                            Err(failure) => refuse(line.number, failure, output),
                        }
                    }
                    Ok(None) => reading = false,
                    Err(failure) => (reading, ended) = (false, Err(failure)),
                },
            }
        }
        ended?;
        match unsent {
            0 => Ok(()),
            1 => Err(Failure::new(Kind::Failed, "1 line was not sent")),
            _ => Err(Failure::new(Kind::Failed, format!("{unsent} lines were not sent"))),
        }
    }

    /// The outcome of the oldest message.
    async fn first_outcome(
        &self,
        under_way: &mut VecDeque<(u64, SendHandle)>,
        deadline: Instant,
    ) -> Result<(u64, ClientMessageId, Result<Appended, Failure>), Failure> {
        match under_way.front_mut() {
            Some((number, handle)) => Ok((*number, handle.id(), self.outcome(handle, deadline).await?)),
            None => std::future::pending().await,
        }
    }

    /// Waits for a message's outcome.
    ///
    /// # Errors
    /// There is none yet; the message is kept.
    async fn outcome(&self, handle: &mut SendHandle, deadline: Instant) -> Result<Result<Appended, Failure>, Failure> {
        let client = &self.session.client;
        match timeout_at(deadline, handle.outcome()).await {
            Ok(Ok(SendOutcome::Acked(appended))) => Ok(Ok(appended)),
            Ok(Ok(SendOutcome::Rejected(reason))) => Ok(Err(reason.into())),
            Ok(Ok(_)) => Ok(Err(ClientError::Interrupted.into())),
            Ok(Err(error)) => Err(queued(client, &ended(client).unwrap_or(error))),
            Err(_) => Err(queued(client, &ended(client).unwrap_or(ClientError::Timeout))),
        }
    }

    async fn print(&self, id: ClientMessageId, appended: &Appended, output: &mut Output) -> Result<(), Failure> {
        // A session stands; this remembers it.
        self.session.ready().await?;
        let place = self.place(appended).await?;
        output.print(&SentLine::new(place, id, appended))
    }

    async fn place(&self, appended: &Appended) -> Result<Place, Failure> {
        let client = &self.session.client;
        if let Some(info) = client.conversation(appended.conversation) {
            return Ok(Place::of(&info));
        }
        Ok(match &self.conversation {
            ConversationRef::Direct(UserRef::Name(name)) => Place::Direct(name.to_string()),
            ConversationRef::Direct(UserRef::Id(id)) => {
                let names = client.names([*id]).await?;
                Place::Direct(names.get(id).cloned().unwrap_or_else(|| format!("#{id}")))
            }
            ConversationRef::Group(name) => Place::Group(name.to_string()),
            ConversationRef::Id(_) => Place::of(
                &super::history::describe(client, self.conversation.clone())
                    .await?
                    .clone(),
            ),
        })
    }
}

fn ended(client: &Client) -> Option<ClientError> {
    match client.status() {
        chat_core::client::Status::Ended(reason) => Some(reason),
        chat_core::client::Status::Connecting(reason) => reason,
        _ => None,
    }
}

/// The message has no outcome, but it is kept.
fn queued(client: &Client, reason: &ClientError) -> Failure {
    let failure = Failure::from(reason.clone());
    let count = client.unsettled();
    let kept = format!(
        "{count} message{} kept in the outbox, to be sent by the next run",
        if count == 1 { " is" } else { "s are" }
    );
    let kind = match failure.kind {
        // It will not go out by itself: somebody has to log in, or to look at the server's key.
        Kind::Auth | Kind::WrongKey => failure.kind,
        _ => Kind::Queued,
    };
    Failure::new(kind, format!("{}; {kept}", failure.text))
}

/// What to send of a line; nothing of an empty one.
fn text_of(line: Result<String, NoText>) -> Result<Option<MessageText>, Failure> {
    match line.map_err(Failure::usage)? {
        line if line.is_empty() => Ok(None),
        line => MessageText::new(line).map(Some).map_err(Failure::usage),
    }
}

/// Lines of the input, read by a thread of its own: a read cannot be given up.
fn lines() -> mpsc::Receiver<Result<Line, Failure>> {
    let (sender, receiver) = mpsc::channel(AHEAD);
    std::thread::spawn(move || {
        for line in Lines::of(std::io::stdin().lock()) {
            let last = line.is_err();
            if sender.blocking_send(line.map_err(Failure::from)).is_err() || last {
                break;
            }
        }
    });
    receiver
}
