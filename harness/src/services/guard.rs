//! [`GuardedProcess`]: a program in a process that does not outlive this process.

use std::ffi::OsStr;
use std::fs;
use std::io::{self, BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use crate::process::{self, Reach};

use crate::pause;

/// Shell script that starts the program, and kills it when the input of the script ends. The input
/// ends when this process drops the handle or ends in any way. The program leads its own process
/// group, so that its children are killed too. Immediately after the start, the group does not
/// exist yet, and only the program is killed. The first line of the output is the id of the
/// process, printed by the shell that `exec` replaces with the program. The script exits with the
/// exit code of the program.
const WATCHER_SCRIPT: &str = r#"exec 3<&0
setsid sh -c 'echo $$; exec "$@"' sh "$@" </dev/null 3<&- &
program=$!
exec 2>/dev/null
(read -r _ <&3; kill -KILL -$program || kill -KILL $program) &
watch=$!
wait $program
code=$?
kill $watch
exit $code"#;

/// Maximum time for a program to become ready, or to end.
const PROCESS_TIMEOUT: Duration = Duration::from_secs(60);
/// Maximum number of lines of a program's output that an error contains.
const MAX_SHOWN_LINES: usize = 20;

/// A program in a process that does not outlive this process. Dropping the handle kills the program
/// and waits for its end.
#[derive(Debug)]
pub struct GuardedProcess {
    /// The shell that runs [`WATCHER_SCRIPT`].
    watcher: Child,
    /// Input of the watcher. Closing it kills the program.
    input: Option<ChildStdin>,
    /// Id of the program's process; 0 until the watcher has printed it.
    pid: u32,
    /// Start time of the program in ticks of the kernel; `None` until `pid` is known, and after
    /// [`wait`](Self::wait) or [`kill`](Self::kill) has noticed the end of the program. A process
    /// that gets the same id later has another start time.
    start_ticks: Option<u64>,
}

/// State of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProcessState {
    /// The process runs.
    Runs,
    /// A signal has stopped the process.
    Stopped,
    /// The process has ended.
    Ended,
}

impl ProcessState {
    /// Returns the state as one word.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Runs => "runs",
            Self::Stopped => "stopped",
            Self::Ended => "ended",
        }
    }
}

impl GuardedProcess {
    /// Starts `program` and waits until a line of its standard output or standard error contains
    /// `ready`.
    ///
    /// # Errors
    /// The program cannot be started, ends before it is ready, or is not ready within a minute. In
    /// the last two cases, the error contains the last lines that the program has printed.
    pub fn start<A: AsRef<OsStr>>(program: &str, arguments: &[A], ready: &str) -> io::Result<Self> {
        let mut watcher = watcher(&format!("exec 2>&1; {WATCHER_SCRIPT}"));
        watcher.arg(program).args(arguments).stderr(Stdio::null());
        Self::launch(watcher, ready).map(|(guarded, _)| guarded)
    }

    /// Like [`start`](Self::start), but adds the variables `environment` to the environment of the
    /// program, whose standard error is that of this process. Also returns the lines that the
    /// program printed until it was ready.
    pub(crate) fn start_with<A: AsRef<OsStr>>(
        program: &Path,
        arguments: &[A],
        environment: &[(String, String)],
        ready: &str,
    ) -> io::Result<(Self, Vec<String>)> {
        let mut watcher = watcher(WATCHER_SCRIPT);
        let environment = environment.iter().map(|(name, value)| (name, value));
        watcher.arg(program).args(arguments).envs(environment);
        Self::launch(watcher, ready)
    }

    fn launch(mut watcher: Command, ready: &str) -> io::Result<(Self, Vec<String>)> {
        let mut watcher = watcher.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let input = watcher.stdin.take();
        let output = watcher
            .stdout
            .take()
            .ok_or_else(|| io::Error::other("the output of the watcher is not a pipe"))?;
        let (sender, lines) = mpsc::channel();
        // Reads to the end, even if the receiver is gone: a program blocks when the pipe of its
        // output is full.
        thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        let mut guarded = Self {
            watcher,
            input,
            pid: 0,
            start_ticks: None,
        };
        let lines_so_far = guarded.wait_until_ready(&lines, ready)?;
        Ok((guarded, lines_so_far))
    }

