//! Renamed users: answers of the server show that the known name of a peer, the other user of a
//! direct conversation, is out of date.
//!
//! No event reports that an operator renamed a user, and another user may take the old name. Direct
//! conversations are found by the names of their peers, so a message to the new owner of a name
//! must not go to the conversation with the former one.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use crate::codec::{Answer, Failure, RequestKind};
use crate::model::{Command, ConversationView, Outcome, UserId, UserInfo, UserRef};

use super::requests::RequestPurpose;
use super::{Action, Machine};

/// Maximum number of users in one request for names.
const MAX_USERS_PER_REQUEST: usize = 100;

impl Machine {
    /// Compares the users in an answer with the peers of the known direct conversations. A peer
    /// gets the name that the answer gives. A peer whose name belongs to another user now is called
    /// by its id, and the server is asked for the name that the peer has.
    pub(super) fn compare_names(&mut self, now: Instant, outcome: &Outcome) {
        let users = users_in(outcome);
        if users.is_empty() {
            return;
        }
        let by_id: HashMap<UserId, &str> = users.iter().map(|user| (user.id, user.name.as_str())).collect();
        let by_name: HashMap<&str, UserId> = users.iter().map(|user| (user.name.as_str(), user.id)).collect();
        let mut renamed = Vec::new();
        for (_, known) in self.conversations.iter_mut() {
            let Some(ConversationView::Direct(peer)) = known.info.as_deref().map(|info| &info.view) else {
                continue;
            };
            let name = match (by_id.get(&peer.id), by_name.get(peer.name.as_str())) {
                (Some(name), _) if peer.name != *name => (*name).to_owned(),
                (None, Some(other)) if *other != peer.id => {
                    renamed.push(UserRef::Id(peer.id));
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
        // Asks for the users only, and does not look up their conversations: the answer to a
        // look-up could be older than events that were pushed since.
        for users in renamed.chunks(MAX_USERS_PER_REQUEST) {
            let command = Command::GetUsers(users.to_vec());
            self.request(now, RequestPurpose::Names, RequestKind::Command(command));
        }
    }

    /// Processes the answer to the question which names renamed users have. After a failure, they
    /// are called by their ids until another answer, such as that to the next login, has their
    /// names.
    pub(super) fn names_reply(&mut self, now: Instant, result: Result<Answer, Failure>) {
        if let Ok(Answer::Outcome(outcome)) = result {
            self.compare_names(now, &outcome);
        }
    }
}

/// Returns the users in an outcome that is a list of users, contacts or members, or a direct
/// conversation; no users for other outcomes.
fn users_in(outcome: &Outcome) -> Vec<&UserInfo> {
    match outcome {
        Outcome::Users(users) => users.iter().collect(),
        Outcome::Contacts(page) => page.contacts.iter().map(|contact| &contact.user).collect(),
        Outcome::Members(page) => page.members.iter().map(|member| &member.user).collect(),
        Outcome::Conversation(info) => match &info.view {
            ConversationView::Direct(peer) => vec![peer],
            _ => Vec::new(),
        },
        _ => Vec::new(),
    }
}
