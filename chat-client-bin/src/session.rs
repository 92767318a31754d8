//! From the command line to a client that is logged in.

use std::{sync::Arc, time::Duration};

use chat_core::client::{
    Client, ClientError, ClientOptions, ClientStore as _, Credentials, Receive, Scheme, ServerAddress,
};
use chat_core::model::{DisplayName, Registration, Secret, UserInfo, UserName, UserRef};
use chat_core::secure::Trust;

use crate::agent::{self, Agent};
use crate::args::Global;
use crate::args::user_ref;
use crate::failure::{Failure, Kind};
use crate::output::Output;
use crate::profile::{Opened, Profile, account_name};
use crate::secrets;
use crate::spool::Spool;

/// How a command wants to be logged in.
#[derive(Debug)]
pub(crate) enum How {
    /// With whatever there is.
    AsIs,
    /// With the password, even if a session is kept.
    WithPassword,
    /// As a new user.
    Register(Option<DisplayName>),
}

/// A client and what belongs to it.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) client: Client,
    profile: Profile,
    account: String,
    servers: Vec<String>,
    /// Its key was demanded on the command line.
    pinned: bool,
    /// The outbox of this process, if another one has the account open.
    spool: Option<Spool>,
}

/// Times the servers are tried before a command gives up.
const ATTEMPTS: u32 = 3;
/// What an earlier run left in the outbox may take so long at the end of another command.
const LEFTOVERS: Duration = Duration::from_secs(5);

impl Session {
    /// Starts a client that connects in the background.
    pub(crate) async fn start(global: &Global, how: How, receive: Receive, output: &Output) -> Result<Self, Failure> {
        let profile = Profile::find(global)?;
        let user = match &global.user {
            Some(user) => user_ref(user)?,
            None => profile
                .current()?
                .ok_or_else(|| Failure::usage("nobody has logged in with this profile yet; give --user NAME"))?,
        };
        let account = account_name(&user);
        let servers = servers(global, &profile, &account)?;
        let by_agent = receive == Receive::Nothing && matches!(how, How::AsIs);
        let store = match profile.open(&account, by_agent, output).await? {
            Opened::Alone(store) => store,
            Opened::ByAgent(spool, store) => {
                let options = agent::options(&profile.agent(&account));
                let client = Client::start(options, store).await?;
                let mut session = Self::new(client, profile, account, &servers);
                session.spool = Some(spool);
                return Ok(session);
            }
        };
        let kept = store.load().await?;
        let credentials = credentials(global, how, &user, kept.account.session_token.is_some())?;
        let mut options = ClientOptions::new(servers.clone(), credentials);
        options.pins.clone_from(&global.pin);
        options.trust = Trust::AcceptFirst;
        options.first_contact = Some(output.first_contact());
        options.receive = receive;
        options.client = concat!("chat-client/", env!("CARGO_PKG_VERSION")).to_owned();
        options.device_name = device_name();
        options.attempts = Some(ATTEMPTS);
        options.tls = Some(Arc::new(rustls::crypto::aws_lc_rs::default_provider()));
        let servers = if global.discover {
            let found = chat_core::client::discover(&options, &store).await;
            let found = found.map_err(|error| explain(error, !global.pin.is_empty()))?;
            options.servers = found.iter().cloned().map(Into::into).collect();
            found
        } else {
            servers
        };
        let client = Client::start(options, store).await?;
        let mut session = Self::new(client, profile, account, &servers);
        session.pinned = !global.pin.is_empty();
        Ok(session)
    }

    fn new(client: Client, profile: Profile, account: String, servers: &[ServerAddress]) -> Self {
        Self {
            client,
            profile,
            account,
            servers: servers.iter().map(ServerAddress::to_string).collect(),
            pinned: false,
            spool: None,
        }
    }

    /// Lets other commands use this session while it lasts.
    pub(crate) fn share(&self) -> Option<Agent> {
        Agent::start(&self.profile.agent(&self.account), self.client.clone())
    }

    /// As [`start`](Self::start), and waits until it is logged in.
    pub(crate) async fn connect(global: &Global, how: How, receive: Receive, output: &Output) -> Result<Self, Failure> {
        let session = Self::start(global, how, receive, output).await?;
        session.ready().await?;
        Ok(session)
    }