    /// Reads the process id, then lines up to one that contains `ready`. Returns these lines.
    fn wait_until_ready(&mut self, lines: &mpsc::Receiver<String>, ready: &str) -> io::Result<Vec<String>> {
        let deadline = Instant::now() + PROCESS_TIMEOUT;
        let mut lines_so_far = Vec::new();
        loop {
            match lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) if self.pid == 0 => {
                    self.pid = line.trim().parse().map_err(io::Error::other)?;
                    self.start_ticks = stat(self.pid).map(|(_, start_ticks)| start_ticks);
                }
                Ok(line) => {
                    let is_ready = line.contains(ready);
                    lines_so_far.push(line);
                    if is_ready {
                        return Ok(lines_so_far);
                    }
                }
                Err(error) => {
                    let why = match error {
                        RecvTimeoutError::Timeout => "the program was not ready after a minute",
                        RecvTimeoutError::Disconnected => "the program ended before it was ready",
                    };
                    let first_shown = lines_so_far.len().saturating_sub(MAX_SHOWN_LINES);
                    let last = lines_so_far[first_shown..].join("\n");
                    return Err(io::Error::other(format!("{why}; the end of its output:\n{last}")));
                }
            }
        }
    }

    /// Returns the id of the process, even after the process has ended.
    #[must_use]
    pub const fn pid(&self) -> u32 {
        self.pid
    }

    /// Returns the state of the process.
    #[must_use]
    pub fn state(&self) -> ProcessState {
        match stat(self.pid) {
            Some((letter, start_ticks)) if self.start_ticks == Some(start_ticks) => match letter {
                'T' => ProcessState::Stopped,
                'Z' | 'X' => ProcessState::Ended,
                _ => ProcessState::Runs,
            },
            _ => ProcessState::Ended,
        }
    }

    /// Sends the signal with this name. The children of the process also get `STOP`, `CONT` and
    /// `KILL`; only the process itself gets other signals (`TERM`, `HUP`). See [`process::signal`].
    ///
    /// # Errors
    /// The program has ended, there is no signal with this name, or the program did not stop within
    /// ten seconds after `STOP`.
    pub fn signal(&self, name: &str) -> io::Result<()> {
        if self.state() == ProcessState::Ended {
            // Another process may have the same id by now.
            return Err(io::Error::other(format!("process {} has ended", self.pid)));
        }
        let reach = if matches!(name, "STOP" | "CONT" | "KILL") {
            Reach::Group
        } else {
            Reach::Process
        };
        process::signal(self.pid, name, reach)
    }

    /// Waits until the program has ended, without killing it. Returns its exit code, or `None` if a
    /// signal ended it or the code is above 128, which the watching shell does not tell apart.
    ///
    /// # Errors
    /// The program has not ended after a minute, or the system call fails.
    pub fn wait(&mut self) -> io::Result<Option<i32>> {
        let deadline = Instant::now() + PROCESS_TIMEOUT;
        loop {
            if let Some(status) = self.watcher.try_wait()? {
                self.start_ticks = None;
                // A shell reports a signal as a code above 128.
                return Ok(status.code().filter(|code| *code <= 128));
            }
            if Instant::now() >= deadline {
                let text = format!("the process has not ended after {} s", PROCESS_TIMEOUT.as_secs());
                return Err(io::Error::new(io::ErrorKind::TimedOut, text));
            }
            pause(Duration::from_millis(10));
        }
    }

    /// Kills the program and its children with SIGKILL and waits for the end of the program. Does
    /// nothing if the program has ended already.
    pub fn kill(&mut self) {
        // This fails if the program has ended already.
        let _ = self.signal("KILL");
        self.input = None;
        let _ = self.watcher.wait();
        self.start_ticks = None;
    }
}

impl Drop for GuardedProcess {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Returns the command of a shell that runs `script` in its own session. Signals to the process
/// group of this process, or from a terminal that is closed, do not reach the shell, so it can
/// still kill the program.
fn watcher(script: &str) -> Command {
    let mut watcher = Command::new("setsid");
    watcher.args(["sh", "-c", script, "sh"]);
    watcher
}

/// Returns the state of a process, as a letter, and its start time in ticks (fields 3 and 22 of
/// `/proc/PID/stat`, see proc(5)); `None` if there is no such process.
fn stat(pid: u32) -> Option<(char, u64)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field, the program's name in parentheses, may contain any character.
    let mut fields = stat.rsplit(") ").next()?.split(' ');
    let state = fields.next()?.chars().next()?;
    Some((state, fields.nth(18)?.parse().ok()?))
}
