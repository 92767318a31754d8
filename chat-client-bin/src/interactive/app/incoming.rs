//! Handles and prints the events of the client.

use chat_core::client::{ClientEvent, Delivery, SendOutcome};
use chat_core::model::{
    ConversationId, ConversationInfo, ConversationRef, ConversationView, EventBody, PresenceState, UserId,
};

use crate::command_client::CommandClient;
use crate::failure::Failure;
use crate::interactive::actions;
use crate::outbox;
use crate::output::{ConversationName, Names, describe_retry, describe_truncation, single_line, time_of_day};

use super::App;

impl App {
    /// Handles one event of the client.
    ///
    /// # Errors
    /// The client has ended.
    pub(super) async fn handle_event(&mut self, event: &ClientEvent) -> Result<(), Failure> {
        match event {
            ClientEvent::Event(delivery) => self.handle_delivery(delivery).await,
            ClientEvent::CaughtUp if !self.has_caught_up => {
                self.has_caught_up = true;
                self.print_unread_counts();
            }
            ClientEvent::Connected { server } => self.print_reconnection(server),
            ClientEvent::Disconnected { reason, retry_in } => {
                self.state.show_warning(&describe_retry(reason, *retry_in));
            }
            ClientEvent::Settled {
                id,
                conversation,
                outcome,
            } if self.state.script.is_some() => {
                outbox::report(&self.state.client, *id, conversation, outcome, self.output);
            }
            ClientEvent::Settled {
                conversation, outcome, ..
            } => {
                self.print_earlier_outcome(conversation, outcome);
            }
            ClientEvent::Presence { user, state } => {
                let names = self.names_or_empty([*user]).await;
                if let Some(name) = names.get(user) {
                    let status = if *state == PresenceState::Offline {
                        "is offline"
                    } else {
                        "is online"
                    };
                    let text = format!("-- {name} {status}");
                    self.state.screen.line(self.state.style.dim(&single_line(&text)));
                }
            }
            ClientEvent::Typing {
                conversation,
                user,
                stopped,
            } => self.handle_typing(*conversation, *user, *stopped),
            ClientEvent::Receipt {
                conversation,
                user,
                read_seq,
                ..
            } => {
                let name = self.known_member_name(*conversation, *user);
                self.state
                    .read_receipts
                    .member_read(*conversation, *read_seq, *user, name);
            }
            ClientEvent::StoreReplaced => self.store_replaced(),
            ClientEvent::Rewound { conversation, to } => {
                let name = ConversationName::of(conversation).label();
                self.state.show_warning(&format!(
                    "the server was restored from a backup: the printed events of {name} after #{to} may no longer exist; the current events follow"
                ));
            }
            ClientEvent::Truncated { conversation, from, to } => {
                self.state.show_warning(&describe_truncation(conversation, *from, *to));
            }
            ClientEvent::Ended(reason) => return Err(reason.clone().into()),
            _ => {}
        }
        Ok(())
    }

    /// Records that another member is typing, or has stopped. The user, typing on another device,
    /// is not shown.
    fn handle_typing(&mut self, conversation: ConversationId, user: UserId, stopped: bool) {
        let is_me = self.state.client.me().is_some_and(|me| me.id == user);
        if stopped || is_me {
            return self.state.typists.stopped(conversation, user);
        }
        let name = self.known_member_name(conversation, user);
        self.state
            .typists
            .started(conversation, user, name, std::time::Instant::now());
    }

    /// Returns the name of a member for the status after the typed line, or "a member" if it is not
    /// known. It is not looked up on the server: a status that is late is of no use.
    fn known_member_name(&self, conversation: ConversationId, user: UserId) -> String {
        let peer = match self.state.client.known_conversation(conversation).as_deref() {
            Some(ConversationInfo {
                view: ConversationView::Direct(peer),
                ..
            }) if peer.id == user => Some(peer.name.clone()),
            _ => None,
        };
        let member = || self.state.members.name_of(conversation, user).map(str::to_owned);
        let known = || self.state.client.known_names([user]).remove(&user);
        let name = peer.or_else(member).or_else(known);
        name.unwrap_or_else(|| "a member".to_owned())
    }

