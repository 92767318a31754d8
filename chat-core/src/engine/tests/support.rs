//! Helpers of the tests: they create engines, users, groups and drafts, read conversations, and
//! wait for events.

use std::sync::Arc;
use std::time::Duration;

use crate::auth::{PasswordCost, ThrottleOptions};
use crate::commands::Commands;
use crate::engine::{CommandError, Engine, EngineBuilder, EngineConfig, LocalSession};
use crate::model::*;
use crate::rate::Rate;
use crate::store::MemoryStore;
use crate::testkit::store::FaultyStore;

/// Password of all test users.
pub(super) const PASSWORD: &str = "correct horse";

/// Returns a configuration for tests: cheap password hashes, no throttle, no message rate, and
/// marks that are written after a millisecond.
pub(super) fn config() -> EngineConfig {
    let mut config = EngineConfig::default();
    config.passwords.cost = PasswordCost::danger_cheap();
    config.throttle = ThrottleOptions::danger_unlimited();
    config.message_rate_per_user = Rate::UNLIMITED;
    config.mark_flush_interval = Duration::from_millis(1);
    config
}

pub(super) fn builder() -> EngineBuilder {
    Engine::builder(Arc::new(MemoryStore::new())).config(config())
}

pub(super) async fn engine() -> Engine {
    builder().build().await.unwrap()
}

/// Returns a configuration whose requests time out early, and whose open circuit breaker probes the
/// store often.
pub(super) fn short_timeouts() -> EngineConfig {
    let mut config = config();
    config.request_timeout = Duration::from_millis(200);
    config.breaker_probe_interval = Duration::from_millis(20);
    config
}

/// Creates an engine on a store that fails on demand. Returns both, and a session of alice, who has
/// sent the message "first" to her notes.
pub(super) async fn engine_on_faulty_store(config: EngineConfig) -> (Engine, Arc<FaultyStore>, LocalSession) {
    let store = Arc::new(FaultyStore::new(Arc::new(MemoryStore::new())));
    let engine = Engine::builder(store.clone()).config(config).build().await.unwrap();
    let alice = new_user(&engine, "alice").await;
    alice.send_text(direct(&alice), "first").await.unwrap();
    (engine, store, alice)
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

pub(super) async fn try_login(engine: &Engine, user: UserId, device: DeviceId) -> Result<LoginGrant, CommandError> {
    engine.login(Source::Local, login(user, device)).await
}

pub(super) fn id(session: &LocalSession) -> UserId {
    session.caller().user
}

pub(super) fn user(session: &LocalSession) -> UserRef {
    UserRef::Id(id(session))
}

/// Returns a reference to the direct conversation with the user of `session`. In commands of that
/// user, it refers to the notes: the direct conversation of a user with itself.
pub(super) fn direct(session: &LocalSession) -> ConversationRef {
    ConversationRef::Direct(user(session))
}

pub(super) fn text(text: &str) -> MessageText {
    MessageText::new(text).unwrap()
}

pub(super) fn draft(content: &str) -> Draft {
    Draft::text(text(content))
}

/// Makes two users friends: each requests the friendship.
pub(super) async fn befriend(one: &LocalSession, other: &LocalSession) {
    for (from, to) in [(one, other), (other, one)] {
        let request = Command::RequestFriend {
            user: user(to),
            note: Note::default(),
        };
        from.execute(request).await.unwrap();
    }
}

/// Returns the command that lists the first contacts, as many as a page may have.
pub(super) fn list_contacts() -> Command {
    Command::ListContacts {
        after: UserId(0),
        limit: ContactPage::MAX_LIMIT,
    }
}

pub(super) fn create_group_command(name: &str) -> Command {
    Command::CreateGroup(NewGroup::new(GroupName::parse(name).unwrap()))
}

/// Creates a group that the user of this session owns.
pub(super) async fn create_group(owner: &LocalSession, name: &str) -> ConversationId {
    conversation(owner.execute(create_group_command(name)).await).id
}

pub(super) async fn join(session: &LocalSession, group: ConversationId) {
    let join = Command::JoinGroup {
        group: ConversationRef::Id(group),
        note: Note::default(),
    };
    session.execute(join).await.unwrap();
}

/// Returns the conversation in the outcome of a command.
pub(super) fn conversation(outcome: Result<Outcome, CommandError>) -> ConversationInfo {
    match outcome {
        Ok(Outcome::Conversation(info)) => *info,
        other => panic!("not a conversation: {other:?}"),
    }
}

/// Returns a conversation as the user of this session sees it.
pub(super) async fn info(session: &LocalSession, of: ConversationRef) -> ConversationInfo {
    conversation(session.execute(Command::GetConversation(of)).await)
}

pub(super) fn error_code<T: std::fmt::Debug>(result: Result<T, CommandError>) -> ReplyCode {
    result.unwrap_err().code
}

/// Returns a request for one page that contains the whole log of a test conversation.
pub(super) fn everything() -> Page {
    Page {
        from: PageFrom::After(Seq::ZERO),
        max_events: 500,
        max_bytes: 256 * 1024,
    }
}

/// Reads the events of a test conversation that the user of this session may read.
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

/// Decodes the body of an event.
pub(super) fn body(event: &Event) -> EventBody {
    crate::codec::body::decode(event.kind, &event.body).unwrap()
}

/// Returns the text of an event that is a message, and `None` for other events.
pub(super) fn message(event: &Event) -> Option<String> {
    match body(event) {
        EventBody::Message(message) => Some(message.text),
        _ => None,
    }
}

/// Waits for the first push for which `wanted` returns a value; skips other pushes.
pub(super) async fn wait_for_push<T>(session: &LocalSession, wanted: impl Fn(&Push) -> Option<T>) -> T {
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

/// Waits for the next event of this kind; skips other pushes.
pub(super) async fn wait_for_event(session: &LocalSession, kind: EventKind) -> Event {
    wait_for_push(session, |push| match push {
        Push::Event(event) if event.kind == kind => Some(event.clone()),
        _ => None,
    })
    .await
}
