//! [`ForwardingService`]: a service that is reached through a channel.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::runtime::Handle;
use tokio::sync::{Notify, mpsc, oneshot};

use crate::cluster::Nodes;
use crate::model::{
    Caller, CloseCode, Command, ConversationInfo, Login, LoginGrant, Push, Registration, Resume, SessionId, Source,
    StoreEpoch, Timestamp, UserInfo,
};
use crate::panics;
use crate::router::{Outbox, OutboxLimits, SharedPush};
use crate::service::{
    AttachedSession, ChatService, CommandError, CommandFuture, CommandReply, Readiness, SessionGuard,
};
use crate::sync::Mutex;

/// Maximum number of requests that wait in their channel, and of pushes that wait in the channel of
/// one session.
const MAX_QUEUED: usize = 1024;
/// Maximum size of the pushes that are taken from an outbox at once, in bytes. A single push may be
/// larger.
const MAX_DRAIN_BYTES: usize = 64 * 1024;

/// A [`ChatService`] that sends each call through a channel to another service, and receives the
/// answers and the pushes of sessions through channels. A server with this service therefore shares
/// no state with the engine, as with an engine behind a network. The channels imitate neither the
/// delays of a network nor lost connections.
///
/// This service is the near side. The far side is a thread that receives the requests and handles
/// them in order. Each call blocks the calling thread until the far side has replied: with the
/// result of a synchronous method, or with the acceptance of a request whose result follows later
/// through another channel. A tokio runtime with paused time therefore does not advance the time
/// while the thread is blocked.
#[derive(Debug)]
pub struct ForwardingService {
    requests: SyncSender<Request>,
}

/// Channel for the result of an asynchronous call. The far side replies with this receiver at once,
/// and sends the result later.
type Answer<T> = oneshot::Receiver<Result<T, CommandError>>;

/// A call or the end of a session, as the far side receives it, with the channel for the reply.
#[derive(Debug)]
enum Request {
    Register(Source, Registration, SyncSender<Answer<UserInfo>>),
    Login(Source, Login, SyncSender<Answer<LoginGrant>>),
    Resume(Source, Resume, SyncSender<Answer<LoginGrant>>),
    Attach(Caller, Source, SyncSender<Answer<FarSession>>),
    End(SessionId, CloseCode, SyncSender<()>),
    Execute(Caller, Command, CommandReply, SyncSender<()>),
    Pace(Caller, Command, SyncSender<Duration>),
    Readiness(SyncSender<Readiness>),
    ListenerClosed(SyncSender<()>),
    ListenerOpened(SyncSender<()>),
    Nodes(SyncSender<Nodes>),
    Advertise(Vec<String>, SyncSender<()>),
    AnnounceDrain(SyncSender<()>),
    StoreEpoch(SyncSender<StoreEpoch>),
    Now(SyncSender<Timestamp>),
}

/// A session that was attached on the far side, as the near side receives it.
#[derive(Debug)]
struct FarSession {
    id: SessionId,
    conversations: Vec<ConversationInfo>,
    has_more: bool,
    pushes: mpsc::Receiver<Push>,
}

impl ForwardingService {
    /// Creates a service that forwards to `service`, whose futures run on the current tokio
    /// runtime.
    ///
    /// # Panics
    /// Panics outside of a tokio runtime, or if no thread can be started.
    #[must_use]
    pub fn new(service: Arc<dyn ChatService>) -> Self {
        let (requests, received) = sync_channel(MAX_QUEUED);
        let far = FarSide {
            service,
            runtime: Handle::current(),
            sessions: Arc::default(),
            started: Arc::default(),
        };
        std::thread::Builder::new()
            .name("forwarding-service".to_owned())
            .spawn(move || far.run(&received))
            .expect("cannot start the thread of the far side");
        Self { requests }
    }

    /// Sends a request, blocks until the far side has replied to it, and returns the reply. Panics
    /// if the far side has ended.
    fn call<T>(&self, request: impl FnOnce(SyncSender<T>) -> Request) -> T {
        call(&self.requests, request)
    }
}

/// Sends a request, blocks until the far side has replied to it, and returns the reply. Panics if
/// the far side has ended.
fn call<T>(requests: &SyncSender<Request>, request: impl FnOnce(SyncSender<T>) -> Request) -> T {
    let (reply, returned) = sync_channel(1);
    requests
        .send(request(reply))
        .expect("the far side has ended before the near side");
    returned.recv().expect("the far side did not answer")
}