    /// Warns that the server was restored from a backup, and forgets ids and message numbers, which
    /// may denote other conversations and messages now.
    fn store_replaced(&mut self) {
        self.state.show_warning(
            "the server was restored from a backup: newer messages may be gone, and their numbers may belong to other messages",
        );
        self.state.client = CommandClient::new(self.client.with_known_epoch());
        self.state.restore_count += 1;
        self.state.members.clear();
        self.state.loading_members.clear();
        self.state.typists.clear();
        self.state.read_receipts.clear();
        self.state.reactions.clear();
        if let Some(own) = &mut self.state.own_messages {
            own.clear();
        }
        self.state.sent_texts.clear();
        if let Some(label) = self.state.conversations.forget_ids() {
            self.state.show_warning(&format!(
                "{label} was opened by its id, and is closed; open it again by name"
            ));
        }
        self.prompt();
    }

    fn print_reconnection(&mut self, server: &str) {
        if self.was_connected {
            self.state.show_notice(&format!("reconnected to {server}"));
        }
        self.was_connected = true;
    }

    /// Prints the outcome of a message for which no job waits, such as one that an earlier run left
    /// in the outbox.
    fn print_earlier_outcome(&self, conversation: &ConversationRef, outcome: &SendOutcome) {
        let (text, _) = outbox::describe(&self.state.client, conversation, outcome);
        match outcome {
            SendOutcome::Stored(_) => self.state.screen.line(self.state.style.dim(&format!("✓ {text}"))),
            _ => self.state.show_warning(&text),
        }
    }

    /// Updates the state by a received event. Prints the event, and marks it as read if its
    /// conversation is the current one; otherwise prints the name of the conversation too. Neither
    /// prints nor marks the events of
    /// [`is_not_printed_on_arrival`](Self::is_not_printed_on_arrival), nor those that this device
    /// missed before the client started; of these, the unread counts include the messages and the
    /// events of the inbox that other users caused. Of the events that this device sent, prints the
    /// messages if a user types in the line editor, and marks none.
    async fn handle_delivery(&mut self, delivery: &Delivery) {
        let info = &delivery.conversation;
        self.state.add_to_completion(info);
        let is_message = matches!(delivery.body, EventBody::Message(_));
        self.state.typists.stopped(info.id, delivery.sender());
        if is_message {
            let me = self.state.client.me().map(|me| me.id);
            let is_mine = me == Some(delivery.sender());
            self.state
                .conversations
                .record_message(info.id, delivery.seq(), is_mine);
            self.state
                .read_receipts
                .message_arrived(info.id, delivery.seq(), is_mine);
            self.state.reactions.add_message((info.id, delivery.seq()));
        }
        if let EventBody::Reaction { target, emoji, removed } = &delivery.body {
            self.state
                .reactions
                .react((info.id, *target), emoji, delivery.sender(), *removed);
        }
        self.update_members(delivery).await;
        // A group or a user may have another name now.
        self.state.conversations.rename(info);
        if self.state.conversations.is_current(info) {
            self.state.set_id(&ConversationName::of(info).label(), info.id);
        }
        if let Some(group) = self.ended_membership(delivery)
            && self.state.conversations.close_current_if(group)
        {
            self.state
                .show_notice("you are no longer in the open group; /dm USER and /group NAME open another conversation");
        }
        if delivery.is_from_this_device && is_message && self.state.has_line_editor() {
            let line = self.line(delivery).await;
            let key = (info.id, delivery.seq());
            let own = self.state.own_messages.as_mut();
            if let Some(line) = own.and_then(|own| own.arrived(key, line, self.has_caught_up)) {
                self.state.screen.line(line);
            }
            return;
        }
        if delivery.is_from_this_device || self.is_not_printed_on_arrival(delivery) {
            return;
        }
        if !self.has_caught_up {
            let me = self.state.client.me().map(|me| me.id);
            let is_notice = info.view == ConversationView::Inbox && me != Some(delivery.sender());
            self.missed_in_inbox += u32::from(is_notice);
            return;
        }
        let line = self.line(delivery).await;
        self.state.screen.line(line);
        if self.state.conversations.is_current(info) && self.state.screen.check().is_ok() {
            self.state.spawn(actions::mark_read(
                (*self.state.client).clone(),
                info.id,
                delivery.seq(),
            ));
        }
    }

