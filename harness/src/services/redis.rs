//! [`Redis`]: a Redis server for tests.

use std::io;
use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use super::{ClientPause, GuardedProcess, client, on_free_port};

/// A Redis server that writes nothing to the disk. Dropping the handle kills the server.
#[derive(Debug)]
pub struct Redis {
    process: GuardedProcess,
    address: SocketAddr,
    options: Vec<String>,
    directory: TempDir,
}

impl Redis {
    /// Starts a server on a free loopback port. `options` (for example `["--maxmemory", "1mb"]`)
    /// are added to the options of the harness.
    ///
    /// # Errors
    /// Redis is not installed (Debian: `redis-server`), or cannot be started.
    pub fn start(options: &[&str]) -> io::Result<Self> {
        let directory = tempfile::tempdir()?;
        let options: Vec<String> = options.iter().map(|&option| option.to_owned()).collect();
        let (process, address) = on_free_port(|address| Ok((launch(&directory, address, &options)?, address)))?;
        Ok(Self {
            process,
            address,
            options,
            directory,
        })
    }

    /// Starts a server that accepts only TLS. `certificate` and `key` are paths of PEM files.
    ///
    /// # Errors
    /// As for [`Redis::start`].
    pub fn start_tls(certificate: &str, key: &str) -> io::Result<Self> {
        let directory = tempfile::tempdir()?;
        let options = [
            "--tls-auth-clients",
            "no",
            "--tls-cert-file",
            certificate,
            "--tls-key-file",
            key,
        ];
        let (process, (address, options)) = on_free_port(|address| {
            let port = address.port().to_string();
            // Redis uses the last value of an option, so the server has no port for plain text.
            let tls = ["--tls-port", &port, "--port", "0"];
            let options: Vec<String> = options.iter().chain(&tls).map(|&option| option.to_owned()).collect();
            Ok((launch(&directory, address, &options)?, (address, options)))
        })?;
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

    /// Returns the URL of the server, which must not use TLS.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis://{}/", self.address)
    }

    /// Runs one command with `redis-cli` and returns its output. The server must not use TLS.
    ///
    /// # Errors
    /// The server does not answer within a minute, or answers with an error.
    pub fn command(&self, words: &[&str]) -> io::Result<String> {
        client::output(
            Command::new("redis-cli")
                // With this option, the exit code reports errors (since Redis 7).
                .arg("-e")
                .args(["-h", &self.address.ip().to_string()])
                .args(["-p", &self.address.port().to_string()])
                .args(words),
        )
    }

    /// Makes the server answer no client for the time `time`. Returns once the pause has begun. The
    /// server must not use TLS.
    ///
    /// # Errors
    /// The server does not answer within a minute, or refuses the command.
    pub fn pause(&self, time: Duration) -> io::Result<ClientPause> {
        ClientPause::start(self.address, time)
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

    /// Kills the server, if it still runs, and starts an empty one on the same port.
    ///
    /// # Errors
    /// The server cannot be started.
    pub fn restart(&mut self) -> io::Result<()> {
        self.process.kill();
        self.process = launch(&self.directory, self.address, &self.options)?;
        Ok(())
    }
}

/// Starts an empty server and waits until it accepts connections.
fn launch(directory: &TempDir, address: SocketAddr, options: &[String]) -> io::Result<GuardedProcess> {
    let port = address.port().to_string();
    let ip = address.ip().to_string();
    let directory = directory.path().to_string_lossy().into_owned();
    let default_options = [
        "--bind",
        &ip,
        "--port",
        &port,
        "--dir",
        &directory,
        "--save",
        "",
        "--appendonly",
        "no",
    ];
    let arguments: Vec<&str> = default_options
        .into_iter()
        .chain(options.iter().map(String::as_str))
        .collect();
    GuardedProcess::start("redis-server", &arguments, "Ready to accept connections")
}
