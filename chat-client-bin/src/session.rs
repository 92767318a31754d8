//! [`Session`]: a client that is started with the options of the command line. This module also
//! contains the requests that commands and the interactive client share.

use std::{collections::HashMap, path::PathBuf, sync::Arc, time::Duration};

use chat_core::client::{
    Client, ClientError, ClientOptions, ClientStore as _, Credentials, Events, Receive, Scheme, ServerAddress, Status,
};
use chat_core::commands::Commands;
use chat_core::model::{ConversationInfo, EventBody, HistoryEvent, Page, PageFrom, UserId, UserInfo};
use chat_core::secure::{Fingerprint, Trust};
use tokio::time::Instant;

use crate::agent::{self, Agent};
use crate::agent_servers::RequestedServers;
use crate::args::Global;
use crate::args::user_ref;
use crate::authorities;
use crate::command_client::CommandClient;
use crate::failure::{Failure, FailureKind};
use crate::login::{LoginMode, credentials, device_name};
use crate::outbox::{self, Reporter};
use crate::output::{EventLine, Output, users_in};
use crate::profile::{OpenedAccount, Profile, account_name};
use crate::servers;
use crate::spool::Spool;

/// A running client, and the profile that it uses.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) client: Client,
    profile: Profile,
    account: String,
    /// Servers that the client, or the agent that it uses, connects to. Without an agent,
    /// [`ready`](Self::ready) stores them in the profile.
    servers: Vec<ServerAddress>,
    /// Servers that [`servers::choose`] returned; with `--discover`, the client asked them for the
    /// nodes. Empty if the client uses an agent.
    given_servers: Vec<ServerAddress>,
    /// Keys given with `--pin`. Empty if the client uses an agent.
    pins: Vec<Fingerprint>,
    /// File given with `--ca`. `None` if the client uses an agent.
    ca: Option<PathBuf>,
    /// Spool of this process, if the client uses the agent of another process.
    spool: Option<Spool>,
    output: Output,
    /// Time at which the command fails.
    deadline: Deadline,
    /// Task that reports the outcomes of messages of earlier runs. `None` while the command itself
    /// reads the events.
    reporter: Option<Reporter>,
}

/// Time at which a command fails, and the duration (`limit`) that ends then.
#[derive(Clone, Copy, Debug)]
struct Deadline {
    at: Instant,
    limit: Duration,
}

impl Deadline {
    fn after(limit: Duration) -> Self {
        Self {
            at: Instant::now() + limit,
            limit,
        }
    }
}

/// Time that a command has without `--timeout`. Commands that send messages wait for a shorter
/// time, and `listen` has no limit once it has started.
pub(crate) const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);
/// Maximum delay that a server may ask for before another attempt to log in or register, if the
/// user waits for the result. If a server asks for more, the command tries the other servers, and
/// then reports the shortest delay.
const MAX_LOGIN_DELAY: Duration = Duration::from_secs(2);
/// Interval between checks of whether the agent has logged out.
const AGENT_POLL_INTERVAL: Duration = Duration::from_millis(50);
/// Maximum number of passes through the list of servers until the first login.
const MAX_ROUNDS: u32 = 3;
/// Maximum time for looking up the names in a line.
pub(crate) const NAME_TIMEOUT: Duration = Duration::from_secs(2);
/// Maximum time at the end of a command for sending the messages that are left in the outbox.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(5);

