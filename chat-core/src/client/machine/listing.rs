//! Reading of the list of conversations, if the reply to the login does not contain all that the
//! client needs.

use std::time::{Duration, Instant};

use crate::client::ClientError;
use crate::codec::{Answer, Failure, RequestKind};
use crate::model::{Command, ConversationId, ConversationQuery, Outcome};

use super::conversations::Lookup;
use super::requests::RequestPurpose;
use super::syncing::retry_delay;
use super::{Action, Machine, Phase, Receive};

/// Number of conversations in a page of the list.
const PAGE_LEN: u32 = ConversationQuery::MAX_LIMIT;
/// Maximum time after a login for which the client waits for the list before it reports that it is
/// online. A server delays the pages of a very long list.
pub(super) const MAX_ONLINE_DELAY: Duration = Duration::from_secs(5);

/// Progress of reading the list of conversations in a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Listing {
    /// The page after this conversation is to be requested at this time.
    Due(Instant, ConversationId),
    /// The page was requested.
    Requested,
    /// The list is complete.
    Done,
}

impl Listing {
    /// Returns the time at which the next page is to be requested.
    pub(super) const fn due(&self) -> Option<Instant> {
        match self {
            Self::Due(at, _) => Some(*at),
            Self::Requested | Self::Done => None,
        }
    }
}

impl Machine {
    /// Starts to read the list of conversations if the reply to the login contains only some of
    /// them. An application that wants every event also needs the conversations that have ended,
    /// which the reply to the login leaves out.
    pub(super) fn begin_listing(&mut self, now: Instant, has_more: bool) {
        if has_more || self.config.receive == Receive::FromBeginning {
            self.set_listing(Listing::Due(now, ConversationId(0)));
            self.list(now);
        } else {
            self.listed();
        }
    }

    /// Requests the next page of the list if it is due. Reports that the client is online if the
    /// time has come to do so without the whole list.
    pub(super) fn list(&mut self, now: Instant) {
        if let Phase::Online(session) = &self.phase
            && session.online_at.is_some_and(|at| at <= now)
        {
            self.report_online();
        }
        if let Phase::Online(session) = &self.phase
            && let Listing::Due(at, after) = session.listing
            && at <= now
        {
            let query = ConversationQuery {
                after,
                limit: PAGE_LEN,
                include_ended: self.config.receive == Receive::FromBeginning,
                include_descriptions: false,
            };
            let kind = RequestKind::Command(Command::ListConversations(query));
            self.request(now, RequestPurpose::List(after), kind);
            self.set_listing(Listing::Requested);
        }
    }

    /// Processes a page of the list. Ignores conversations that the server has reported in this
    /// session already, and those that are looked up: the page may be older than what pushes have
    /// reported about them. After a refusal, the page is requested again later, and the client
    /// reports that it is online.
    pub(super) fn list_reply(&mut self, now: Instant, after: ConversationId, result: Result<Answer, Failure>) {
        match result {
            Ok(Answer::Outcome(Outcome::Conversations(page))) if page.next.is_none_or(|next| next > after) => {
                let is_new = |id| {
                    let known = self.conversations.get(id);
                    known.is_none_or(|known| !known.reported && known.lookup == Lookup::Done)
                };
                let new = page.conversations.into_iter().filter(|info| is_new(info.id)).collect();
                self.begin_sync(now, new);
                match page.next {
                    Some(next) => self.set_listing(Listing::Due(now, next)),
                    None => self.listed(),
                }
            }
            Ok(_) => self.reconnect(
                ClientError::Protocol(
                    "the server answered a request for conversations with something else, or repeats a page".into(),
                ),
                None,
            ),
            Err(failure) => {
                self.set_listing(Listing::Due(now + retry_delay(&failure), after));
                self.report_online();
            }
        }
    }

    /// Records that the list is complete, and reports it.
    fn listed(&mut self) {
        self.set_listing(Listing::Done);
        self.actions.push_back(Action::Listed);
        self.report_online();
    }

    /// Reports, once per session, that the client is online.
    fn report_online(&mut self) {
        if let Phase::Online(session) = &mut self.phase
            && session.online_at.take().is_some()
        {
            self.actions.push_back(Action::Online);
        }
    }

    fn set_listing(&mut self, listing: Listing) {
        if let Phase::Online(session) = &mut self.phase {
            session.listing = listing;
        }
    }
}
