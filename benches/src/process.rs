//! A real server process, started for a measurement on a free port and in a directory of its own, stopped by its handle.

use std::fs;
use std::io::{self, BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use chat_core::secure::Fingerprint;
use tempfile::TempDir;

/// The kernel's unit of CPU time in `/proc`: fixed at 100 a second for programs.
const TICKS: f64 = 100.0;

/// A running server. Dropping it kills the process and removes its directory.
#[derive(Debug)]
pub struct ServerProcess {
    child: Child,
    address: SocketAddr,
    fingerprint: Fingerprint,
    _directory: TempDir,
}

impl ServerProcess {
    /// Starts `program` and waits until it is ready.
    ///
    /// # Errors
    /// It cannot be started, or ends before it is ready.
    pub fn start(program: &Path) -> io::Result<Self> {
        let directory = tempfile::tempdir()?;
        let mut child = Command::new(program)
            .args(["--listen", "sc1://127.0.0.1:0", "--data-dir"])
            .arg(directory.path().join("data"))
            .env("CHAT_LIMITS__LOGINS_PER_SECOND", "100000")
            .stdout(Stdio::piped())
            .stdin(Stdio::null())
            .spawn()?;
        let output = child
            .stdout
            .take()
            .ok_or_else(|| io::Error::other("the server's output is not a pipe"))?;
        let (mut address, mut fingerprint) = (None, None);
        for line in BufReader::new(output).lines() {
            let line = line?;
            if let Some(bound) = line.strip_prefix("listening sc1 ") {
                address = Some(bound.parse().map_err(io::Error::other)?);
            } else if let Some(key) = line.strip_prefix("fingerprint ") {
                fingerprint = Some(key.parse().map_err(|_| io::Error::other("not a fingerprint"))?);
                break;
            }
        }
        let (Some(address), Some(fingerprint)) = (address, fingerprint) else {
            child.kill()?;
            child.wait()?;
            return Err(io::Error::other("the server ended before it was ready"));
        };
        Ok(Self {
            child,
            address,
            fingerprint,
            _directory: directory,
        })
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Of its key.
    #[must_use]
    pub const fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    /// Memory that it occupies now.
    ///
    /// # Errors
    /// `/proc` is not there, as on systems other than Linux.
    pub fn resident_bytes(&self) -> io::Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kibibytes = line
            .and_then(|line| line.trim().strip_suffix(" kB"))
            .and_then(|number| number.parse().ok());
        kibibytes
            .map(|k: u64| k * 1024)
            .ok_or_else(|| io::Error::other("no VmRSS in /proc"))
    }

    /// CPU time that it has used, user and system.
    ///
    /// # Errors
    /// As [`Self::resident_bytes`].
    pub fn cpu(&self) -> io::Result<Duration> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        // The second field, the program's name in parentheses, may hold spaces.
        let fields: Vec<&str> = stat.rsplit(") ").next().unwrap_or_default().split(' ').collect();
        let ticks = |index: usize| fields.get(index).and_then(|field| field.parse::<f64>().ok());
        match (ticks(11), ticks(12)) {
            (Some(user), Some(system)) => Ok(Duration::from_secs_f64((user + system) / TICKS)),
            _ => Err(io::Error::other("no CPU times in /proc")),
        }
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