impl Session {
    /// Starts a client that connects in the background. If another process has the account open
    /// and runs an agent, and the command needs neither events nor a new login, the client uses
    /// that agent. Otherwise, if necessary, waits for another process to close the account, prompts
    /// for a password, and asks the servers for their nodes.
    pub(crate) async fn start(
        global: &Global,
        mode: LoginMode,
        receive: Receive,
        output: &Output,
    ) -> Result<Self, Failure> {
        let profile = Profile::find(global)?;
        let user = match &global.user {
            Some(user) => user_ref(user)?,
            None => profile
                .current()?
                .ok_or_else(|| Failure::usage("this profile has no account yet; `chat-client --user NAME register` creates one, and `chat-client --user NAME login` logs in to one"))?,
        };
        let account = account_name(&user);
        let servers = servers::choose(global, &profile, &account)?;
        let may_use_agent = receive == Receive::Nothing && matches!(mode, LoginMode::Automatic | LoginMode::Stored);
        let requested = may_use_agent.then(|| requested_servers(global, &servers));
        let timeout = global.timeout_or(DEFAULT_TIMEOUT);
        let store = match profile.open(&account, requested.as_ref(), (timeout, output)).await? {
            OpenedAccount::Exclusive(store) => store,
            OpenedAccount::ThroughAgent(spool, store) => {
                let options = agent::options(&profile.agent_socket(&account));
                let client = Client::start(options, store).await?;
                let servers = profile.agent_servers(&account)?.servers;
                let deadline = Deadline::after(global.timeout_or(DEFAULT_TIMEOUT));
                let mut session = Self::new(client, profile, account, &servers, (*output, deadline));
                session.report_outbox(receive);
                session.spool = Some(spool);
                return Ok(session);
            }
        };
        let saved = store.load().await?;
        let waits_for_login = matches!(mode, LoginMode::Register(_) | LoginMode::Password);
        let credentials = credentials(global, mode, &user, saved.account.session_token.is_some()).await?;
        // The time that the user took to type a password does not count.
        let deadline = Deadline::after(global.timeout_or(DEFAULT_TIMEOUT));
        let mut options = options(global, &servers, credentials, *output)?;
        options.receive = receive;
        options.max_retry_delay = Some(if waits_for_login {
            MAX_LOGIN_DELAY
        } else {
            deadline.limit
        });
        let given_servers = servers.clone();
        let servers = if global.discover {
            let nodes = tokio::time::timeout_at(deadline.at, chat_core::client::discover(&options, &store)).await;
            let nodes = nodes.unwrap_or(Err(ClientError::Timeout));
            let nodes = nodes.map_err(|error| explain(error, !global.pin.is_empty()))?;
            // A node may be reachable through the given servers only, such as a load balancer.
            let given = servers.iter().filter(|server| !nodes.contains(server));
            let all: Vec<_> = nodes.iter().chain(given).cloned().collect();
            options.servers = all.iter().cloned().map(Into::into).collect();
            all
        } else {
            servers
        };
        let client = Client::start(options, store).await?;
        let mut session = Self::new(client, profile, account, &servers, (*output, deadline));
        session.report_outbox(receive);
        session.pins.clone_from(&global.pin);
        session.ca.clone_from(&global.ca);
        session.given_servers = given_servers;
        Ok(session)
    }

    fn new(
        client: Client,
        profile: Profile,
        account: String,
        servers: &[ServerAddress],
        (output, deadline): (Output, Deadline),
    ) -> Self {
        Self {
            client,
            profile,
            account,
            servers: servers.to_vec(),
            given_servers: Vec::new(),
            pins: Vec::new(),
            ca: None,
            spool: None,
            output,
            deadline,
            reporter: None,
        }
    }

    /// Reports the outcomes of messages of earlier runs, if the command receives no events.
    fn report_outbox(&mut self, receive: Receive) {
        if receive == Receive::Nothing
            && let Some(events) = self.client.events()
        {
            self.report_outcomes_in(events);
        }
    }

    /// Starts a task that reads `events`, which the command no longer needs, and reports the
    /// outcomes of messages of earlier runs.
    pub(crate) fn report_outcomes_in(&mut self, events: Events) {
        self.reporter = Some(Reporter::start(self.client.clone(), events, self.output));
    }

    /// Starts an agent: until it is dropped, other commands can use this session. If that fails,
    /// reports why, and returns `None`.
    pub(crate) fn share(&self) -> Option<Agent> {
        let servers = [&self.servers[..], &self.given_servers].concat();
        let path = self.profile.agent_socket(&self.account);
        let started = self
            .profile
            .store_agent_servers(&self.account, &servers, &self.pins, self.ca.as_deref())
            .and_then(|()| {
                let failed = |error| format!("cannot listen at {}: {error}", path.display());
                Agent::start(&path, self.client.clone())
                    .map_err(|error| Failure::new(FailureKind::Storage, failed(error)))
            });
        let report = |failure: Failure| {
            let text = format!(
                "other commands cannot use this account while this one runs: {}",
                failure.text
            );
            self.output.notice("agent_unavailable", &text);
        };
        started.map_err(report).ok()
    }

    /// Returns whether the client connects to the agent of another process.
    pub(crate) const fn uses_agent(&self) -> bool {
        self.spool.is_some()
    }

    /// Starts an agent like [`share`](Self::share), unless this process itself uses one.
    pub(crate) fn share_own_connection(&self) -> Option<Agent> {
        if self.spool.is_some() { None } else { self.share() }
    }

