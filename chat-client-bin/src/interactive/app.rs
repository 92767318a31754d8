//! The loop between the person, the client and the screen.

use std::sync::Arc;
use std::time::Duration;

use chat_core::client::{Client, ClientEvent, Delivery, Events, SendOutcome};
use chat_core::model::{Command, ConversationId, ConversationInfo, ConversationView, EventBody, PresenceState, Seq};
use tokio::task::JoinSet;

use crate::failure::Failure;
use crate::output::{Names, Place, Style};
use crate::session::Session;

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

/// What a job has to tell when it is done.
#[derive(Debug)]
pub(super) enum Told {
    /// Nothing that matters here.
    Nothing,
    /// The current conversation is this one.
    Entered {
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
    caught_up: bool,
    leaving: bool,
    interrupts: u32,
}

impl App {
    pub(super) fn new(session: &Session, style: Style) -> Result<Self, Failure> {
        let known = Known::default();
        let (input, screen) = Input::start(&known)?;
        let app = Self {
            client: session.client.clone(),
            screen,
            style,
            rooms: Rooms::default(),
            known,
            jobs: JoinSet::new(),
            input,
            caught_up: false,
            leaving: false,
            interrupts: 0,
        };
        let me = session.me()?;
        app.screen.line(format_args!(
            "You are {}. /help lists the commands, /dm USER and /group NAME begin.",
            app.style.name(&me.name)
        ));
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
                        return Err(failure);
                    }
                    received.done();
                }
                Some(done) = self.jobs.join_next() => self.job_done(done),
                typed = self.input.next() => self.typed(typed).await,
            }
        }
        self.last_words().await;
        Ok(())
    }

    /// The editor holds the terminal in a mode of its own until a line is typed.
    async fn wait_for_the_editor(&mut self, failure: &Failure) {
        if self.input.is_terminal {
            self.complain(&failure.text);
            self.screen.line("-- press Enter to leave");
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
            Some(Typed::Interrupt) => {
                self.interrupts += 1;
                self.leaving = self.interrupts > 1;
                if !self.leaving {
                    self.screen.line("Ctrl-C again leaves, and so do Ctrl-D and /quit.");
                }
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
        if !self.leaving {
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
        let why = chat_core::model::sanitize_for_terminal(why);
        self.screen.line(format_args!("{} {why}", self.style.bad("!")));
    }

    fn job_done(&mut self, done: Result<Result<Told, Failure>, tokio::task::JoinError>) {
        match done {
            Ok(Ok(Told::Nothing)) => {}
            Ok(Ok(Told::Entered { label, info, shown })) => {
                self.learn(&info);
                self.rooms.entered(&label, info.id);
                shown
                    .into_iter()
                    .for_each(|(seq, own)| self.rooms.saw(info.id, seq, own));
            }
            Ok(Ok(Told::Stored(conversation, seq))) => self.rooms.saw(conversation, seq, true),
            Ok(Err(failure)) => self.complain(&failure.text),
            Err(error) => self.complain(&format!("that failed: {error}")),
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

    async fn event(&mut self, event: &ClientEvent) -> Result<(), Failure> {
        match event {
            ClientEvent::Event(delivery) => self.delivered(delivery).await?,
            ClientEvent::CaughtUp if !self.caught_up => {
                self.caught_up = true;
                self.summarise();
            }
            ClientEvent::Connected { server } if self.caught_up => {
                self.screen
                    .line(self.style.dim(&format!("-- connected to {server} again")));
            }
            ClientEvent::Disconnected { reason, retry_in } => {
                let seconds = retry_in.as_secs_f32().ceil();
                self.screen
                    .line(self.style.bad(&format!("-- {reason}; trying again in {seconds} s")));
            }
            ClientEvent::Settled {
                conversation, outcome, ..
            } => self.settled_earlier(&actions::label_of(conversation), outcome),
            ClientEvent::Presence { user, state } => {
                let names = self.names_now([*user]).await;
                if let Some(name) = names.get(user) {
                    let what = if *state == PresenceState::Offline {
                        "is gone"
                    } else {
                        "is here"
                    };
                    self.screen.line(self.style.dim(&format!("-- {name} {what}")));
                }
            }
            ClientEvent::HistoryReset(_) => self.complain("the server's history is another one; it begins anew"),
            ClientEvent::Ended(reason) => return Err(reason.clone().into()),
            _ => {}
        }
        Ok(())
    }

    /// A message that an earlier run had left in the outbox.
    fn settled_earlier(&self, label: &str, outcome: &SendOutcome) {
        match outcome {
            SendOutcome::Acked(appended) => {
                let text = format!("✓ an earlier message to {label} was stored as #{}", appended.seq);
                self.screen.line(self.style.dim(&text));
            }
            SendOutcome::Rejected(reason) => {
                self.complain(&format!("an earlier message to {label} was not sent: {reason}"))
            }
            _ => self.complain(&format!("whether an earlier message to {label} was sent is unknown")),
        }
    }

    /// What was said: shown here at once, elsewhere in one line; what is old is only counted.
    async fn delivered(&mut self, delivery: &Delivery) -> Result<(), Failure> {
        let info = &delivery.conversation;
        self.learn(info);
        let is_message = matches!(delivery.body, EventBody::Message(_));
        if is_message {
            self.rooms.saw(info.id, delivery.seq(), delivery.own);
        }
        if self.rooms.is_current(info) {
            self.rooms.entered(&Place::of(info).label(), info.id);
        }
        let hidden = matches!(delivery.body, EventBody::ConversationOpened { .. });
        if !self.caught_up || delivery.own || hidden {
            return Ok(());
        }
        let line = crate::commands::event_line(&self.client, info, &delivery.event, &delivery.body).await?;
        if self.rooms.is_current(info) {
            self.screen.line(format_args!(
                "{} {}",
                self.style.dim(&time_of_day(line.time_ms())),
                line.short(self.style)
            ));
            self.jobs
                .spawn(actions::mark_read(self.client.clone(), info.id, delivery.seq()));
        } else {
            let label = self.style.bold(&Place::of(info).label());
            self.screen.line(format_args!(
                "{} [{label}] {}",
                self.style.dim(&time_of_day(line.time_ms())),
                line.short(self.style)
            ));
        }
        Ok(())
    }

    /// What came while nobody was here.
    fn summarise(&self) {
        let all = self.client.conversations();
        let unread: Vec<_> = all.iter().filter(|info| info.unread > 0).collect();
        if unread.is_empty() {
            return;
        }
        let list: Vec<_> = unread
            .iter()
            .map(|info| format!("{} ({})", Place::of(info).label(), info.unread))
            .collect();
        self.screen
            .line(format_args!("New: {}", self.style.bold(&list.join(", "))));
    }

    async fn names_now(&self, users: impl IntoIterator<Item = chat_core::model::UserId>) -> Names {
        self.client.names(users).await.unwrap_or_default()
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
            screen.line(style.dim(&chat_core::model::sanitize_for_terminal(&format!("-- {done}"))));
            Ok(Told::Nothing)
        });
    }
}

/// `22:52`, in UTC.
pub(super) fn time_of_day(time_ms: i64) -> String {
    let clock = crate::output::clock(time_ms);
    clock.split(' ').nth(1).unwrap_or_default().to_owned()
}
