//! Helpers that create engines, users, groups and drafts for the tests.

use std::sync::Arc;
use std::time::Duration;

use crate::auth::{PasswordCost, ThrottleOptions};
use crate::engine::{CommandError, Engine, EngineBuilder, EngineConfig, LocalSession};
use crate::model::*;
use crate::rate::Rate;
use crate::store::MemoryStore;

/// A password that is long enough.
pub(super) const PASSWORD: &str = "correct horse";

/// Returns a configuration for tests: cheap password hashes, no throttle, no message rate, and
/// marks that are written immediately.
pub(super) fn config() -> EngineConfig {
    let mut config = EngineConfig::default();
    config.passwords.cost = PasswordCost::danger_cheap();
    config.throttle = ThrottleOptions::danger_unlimited();
    config.message_rate = Rate::UNLIMITED;
    config.cursor_flush_interval = Duration::from_millis(1);
    config
}

pub(super) fn builder() -> EngineBuilder {
    Engine::builder(Arc::new(MemoryStore::new())).config(config())
}

pub(super) async fn engine() -> Engine {
    builder().build().await.unwrap()
}

pub(super) fn registration(name: &str) -> Registration {
    Registration {
        name: UserName::parse(name).unwrap(),
        password: Secret::new(PASSWORD),
        display_name: None,
    }
}

pub(super) async fn register(engine: &Engine, name: &str) -> UserId {
    engine.register(Source::Local, registration(name)).await.unwrap().id
}

/// Registers an account and opens a session of a new device.
pub(super) async fn new_user(engine: &Engine, name: &str) -> LocalSession {
    let user = register(engine, name).await;
    engine.session(user, DeviceId::random()).await.unwrap()
}

pub(super) fn login(user: UserId, device: DeviceId) -> Login {
    Login {
        account: Some(UserRef::Id(user)),
        secret: Secret::new(PASSWORD),
        device,
        device_name: "test".to_owned(),
        device_token: None,
    }
}

pub(super) fn id(session: &LocalSession) -> UserId {
    session.caller().user
}

pub(super) fn user(session: &LocalSession) -> UserRef {
    UserRef::Id(id(session))
}

pub(super) fn direct(session: &LocalSession) -> ConversationRef {
    ConversationRef::Direct(user(session))
}

pub(super) fn text(text: &str) -> MessageText {
    MessageText::new(text).unwrap()
}

pub(super) fn draft(content: &str) -> Draft {
    Draft::text(text(content))
}

pub(super) async fn befriend(one: &LocalSession, other: &LocalSession) {
    for (from, to) in [(one, other), (other, one)] {
        let request = Command::RequestFriend {
            user: user(to),
            note: Note::default(),
        };
        from.execute(request).await.unwrap();
    }
}

pub(super) fn create_group_command(name: &str) -> Command {
    Command::CreateGroup(NewGroup::new(GroupName::parse(name).unwrap()))
}

/// Creates a group that the user of this session owns.
pub(super) async fn group(owner: &LocalSession, name: &str) -> ConversationId {
    conversation(owner.execute(create_group_command(name)).await).id
}

pub(super) async fn join(session: &LocalSession, group: ConversationId) {
    let join = Command::JoinGroup {
        group: ConversationRef::Id(group),
        note: Note::default(),
    };
    session.execute(join).await.unwrap();
}

pub(super) fn conversation(outcome: Result<Outcome, CommandError>) -> ConversationInfo {
    match outcome {
        Ok(Outcome::Conversation(info)) => *info,
        other => panic!("not a conversation: {other:?}"),
    }
}

pub(super) async fn info(session: &LocalSession, of: ConversationRef) -> ConversationInfo {
    conversation(session.execute(Command::GetConversation(of)).await)
}

pub(super) fn error_code<T: std::fmt::Debug>(result: Result<T, CommandError>) -> ReplyCode {
    result.unwrap_err().code
}

pub(super) fn everything() -> Page {
    Page {
        from: PageFrom::After(Seq::ZERO),
        max_events: 500,
        max_bytes: 256 * 1024,
    }
}

pub(super) async fn history(session: &LocalSession, conversation: ConversationRef) -> HistoryPage {
    let page = everything();
    match session.execute(Command::ReadHistory { conversation, page }).await {
        Ok(Outcome::History(page)) => page,
        other => panic!("not a page: {other:?}"),
    }
}

/// Returns the texts of the messages in a page.
pub(super) fn texts(page: &HistoryPage) -> Vec<String> {
    page.events.iter().filter_map(|event| message(&event.event)).collect()
}

pub(super) fn body(event: &Event) -> EventBody {
    crate::codec::body::decode(event.kind, &event.body).unwrap()
}

pub(super) fn message(event: &Event) -> Option<String> {
    match body(event) {
        EventBody::Message(message) => Some(message.text),
        _ => None,
    }
}

/// Waits for the first push for which `wanted` returns a value; skips other pushes.
pub(super) async fn push<T>(session: &LocalSession, wanted: impl Fn(&Push) -> Option<T>) -> T {
    let wait = async {
        loop {
            let push = session.next_push().await.expect("the session ended");
            if let Some(found) = wanted(&push) {
                return found;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(10), wait)
        .await
        .expect("the expected push did not arrive")
}

/// Waits for an event of a kind; skips other events.
pub(super) async fn event(session: &LocalSession, kind: EventKind) -> Event {
    push(session, |push| match push {
        Push::Event(event) if event.kind == kind => Some(event.clone()),
        _ => None,
    })
    .await
}
