//! [`Node`].

use std::ffi::OsString;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use chat_core::secure::Fingerprint;
use chat_core::testkit::cpu_time;

use crate::services::Guarded;

/// A running server: one node of a cluster, at the same address for its life. It ends with this process, however that one ends.
/// Dropping it kills it; its data stay.
#[derive(Debug)]
pub struct Node {
    scheme: String,
    program: PathBuf,
    data: PathBuf,
    settings: Vec<(String, String)>,
    process: Guarded,
    address: SocketAddr,
    fingerprint: Fingerprint,
}

impl Node {
    /// Starts `program` on these data and a free port, with these settings in its environment, and waits until it is ready.
    pub(crate) fn start(scheme: &str, program: &Path, data: &Path, settings: &[(&str, &str)]) -> io::Result<Self> {
        let settings: Vec<_> = settings
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        let any_port = SocketAddr::from(([127, 0, 0, 1], 0));
        let (process, said) = launch(scheme, program, data, &settings, any_port)?;
        let (address, fingerprint) = read_start(&said)?;
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

    /// Kills it, as `kill -9` does, and starts it again on the same data and port.
    ///
    /// # Errors
    /// It cannot be started, or ends before it is ready.
    pub fn kill_and_restart(&mut self) -> io::Result<()> {
        self.process.kill();
        self.restart()
    }

    /// Starts one that has ended again, on the same data and port.
    ///
    /// # Errors
    /// As [`kill_and_restart`](Self::kill_and_restart).
    pub fn restart(&mut self) -> io::Result<()> {
        let (process, said) = launch(&self.scheme, &self.program, &self.data, &self.settings, self.address)?;
        self.process = process;
        (self.address, self.fingerprint) = read_start(&said)?;
        Ok(())
    }

    /// Kills it, as `kill -9` does, and waits for its end.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// The running process, for signals.
    #[must_use]
    pub const fn process(&self) -> &Guarded {
        &self.process
    }

    /// Sends it a signal, by name. See [`Guarded::signal`].
    ///
    /// # Errors
    /// The process has ended.
    pub fn signal(&self, name: &str) -> io::Result<()> {
        self.process.signal(name)
    }

    /// Waits until it has ended by itself; its exit code, if no signal ended it.
    ///
    /// # Errors
    /// As [`Guarded::wait`].
    pub fn wait(&mut self) -> io::Result<Option<i32>> {
        self.process.wait()
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

    /// CPU time that it has used, user and system.
    ///
    /// # Errors
    /// It has ended, or `/proc` is not there, as on systems other than Linux.
    pub fn cpu(&self) -> io::Result<Duration> {
        cpu_time(self.process.pid())
    }
}

fn launch(
    scheme: &str,
    program: &Path,
    data: &Path,
    settings: &[(String, String)],
    listen: SocketAddr,
) -> io::Result<(Guarded, Vec<String>)> {
    let arguments: [OsString; 4] = [
        "--listen".into(),
        format!("{scheme}://{listen}").into(),
        "--data-dir".into(),
        data.into(),
    ];
    Guarded::start_with(program, &arguments, settings, "fingerprint ")
}

/// What a server says when it is ready: where it listens, and its key's fingerprint.
fn read_start(said: &[String]) -> io::Result<(SocketAddr, Fingerprint)> {
    let said = |word: &str| said.iter().find_map(|line| line.strip_prefix(word));
    let (Some((_, address)), Some(key)) = (
        said("listening ").and_then(|rest| rest.split_once(' ')),
        said("fingerprint "),
    ) else {
        return Err(io::Error::other("the server did not say where it listens"));
    };
    let key = key.parse().map_err(|_| io::Error::other("not a fingerprint"))?;
    Ok((address.parse().map_err(io::Error::other)?, key))
}
