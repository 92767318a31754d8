//! Tests of the engine through public items only, as an application or a server uses it. Some of
//! the items are public only with the feature `unstable`.

#![allow(clippy::unwrap_used)] // tests

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use chat_core::auth::{AuthError, AuthVerdict, Authenticator, ExternalLogin, PasswordCost, Subject, ThrottleOptions};
use chat_core::bus::MemoryBus;
use chat_core::cluster::MemoryPresence;
use chat_core::commands::Commands;
use chat_core::engine::{CommandError, Engine, EngineBuilder, EngineConfig, LocalSession};
use chat_core::model::{
    Caller, Command, ConversationRef, DeviceId, DirectPolicy, EventKind, Login, Outcome, ProfileChanges, Push,
    Registration, Secret, Seq, Source, UserId, UserName, UserRef,
};
use chat_core::router::{Outbox, OutboxLimits, SharedPush, StoreEventLog};
use chat_core::service::{ChatService, SessionGuard};
use chat_core::store::{MemoryStore, Store};
use chat_core::sync::Mutex;
use chat_core::testkit::LossyBus;
use chat_core::testkit::forwarding::{ForwardingEventLog, ForwardingService};

const PASSWORD: &str = "correct horse";

/// Connection between a test and its engine.
#[derive(Clone, Copy, Debug)]
enum EngineLink {
    /// The test holds the engine itself.
    Direct,
    /// All calls, outcomes and events cross a channel, and so do the reads of the router.
    Forwarded,
}

impl EngineLink {
    /// Returns the builder of an engine whose router reads the event logs of `store` over this
    /// link.
    fn builder(self, store: Arc<dyn Store>) -> EngineBuilder {
        let builder = Engine::builder(Arc::clone(&store));
        match self {
            Self::Direct => builder,
            Self::Forwarded => {
                let log = Arc::new(StoreEventLog::new(store));
                builder.event_log(Arc::new(ForwardingEventLog::new(log)))
            }
        }
    }

    fn service(self, engine: &Engine) -> Arc<dyn ChatService> {
        let service = engine.clone().into();
        match self {
            Self::Direct => service,
            Self::Forwarded => Arc::new(ForwardingService::new(service)),
        }
    }
}

/// A session of a user of the test.
trait Session: Commands<Error = CommandError> {
    fn caller(&self) -> Caller;

    async fn next_push(&self) -> Option<Push>;
}

impl Session for LocalSession {
    fn caller(&self) -> Caller {
        Self::caller(self)
    }

    async fn next_push(&self) -> Option<Push> {
        Self::next_push(self).await
    }
}

/// A session that uses the engine as a server does: through [`ChatService`].
struct ServiceSession {
    service: Arc<dyn ChatService>,
    caller: Caller,
    outbox: Arc<Outbox>,
    drained: Mutex<VecDeque<SharedPush>>,
    /// Ends the session when it is dropped.
    _guard: SessionGuard,
}

impl ServiceSession {
    async fn log_in(service: Arc<dyn ChatService>, name: &str) -> Self {
        let mut login = Login::with_token(Secret::new(PASSWORD), DeviceId::random());
        login.account = Some(UserRef::Name(UserName::parse(name).unwrap()));
        let caller = service.login(Source::Local, login).await.unwrap().caller;
        let outbox = Outbox::new(OutboxLimits::default());
        let attached = service.attach(caller, Source::Local, outbox.clone()).await.unwrap();
        Self {
            service,
            caller,
            outbox,
            drained: Mutex::default(),
            _guard: attached.guard,
        }
    }
}

impl Commands for ServiceSession {
    type Error = CommandError;

    fn execute(&self, command: Command) -> impl Future<Output = Result<Outcome, CommandError>> + Send {
        self.service.execute(self.caller, command)
    }
}

impl Session for ServiceSession {
    fn caller(&self) -> Caller {
        self.caller
    }

    async fn next_push(&self) -> Option<Push> {
        loop {
            if let Some(push) = self.drained.lock().pop_front() {
                return Some(push.push().clone());
            }
            self.outbox.ready().await;
            let mut drained = Vec::new();
            self.outbox.drain(64 * 1024, &mut drained);
            if drained.is_empty() && self.outbox.is_closed() {
                return None;
            }
            self.drained.lock().extend(drained);
        }
    }
}

fn config() -> EngineConfig {
    let mut config = EngineConfig::default();
    config.passwords.cost = PasswordCost::danger_cheap();
    config.throttle = ThrottleOptions::danger_unlimited();
    config
}

async fn register(engine: &Engine, name: &str) -> UserId {
    let registration = Registration::new(UserName::parse(name).unwrap(), Secret::new(PASSWORD));
    engine.register(Source::Local, registration).await.unwrap().id
}

/// Returns the reference by which another user denotes the direct conversation with the user of
/// `session`.
fn direct(session: &impl Session) -> ConversationRef {
    ConversationRef::Direct(UserRef::Id(session.caller().user))
}

