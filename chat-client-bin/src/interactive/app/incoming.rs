//! Prints the events of the client.

use chat_core::client::{ClientEvent, Delivery, SendOutcome};
use chat_core::model::{EventBody, PresenceState, UserId, sanitize_for_terminal};

use crate::failure::Failure;
use crate::interactive::actions;
use crate::output::{ConversationName, Names, time_of_day};

use super::App;

impl App {
    /// Handles one event of the client.
    ///
    /// # Errors
    /// The session has ended.
    pub(super) async fn event(&mut self, event: &ClientEvent) -> Result<(), Failure> {
        match event {
            ClientEvent::Event(delivery) => self.delivered(delivery).await,
            ClientEvent::CaughtUp if !self.caught_up => {
                self.caught_up = true;
                self.summarise();
            }
            ClientEvent::Connected { server } => self.connected_to(server),
            ClientEvent::Disconnected { reason, retry_in } => {
                let seconds = retry_in.as_secs_f32().ceil();
                let text = format!("-- {reason}; trying again in {seconds} s");
                self.state
                    .screen
                    .line(self.state.style.bad(&sanitize_for_terminal(&text)));
            }
            ClientEvent::Settled {
                conversation, outcome, ..
            } => self.settled_earlier(&actions::label_of(conversation), outcome),
            ClientEvent::Presence { user, state } => {
                let names = self.names_now([*user]).await;
                if let Some(name) = names.get(user) {
                    let status = if *state == PresenceState::Offline {
                        "is offline"
                    } else {
                        "is online"
                    };
                    let text = format!("-- {name} {status}");
                    self.state
                        .screen
                        .line(self.state.style.dim(&sanitize_for_terminal(&text)));
                }
            }
            ClientEvent::HistoryReset => self
                .state
                .show_error("the store of the server was replaced; reading the whole history again"),
            ClientEvent::Rewound { conversation, to } => {
                let name = ConversationName::of(conversation).label();
                self.state.show_error(&format!(
                    "{name} was rewound to {to} by a restore; later events are void and are read again"
                ));
            }
            ClientEvent::Ended(reason) => return Err(reason.clone().into()),
            _ => {}
        }
        Ok(())
    }

    fn connected_to(&mut self, server: &str) {
        if self.connected {
            let text = format!("-- reconnected to {server}");
            self.state.screen.line(self.state.style.dim(&text));
        }
        self.connected = true;
    }

    /// Prints the outcome of a message that an earlier run left in the outbox.
    fn settled_earlier(&self, label: &str, outcome: &SendOutcome) {
        match outcome {
            SendOutcome::Acked(appended) => {
                let text = format!("✓ an earlier message to {label} was stored as #{}", appended.seq);
                self.state.screen.line(self.state.style.dim(&text));
            }
            SendOutcome::Rejected(reason) => self
                .state
                .show_error(&format!("an earlier message to {label} was not sent: {reason}")),
            _ => self
                .state
                .show_error(&format!("it is unknown whether an earlier message to {label} was sent")),
        }
    }

    /// Prints a received event; one of another conversation with that name in front. Events that
    /// were missed while the client was away are only counted.
    async fn delivered(&mut self, delivery: &Delivery) {
        let info = &delivery.conversation;
        self.state.add_to_completion(info);
        let is_message = matches!(delivery.body, EventBody::Message(_));
        if is_message {
            self.state
                .conversations
                .record_message(info.id, delivery.seq(), delivery.own);
        }
        if self.state.conversations.is_current(info) {
            self.state
                .conversations
                .set_id(&ConversationName::of(info).label(), info.id);
        }
        let is_hidden = matches!(delivery.body, EventBody::ConversationOpened { .. });
        if !self.caught_up || delivery.own || is_hidden {
            return;
        }
        let line = crate::session::event_line(&self.state.client, info, &delivery.event, &delivery.body).await;
        if self.state.conversations.is_current(info) {
            self.state.screen.line(format_args!(
                "{} {}",
                self.state.style.dim(&time_of_day(line.time_ms())),
                line.short(self.state.style)
            ));
            self.state
                .jobs
                .spawn(actions::mark_read(self.state.client.clone(), info.id, delivery.seq()));
        } else {
            let label = self.state.style.bold(&ConversationName::of(info).label());
            self.state.screen.line(format_args!(
                "{} [{label}] {}",
                self.state.style.dim(&time_of_day(line.time_ms())),
                line.short(self.state.style)
            ));
        }
    }

    /// Prints the unread counts of events that arrived while the client was disconnected.
    fn summarise(&self) {
        let all = self.state.client.known_conversations();
        let unread: Vec<_> = all.iter().filter(|info| info.unread > 0).collect();
        if unread.is_empty() {
            return;
        }
        let list: Vec<_> = unread
            .iter()
            .map(|info| format!("{} ({})", ConversationName::of(info).label(), info.unread))
            .collect();
        self.state
            .screen
            .line(format_args!("New: {}", self.state.style.bold(&list.join(", "))));
    }

    async fn names_now(&self, users: impl IntoIterator<Item = UserId>) -> Names {
        self.state.client.names(users).await.unwrap_or_default()
    }
}