    /// Starts a client like [`start`](Self::start), waits until it is logged in, and stores the
    /// account and servers in the profile.
    pub(crate) async fn connect(
        global: &Global,
        mode: LoginMode,
        receive: Receive,
        output: &Output,
    ) -> Result<Self, Failure> {
        let session = Self::start(global, mode, receive, output).await?;
        session.ready().await?;
        Ok(session)
    }

    /// Gives the command its whole time again, because the user took time to answer a question.
    pub(crate) fn restart_deadline(&mut self) {
        self.deadline = Deadline::after(self.deadline.limit);
    }

    /// Runs `work` until the deadline of the command.
    ///
    /// # Errors
    /// The errors of `work`; at the deadline, the failure of [`timed_out`](Self::timed_out).
    pub(crate) async fn within<T>(&self, work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
        let done = tokio::time::timeout_at(self.deadline.at, work).await;
        done.unwrap_or_else(|_| Err(self.timed_out()))
    }

    /// Returns the failure of a command whose deadline has passed, with the last problem in its
    /// text. Its kind is `Protocol` if that of the problem is, otherwise `Timeout`.
    fn timed_out(&self) -> Failure {
        let problem = match self.client.status() {
            Status::Connecting(Some(reason)) => Some(reason),
            _ => self.reporter.as_ref().and_then(Reporter::last_problem),
        };
        let text = format!("no answer within {} s", self.deadline.limit.as_secs_f32());
        match problem.map(Failure::from) {
            None => Failure::new(FailureKind::Timeout, text),
            Some(problem) => {
                let kind = match problem.kind {
                    FailureKind::Protocol => FailureKind::Protocol,
                    _ => FailureKind::Timeout,
                };
                Failure::new(kind, format!("{text}; the last problem was: {}", problem.text))
            }
        }
    }

    /// Waits until the client is logged in, and stores the account and servers in the profile.
    pub(crate) async fn ready(&self) -> Result<(), Failure> {
        match self.within(async { Ok(self.client.ready().await) }).await? {
            Ok(()) => self.remember(),
            Err(error) => Err(explain(error, !self.pins.is_empty())),
        }
    }

    /// Stores the account and servers in the profile. Call it after the client was logged in.
    pub(crate) fn remember(&self) -> Result<(), Failure> {
        if self.spool.is_some() {
            // The process that runs the agent has stored the servers.
            return self.profile.remember_account(&self.account);
        }
        let servers: Vec<_> = self.servers.iter().map(ServerAddress::to_string).collect();
        self.profile.remember(&self.account, &servers)
    }

    /// Waits until the process that runs the agent of the account has deleted its session token.
    /// Waits forever if this process has the account open itself.
    pub(crate) async fn agent_logged_out(&self) {
        if self.spool.is_none() {
            std::future::pending::<()>().await;
        }
        while self.profile.may_have_session_token(&self.account) {
            tokio::time::sleep(AGENT_POLL_INTERVAL).await;
        }
    }

    /// Returns `false` if the account is known to have no session token; see
    /// [`Profile::may_have_session_token`].
    pub(crate) fn may_have_session_token(&self) -> bool {
        self.profile.may_have_session_token(&self.account)
    }

    /// Returns the logged-in user, or an error before the first login.
    pub(crate) fn me(&self) -> Result<UserInfo, Failure> {
        self.client.me().ok_or_else(|| ClientError::NoCredentials.into())
    }

    /// Returns the address of the server that the client is connected to. If it is not connected,
    /// or uses an agent, returns the first address of the list.
    pub(crate) fn server(&self) -> String {
        if self.spool.is_none()
            && let Status::Online(address) = self.client.status()
        {
            return address;
        }
        self.servers.first().map(ServerAddress::to_string).unwrap_or_default()
    }

    /// Sends the messages that are left in the outbox, for at most 5 s and until the deadline of
    /// the command. Then reports how many stay there, and closes the client.
    pub(crate) async fn finish(self) {
        if self.client.unsettled() > 0 {
            let end = self.deadline.at.min(Instant::now() + FLUSH_TIMEOUT);
            let _ = tokio::time::timeout_at(end, self.client.flush()).await; // unsent messages wait for the next run
        }
        outbox::report_unsettled(&self.client, self.output);
        self.close().await;
    }

    /// Closes the client, and deletes the spool if no message is left in it. Messages in the outbox
    /// wait for the next run.
    pub(crate) async fn close(self) {
        self.client.close().await;
        if let Some(reporter) = self.reporter {
            reporter.finish().await;
        }
        if let Some(spool) = self.spool
            && self.client.unsettled() == 0
        {
            spool.remove();
        }
    }
}

