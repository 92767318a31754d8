//! Commands about other users: friendships, blocks, and finding users.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use crate::codec::body;
use crate::engine::breaker::Scope;
use crate::engine::config::EngineConfig;
use crate::engine::directory::Directory;
use crate::engine::error::CommandError;
use crate::engine::hook_calls::HookCalls;
use crate::engine::limits::UserLimits;
use crate::engine::operation::Operation;
use crate::engine::operations::account::{private_info, public_info};
use crate::engine::operations::contact::{
    AnswerFriend, Relation, RemoveFriend, RequestFriend, SetBlocked, accepts_request,
};
use crate::engine::operations::policy::{self, DirectPermission};
use crate::engine::query_lanes::{QueryPermit, ROWS_PER_QUERY};
use crate::engine::store_access::StoreAccess;
use crate::engine::views::user_infos;
use crate::engine::workers::{PresenceView, Publisher};
use crate::hooks::FriendshipStep;
use crate::model::{
    Caller, Contact, ContactInfo, ContactPage, ContactState, Event, EventBody, EventKind, Note, Outcome, PresenceState,
    Push, UserId, UserInfo, UserName, UserRef,
};
use crate::router::Router;

/// Maximum number of users in one `GetUsers` command.
const MAX_USERS: usize = 200;

#[derive(Debug)]
pub(in crate::engine) struct ContactCommands {
    pub(in crate::engine) access: Arc<StoreAccess>,
    pub(in crate::engine) directory: Arc<Directory>,
    pub(in crate::engine) limits: Arc<UserLimits>,
    pub(in crate::engine) hooks: Arc<HookCalls>,
    pub(in crate::engine) publisher: Publisher,
    pub(in crate::engine) router: Router,
    pub(in crate::engine) presence: Arc<PresenceView>,
    pub(in crate::engine) options: ContactOptions,
}

/// The part of the engine's configuration that these commands use.
#[derive(Clone, Copy, Debug)]
pub(in crate::engine) struct ContactOptions {
    /// Maximum number of a user's friend requests of the last 24 hours that are still open.
    max_open_requests: u32,
    max_list_length: u32,
    max_blocked_users: u32,
    max_incoming_requests: u32,
    repeated_request_interval: Duration,
}

impl From<&EngineConfig> for ContactOptions {
    fn from(config: &EngineConfig) -> Self {
        Self {
            max_open_requests: config.friend_request_rate.count,
            max_list_length: config.max_list_length,
            max_blocked_users: config.max_blocked_users,
            max_incoming_requests: config.max_incoming_requests,
            repeated_request_interval: config.repeated_request_interval,
        }
    }
}

impl ContactCommands {
    pub(super) async fn request_friend(
        self: Arc<Self>,
        caller: Caller,
        user: UserRef,
        note: Note,
    ) -> Result<Outcome, CommandError> {
        self.limits.charge_attempt(caller.user).await?;
        let peer = self.directory.user_id(&user).await?;
        let (mut charge, allowed) = match self.limits.friend_requests.charge(caller.user) {
            Ok(charge) => (Some(charge), Ok(())),
            Err(error) => (None, Err(error)),
        };
        // If the rate is exceeded, the command succeeds only if it changes nothing, because the
        // users are friends or the request is open already. So hooks are not asked.
        let mut asked_to_accept = None;
        if let Some(charge) = charge.as_mut().filter(|_| self.hooks.exist()) {
            let theirs = self.access.read(self.access.store().contact(peer, caller.user)).await?;
            let accepts = accepts_request(theirs.as_ref());
            asked_to_accept = Some(accepts);
            let step = match accepts {
                true => FriendshipStep::Accept,
                false => FriendshipStep::Request(note.clone()),
            };
            self.hooks.before_befriend(caller, peer, step, charge).await?;
        }
        let request = RequestFriend {
            caller,
            peer,
            note,
            asked_to_accept,
            allowed,
            max_open_per_day: self.options.max_open_requests,
            max_incoming: self.options.max_incoming_requests,
            repeat_interval: self.options.repeated_request_interval,
            now: self.access.wall_time(),
        };
        let (events, has_changed) = self.access.run(caller, request).await?;
        if let Some(charge) = &mut charge
            && has_changed
        {
            charge.keep();
        }
        self.publish(caller.user, peer, events);
        Ok(Outcome::Done)
    }

    pub(super) async fn answer_friend(
        self: Arc<Self>,
        caller: Caller,
        user: UserRef,
        accept: bool,
    ) -> Result<Outcome, CommandError> {
        let peer = self.directory.user_id(&user).await?;
        if accept {
            self.hooks.before_accept_friend(caller, peer).await?;
        }
        let answer = AnswerFriend {
            caller,
            peer,
            accept,
            now: self.access.wall_time(),
        };
        let events = self.access.run(caller, answer).await?;
        self.publish(caller.user, peer, events);
        Ok(Outcome::Done)
    }

    pub(super) async fn remove_friend(self: Arc<Self>, caller: Caller, user: UserRef) -> Result<Outcome, CommandError> {
        let peer = self.directory.user_id(&user).await?;
        let now = self.access.wall_time();
        self.run_and_publish(caller, RemoveFriend { caller, peer, now }).await
    }

    pub(super) async fn set_blocked(
        self: Arc<Self>,
        caller: Caller,
        user: UserRef,
        blocked: bool,
        allowed: Result<(), CommandError>,
    ) -> Result<Outcome, CommandError> {
        if allowed.is_err() {
            self.limits.charge_attempt(caller.user).await?;
        }
        let peer = self.directory.user_id(&user).await?;
        let change = SetBlocked {
            caller,
            peer,
            blocked,
            allowed,
            max_blocked: self.options.max_blocked_users,
            now: self.access.wall_time(),
        };
        self.run_and_publish(caller, change).await
    }

