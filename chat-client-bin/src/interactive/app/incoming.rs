//! What the client hears, on the screen.

use chat_core::client::{ClientEvent, Delivery, SendOutcome};
use chat_core::model::{EventBody, PresenceState, UserId, sanitize_for_terminal};

use crate::failure::Failure;
use crate::interactive::actions;
use crate::output::{Names, Place};

use super::App;

impl App {
    /// Shows what happened.
    ///
    /// # Errors
    /// The session is over.
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
                self.screen.line(self.style.bad(&sanitize_for_terminal(&text)));
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
                    let text = format!("-- {name} {what}");
                    self.screen.line(self.style.dim(&sanitize_for_terminal(&text)));
                }
            }
            ClientEvent::HistoryReset => self.complain("the server's history is another one; it begins anew"),
            ClientEvent::Rewound { conversation, to } => {
                let place = Place::of(conversation).label();
                self.complain(&format!(
                    "{place} went back: what came after {to} is void, and comes as it is now"
                ));
            }
            ClientEvent::Ended(reason) => return Err(reason.clone().into()),
            _ => {}
        }
        Ok(())
    }

    fn connected_to(&mut self, server: &str) {
        if self.connected {
            let text = format!("-- connected to {server} again");
            self.screen.line(self.style.dim(&text));
        }
        self.connected = true;
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
    async fn delivered(&mut self, delivery: &Delivery) {
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
            return;
        }
        let line = crate::commands::event_line(&self.client, info, &delivery.event, &delivery.body).await;
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

    async fn names_now(&self, users: impl IntoIterator<Item = UserId>) -> Names {
        self.client.names(users).await.unwrap_or_default()
    }
}

/// `22:52`, in UTC.
pub(in crate::interactive) fn time_of_day(time_ms: i64) -> String {
    let clock = crate::output::clock(time_ms);
    clock.split(' ').nth(1).unwrap_or_default().to_owned()
}
