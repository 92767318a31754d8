//! Cases that run the engine on the store, about promises that depend on both.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;

use super::fixture::register;
use crate::auth::PasswordCost;
use crate::commands::Commands;
use crate::engine::{Engine, EngineConfig, LocalSession};
use crate::model::{
    ConversationId, ConversationInfo, ConversationRef, ConversationView, Description, DeviceId, DirectPolicy,
    EventBody, EventKind, GroupChanges, GroupInfo, GroupName, JoinPolicy, Login, NewGroup, Note, Page, ProfileChanges,
    Push, Registration, ReplyCode, Resume, Secret, Seq, Source, UserId, UserName, UserRef,
};
use crate::store::Store;

/// Maximum wait for the next push of a session. It is long, because the machine may be busy.
const PUSH_TIMEOUT: Duration = Duration::from_secs(30);

async fn start_engine(store: &Arc<dyn Store>) -> Engine {
    Engine::builder(Arc::clone(store)).build().await.unwrap()
}

/// Registers a user and opens a session of a new device.
async fn new_session(engine: &Engine, store: &Arc<dyn Store>, name: &str) -> LocalSession {
    let user = register(&**store, name.to_owned()).await;
    engine.session(user, DeviceId::random()).await.unwrap()
}

fn id(session: &LocalSession) -> UserId {
    session.caller().user
}

/// A group as a user sees it.
#[derive(Debug, PartialEq)]
struct GroupViews {
    /// Answer to [`Command::GetConversation`](crate::model::Command::GetConversation), if the user
    /// may read the group.
    single: Option<ConversationInfo>,
    /// Entry in the list of conversations, if there is one. It has no description.
    listed: Option<ConversationInfo>,
    /// Code with which the list of members is refused, if it is.
    members: Option<ReplyCode>,
    /// Result of a search by the id of the group.
    found: Option<GroupInfo>,
    /// Positions and times of the events that the user may read.
    history: Vec<(Seq, i64)>,
}

impl GroupViews {
    async fn read(session: &LocalSession, group: ConversationId) -> Self {
        let listed = session.conversations().await.unwrap();
        let mut found = session.search_groups(group.to_string(), 10).await.unwrap();
        let history = session.history(group, Page::newest(500)).await;
        let events = history.map(|page| page.events).unwrap_or_default();
        Self {
            single: session.conversation(group).await.ok(),
            listed: listed.into_iter().find(|info| info.id == group),
            members: session
                .members(group, UserId(0), 10)
                .await
                .err()
                .map(|error| error.code),
            found: found.pop(),
            history: events
                .iter()
                .map(|event| (event.event.seq, event.event.time.0))
                .collect(),
        }
    }

    /// Returns the group in the answer to `GetConversation`.
    fn group(&self) -> &GroupInfo {
        match &self.single.as_ref().unwrap().view {
            ConversationView::Group(group) => group,
            other => panic!("not a group: {other:?}"),
        }
    }
}

/// Former members, also banned and invited ones, see name, description, settings, number of members
/// and last activity of the group as they left it. Users who are only invited, or have only asked
/// to join, see nothing but the result of a search by id.
pub async fn former_members_see_the_group_as_they_left_it(store: Arc<dyn Store>) {
    let engine = start_engine(&store).await;
    let [
        owner,
        member,
        left,
        banned,
        invited_again,
        invited,
        requesting,
        latecomer,
    ] = [
        "owner",
        "member",
        "left",
        "banned",
        "invited-again",
        "invited",
        "requesting",
        "latecomer",
    ]
    .map(|name| new_session(&engine, &store, name));
    let (owner, member, latecomer) = (owner.await, member.await, latecomer.await);
    let (left, banned, invited_again) = (left.await, banned.await, invited_again.await);
    let (invited, requesting) = (invited.await, requesting.await);
    let new_group = NewGroup::new(GroupName::parse("rust").unwrap());
    let group = owner.create_group(new_group).await.unwrap().id;
    let describe = GroupChanges {
        description: Some(Description::new("about rust").unwrap()),
        ..GroupChanges::default()
    };
    owner.update_group(group, describe).await.unwrap();
    for session in [&member, &left, &banned, &invited_again] {
        session.join_group(group, Note::default()).await.unwrap();
    }
    left.leave_group(group).await.unwrap();
    owner.send_text(group, "after the first has left").await.unwrap();
    owner.kick_member(group, id(&banned), true).await.unwrap();
    invited_again.leave_group(group).await.unwrap();
    let former = [(&left, 4), (&banned, 3), (&invited_again, 2)];
    let mut before = Vec::new();
    for (session, _) in former {
        before.push(GroupViews::read(session, group).await);
    }

    let join_policy = |policy| GroupChanges {
        join_policy: Some(policy),
        ..GroupChanges::default()
    };
    owner
        .update_group(group, join_policy(JoinPolicy::Approval))
        .await
        .unwrap();
    requesting.join_group(group, Note::default()).await.unwrap();
    owner.invite_member(group, id(&latecomer)).await.unwrap();
    latecomer.join_group(group, Note::default()).await.unwrap();
    for session in [&invited, &invited_again] {
        owner.invite_member(group, id(session)).await.unwrap();
    }
    let changes = GroupChanges {
        name: Some(GroupName::parse("renamed").unwrap()),
        description: Some(Description::new("changed").unwrap()),
        unlisted: Some(true),
        ..join_policy(JoinPolicy::Invite)
    };
    owner.update_group(group, changes).await.unwrap();
    owner.send_text(group, "at the end").await.unwrap();

    for ((session, member_count), before) in former.into_iter().zip(before) {
        let name = &session.user().name;
        let now = GroupViews::read(session, group).await;
        let seen = now.group();
        let profile = (
            &*seen.profile.name,
            &*seen.profile.description,
            seen.profile.join_policy,
        );
        assert_eq!(profile, ("rust", "about rust", JoinPolicy::Open), "{name}");
        assert_eq!(seen.member_count, member_count, "{name}");
        let info = now.single.as_ref().unwrap();
        let last_event = *now.history.last().unwrap();
        assert_eq!((info.last_seq, info.last_time.0), last_event, "{name}");
        assert!(!info.active && now.members.is_some(), "{name}: {now:?}");
        // Only an invitation lets a former member find the group, which is unlisted now.
        let found = (id(session) == id(&invited_again)).then(|| seen.clone());
        assert_eq!(now.found, found, "{name}");
        assert_eq!(
            (&now.single, &now.listed, &now.history),
            (&before.single, &before.listed, &before.history),
            "{name}"
        );
    }
    for session in [&invited, &requesting] {
        let now = GroupViews::read(session, group).await;
        let name = &session.user().name;
        assert_eq!(
            (&now.single, &now.listed, &*now.history),
            (&None, &None, &[][..]),
            "{name}"
        );
        assert_eq!(now.members, Some(ReplyCode::NotFound), "{name}");
        assert_eq!(now.found.unwrap().profile.name, "renamed", "{name}");
    }
    for session in [&owner, &member, &latecomer] {
        let now = GroupViews::read(session, group).await;
        let seen = now.group();
        assert_eq!((&*seen.profile.name, seen.member_count), ("renamed", 3));
        assert_eq!(now.members, None);
    }
    engine.shutdown().await;
}