    /// Runs a unit of work and publishes its events.
    async fn run_and_publish<O>(&self, scope: impl Into<Scope>, operation: O) -> Result<Outcome, CommandError>
    where
        O: Operation<Output = Vec<Event>> + Clone,
    {
        let events = self.access.run(scope, operation).await?;
        self.publisher.publish(events);
        Ok(Outcome::Done)
    }

    /// Publishes the events of a friend request or of its answer. If the two users became friends,
    /// sends each of them the presence of the other, if the other has sessions on this node.
    fn publish(&self, user: UserId, peer: UserId, events: Vec<Event>) {
        let became_friends = events.iter().any(is_friend_acceptance);
        self.publisher.publish(events);
        if !became_friends {
            return;
        }
        for (user, friend) in [(user, peer), (peer, user)] {
            let sessions = self.router.local_sessions(user);
            if let Some(state) = sessions.into_iter().map(|(_, state)| state).max() {
                self.router.notify_user(friend, &Push::Presence { user, state }, None);
            }
        }
    }

    pub(super) async fn list(
        self: Arc<Self>,
        caller: Caller,
        after: UserId,
        limit: u32,
        mut permit: QueryPermit,
    ) -> Result<Outcome, CommandError> {
        let limit = limit.clamp(1, self.options.max_list_length);
        // The contact after the page shows whether there are more.
        let page = self.access.store().contacts(caller.user, after, limit + 1);
        let mut contacts = self.access.read(page).await?;
        permit.add_rows(contacts.len());
        let has_more = contacts.len() > limit as usize;
        contacts.truncate(limit as usize);
        let peers: Vec<UserId> = contacts.iter().map(|contact| contact.peer).collect();
        let mut users = user_infos(&self.access, &peers).await?;
        // Other queries of the user do not wait while presence is looked up.
        drop(permit);
        let friends = contacts.iter().filter(|contact| contact.state == ContactState::Friend);
        let friends: Vec<UserId> = friends.map(|contact| contact.peer).collect();
        let states = self.presence.states(&friends).await;
        let info = |contact: Contact| {
            let relation = Relation::of(Some(&contact), None);
            // The peer's policy on strangers does not matter, because no stranger sees presence.
            let accepts_strangers = false;
            let may_see = policy::check_direct(DirectPermission::SeePresence, relation, accepts_strangers).is_ok();
            let presence = states.get(&contact.peer).copied().unwrap_or(PresenceState::Offline);
            Some(ContactInfo {
                user: users.remove(&contact.peer)?,
                state: contact.state,
                blocked: contact.blocked,
                note: contact.note,
                since: contact.since,
                presence: may_see.then_some(presence),
            })
        };
        let contacts = contacts.into_iter().filter_map(info).collect();
        Ok(Outcome::Contacts(ContactPage::new(contacts, has_more)))
    }

    pub(super) async fn search_users(
        self: Arc<Self>,
        query: String,
        limit: u32,
        mut permit: QueryPermit,
    ) -> Result<Outcome, CommandError> {
        let (access, store) = (&self.access, self.access.store());
        let limit = limit.clamp(1, self.options.max_list_length);
        let query = UserName::canonical_prefix(query.trim());
        let mut found = Vec::new();
        if let Ok(id) = query.parse() {
            let account = access.read(store.account(UserId(id))).await?;
            found.extend(account.filter(|account| !account.disabled).as_ref().map(public_info));
        }
        if !query.is_empty() {
            let named = access.read(store.search_accounts(&query, limit)).await?;
            permit.add_rows(named.len());
            let by_id = found.first().map(|user: &UserInfo| user.id);
            let named = named.iter().filter(|account| Some(account.id) != by_id);
            found.extend(named.map(public_info));
        }
        found.truncate(limit as usize);
        Ok(Outcome::Users(found))
    }

    pub(super) async fn get_users(
        self: Arc<Self>,
        caller: Caller,
        users: Vec<UserRef>,
        mut permit: QueryPermit,
    ) -> Result<Outcome, CommandError> {
        if users.len() > MAX_USERS {
            return Err(CommandError::invalid("too many users: at most 200 at once"));
        }
        // Each name needs a read of its own.
        let names = users.iter().filter(|user| matches!(user, UserRef::Name(_))).count();
        permit.add_rows(users.len());
        permit.add_rows(names * (ROWS_PER_QUERY as usize));
        let mut ids = Vec::with_capacity(users.len());
        for user in &users {
            match self.directory.user_id(user).await {
                Ok(id) => ids.push(id),
                Err(error) if error == CommandError::not_found() => {}
                Err(error) => return Err(error),
            }
        }
        let accounts = self.access.read(self.access.store().accounts(&ids)).await?;
        let infos = accounts.iter().map(|account| {
            let is_own = account.id == caller.user;
            let info = if is_own {
                private_info(account)
            } else {
                public_info(account)
            };
            (account.id, info)
        });
        let infos: HashMap<UserId, UserInfo> = infos.collect();
        Ok(Outcome::Users(
            ids.iter().filter_map(|id| infos.get(id).cloned()).collect(),
        ))
    }
}

/// Returns whether the event is the acceptance of a friend request.
fn is_friend_acceptance(event: &Event) -> bool {
    event.kind == EventKind::FriendAnswered
        && matches!(
            body::decode(event.kind, &event.body),
            Ok(EventBody::FriendAnswered { accepted: true, .. })
        )
}
