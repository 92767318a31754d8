//! A process that ends with this one.

use std::ffi::OsStr;
use std::io::{self, BufRead, BufReader};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use chat_core::testkit::{self, Reach};

/// A shell that starts the program and waits for the end of its own input, which comes when this process drops the handle or ends
/// in whatever way. The program leads a process group of its own, for those that have children; in its first moment it does not yet.
/// Its id is the first line of the output: what becomes the program says it, before the program can say anything.
const WATCH: &str = r#"exec 3<&0
setsid sh -c 'echo $$; exec "$@"' sh "$@" </dev/null 3<&- &
program=$!
(read -r _ <&3; kill -KILL -$program 2>/dev/null || kill -KILL $program 2>/dev/null) &
watch=$!
wait $program
kill $watch 2>/dev/null"#;

/// Longest time for a service to become ready.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running program. Dropping it kills the program and waits for its end.
#[derive(Debug)]
pub struct Guarded {
    watcher: Child,
    /// Its end is the sign to kill.
    input: Option<ChildStdin>,
    pid: u32,
}

impl Guarded {
    /// Starts `program` and waits until a line of its output or its errors holds `ready`.
    ///
    /// # Errors
    /// It cannot be started, or ends or takes too long before it is ready; then with the last lines that it printed.
    pub fn start<A: AsRef<OsStr>>(program: &str, arguments: &[A], ready: &str) -> io::Result<Self> {
        let mut watcher = Command::new("sh")
            .args(["-c", &format!("exec 2>&1; {WATCH}"), "sh", program])
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let input = watcher.stdin.take();
        let output = watcher.stdout.take().ok_or_else(|| io::Error::other("no output"))?;
        let (sender, lines) = mpsc::channel();
        // Reads to the end: a program whose output nobody reads stops one day.
        thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        let mut guarded = Self { watcher, input, pid: 0 };
        guarded.wait_until_ready(&lines, ready)?;
        Ok(guarded)
    }

    fn wait_until_ready(&mut self, lines: &mpsc::Receiver<String>, ready: &str) -> io::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        let mut said = Vec::new();
        loop {
            match lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) if self.pid == 0 => self.pid = line.trim().parse().map_err(io::Error::other)?,
                Ok(line) => {
                    let is_ready = line.contains(ready);
                    said.push(line);
                    if is_ready {
                        return Ok(());
                    }
                }
                Err(error) => {
                    let why = match error {
                        RecvTimeoutError::Timeout => "it took too long to start",
                        RecvTimeoutError::Disconnected => "it ended before it was ready",
                    };
                    let last = said.split_off(said.len().saturating_sub(20)).join("\n");
                    return Err(io::Error::other(format!("{why}; it said:\n{last}")));
                }
            }
        }
    }

    /// The program's process id.
    #[must_use]
    pub const fn pid(&self) -> u32 {
        self.pid
    }

    /// Sends a signal, by name: `STOP`, `CONT` and `KILL` to its children too, others (`TERM`, `HUP`) to itself. See
    /// [`testkit::signal`].
    ///
    /// # Errors
    /// The program has ended.
    pub fn signal(&self, name: &str) -> io::Result<()> {
        let reach = if matches!(name, "STOP" | "CONT" | "KILL") {
            Reach::Group
        } else {
            Reach::Process
        };
        testkit::signal(self.pid, name, reach)
    }

    /// Waits until the program has ended by itself.
    ///
    /// # Errors
    /// The operating system's.
    pub fn wait(&mut self) -> io::Result<()> {
        self.watcher.wait().map(drop)
    }

    /// Kills the program, as `kill -9` does, and waits for its end.
    pub fn kill(&mut self) {
        // It may have ended already.
        let _ = self.signal("KILL");
        self.input = None;
        let _ = self.watcher.wait();
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        self.kill();
    }
}