/// Reads the pushes of a session until it got `count` messages, and returns their texts. Panics if
/// the session is told to read a log, gets the same text twice, ends, or gets no push for
/// [`PUSH_TIMEOUT`].
async fn read_messages(session: LocalSession, count: usize) -> BTreeSet<String> {
    let mut texts = BTreeSet::new();
    while texts.len() < count {
        let next = tokio::time::timeout(PUSH_TIMEOUT, session.next_push()).await;
        match next.expect("a message is missing").expect("the session ended") {
            Push::Event(event) if event.kind == EventKind::Message => {
                let Ok(EventBody::Message(message)) = crate::codec::body::decode(event.kind, &event.body) else {
                    panic!("the body of a message cannot be decoded");
                };
                let text = message.text;
                assert!(texts.insert(text.clone()), "{text:?} was pushed twice");
            }
            Push::Behind { .. } => panic!("the session was told to read a log"),
            _ => {}
        }
    }
    texts
}

/// A session gets `Behind` when it starts to follow a conversation of which it missed more than 64
/// events, or when its outbox is full, and not because many conversations begin at once.
pub async fn hundred_simultaneous_first_messages_reach_every_session_of_the_recipient(store: Arc<dyn Store>) {
    // Each sender causes two pushes: of the message, and of the event in the inbox that reports the
    // new conversation. All of them fit into an outbox, so that it does not overflow if the task of
    // a reader runs late.
    const SENDERS: usize = 100;
    let engine = start_engine(&store).await;
    let alice = new_session(&engine, &store, "alice").await;
    let everyone = ProfileChanges {
        direct_policy: Some(DirectPolicy::Everyone),
        ..ProfileChanges::default()
    };
    alice.update_profile(everyone).await.unwrap();
    let mut senders = Vec::new();
    for number in 0..SENDERS {
        senders.push(new_session(&engine, &store, &format!("sender-{number}")).await);
    }
    let to = ConversationRef::direct(id(&alice));
    let tablet = engine.session(id(&alice), DeviceId::random()).await.unwrap();
    let readers = [alice, tablet].map(|session| tokio::spawn(read_messages(session, SENDERS)));
    let sends = senders
        .iter()
        .map(|sender| sender.send_text(to.clone(), &sender.user().name));
    for sent in join_all(sends).await {
        sent.unwrap();
    }
    let expected: BTreeSet<String> = senders.iter().map(|sender| sender.user().name.clone()).collect();
    for reader in readers {
        assert_eq!(reader.await.unwrap(), expected);
    }
    engine.shutdown().await;
}

/// If the reply with a new session token is lost, the client presents the former token again, which
/// works until the client has presented a later one.
pub async fn session_survives_lost_replies_to_resumes(store: Arc<dyn Store>) {
    let mut config = EngineConfig::default();
    config.passwords.cost = PasswordCost::danger_cheap();
    config.session_rotation_interval = Duration::ZERO;
    let engine = Engine::builder(store).config(config).build().await.unwrap();
    let password = Secret::new("correct horse");
    let registration = Registration::new(UserName::parse("alice").unwrap(), password.clone());
    let user = engine.register(Source::Local, registration).await.unwrap().id;
    let device = DeviceId::random();
    let login = Login::new(UserRef::Id(user), password, device);
    let grant = engine.login(Source::Local, login).await.unwrap();
    let first = grant.session_token.unwrap();
    let resume = async |token: &Secret| {
        let resume = Resume::new(user, device, token.clone());
        let grant = engine.resume(Source::Local, resume).await.map_err(|error| error.code)?;
        Ok::<_, ReplyCode>(grant.session_token.expect("each resume replaces the token"))
    };
    let lost = [resume(&first).await.unwrap(), resume(&first).await.unwrap()];
    let second = resume(&first).await.unwrap();
    let third = resume(&second).await.unwrap();
    for old in [&first, &lost[0], &lost[1]] {
        assert_eq!(resume(old).await.err(), Some(ReplyCode::SessionExpired));
    }
    resume(&third).await.unwrap();
    engine.shutdown().await;
}
