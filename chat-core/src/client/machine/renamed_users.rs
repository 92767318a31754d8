//! Renamed users: answers of the server show that the known name of a peer is out of date.
//!
//! No event reports that an operator renamed a user, and another user may take the old name. Direct
//! conversations are found by the names of their peers, so a message to the new owner of a name
//! must not go to the conversation with the former one.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use crate::model::{ConversationView, Outcome, UserId, UserInfo};

use super::conversations::Lookup;
use super::{Action, Machine};

impl Machine {
    /// Compares the users in an answer with the peers of the known direct conversations. A peer
    /// gets the name that the answer gives; a peer whose name belongs to another user now is called
    /// by its id until the server has reported the conversation again.
    pub(super) fn compare_names(&mut self, now: Instant, outcome: &Outcome) {
        let users = users_in(outcome);
        if users.is_empty() {
            return;
        }
        let by_id: HashMap<UserId, &str> = users.iter().map(|user| (user.id, user.name.as_str())).collect();
        let by_name: HashMap<&str, UserId> = users.iter().map(|user| (user.name.as_str(), user.id)).collect();
        for (_, known) in self.conversations.iter_mut() {
            let Some(ConversationView::Direct(peer)) = known.info.as_deref().map(|info| &info.view) else {
                continue;
            };
            let name = match (by_id.get(&peer.id), by_name.get(peer.name.as_str())) {
                (Some(name), _) if peer.name != *name => (*name).to_owned(),
                (None, Some(other)) if *other != peer.id => {
                    if known.lookup == Lookup::Done {
                        known.lookup = Lookup::Due(now);
                    }
                    format!("#{}", peer.id)
                }
                _ => continue,
            };
            if let Some(info) = &mut known.info
                && let ConversationView::Direct(peer) = &mut Arc::make_mut(info).view
            {
                peer.name = name;
                self.actions.push_back(Action::Conversation(Arc::clone(info)));
            }
        }
    }
}

/// Returns the users in an outcome.
fn users_in(outcome: &Outcome) -> Vec<&UserInfo> {
    match outcome {
        Outcome::Users(users) => users.iter().collect(),
        Outcome::Contacts(contacts) => contacts.iter().map(|contact| &contact.user).collect(),
        Outcome::Members(page) => page.members.iter().map(|member| &member.user).collect(),
        Outcome::Conversation(info) => match &info.view {
            ConversationView::Direct(peer) => vec![peer],
            _ => Vec::new(),
        },
        _ => Vec::new(),
    }
}