    /// Returns whether an event is not printed when it arrives: the start of a direct conversation;
    /// an event that the user causes while the input is held, unless it is a message, because the
    /// job that holds the input prints its own result; and an event by which the user creates or
    /// joins the current group, which is printed when the group is opened, or admits a member to
    /// it.
    fn is_not_printed_on_arrival(&self, delivery: &Delivery) -> bool {
        let is_mine = self.state.client.me().is_some_and(|me| me.id == delivery.sender());
        match &delivery.body {
            EventBody::ConversationOpened { .. } => true,
            EventBody::GroupCreated { .. } | EventBody::MemberJoined { .. } => {
                is_mine && (self.state.input_is_held || self.state.conversations.is_current(&delivery.conversation))
            }
            EventBody::Message(_) => false,
            _ => is_mine && self.state.input_is_held,
        }
    }

    /// Returns the line of an event, with its time, and the name of its conversation unless that is
    /// the current one.
    async fn line(&self, delivery: &Delivery) -> String {
        let info = &delivery.conversation;
        let line = crate::session::event_line(&self.state.client, info, &delivery.event, &delivery.body).await;
        let time = self.state.style.dim(&time_of_day(line.time_ms()));
        let mut text = line.short(self.state.style);
        if let EventBody::Reaction { target, .. } = &delivery.body
            && let Some(summary) = self.state.reactions.summary((info.id, *target))
        {
            let summary = single_line(&format!("({summary})"));
            text.push_str(&format!(" {}", self.state.style.dim(&summary)));
        }
        if self.state.conversations.is_current(info) {
            return format!("{time} {text}");
        }
        let label = self.state.style.bold(&ConversationName::of(info).label());
        format!("{time} [{label}] {text}")
    }

    /// Updates the members whom texts can mention.
    async fn update_members(&mut self, delivery: &Delivery) {
        let group = delivery.conversation.id;
        match &delivery.body {
            EventBody::MemberJoined { user, .. } => {
                if let Some(name) = self.names_or_empty([*user]).await.get(user) {
                    self.state.members.add(group, name, *user);
                    self.state.known.add_user(name);
                    self.state.update_member_completion();
                }
            }
            EventBody::MemberLeft { user } | EventBody::MemberKicked { user, .. } => {
                self.state.members.remove(group, *user);
                self.state.update_member_completion();
            }
            _ => {}
        }
    }

    /// Returns the group in which an event ends the membership of the user, or `None` if the event
    /// ends none.
    fn ended_membership(&self, delivery: &Delivery) -> Option<ConversationId> {
        let me = self.state.client.me()?.id;
        match &delivery.body {
            EventBody::MemberLeft { user } | EventBody::MemberKicked { user, .. } if *user == me => {
                Some(delivery.conversation.id)
            }
            EventBody::GroupDeleted => Some(delivery.conversation.id),
            EventBody::RemovedFromGroup { group, .. } => Some(*group),
            _ => None,
        }
    }

    /// Prints the conversations that have unread messages, and the inbox if events in it were
    /// missed, with their counts.
    fn print_unread_counts(&self) {
        let all = self.state.client.known_conversations();
        let unread = all.iter().filter(|info| info.active && info.unread > 0);
        let mut list: Vec<_> = unread
            .map(|info| format!("{} ({})", ConversationName::of(info).label(), info.unread))
            .collect();
        if self.missed_in_inbox > 0 {
            let shown = match self.missed_in_inbox {
                ..=actions::MAX_INBOX_EVENTS => "them",
                _ => "the last ones",
            };
            list.push(format!("inbox ({}; /inbox shows {shown})", self.missed_in_inbox));
        }
        if list.is_empty() {
            return;
        }
        self.state
            .screen
            .line(format_args!("New: {}", self.state.style.bold(&list.join(", "))));
    }

    /// Returns the names of users, or an empty map if they cannot be looked up.
    async fn names_or_empty(&self, users: impl IntoIterator<Item = UserId>) -> Names {
        self.state.client.names(users).await.unwrap_or_default()
    }
}
