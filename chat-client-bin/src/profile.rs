//! The profile directory: accounts, known servers and outboxes of a user.
//!
//! ```text
//! PROFILE/known_hosts            known servers: their keys, or that an authority certified them
//! PROFILE/current                the account used last
//! PROFILE/accounts/NAME/         state of this device of the user (chat_core::client::FileStore)
//! PROFILE/accounts/NAME/server   the servers used last
//! PROFILE/accounts/NAME/agent    socket of the agent, the process that has the account open
//! PROFILE/accounts/NAME/agent.servers  the servers, keys and authorities that the agent uses
//! PROFILE/accounts/NAME/spool/   outboxes of processes that send through the agent
//! ```

use std::{
    env, fmt, fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use chat_core::client::{ClientStoreError, FileStore, ServerAddress};
use chat_core::model::UserRef;
use chat_core::secure::{Fingerprint, KnownHosts, KnownHostsFile};

use crate::agent;
use crate::agent_servers::{AgentServers, RequestedServers};
use crate::args::{Global, user_ref};
use crate::authorities;
use crate::failure::{Failure, FailureKind};
use crate::output::Output;
use crate::spool::{self, Spool};

/// Maximum wait for another command to close the account.
const LOCK_TIMEOUT: Duration = Duration::from_secs(5);
/// Interval between attempts to open the account.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// An opened account.
#[derive(Debug)]
pub(crate) enum OpenedAccount {
    /// This process has the account open.
    Exclusive(FileStore),
    /// Another process has the account open and serves as the agent. This process keeps its
    /// messages in a [spool], whose store is the second field.
    ThroughAgent(Spool, FileStore),
}

/// A profile directory.
#[derive(Debug)]
pub(crate) struct Profile {
    directory: PathBuf,
}

impl Profile {
    /// Returns the profile given with `--profile`, or the default profile.
    pub(crate) fn find(global: &Global) -> Result<Self, Failure> {
        let directory = match &global.profile {
            Some(directory) => directory.clone(),
            None => default_directory()?,
        };
        Ok(Self { directory })
    }

    /// Returns the account used last, or `None` in a new profile.
    ///
    /// # Errors
    /// The file `current` exists but cannot be read, or does not contain a user.
    pub(crate) fn current(&self) -> Result<Option<UserRef>, Failure> {
        let path = self.directory.join("current");
        let user = read(&path)?
            .map(|text| user_ref(&text).map_err(|_| damaged(&path, "it does not contain a user name or id")));
        user.transpose()
    }

    /// Stores the account used last.
    pub(crate) fn remember_account(&self, account: &str) -> Result<(), Failure> {
        write(&self.directory.join("current"), account)
    }

    /// Stores the account used last, and its servers.
    pub(crate) fn remember(&self, account: &str, servers: &[String]) -> Result<(), Failure> {
        self.remember_account(account)?;
        write(&self.account_directory(account).join("server"), &servers.join("\n"))
    }

    /// Stores the servers, keys and authorities that the agent of an account uses. `pins` and `ca`
    /// were given on the command line; without `pins`, the agent accepts the keys that the profile
    /// has pinned.
    pub(crate) fn store_agent_servers(
        &self,
        account: &str,
        servers: &[ServerAddress],
        pins: &[Fingerprint],
        ca: Option<&Path>,
    ) -> Result<(), Failure> {
        let mut used = AgentServers {
            servers: servers.to_vec(),
            pins: pins.to_vec(),
            authorities: ca.map(authorities::digest).transpose()?,
        };
        if pins.is_empty() {
            let known = KnownHostsFile::new(self.directory.join("known_hosts")).load();
            used.pins.extend(known.iter().flat_map(KnownHosts::keys));
        }
        write(&self.agent_servers_path(account), &used.format())
    }

    /// Returns the servers, keys and authorities that the agent of an account uses, as
    /// [`store_agent_servers`](Self::store_agent_servers) stored them; none without such a file.
    pub(crate) fn agent_servers(&self, account: &str) -> Result<AgentServers, Failure> {
        let text = read(&self.agent_servers_path(account))?;
        Ok(AgentServers::parse(&text.unwrap_or_default()))
    }

    fn agent_servers_path(&self, account: &str) -> PathBuf {
        self.account_directory(account).join("agent.servers")
    }

    /// Returns the servers that this account used last, or none for a new account.
    ///
    /// # Errors
    /// The file `server` exists but cannot be read, or does not contain addresses.
    pub(crate) fn servers(&self, account: &str) -> Result<Vec<ServerAddress>, Failure> {
        let path = self.account_directory(account).join("server");
        let text = read(&path)?.unwrap_or_default();
        let parse = |line: &str| line.parse().map_err(|error| damaged(&path, error));
        text.lines().map(parse).collect()
    }

    /// Opens an account, waiting up to 5 s, and at most `timeout`, for another process to close it.
    /// If that process runs an agent and `through_agent` is given, opens a spool at once instead.
    /// Moves the messages that terminated processes left in their spools into the opened outbox.
    ///
    /// # Errors
    /// The other process does not close the account in time; the account or the spools cannot be
    /// read or written; or the agent uses other servers, keys or authorities than `through_agent`
    /// names.
    pub(crate) async fn open(
        &self,
        account: &str,
        through_agent: Option<&RequestedServers>,
        (timeout, output): (Duration, &Output),
    ) -> Result<OpenedAccount, Failure> {
        let (known_hosts, spools) = (
            self.directory.join("known_hosts"),
            self.account_directory(account).join("spool"),
        );
        let deadline = Instant::now() + LOCK_TIMEOUT.min(timeout);
        loop {
            let error = match FileStore::open(self.account_directory(account), &known_hosts) {
                Err(error @ ClientStoreError::InUse(_)) => error,
                opened => {
                    let store = opened?;
                    spool::adopt(&store, &spools, &known_hosts, output).await?;
                    return Ok(OpenedAccount::Exclusive(store));
                }
            };
            if let Some(requested) = through_agent
                && agent::is_running(&self.agent_socket(account)).await
            {
                self.agent_servers(account)?.check(requested)?;
                let saved = FileStore::peek(self.account_directory(account))?.unwrap_or_default();
                let (spool, store) = Spool::create(&spools, &agent::client_state(saved), &known_hosts, output).await?;
                return Ok(OpenedAccount::ThroughAgent(spool, store));
            }
            if Instant::now() >= deadline {
                return Err(Failure::new(FailureKind::Temporary, error.to_string()));
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }

    /// Returns `false` if the account is known to have no session token. Returns `true` if it has
    /// one, if the account has no saved state, or if that cannot be read.
    pub(crate) fn may_have_session_token(&self, account: &str) -> bool {
        let saved = FileStore::peek(self.account_directory(account));
        !saved.is_ok_and(|saved| saved.is_some_and(|saved| saved.session_token.is_none()))
    }

    /// Returns the path of the Unix socket of an account's agent.
    pub(crate) fn agent_socket(&self, account: &str) -> PathBuf {
        self.account_directory(account).join("agent")
    }

    fn account_directory(&self, account: &str) -> PathBuf {
        self.directory.join("accounts").join(account)
    }
}

/// Returns the directory name of an account. Canonical names and ids are safe file names and never
/// collide.
pub(crate) fn account_name(user: &UserRef) -> String {
    match user {
        UserRef::Id(id) => id.to_string(),
        UserRef::Name(name) => name.to_string(),
    }
}

fn default_directory() -> Result<PathBuf, Failure> {
    let absolute_path = |variable: &str| {
        env::var_os(variable)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    let data = absolute_path("XDG_DATA_HOME").or_else(|| Some(absolute_path("HOME")?.join(".local/share")));
    data.map(|data| data.join("chat-client"))
        .ok_or_else(|| Failure::usage("neither XDG_DATA_HOME nor HOME is an absolute path; give --profile DIR"))
}

/// Returns the trimmed text of a file, or `None` if the file does not exist. An empty file is
/// an error, because `write` never stores one.
fn read(path: &Path) -> Result<Option<String>, Failure> {
    match fs::read_to_string(path) {
        Ok(text) if text.trim().is_empty() => Err(damaged(path, "the file is empty")),
        Ok(text) => Ok(Some(text.trim().to_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed(path, &error)),
    }
}

/// Replaces the content of a file atomically: readers get either the old text or the new text, even
/// after a power failure. Only the owner can access the file. Does nothing if the file contains the
/// text already and is private.
fn write(path: &Path, text: &str) -> Result<(), Failure> {
    if is_private(path) && read(path).is_ok_and(|old| old.as_deref() == Some(text)) {
        return Ok(());
    }
    // The process id keeps concurrent writers of the same profile apart.
    let temporary = path.with_extension(format!("{}.new", std::process::id()));
    let replace = || {
        let mut file = create_private(&temporary)?;
        writeln!(file, "{text}")?;
        file.sync_all()?;
        fs::rename(&temporary, path)
    };
    replace().map_err(|error| {
        let _ = fs::remove_file(&temporary); // it may not exist
        failed(path, &error)
    })
}

/// Returns whether a file exists that only its owner can access.
#[cfg(unix)]
fn is_private(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;

    fs::metadata(path).is_ok_and(|file| file.permissions().mode() & 0o077 == 0)
}

#[cfg(not(unix))]
fn is_private(path: &Path) -> bool {
    path.exists()
}

/// Creates a file with mode 0600, replacing a file that a terminated process left behind.
fn create_private(path: &Path) -> io::Result<fs::File> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

fn failed(path: &Path, error: &io::Error) -> Failure {
    Failure::new(
        FailureKind::Storage,
        format!("cannot access {}: {error}", path.display()),
    )
}

fn damaged(path: &Path, problem: impl fmt::Display) -> Failure {
    let text = format!("{} is damaged: {problem}; remove the file to continue", path.display());
    Failure::new(FailureKind::Storage, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn profile() -> (tempfile::TempDir, Profile) {
        let directory = tempfile::tempdir().unwrap();
        let profile = Profile {
            directory: directory.path().to_owned(),
        };
        fs::create_dir_all(profile.account_directory("alice")).unwrap();
        (directory, profile)
    }

    #[test]
    fn remembered_account_and_servers_are_read_back() {
        let (directory, profile) = profile();
        assert!(profile.current().unwrap().is_none() && profile.servers("alice").unwrap().is_empty());
        for server in ["tls://chat.example:1", "sc1://chat.example:2"] {
            profile.remember("alice", &[server.to_owned()]).unwrap();
            assert_eq!(
                profile.current().unwrap().map(|user| account_name(&user)),
                Some("alice".into())
            );
            assert_eq!(profile.servers("alice").unwrap()[0].to_string(), server);
        }
        let file_name = |entry: io::Result<fs::DirEntry>| entry.unwrap().file_name();
        let mut files: Vec<_> = fs::read_dir(directory.path()).unwrap().map(file_name).collect();
        files.sort();
        assert_eq!(files, ["accounts", "current"]);
    }

    #[cfg(unix)]
    #[test]
    fn profile_files_are_private() {
        use std::os::unix::fs::PermissionsExt as _;

        let (directory, profile) = profile();
        let path = directory.path().join("current");
        // An earlier version created the file readable by everyone.
        fs::write(&path, "alice\n").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        profile.remember("alice", &["chat.example:1".to_owned()]).unwrap();
        for path in [path, profile.account_directory("alice").join("server")] {
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        }
    }

    #[test]
    fn damaged_files_are_errors() {
        for bytes in [&b""[..], b"\n", b"\xff\n", b"no way\n", b"[\n"] {
            let (directory, profile) = profile();
            fs::write(directory.path().join("current"), bytes).unwrap();
            fs::write(profile.account_directory("alice").join("server"), bytes).unwrap();
            let failures = [profile.current().unwrap_err(), profile.servers("alice").unwrap_err()];
            for (failure, file) in failures.iter().zip(["current", "server"]) {
                assert_eq!(
                    (failure.kind, failure.text.contains(file)),
                    (FailureKind::Storage, true),
                    "{bytes:?}"
                );
            }
        }
        let (directory, profile) = profile();
        fs::create_dir(directory.path().join("current")).unwrap();
        assert_eq!(profile.current().unwrap_err().kind, FailureKind::Storage);
    }
}