/// Returns the options of a client that connects to servers.
fn options(
    global: &Global,
    servers: &[ServerAddress],
    credentials: Credentials,
    output: Output,
) -> Result<ClientOptions, Failure> {
    let mut options = ClientOptions::new(servers.iter().cloned(), credentials);
    options.pins.clone_from(&global.pin);
    options.allow_plain = global.allow_plain;
    options.trust = Trust::AcceptFirst;
    options.first_contact = Some(output.first_contact());
    options.client_name = concat!("chat-client/", env!("CARGO_PKG_VERSION")).to_owned();
    options.device_name = device_name();
    options.max_rounds = Some(MAX_ROUNDS);
    options.tls = Some(Arc::new(rustls::crypto::aws_lc_rs::default_provider()));
    // Reading the authorities takes a while, so it is done only if a server may need them.
    if global.discover || servers.iter().any(|server| server.scheme == Scheme::Tls) {
        options.authorities = authorities::load(global.ca.as_deref())?;
        options.require_authority = global.ca.is_some();
    } else if global.ca.is_some() {
        return Err(Failure::usage(
            "--ca concerns tls:// servers, and no server is one; give --tls or a tls:// address",
        ));
    }
    Ok(options)
}

/// Returns the servers, keys and authorities given on the command line. The command is refused if
/// an agent has the account open and does not use them.
fn requested_servers(global: &Global, servers: &[ServerAddress]) -> RequestedServers {
    RequestedServers {
        servers: if global.server.is_empty() {
            Vec::new()
        } else {
            servers.to_vec()
        },
        pins: global.pin.clone(),
        ca: global.ca.clone(),
    }
}

/// Converts an error to a failure. Adds the next step to the text of a missing session or a changed
/// key, or says that the key differs from that given with `--pin`.
fn explain(error: ClientError, has_pins: bool) -> Failure {
    let mut failure = Failure::from(error.clone());
    match error {
        ClientError::NoCredentials => failure.text.push_str(
            "; run `chat-client login` or set CHAT_PASSWORD, or run `chat-client register` to create an account",
        ),
        ClientError::WrongKey { .. } if has_pins => failure.text.push_str("; it differs from the key given with --pin"),
        ClientError::WrongKey { .. } => {
            failure.text.push_str(
                "; if the change is legitimate, give the new key with --pin, or write it into known_hosts of the profile; \
                 for the server of another operator, use another --profile",
            );
        }
        _ => {}
    }
    failure
}

/// A page of the events of a conversation.
#[derive(Debug)]
pub(crate) struct HistoryPage {
    pub(crate) events: Vec<(HistoryEvent, EventBody)>,
    /// `true` if more events follow in the direction of reading.
    pub(crate) has_more: bool,
}

/// Reads one page of the events of a conversation. An event that cannot be decoded gets the body
/// [`EventBody::Unknown`].
pub(crate) async fn read_history(
    client: &CommandClient,
    info: &ConversationInfo,
    from: PageFrom,
    max_events: u32,
) -> Result<HistoryPage, Failure> {
    let page = client.history(info.id, Page::new(from, max_events)).await?;
    let decode = |entry: HistoryEvent| {
        let body = entry.event.body().unwrap_or(EventBody::Unknown);
        (entry, body)
    };
    Ok(HistoryPage {
        events: page.events.into_iter().map(decode).collect(),
        has_more: page.has_more,
    })
}

/// Builds the output line of an event, with the names of its users. A user whose name cannot be
/// looked up is shown by id, so that the event is always printed.
pub(crate) async fn event_line(
    client: &Client,
    info: &ConversationInfo,
    entry: &HistoryEvent,
    body: &EventBody,
) -> EventLine {
    let users = users_in(entry, body);
    let names = names_for_line(client, users).await;
    EventLine::new(info, entry, body, &names)
}

/// Returns the names of users. Looks unknown names up for at most 2 s, because a request without an
/// answer would wait until the server is back, and omits the names that it does not find.
pub(crate) async fn names_for_line(client: &Client, users: Vec<UserId>) -> HashMap<UserId, String> {
    match tokio::time::timeout(NAME_TIMEOUT, client.names(users.iter().copied())).await {
        Ok(Ok(names)) => names,
        _ => client.known_names(users),
    }
}
