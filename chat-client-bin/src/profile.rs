//! Where a person's things are kept.
//!
//! ```text
//! PROFILE/known_hosts            keys of servers
//! PROFILE/current                who logged in last
//! PROFILE/accounts/NAME/         one device of one user (chat_core::client::FileStore)
//! PROFILE/accounts/NAME/server   servers used last
//! PROFILE/accounts/NAME/agent    socket of a process that has the account open
//! PROFILE/accounts/NAME/spool/   outboxes of processes that send through that one
//! ```

use std::{
    env, fs, io,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use chat_core::client::{ClientStoreError, FileStore};
use chat_core::model::UserRef;

use crate::agent;
use crate::args::Global;
use crate::failure::{Failure, Kind};
use crate::spool::{self, Spool};

/// Short commands of one profile wait so long for each other.
const PATIENCE: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(50);

/// How an account can be used.
#[derive(Debug)]
pub(crate) enum Opened {
    /// By this process alone.
    Alone(FileStore),
    /// Through the process that has it open, with an outbox of this one's own.
    ByAgent(Spool, FileStore),
}

/// A profile directory.
#[derive(Debug)]
pub(crate) struct Profile {
    directory: PathBuf,
}

impl Profile {
    /// The one that was named, or the person's own.
    pub(crate) fn find(global: &Global) -> Result<Self, Failure> {
        let directory = match &global.profile {
            Some(directory) => directory.clone(),
            None => default_directory()?,
        };
        Ok(Self { directory })
    }

    /// Who logged in last.
    pub(crate) fn current(&self) -> Option<String> {
        read(&self.directory.join("current"))
    }

    /// Remembers who logged in, and where.
    pub(crate) fn remember(&self, account: &str, servers: &[String]) -> Result<(), Failure> {
        write(&self.directory.join("current"), account)?;
        write(&self.account(account).join("server"), &servers.join("\n"))
    }

    /// The servers that this account used last.
    pub(crate) fn servers(&self, account: &str) -> Vec<String> {
        let text = read(&self.account(account).join("server")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// Opens what is kept of an account, waiting for another short command to finish with it. A process that has it open for longer may do what
    /// is asked of it instead, if `by_agent` is enough.
    pub(crate) async fn open(&self, account: &str, by_agent: bool) -> Result<Opened, Failure> {
        let (known_hosts, spools) = (self.directory.join("known_hosts"), self.account(account).join("spool"));
        let deadline = Instant::now() + PATIENCE;
        loop {
            match FileStore::open(self.account(account), &known_hosts) {
                Err(ClientStoreError::InUse(_)) if by_agent && agent::answers(&self.agent(account)).await => {
                    let kept = FileStore::peek(self.account(account))?.unwrap_or_default();
                    let (spool, store) = Spool::create(&spools, &agent::account(kept), &known_hosts).await?;
                    return Ok(Opened::ByAgent(spool, store));
                }
                Err(ClientStoreError::InUse(_)) if Instant::now() < deadline => tokio::time::sleep(POLL).await,
                Err(error @ ClientStoreError::InUse(_)) => {
                    let text = format!("{error}; end that one first, or give this one another --profile");
                    return Err(Failure::new(Kind::Temporary, text));
                }
                opened => {
                    let store = opened?;
                    spool::adopt(&store, &spools, &known_hosts).await?;
                    return Ok(Opened::Alone(store));
                }
            }
        }
    }

    /// Where a process that has an account open does things for others.
    pub(crate) fn agent(&self, account: &str) -> PathBuf {
        self.account(account).join("agent")
    }

    fn account(&self, account: &str) -> PathBuf {
        self.directory.join("accounts").join(account)
    }
}

/// The directory name of an account: canonical names and ids are harmless as file names, and never alike.
pub(crate) fn account_name(user: &UserRef) -> String {
    match user {
        UserRef::Id(id) => id.to_string(),
        UserRef::Name(name) => name.to_string(),
    }
}

fn default_directory() -> Result<PathBuf, Failure> {
    let from = |variable: &str| {
        env::var_os(variable)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    let data = from("XDG_DATA_HOME").or_else(|| Some(from("HOME")?.join(".local/share")));
    data.map(|data| data.join("chat-client"))
        .ok_or_else(|| Failure::usage("there is no home directory; give --profile DIR"))
}

fn read(path: &Path) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

fn write(path: &Path, text: &str) -> Result<(), Failure> {
    let beside = path.with_extension("new");
    let written = fs::write(&beside, format!("{text}\n")).and_then(|()| fs::rename(&beside, path));
    written.map_err(|error: io::Error| Failure::new(Kind::Storage, format!("{}: {error}", path.display())))
}