/// Waits for the next message of a session, and returns its sequence number.
async fn next_message(session: &impl Session) -> Seq {
    let wait = async {
        loop {
            match session.next_push().await.expect("the session continues") {
                Push::Event(event) if event.kind == EventKind::Message => return event.seq,
                _ => {}
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(20), wait)
        .await
        .expect("a message arrives in time")
}

/// Two nodes on one store. Their bus drops 30 % of the envelopes and duplicates 10 %.
struct Nodes {
    bus: Arc<LossyBus>,
    engines: [Engine; 2],
}

impl Nodes {
    async fn new(link: EngineLink) -> Self {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
        let bus = Arc::new(LossyBus::new(Arc::new(MemoryBus::new()), 7, 300, 100));
        let presence = Arc::new(MemoryPresence::new());
        let node = async || {
            let builder = link.builder(store.clone()).config(config());
            builder
                .bus(bus.clone())
                .presence(presence.clone())
                .build()
                .await
                .unwrap()
        };
        let engines = [node().await, node().await];
        Self { bus, engines }
    }

    /// Lets two users, whose sessions are on different nodes, send each other messages. Checks that
    /// both sessions receive every message once and in order, then shuts down the engines.
    async fn deliver_once_and_in_order(self, [alice, bob]: [impl Session; 2]) {
        for changed in [allow_messages(&alice).await, allow_messages(&bob).await] {
            changed.unwrap();
        }
        alice.send_text(direct(&bob), "first message").await.unwrap();
        assert_eq!((next_message(&alice).await, next_message(&bob).await), (Seq(1), Seq(1)));
        for number in 0..100 {
            let text = number.to_string();
            let sent = match number % 3 {
                0 => bob.send_text(direct(&alice), &text).await,
                _ => alice.send_text(direct(&bob), &text).await,
            };
            sent.unwrap();
        }
        for seq in 2..=101 {
            assert_eq!(next_message(&alice).await, Seq(seq));
        }
        for seq in 2..=101 {
            assert_eq!(next_message(&bob).await, Seq(seq));
        }
        assert!(self.bus.dropped() > 0);
        for engine in self.engines {
            engine.shutdown().await;
        }
    }

    /// Calls [`deliver_once_and_in_order`](Self::deliver_once_and_in_order) with sessions that
    /// reach their engines over `link`.
    async fn deliver_to_service_sessions(link: EngineLink) {
        let nodes = Self::new(link).await;
        let log_in = async |engine: &Engine, name: &str| {
            register(engine, name).await;
            ServiceSession::log_in(link.service(engine), name).await
        };
        let [first, second] = &nodes.engines;
        let sessions = [log_in(first, "alice").await, log_in(second, "bob").await];
        nodes.deliver_once_and_in_order(sessions).await;
    }
}

/// Lets every user send the user of `session` direct messages.
async fn allow_messages(session: &impl Session) -> Result<(), CommandError> {
    let mut changes = ProfileChanges::default();
    changes.direct_policy = Some(DirectPolicy::Everyone);
    session.update_profile(changes).await.map(drop)
}

#[tokio::test]
async fn nodes_deliver_once_and_in_order_over_a_lossy_bus() {
    let nodes = Nodes::new(EngineLink::Direct).await;
    let session = async |engine: &Engine, name: &str| {
        let user = register(engine, name).await;
        engine.session(user, DeviceId::random()).await.unwrap()
    };
    let [first, second] = &nodes.engines;
    let sessions = [session(first, "alice").await, session(second, "bob").await];
    nodes.deliver_once_and_in_order(sessions).await;
}

#[tokio::test]
async fn nodes_deliver_once_and_in_order_to_sessions_of_servers() {
    Nodes::deliver_to_service_sessions(EngineLink::Direct).await;
}

#[tokio::test]
async fn nodes_deliver_once_and_in_order_across_channels() {
    Nodes::deliver_to_service_sessions(EngineLink::Forwarded).await;
}

/// Authenticator that accepts tokens of the form `user:NAME`.
#[derive(Debug)]
struct Tokens;

#[chat_core::async_trait]
impl Authenticator for Tokens {
    async fn authenticate(&self, _: Source, login: &Login) -> Result<AuthVerdict, AuthError> {
        let token = std::str::from_utf8(login.secret.expose()).unwrap_or_default();
        match token.strip_prefix("user:").map(|name| (name, Subject::new(token))) {
            Some((name, Ok(subject))) => {
                let mut login = ExternalLogin::new(subject);
                login.profile.name_hint = Some(name.to_owned());
                Ok(AuthVerdict::External(login))
            }
            _ => Ok(AuthVerdict::Denied),
        }
    }
}

async fn authenticator_decides_logins(link: EngineLink) {
    let engine = link
        .builder(Arc::new(MemoryStore::new()))
        .authenticator(Arc::new(Tokens))
        .build()
        .await
        .unwrap();
    let service = link.service(&engine);
    let login = |secret: &str| Login::with_token(Secret::new(secret), DeviceId::random());
    let grant = service.login(Source::Local, login("user:alice")).await.unwrap();
    assert_eq!(grant.user.name, "alice");
    assert!(service.login(Source::Local, login("nonsense")).await.is_err());
}

#[tokio::test]
async fn authenticator_of_the_application_decides_logins() {
    authenticator_decides_logins(EngineLink::Direct).await;
}

#[tokio::test]
async fn authenticator_of_the_application_decides_logins_across_channels() {
    authenticator_decides_logins(EngineLink::Forwarded).await;
}