    /// Waits until the client is logged in, and remembers with whom and where.
    pub(crate) async fn ready(&self) -> Result<(), Failure> {
        match self.client.ready().await {
            Ok(()) => self.profile.remember(&self.account, &self.servers),
            Err(error) => Err(explain(error, self.pinned)),
        }
    }

    /// Who is logged in.
    pub(crate) fn me(&self) -> Result<UserInfo, Failure> {
        self.client.me().ok_or_else(|| ClientError::NoCredentials.into())
    }

    /// The first of the servers.
    pub(crate) fn server(&self) -> &str {
        self.servers.first().map_or("", String::as_str)
    }

    /// Lets what an earlier run left in the outbox go out, then says goodbye.
    pub(crate) async fn finish(self) {
        if self.client.unsettled() > 0 {
            let _ = tokio::time::timeout(LEFTOVERS, self.client.flush()).await; // else it waits for another run
        }
        self.end().await;
    }

    /// Says goodbye; what is in the outbox waits for the next run.
    pub(crate) async fn end(self) {
        self.client.close().await;
        if let Some(spool) = self.spool
            && self.client.unsettled() == 0
        {
            spool.remove();
        }
    }
}

/// Words that say what to do.
fn explain(error: ClientError, pinned: bool) -> Failure {
    let mut failure = Failure::from(error.clone());
    match error {
        ClientError::NoCredentials => failure.text.push_str("; run `chat-client login`, or set CHAT_PASSWORD"),
        ClientError::Refused(_) if failure.kind == Kind::Auth => {}
        ClientError::WrongKey { .. } if pinned => failure.text.push_str("; --pin demands another one"),
        ClientError::WrongKey { .. } => {
            failure.text.push_str(
                "; if you are sure, give its key with --pin, or write it into known_hosts of the profile; another service \
                 needs another --profile",
            );
        }
        _ => {}
    }
    failure
}

fn servers(global: &Global, profile: &Profile, account: &str) -> Result<Vec<ServerAddress>, Failure> {
    let scheme = match (global.plain, global.tls) {
        (true, _) => Scheme::Plain,
        (_, true) => Scheme::Tls,
        _ => Scheme::Sc1,
    };
    let parse = |text: &str| ServerAddress::parse(text, scheme).map_err(Failure::usage);
    if !global.server.is_empty() {
        return global.server.iter().map(|text| parse(text)).collect();
    }
    let mut last = profile.servers(account)?;
    if last.is_empty() {
        last.push(parse("127.0.0.1")?);
    }
    Ok(last)
}

fn credentials(global: &Global, how: How, user: &UserRef, has_session: bool) -> Result<Credentials, Failure> {
    let given = secrets::given(global.password_file.as_deref(), "CHAT_PASSWORD")?;
    match how {
        How::Register(display_name) => {
            let password = password(given, true)?;
            Ok(Credentials::Register(registration(user, password, display_name)?))
        }
        How::WithPassword => Ok(Credentials::Password {
            account: user.clone(),
            secret: password(given, false)?,
            fresh: true,
        }),
        How::AsIs if has_session && given.is_none() => Ok(Credentials::Stored),
        How::AsIs if given.is_none() && !secrets::can_ask() => Ok(Credentials::Stored),
        How::AsIs => Ok(Credentials::Password {
            account: user.clone(),
            secret: password(given, false)?,
            fresh: false,
        }),
    }
}

fn password(given: Option<Secret>, twice: bool) -> Result<Secret, Failure> {
    given.map_or_else(|| secrets::ask("Password", twice), Ok)
}

fn registration(user: &UserRef, password: Secret, display_name: Option<DisplayName>) -> Result<Registration, Failure> {
    let UserRef::Name(name) = user else {
        return Err(Failure::usage("a new account needs a name, not a number"));
    };
    let name = UserName::parse(name.as_str()).map_err(Failure::usage)?;
    Ok(Registration {
        name,
        password,
        display_name,
    })
}

/// What the user's list of devices calls this one.
fn device_name() -> String {
    let host = std::fs::read_to_string("/etc/hostname").unwrap_or_default();
    let host: String = host.trim().chars().filter(|c| c.is_ascii_graphic()).take(40).collect();
    match host.as_str() {
        "" => "chat-client".to_owned(),
        host => format!("chat-client on {host}"),
    }
}
