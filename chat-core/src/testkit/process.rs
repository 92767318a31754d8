//! A real server process, on a free port and in a directory of its own, stopped by its handle.

use std::fs;
use std::io::{self, BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::secure::Fingerprint;

/// The kernel's unit of CPU time in `/proc`: fixed at 100 a second for programs.
const TICKS: f64 = 100.0;

/// A running server. Dropping it kills the process; its data stay.
#[derive(Debug)]
pub struct ServerProcess {
    scheme: String,
    program: PathBuf,
    data: PathBuf,
    settings: Vec<(String, String)>,
    child: Child,
    address: SocketAddr,
    fingerprint: Fingerprint,
}

impl ServerProcess {
    /// Starts `program` on these data, with these settings in its environment, and waits until it is ready.
    ///
    /// # Errors
    /// It cannot be started, or ends before it is ready.
    pub fn start(program: &Path, data: &Path, settings: &[(&str, &str)]) -> io::Result<Self> {
        Self::start_on("sc1", program, data, settings)
    }

    /// The same, listening for something else than `sc1`.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn start_on(scheme: &str, program: &Path, data: &Path, settings: &[(&str, &str)]) -> io::Result<Self> {
        let settings = settings
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        let any_port = SocketAddr::from(([127, 0, 0, 1], 0));
        Self::launch(
            scheme.to_owned(),
            program.to_owned(),
            data.to_owned(),
            settings,
            any_port,
        )
    }

    /// Kills it, as `kill -9` does, and starts it again on the same data and port.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn kill_and_restart(&mut self) -> io::Result<()> {
        self.kill()?;
        self.restart()
    }

    /// Starts one that has ended again, on the same data and port.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn restart(&mut self) -> io::Result<()> {
        let (scheme, program) = (self.scheme.clone(), self.program.clone());
        let (data, settings) = (self.data.clone(), self.settings.clone());
        *self = Self::launch(scheme, program, data, settings, self.address)?;
        Ok(())
    }

    /// Kills it, as `kill -9` does, and waits for its end.
    ///
    /// # Errors
    /// The operating system's.
    pub fn kill(&mut self) -> io::Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Sends it a signal, by name. See [`signal`].
    ///
    /// # Errors
    /// The process has ended.
    pub fn signal(&self, name: &str) -> io::Result<()> {
        signal(self.child.id(), name, Reach::Process)
    }

    /// Waits until it has ended by itself; its exit code, if no signal ended it.
    ///
    /// # Errors
    /// The operating system's.
    pub fn wait(&mut self) -> io::Result<Option<i32>> {
        Ok(self.child.wait()?.code())
    }

    fn launch(
        scheme: String,
        program: PathBuf,
        data: PathBuf,
        settings: Vec<(String, String)>,
        listen: SocketAddr,
    ) -> io::Result<Self> {
        let mut child = Command::new(&program)
            .args(["--listen", &format!("{scheme}://{listen}"), "--data-dir"])
            .arg(&data)
            .env("CHAT_LOG__LEVEL", "warn")
            .envs(settings.iter().map(|(name, value)| (name, value)))
            .stdout(Stdio::piped())
            .stdin(Stdio::null())
            .spawn()?;
        match read_start(&mut child) {
            Ok((address, fingerprint)) => Ok(Self {
                scheme,
                program,
                data,
                settings,
                child,
                address,
                fingerprint,
            }),
            Err(error) => {
                child.kill()?;
                child.wait()?;
                Err(error)
            }
        }
    }

    /// Its process id; of the last one, if it has ended.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
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
        cpu_time(self.child.id())
    }
}

/// CPU time that a process has used, user and system.
///
/// # Errors
/// It has ended, or `/proc` is not there, as on systems other than Linux.
pub fn cpu_time(pid: u32) -> io::Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The second field, the program's name in parentheses, may hold spaces.
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap_or_default().split(' ').collect();
    let ticks = |index: usize| fields.get(index).and_then(|field| field.parse::<f64>().ok());
    match (ticks(11), ticks(12)) {
        (Some(user), Some(system)) => Ok(Duration::from_secs_f64((user + system) / TICKS)),
        _ => Err(io::Error::other("no CPU times in /proc")),
    }
}

/// Who gets a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// The process.
    Process,
    /// The process group that it leads: its children too.
    Group,
}

/// Longest time for all threads of a process to notice that it was stopped.
const STOPPING: Duration = Duration::from_secs(10);

/// Sends a process a signal, by name: `STOP`, `CONT`, `TERM`. Returns from `STOP` only when every thread of the process stands still:
/// the kernel tells them one after the other, and on a busy machine the last one can answer a request before it hears of it.
///
/// # Errors
/// The process has ended, or does not stop.
pub fn signal(pid: u32, name: &str, reach: Reach) -> io::Result<()> {
    let target = match reach {
        // The number 0 means this process's own group to `kill`.
        _ if pid == 0 => return Err(io::Error::other("there is no such process")),
        Reach::Process => pid.to_string(),
        Reach::Group => format!("-{pid}"),
    };
    let sent = Command::new("kill")
        .args([&format!("-{name}"), "--", &target])
        .stderr(Stdio::null())
        .status()?;
    if !sent.success() {
        return Err(io::Error::other(format!("process {pid} has ended")));
    }
    let deadline = Instant::now() + STOPPING;
    while name == "STOP" && !stands_still(pid)? {
        if Instant::now() >= deadline {
            return Err(io::Error::other(format!("process {pid} does not stop")));
        }
        thread::yield_now();
    }
    Ok(())
}

/// Whether every thread of a process was stopped.
fn stands_still(pid: u32) -> io::Result<bool> {
    for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
        // One that has ended meanwhile does nothing any more.
        let Ok(stat) = fs::read_to_string(thread?.path().join("stat")) else {
            continue;
        };
        let state = stat.rsplit(") ").next().and_then(|fields| fields.chars().next());
        if !matches!(state, Some('T' | 't' | 'Z' | 'X')) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// What a server says when it is ready: where it listens, and its key's fingerprint.
fn read_start(child: &mut Child) -> io::Result<(SocketAddr, Fingerprint)> {
    let output = child
        .stdout
        .take()
        .ok_or_else(|| io::Error::other("the server's output is not a pipe"))?;
    let (mut address, mut fingerprint) = (None, None);
    for line in BufReader::new(output).lines() {
        let line = line?;
        let listening = line.strip_prefix("listening ").and_then(|rest| rest.split_once(' '));
        if let Some((_, bound)) = listening {
            address = Some(bound.parse().map_err(io::Error::other)?);
        } else if let Some(key) = line.strip_prefix("fingerprint ") {
            fingerprint = Some(key.parse().map_err(|_| io::Error::other("not a fingerprint"))?);
            break;
        }
    }
    address
        .zip(fingerprint)
        .ok_or_else(|| io::Error::other("the server ended before it was ready"))
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
