//! The loop between the person, the client and the screen.

mod incoming;

use std::sync::Arc;
use std::time::Duration;

use chat_core::client::{Client, Events};
use chat_core::model::{
    Command, ConversationId, ConversationInfo, ConversationRef, ConversationView, Seq, sanitize_for_terminal,
};
use tokio::task::JoinSet;

use crate::failure::{Failure, Kind};
use crate::output::{Output, Style};
use crate::session::Session;

pub(super) use incoming::time_of_day;

use super::actions;
use super::command::{Do, Line, USAGES, parse};
use super::completion::Known;
use super::input::{Input, Typed};
use super::rooms::Rooms;
use super::screen::Screen;

/// A message is called "sending" once it has taken so long.
const SLOW: Duration = Duration::from_millis(700);
/// What is still under way may take so long when the input ends.
const LAST_WORDS: Duration = Duration::from_secs(10);

/// A person who wants to go somewhere is held up so long at most.
const HELD_UP: Duration = Duration::from_secs(10);

/// What a job has to tell when it is done.
#[derive(Debug)]
pub(super) enum Told {
    /// Nothing that matters here.
    Nothing,
    /// The person may go there.
    Found(ConversationRef, String),
    /// They may not, or not yet.
    NotFound(Option<Failure>),
    /// The end of a conversation was shown.
    Shown {
        label: String,
        info: Arc<ConversationInfo>,
        shown: Vec<(Seq, bool)>,
    },
    /// A message was stored.
    Stored(ConversationId, Seq),
}

/// The state of the interactive client.
#[derive(Debug)]
pub(super) struct App {
    pub(super) client: Client,
    pub(super) screen: Screen,
    pub(super) style: Style,
    pub(super) rooms: Rooms,
    pub(super) known: Known,
    pub(super) jobs: JoinSet<Result<Told, Failure>>,
    input: Input,
    output: Output,
    caught_up: bool,
    connected: bool,
    /// It is being found out whether the person can go where they want to; until then nobody knows where a line belongs.
    going: bool,
    leaving: bool,
    interrupts: u32,
    /// Lines of a script that were no text.
    not_text: u64,
    /// Why nothing more can be read.
    broken: Option<Failure>,
}

impl App {
    pub(super) fn new(session: &Session, output: Output) -> Result<Self, Failure> {
        let known = Known::default();
        let (input, screen) = Input::start(&known);
        let app = Self {
            client: session.client.clone(),
            screen,
            style: output.style(),
            rooms: Rooms::default(),
            known,
            jobs: JoinSet::new(),
            input,
            output,
            caught_up: false,
            connected: false,
            going: false,
            leaving: false,
            interrupts: 0,
            not_text: 0,
            broken: None,
        };
        let me = session.me()?;
        app.screen.line(greeting(&me.name, app.style));
        Ok(app)
    }

    /// Runs until the person leaves or the session ends.
    pub(super) async fn run(mut self, mut events: Events) -> Result<(), Failure> {
        for info in self.client.conversations() {
            self.learn(&info);
        }
        self.jobs
            .spawn(actions::learn_contacts(self.client.clone(), self.known.clone()));
        self.prompt();
        while !self.leaving {
            tokio::select! {
                // What the server says comes first, so that a pasted text does not hide it.
                biased;
                received = events.next() => {
                    let Some(received) = received else { break };
                    if let Err(failure) = self.event(&received.event).await {
                        self.wait_for_the_editor(&failure).await;
                        self.close();
                        return Err(failure);
                    }
                    received.done();
                }
                Some(done) = self.jobs.join_next() => self.job_done(done),
                typed = self.input.next() => self.typed(typed).await,
            }
        }
        self.last_words().await;
        let ended = match (self.broken.take(), self.not_text) {
            (Some(failure), _) => Err(failure),
            (None, 0) => Ok(()),
            (None, 1) => Err(Failure::new(Kind::Failed, "1 line was no text")),
            (None, lines) => Err(Failure::new(Kind::Failed, format!("{lines} lines were no text"))),
        };
        self.close();
        ended
    }

    /// Lets the editor go, and what was printed appear.
    fn close(self) {
        drop(self.input);
        self.screen.flush();
    }

    /// The editor holds the terminal in a mode of its own until a line is typed.
    async fn wait_for_the_editor(&mut self, failure: &Failure) {
        if self.input.is_terminal {
            self.complain(&failure.text);
            self.screen.line("-- press Enter to leave");
            if self.going {
                self.input.prompt(String::new());
            }
            let _ = self.input.next().await; // whatever it is
        }
    }

    /// A script's last lines are done before it ends; a person who leaves waits only for messages.
    async fn last_words(&mut self) {
        let client = self.client.clone();
        let finish = async {
            while let Some(done) = self.jobs.join_next().await {
                self.job_done(done);
            }
            let _ = client.flush().await; // what is left stays in the outbox
        };
        let _ = tokio::time::timeout(LAST_WORDS, finish).await; // as above
    }

