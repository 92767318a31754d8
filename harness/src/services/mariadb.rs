//! [`MariaDb`]: a MariaDB server for tests.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use super::{GuardedProcess, RowLock, client, on_free_port};

/// A MariaDB server, initially with system databases only. It keeps a binary log, and syncs each
/// commit to the disk before it answers. Dropping the handle kills the server and deletes its data.
#[derive(Debug)]
pub struct MariaDb {
    process: GuardedProcess,
    address: SocketAddr,
    options: Vec<String>,
    directory: TempDir,
}

impl MariaDb {
    /// Starts a server on a free loopback port. `options` (`--name=value`) are added to the options
    /// of the harness.
    ///
    /// # Errors
    /// MariaDB is not installed (Debian: `mariadb-server`), or cannot be started.
    pub fn start(options: &[&str]) -> io::Result<Self> {
        let directory = tempfile::tempdir()?;
        let user = current_user()?;
        let installed = Command::new("mariadb-install-db")
            // MariaDB deletes all temporary tables in its temporary directory when it starts,
            // including those of other servers.
            .env("TMPDIR", directory.path())
            .args([
                "--no-defaults",
                "--auth-root-authentication-method=normal",
                "--skip-test-db",
            ])
            .arg(format!("--datadir={}", directory.path().join("data").display()))
            .arg(format!("--user={user}"))
            .output()?;
        if !installed.status.success() {
            let errors = String::from_utf8_lossy(&installed.stderr).into_owned();
            return Err(io::Error::other(format!("mariadb-install-db failed: {errors}")));
        }
        let options: Vec<String> = options.iter().map(|&option| option.to_owned()).collect();
        let (process, address) = on_free_port(|address| Ok((launch(directory.path(), address, &options)?, address)))?;
        Ok(Self {
            process,
            address,
            options,
            directory,
        })
    }

    /// Returns the address on which the server listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the URL of the database `database` for the administrator, who has no password.
    #[must_use]
    pub fn url(&self, database: &str) -> String {
        format!("mysql://root@{}/{database}", self.address)
    }

    /// Runs SQL statements as the administrator and returns their output, with columns separated by
    /// tabs.
    ///
    /// # Errors
    /// The server does not answer, a statement fails, or the statements take longer than a minute.
    pub fn sql(&self, statements: &str) -> io::Result<String> {
        self.administrator().sql(statements)
    }

    /// Returns a handle that runs statements as the administrator. It can be copied and passed to
    /// other threads.
    #[must_use]
    pub const fn administrator(&self) -> Administrator {
        Administrator { address: self.address }
    }

    /// Runs SQL statements as the administrator over TLS. The server needs a certificate of the
    /// authority whose certificate is in the PEM file `authority`.
    ///
    /// # Errors
    /// As for [`sql`](Self::sql).
    pub fn sql_over_tls(&self, authority: &str, statements: &str) -> io::Result<String> {
        let authority = format!("--ssl-ca={authority}");
        self.administrator().run(&["--ssl", &authority], statements)
    }

    /// Returns the process of the server, for signals and for its state.
    #[must_use]
    pub const fn process(&self) -> &GuardedProcess {
        &self.process
    }

    /// Kills the server with SIGKILL and waits for its end.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Waits until the server has ended, without killing it.
    ///
    /// # Errors
    /// As for [`GuardedProcess::wait`].
    pub fn wait(&mut self) -> io::Result<()> {
        self.process.wait().map(drop)
    }

    /// Kills the server, if it still runs, and starts it again on the same data and port.
    ///
    /// # Errors
    /// The server cannot be started.
    pub fn restart(&mut self) -> io::Result<()> {
        self.process.kill();
        self.process = launch(self.directory.path(), self.address, &self.options)?;
        Ok(())
    }
}

/// Administrator of a MariaDB server, who has all rights and no password.
#[derive(Clone, Copy, Debug)]
pub struct Administrator {
    address: SocketAddr,
}

impl Administrator {
    /// Runs SQL statements and returns their output, with columns separated by tabs.
    ///
    /// # Errors
    /// The server does not answer, a statement fails, or the statements take longer than a minute.
    pub fn sql(self, statements: &str) -> io::Result<String> {
        self.run(&["--skip-ssl"], statements)
    }

    /// Locks the row of the conversation with the most events in the database `chat` for the time
    /// `time`. Returns once the row is locked.
    ///
    /// # Errors
    /// The database does not answer, there is no conversation, or another lock on the row is not
    /// released within `innodb_lock_wait_timeout`, which is 50 s unless it was changed, or within a
    /// minute.
    pub fn lock_busiest_conversation(self, time: Duration) -> io::Result<RowLock> {
        let busiest = self.sql("SELECT id FROM chat.conversation ORDER BY last_seq DESC LIMIT 1")?;
        let id: i64 = match busiest.trim() {
            "" => return Err(io::Error::other("there is no conversation to lock")),
            id => id.parse().map_err(io::Error::other)?,
        };
        // The row is selected by its key, because with another condition MariaDB would lock every
        // row that it reads.
        let statements = format!(
            "BEGIN; SELECT id FROM chat.conversation WHERE id = {id} FOR UPDATE; SELECT SLEEP({}); COMMIT",
            time.as_secs_f64()
        );
        RowLock::acquire(&mut self.client(&["--skip-ssl", "--unbuffered"], &statements))
    }

    /// Runs statements with options that choose TLS or plain text, and returns their output.
    fn run(self, transport: &[&str], statements: &str) -> io::Result<String> {
        client::output(&mut self.client(transport, statements))
    }

    /// Returns the command of the client program `mariadb` that runs `statements`.
    fn client(self, options: &[&str], statements: &str) -> Command {
        let mut client = Command::new("mariadb");
        client
            .args([
                "--no-defaults",
                "--protocol=tcp",
                "--user=root",
                "--batch",
                "--skip-column-names",
            ])
            .arg(format!("--host={}", self.address.ip()))
            .arg(format!("--port={}", self.address.port()))
            .args(options)
            .args(["--execute", statements]);
        client
    }
}

/// Starts a server on the data in `directory` and waits until it accepts connections.
fn launch(directory: &Path, address: SocketAddr, options: &[String]) -> io::Result<GuardedProcess> {
    let mut arguments = vec![
        "--no-defaults".to_owned(),
        format!("--datadir={}", directory.join("data").display()),
        format!("--tmpdir={}", directory.display()),
        format!("--socket={}", directory.join("socket").display()),
        format!("--pid-file={}", directory.join("pid").display()),
        format!("--bind-address={}", address.ip()),
        format!("--port={}", address.port()),
        format!("--user={}", current_user()?),
        "--log-bin=binlog".to_owned(),
        "--sync-binlog=1".to_owned(),
        "--innodb-flush-log-at-trx-commit=1".to_owned(),
        "--innodb-buffer-pool-size=64M".to_owned(),
        "--innodb-log-file-size=48M".to_owned(),
        "--max-connections=500".to_owned(),
        "--skip-name-resolve".to_owned(),
    ];
    arguments.extend_from_slice(options);
    GuardedProcess::start("mariadbd", &arguments, "ready for connections")
}

/// Returns the name of the current user, for the option `--user`: MariaDB runs as root only if the
/// option names root.
fn current_user() -> io::Result<String> {
    let output = Command::new("id").arg("-un").output()?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