/// Waits for the result of a request. If the far side sends none, for example because the call
/// panicked there, returns the error that asks the client to try again.
async fn wait_for_answer<T>(answer: Answer<T>) -> Result<T, CommandError> {
    answer.await.unwrap_or_else(|_| Err(CommandError::try_again()))
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl ChatService for ForwardingService {
    async fn register(&self, source: Source, registration: Registration) -> Result<UserInfo, CommandError> {
        wait_for_answer(self.call(|reply| Request::Register(source, registration, reply))).await
    }

    async fn login(&self, source: Source, login: Login) -> Result<LoginGrant, CommandError> {
        wait_for_answer(self.call(|reply| Request::Login(source, login, reply))).await
    }

    async fn resume(&self, source: Source, resume: Resume) -> Result<LoginGrant, CommandError> {
        wait_for_answer(self.call(|reply| Request::Resume(source, resume, reply))).await
    }

    async fn attach(
        &self,
        caller: Caller,
        source: Source,
        outbox: Arc<Outbox>,
    ) -> Result<AttachedSession, CommandError> {
        let session = wait_for_answer(self.call(|reply| Request::Attach(caller, source, reply))).await?;
        tokio::spawn(receive_pushes(session.pushes, Arc::clone(&outbox)));
        let (id, requests) = (session.id, self.requests.clone());
        let guard = SessionGuard::new(id, move || {
            let reason = outbox.close_code().unwrap_or(CloseCode::Normal);
            call(&requests, |reply| Request::End(id, reason, reply));
        });
        Ok(AttachedSession::new(guard, session.conversations).with_more(session.has_more))
    }

    fn execute(&self, caller: Caller, command: Command) -> CommandFuture {
        let (reply, outcome) = CommandFuture::channel();
        self.call(|accepted| Request::Execute(caller, command, reply, accepted));
        outcome
    }

    fn pace(&self, caller: Caller, command: &Command) -> Duration {
        self.call(|reply| Request::Pace(caller, command.clone(), reply))
    }

    fn readiness(&self) -> Readiness {
        self.call(Request::Readiness)
    }

    fn listener_closed(&self) {
        self.call(Request::ListenerClosed);
    }

    fn listener_opened(&self) {
        self.call(Request::ListenerOpened);
    }

    fn nodes(&self) -> Nodes {
        self.call(Request::Nodes)
    }

    fn advertise(&self, addresses: Vec<String>) {
        self.call(|reply| Request::Advertise(addresses, reply));
    }

    fn announce_drain(&self) {
        self.call(Request::AnnounceDrain);
    }

    fn store_epoch(&self) -> StoreEpoch {
        self.call(Request::StoreEpoch)
    }

    fn now(&self) -> Timestamp {
        self.call(Request::Now)
    }
}

/// Puts the pushes of a far session into the outbox of the near session, until the far side sends
/// no more.
async fn receive_pushes(mut pushes: mpsc::Receiver<Push>, outbox: Arc<Outbox>) {
    while let Some(push) = pushes.recv().await {
        match push {
            Push::Closed(code) => outbox.close(code),
            push => outbox.push(SharedPush::new(push)),
        }
    }
}

/// The far side of the channel: calls `service` for the [`ForwardingService`], the near side.
struct FarSide {
    service: Arc<dyn ChatService>,
    runtime: Handle,
    sessions: Arc<Sessions>,
    started: Arc<StartedCommands>,
}

/// Commands that were started, and whose outcomes nothing awaits yet.
#[derive(Default)]
struct StartedCommands {
    commands: Mutex<Vec<(CommandFuture, CommandReply)>>,
    added: Notify,
}

/// The sessions that are attached, with their outboxes on the far side.
type Sessions = Mutex<HashMap<SessionId, (SessionGuard, Arc<Outbox>)>>;

impl FarSide {
    /// Handles requests until the near side and its sessions are dropped.
    fn run(self, requests: &Receiver<Request>) {
        let _context = self.runtime.enter();
        let outcomes = self.runtime.spawn(send_outcomes(Arc::clone(&self.started)));
        for request in requests {
            self.handle(request);
        }
        outcomes.abort();
    }

    fn handle(&self, request: Request) {
        let service = Arc::clone(&self.service);
        // Sending a reply fails if the near side was dropped. Nothing waits for the reply then.
        match request {
            Request::Register(source, registration, reply) => {
                let _ = reply.send(self.spawn(async move { service.register(source, registration).await }));
            }
            Request::Login(source, login, reply) => {
                let _ = reply.send(self.spawn(async move { service.login(source, login).await }));
            }
            Request::Resume(source, resume, reply) => {
                let _ = reply.send(self.spawn(async move { service.resume(source, resume).await }));
            }
            Request::Attach(caller, source, reply) => {
                let _ = reply.send(self.attach(caller, source));
            }
            Request::End(id, reason, reply) => {
                let session = self.sessions.lock().remove(&id);
                if let Some((guard, outbox)) = session {
                    outbox.close(reason);
                    drop(guard);
                }
                let _ = reply.send(());
            }
            Request::Execute(caller, command, reply, accepted) => {
                let outcome = service.execute(caller, command);
                self.started.commands.lock().push((outcome, reply));
                self.started.added.notify_one();
                let _ = accepted.send(());
            }
            Request::Pace(caller, command, reply) => {
                let _ = reply.send(service.pace(caller, &command));
            }
            Request::Readiness(reply) => {
                let _ = reply.send(service.readiness());
            }
            Request::ListenerClosed(reply) => {
                service.listener_closed();
                let _ = reply.send(());
            }
            Request::ListenerOpened(reply) => {
                service.listener_opened();
                let _ = reply.send(());
            }
            Request::Nodes(reply) => {
                let _ = reply.send(service.nodes());
            }
            Request::Advertise(addresses, reply) => {
                service.advertise(addresses);
                let _ = reply.send(());
            }
            Request::AnnounceDrain(reply) => {
                service.announce_drain();
                let _ = reply.send(());
            }
            Request::StoreEpoch(reply) => {
                let _ = reply.send(service.store_epoch());
            }
            Request::Now(reply) => {
                let _ = reply.send(service.now());
            }
        }
    }

    /// Runs `work` in a separate task, so that later requests do not wait for it.
    fn spawn<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, CommandError>> + Send + 'static,
    ) -> Answer<T> {
        let (answer, answered) = oneshot::channel();
        self.runtime.spawn(async move { answer.send(work.await) });
        answered
    }

    /// Attaches a session whose outbox is on this side, and forwards its pushes.
    fn attach(&self, caller: Caller, source: Source) -> Answer<FarSession> {
        let (service, sessions) = (Arc::clone(&self.service), Arc::clone(&self.sessions));
        let (answer, answered) = oneshot::channel();
        self.runtime.spawn(async move {
            let outbox = Outbox::new(OutboxLimits::default());
            let attached = match service.attach(caller, source, Arc::clone(&outbox)).await {
                Ok(attached) => attached,
                Err(error) => {
                    let _ = answer.send(Err(error));
                    return;
                }
            };
            let id = attached.guard.id();
            let (sender, pushes) = mpsc::channel(MAX_QUEUED);
            tokio::spawn(send_pushes(Arc::clone(&outbox), sender));
            sessions.lock().insert(id, (attached.guard, outbox));
            let session = FarSession {
                id,
                conversations: attached.conversations,
                has_more: attached.has_more,
                pushes,
            };
            if answer.send(Ok(session)).is_err() {
                // The near side no longer waits for the session, so the session ends.
                let session = sessions.lock().remove(&id);
                drop(session);
            }
        });
        answered
    }
}

/// Sends the outcomes of commands to the near side. Outcomes that are ready at the same time are
/// sent together, as they would be on one network connection.
async fn send_outcomes(started: Arc<StartedCommands>) {
    let mut running = FuturesUnordered::new();
    loop {
        tokio::select! {
            biased;
            () = started.added.notified() => {
                let commands = std::mem::take(&mut *started.commands.lock());
                running.extend(commands.into_iter().map(|(outcome, reply)| async {
                    if let Some(outcome) = panics::step("forwarded command", outcome).await {
                        reply.send(outcome);
                    }
                }));
            }
            Some(()) = running.next() => {}
        }
    }
}

/// Sends the pushes of a far session to the near side, until the session is closed or the near side
/// no longer receives them.
async fn send_pushes(outbox: Arc<Outbox>, pushes: mpsc::Sender<Push>) {
    let mut drained = Vec::new();
    loop {
        outbox.ready().await;
        outbox.drain(MAX_DRAIN_BYTES, &mut drained);
        for push in drained.drain(..) {
            let is_last = matches!(push.push(), Push::Closed(_));
            if pushes.send(push.push().clone()).await.is_err() || is_last {
                return;
            }
        }
    }
}