    async fn typed(&mut self, typed: Option<Typed>) {
        match typed {
            Some(Typed::Line(line)) => {
                self.interrupts = 0;
                self.line(&line);
                if !self.input.is_terminal {
                    self.in_order().await;
                }
            }
            Some(Typed::NotText(failure)) if self.input.is_terminal => self.complain(&failure.text),
            Some(Typed::NotText(failure)) => {
                self.not_text += 1;
                self.output.failure(&failure);
            }
            Some(Typed::Interrupt) => {
                self.interrupts += 1;
                self.leaving = self.interrupts > 1;
                if !self.leaving {
                    self.screen.line("Ctrl-C again leaves, and so do Ctrl-D and /quit.");
                }
            }
            Some(Typed::Broken(failure)) => {
                self.broken = Some(failure);
                self.leaving = true;
            }
            Some(Typed::End) | None => self.leaving = true,
        }
        self.prompt();
    }

    /// A script expects each line to be done before the next.
    async fn in_order(&mut self) {
        while let Some(done) = self.jobs.join_next().await {
            self.job_done(done);
        }
    }

    fn prompt(&self) {
        if !self.leaving && !self.going {
            self.input.prompt(self.rooms.prompt(&self.client.conversations()));
        }
    }

    fn line(&mut self, line: &str) {
        match parse(line) {
            Line::Empty => {}
            Line::Say(text) => self.say(text, None),
            Line::Do(Do::Quit) => self.leaving = true,
            Line::Do(Do::Help) => self.help(),
            Line::Do(command) => actions::perform(self, command),
            Line::Wrong(why) => self.complain(&why),
        }
    }

    fn help(&self) {
        for usage in USAGES {
            let call = format!("{} {}", usage.name, usage.arguments);
            self.screen.line(format_args!(
                "  {} {}",
                crate::output::pad(&call, 22),
                self.style.dim(usage.help)
            ));
        }
        let rest = "  Everything else is sent to the conversation before the prompt; // sends a line that begins with a slash.";
        self.screen.line(self.style.dim(rest));
    }

    /// Something the person should do otherwise.
    pub(super) fn complain(&self, why: &str) {
        let why = sanitize_for_terminal(why);
        self.screen.line(format_args!("{} {why}", self.style.bad("!")));
    }

    fn job_done(&mut self, done: Result<Result<Told, Failure>, tokio::task::JoinError>) {
        match done {
            Ok(Ok(Told::Nothing)) => {}
            Ok(Ok(Told::Found(reference, label))) => {
                actions::enter(self, reference, label);
                self.arrived();
            }
            Ok(Ok(Told::NotFound(failure))) => {
                if let Some(failure) = failure {
                    self.complain(&failure.text);
                }
                // A person sees where they are. The next lines of a script were meant for somebody else.
                if !self.input.is_terminal {
                    self.rooms.leave();
                }
                self.arrived();
            }
            Ok(Ok(Told::Shown { label, info, shown })) => {
                self.learn(&info);
                self.rooms.entered(&label, info.id);
                shown
                    .into_iter()
                    .for_each(|(seq, own)| self.rooms.saw(info.id, seq, own));
            }
            Ok(Ok(Told::Stored(conversation, seq))) => self.rooms.saw(conversation, seq, true),
            Ok(Err(failure)) => self.complain(&failure.text),
            Err(error) => {
                self.complain(&format!("that failed: {error}"));
                self.arrived();
            }
        }
    }

    /// Finds out whether the person can go where they want to; nothing is typed meanwhile.
    pub(super) fn go(&mut self, find: impl Future<Output = Result<Told, Failure>> + Send + 'static) {
        self.going = true;
        self.jobs.spawn(async {
            Ok(match tokio::time::timeout(HELD_UP, find).await {
                Ok(Ok(told)) => told,
                Ok(Err(failure)) => Told::NotFound(Some(failure)),
                Err(_) => {
                    let text = "the server has not answered; that may still be done";
                    Told::NotFound(Some(Failure::new(Kind::Unknown, text)))
                }
            })
        });
    }

    /// It is known again where lines belong.
    fn arrived(&mut self) {
        if std::mem::take(&mut self.going) && self.input.is_terminal {
            self.prompt();
        }
    }

    /// Names for Tab.
    fn learn(&self, info: &ConversationInfo) {
        match &info.view {
            ConversationView::Direct(peer) => self.known.add_user(&peer.name),
            ConversationView::Group(group) => self.known.add_group(&group.profile.name),
            ConversationView::Inbox => {}
        }
    }

    /// Sends a text to where the person is.
    pub(super) fn say(&mut self, text: String, reply_to: Option<Seq>) {
        let Some(room) = self.rooms.current.clone() else {
            return self.complain("there is nobody here; /dm USER or /group NAME says whom you talk to");
        };
        actions::send_text(self, room.reference, room.label, text, reply_to, SLOW);
    }

    /// Asks the server, and says `done` when it has answered well.
    pub(super) fn ask(&mut self, command: Command, done: String) {
        let (client, screen, style) = (self.client.clone(), self.screen.clone(), self.style);
        self.jobs.spawn(async move {
            client.execute(command).await?;
            screen.line(style.dim(&sanitize_for_terminal(&format!("-- {done}"))));
            Ok(Told::Nothing)
        });
    }
}

fn greeting(name: &str, style: Style) -> String {
    let name = style.name(&sanitize_for_terminal(name));
    format!("You are {name}. /help lists the commands, /dm USER and /group NAME begin.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ones_own_name_is_as_harmless_as_any_other() {
        let greeting = greeting("eve\u{1b}]0;title\u{7}", Style::PLAIN);
        assert!(greeting.starts_with("You are eve\\u{1b}]0;title\\u{7}. "), "{greeting}");
    }
}
