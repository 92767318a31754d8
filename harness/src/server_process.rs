//! [`ServerProcess`]: a chat server in a process of its own.

use std::ffi::OsString;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use chat_core::secure::Fingerprint;

use crate::process::{cpu_time, resident_bytes};
use crate::services::GuardedProcess;

/// A chat server in a process of its own, which keeps its address and its data directory when it is
/// restarted.
///
/// The server is killed when the handle is dropped, or when this process ends for any reason. The
/// data directory stays.
#[derive(Debug)]
pub struct ServerProcess {
    scheme: String,
    program: PathBuf,
    data: PathBuf,
    settings: Vec<(String, String)>,
    process: GuardedProcess,
    address: SocketAddr,
    fingerprint: Fingerprint,
}

impl ServerProcess {
    /// Starts `program` with the data directory `data` on a free loopback port, and waits until it
    /// is ready. It listens for SC1, the secure channel of docs/sc1.md. `settings` are further
    /// variables of its environment.
    ///
    /// # Errors
    /// The program cannot be started, ends before it is ready, is not ready within a minute, or
    /// prints no address or no valid fingerprint.
    pub fn start(program: &Path, data: &Path, settings: &[(&str, &str)]) -> io::Result<Self> {
        Self::start_on("sc1", program, data, settings)
    }

    /// Like [`start`](Self::start), but listens on a URL with `scheme` instead of `sc1`.
    ///
    /// # Errors
    /// As for [`start`](Self::start).
    pub fn start_on(scheme: &str, program: &Path, data: &Path, settings: &[(&str, &str)]) -> io::Result<Self> {
        let settings: Vec<_> = settings
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        let any_port = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let (process, output) = launch(scheme, program, data, &settings, any_port)?;
        let (address, fingerprint) = parse_output(&output)?;
        Ok(Self {
            scheme: scheme.to_owned(),
            program: program.to_owned(),
            data: data.to_owned(),
            settings,
            process,
            address,
            fingerprint,
        })
    }

    /// Returns the data directory.
    #[must_use]
    pub fn data_dir(&self) -> &Path {
        &self.data
    }

    /// Kills the server with SIGKILL, if it still runs, and starts it again on the same data and
    /// port.
    ///
    /// # Errors
    /// As for [`start`](Self::start).
    pub fn kill_and_restart(&mut self) -> io::Result<()> {
        self.process.kill();
        self.restart()
    }

    /// Starts the server again, on the same data and port. The caller makes sure that it has ended,
    /// because the port is in use until then.
    ///
    /// # Errors
    /// As for [`start`](Self::start).
    pub fn restart(&mut self) -> io::Result<()> {
        let (process, output) = launch(&self.scheme, &self.program, &self.data, &self.settings, self.address)?;
        self.process = process;
        (self.address, self.fingerprint) = parse_output(&output)?;
        Ok(())
    }

    /// Kills the server with SIGKILL, if it still runs, and waits for its end.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Returns the process of the server, for its state and its id.
    #[must_use]
    pub const fn process(&self) -> &GuardedProcess {
        &self.process
    }

    /// Sends the server a signal, by name. See [`GuardedProcess::signal`].
    ///
    /// # Errors
    /// As for [`GuardedProcess::signal`].
    pub fn signal(&self, name: &str) -> io::Result<()> {
        self.process.signal(name)
    }

    /// Waits until the server has ended, without killing it. Returns its exit code, or `None` if a
    /// signal ended it or the code is above 128. See [`GuardedProcess::wait`].
    ///
    /// # Errors
    /// As for [`GuardedProcess::wait`].
    pub fn wait(&mut self) -> io::Result<Option<i32>> {
        self.process.wait()
    }

    /// Returns the address that the server listens on.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the fingerprint of the server's key, for clients to pin.
    #[must_use]
    pub const fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    /// Returns the resident memory (RSS) of the server, in bytes.
    ///
    /// # Errors
    /// The server has ended, or the system has no `/proc`.
    pub fn resident_bytes(&self) -> io::Result<u64> {
        resident_bytes(self.process.pid())
    }

    /// Returns the CPU time that the server has used so far, in user and kernel mode together.
    ///
    /// # Errors
    /// The server has ended, or the system has no `/proc`.
    pub fn cpu_time(&self) -> io::Result<Duration> {
        cpu_time(self.process.pid())
    }
}

/// Starts a server and waits until it prints its fingerprint, which it does once it is ready. Also
/// returns the lines that it has printed up to then.
fn launch(
    scheme: &str,
    program: &Path,
    data: &Path,
    settings: &[(String, String)],
    listen: SocketAddr,
) -> io::Result<(GuardedProcess, Vec<String>)> {
    let arguments: [OsString; 4] = [
        "--listen".into(),
        format!("{scheme}://{listen}").into(),
        "--data-dir".into(),
        data.into(),
    ];
    let mut environment = vec![("CHAT_LOG__LEVEL".to_owned(), "warn".to_owned())];
    environment.extend_from_slice(settings);
    GuardedProcess::start_with(program, &arguments, &environment, "fingerprint ")
}

/// Finds the address of the first listener and the key's fingerprint in the output of a server that
/// is ready.
fn parse_output(output: &[String]) -> io::Result<(SocketAddr, Fingerprint)> {
    let after = |word: &str| output.iter().find_map(|line| line.strip_prefix(word));
    let (Some((_, address)), Some(key)) = (
        after("listening ").and_then(|rest| rest.split_once(' ')),
        after("fingerprint "),
    ) else {
        return Err(io::Error::other(
            "the server did not print its address and its fingerprint",
        ));
    };
    let key = key
        .parse()
        .map_err(|_| io::Error::other(format!("the server printed {key:?}, which is not a fingerprint")))?;
    Ok((address.parse().map_err(io::Error::other)?, key))
}
