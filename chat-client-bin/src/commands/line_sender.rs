//! [`LineSender`]: sends each line of standard input that is not empty as a message.

use std::collections::VecDeque;

use chat_core::client::{Client, ClientError, SendOutcome};
use chat_core::model::{ConversationRef, DraftContent, MessageText};
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::agent::Agent;
use crate::failure::{Failure, FailureKind};
use crate::lines::{InvalidLine, Line, Lines};
use crate::output::Output;

use super::sender::{InFlight, Sender, enqueue};

/// Maximum number of lines read ahead, and of messages in flight.
const MAX_AHEAD: usize = 64;

/// Sender of lines to one conversation. Lines after a refused line are still sent.
pub(super) struct LineSender<'a> {
    sender: &'a Sender<'a>,
    /// Handle that refuses ids once the server was restored from a backup (`StoreReplaced`). If the
    /// conversation was given by name, a new handle then replaces it.
    client: Client,
    /// Reference to which the next line is sent: once a message was stored, the id, so that lines
    /// arrive there even if the conversation is renamed.
    conversation: ConversationRef,
    in_flight: VecDeque<InFlight>,
    /// Time until which the oldest message has to have an outcome.
    deadline: Instant,
    failed_lines: u64,
    /// Agent of the account, from the first stored message until [`run`](Self::run) ends. The inner
    /// value is `None` if this process itself uses an agent, or could not start one.
    agent: Option<Option<Agent>>,
}

impl<'a> LineSender<'a> {
    pub(super) fn new(sender: &'a Sender<'a>) -> Self {
        Self {
            client: sender.client.clone(),
            conversation: sender.conversation.clone(),
            in_flight: VecDeque::new(),
            deadline: Instant::now() + sender.timeout,
            failed_lines: 0,
            agent: None,
            sender,
        }
    }

    /// Sends each line of the input that is not empty, with up to [`MAX_AHEAD`] messages in flight,
    /// and prints the numbers of the stored messages.
    ///
    /// # Errors
    /// A line failed, the input cannot be read, the output or the profile cannot be written, or a
    /// message got no outcome before its deadline or the end of the client.
    pub(super) async fn run(mut self, output: &mut Output) -> Result<(), Failure> {
        let mut lines = lines();
        let (mut reading, mut read_result) = (true, Ok(()));
        while reading || !self.in_flight.is_empty() {
            tokio::select! {
                biased;
                outcome = first_outcome(self.sender, &mut self.in_flight, self.deadline), if !self.in_flight.is_empty() => {
                    let outcome = outcome.map_err(|failure| failure.with_last_line_taken(self.last_line(0)))?;
                    self.handle_outcome(outcome, output).await?;
                }
                line = lines.recv(), if reading && self.in_flight.len() < MAX_AHEAD => {
                    let taken = match line.transpose() {
                        Ok(Some(line)) => self.take(line, output).await,
                        Ok(None) => {
                            reading = false;
                            Ok(())
                        }
                        Err(failure) => Err(failure),
                    };
                    // Further lines would fail too; messages in flight may still succeed.
                    if taken.is_err() {
                        (reading, read_result) = (false, taken);
                    }
                }
            }
        }
        read_result?;
        let text = match self.failed_lines {
            0 => return Ok(()),
            1 => "1 line was not sent, or its outcome is unknown".to_owned(),
            lines => format!("{lines} lines were not sent, or their outcomes are unknown"),
        };
        Err(Failure::new(FailureKind::Failed, text))
    }

    /// Puts a line into the outbox, unless it is empty. An invalid line is reported.
    ///
    /// # Errors
    /// The client takes no further messages.
    async fn take(&mut self, line: Line, output: &Output) -> Result<(), Failure> {
        let content = match text_of(line.text) {
            Ok(None) => return Ok(()),
            Ok(Some(text)) => DraftContent::text(text),
            Err(failure) => {
                self.report(line.number, failure, output);
                return Ok(());
            }
        };
        if self.in_flight.is_empty() {
            self.deadline = Instant::now() + self.sender.timeout;
        }
        let mut queued = enqueue(&self.client, line.number, self.conversation.clone(), content.clone()).await;
        // After the server was restored from a backup, the conversation has to be named again.
        if matches!(queued, Err(ClientError::StoreReplaced)) && self.sender.conversation.is_by_name() {
            self.client = self.sender.session.client.with_current_epoch();
            self.conversation = self.sender.conversation.clone();
            queued = enqueue(&self.client, line.number, self.conversation.clone(), content).await;
        }
        let message = queued.map_err(|error| Failure::from(error).at_line(line.number))?;
        self.in_flight.push_back(message);
        Ok(())
    }

    /// Prints or reports the outcome of the oldest message. Starts the agent after the first stored
    /// message.
    ///
    /// # Errors
    /// The output or the profile cannot be written.
    async fn handle_outcome(&mut self, outcome: SendOutcome, output: &mut Output) -> Result<(), Failure> {
        let Some(message) = self.in_flight.pop_front() else {
            return Ok(());
        };
        self.deadline = Instant::now() + self.sender.timeout;
        match self.sender.explained(&message, outcome).await {
            Ok(appended) => {
                // The client is logged in. The input may go on for a long time, in which other
                // commands can use the session.
                self.agent
                    .get_or_insert_with(|| self.sender.session.share_own_connection());
                self.conversation = ConversationRef::Id(appended.conversation);
                let printed = self.sender.print(message.handle.id(), &appended, output).await;
                printed.map_err(|failure| failure.with_last_line_taken(self.last_line(message.line)))
            }
            Err(failure) => {
                self.report(message.line, failure, output);
                Ok(())
            }
        }
    }

    /// Returns the number of the last line in flight, or `otherwise` if no line is.
    fn last_line(&self, otherwise: u64) -> u64 {
        self.in_flight.back().map_or(otherwise, |message| message.line)
    }

    fn report(&mut self, line: u64, failure: Failure, output: &Output) {
        self.failed_lines += 1;
        output.failure(&failure.at_line(line));
    }
}

/// Waits for the outcome of the oldest message; forever if there is none.
///
/// # Errors
/// As for [`Sender::outcome`].
async fn first_outcome(
    sender: &Sender<'_>,
    in_flight: &mut VecDeque<InFlight>,
    deadline: Instant,
) -> Result<SendOutcome, Failure> {
    match in_flight.front_mut() {
        Some(message) => sender.outcome(message, deadline).await,
        None => std::future::pending().await,
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
