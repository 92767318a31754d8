//! Sends signals to processes, and reads from `/proc` how much memory and CPU time they use.

use std::fs;
use std::io;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// Number of ticks in a second. `/proc` gives CPU times in ticks; Linux defines 100 of them per
/// second for programs (`USER_HZ`).
const TICKS_PER_SECOND: f64 = 100.0;

/// Returns the resident memory (RSS) of a process, in bytes.
///
/// # Errors
/// The process has ended, or the system has no `/proc`.
pub fn resident_bytes(pid: u32) -> io::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kibibytes = line
        .and_then(|line| line.trim().strip_suffix(" kB"))
        .and_then(|number| number.parse().ok());
    kibibytes
        .map(|k: u64| k * 1024)
        .ok_or_else(|| io::Error::other(format!("no VmRSS in /proc/{pid}/status")))
}

/// Returns the CPU time that a process has used so far, in user and kernel mode together.
///
/// # Errors
/// The process has ended, or the system has no `/proc`.
pub fn cpu_time(pid: u32) -> io::Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The second field, the program's name in parentheses, may hold spaces. `fields` begins with
    // the third field, so utime and stime (fields 14 and 15, see proc(5)) have the indexes 11 and
    // 12.
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap_or_default().split(' ').collect();
    let ticks = |index: usize| fields.get(index).and_then(|field| field.parse::<f64>().ok());
    match (ticks(11), ticks(12)) {
        (Some(user), Some(system)) => Ok(Duration::from_secs_f64((user + system) / TICKS_PER_SECOND)),
        _ => Err(io::Error::other(format!("no CPU times in /proc/{pid}/stat"))),
    }
}

/// Set of processes that receive a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Only the process itself.
    Process,
    /// The process group that the process leads: the process, and those of its descendants that
    /// are not in another group.
    Group,
}

/// Maximum time for all threads of a process to stop.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);

/// Sends a process the signal with this name, such as `STOP`, `CONT` or `TERM`. After `STOP`, waits
/// until every thread of the process has stopped: the kernel stops them one after the other, and on
/// a busy machine the last one could still answer a request.
///
/// # Errors
/// The signal cannot be sent, for example because the process has ended; the process did not stop
/// within ten seconds after `STOP`; or `pid` is 0.
pub fn signal(pid: u32, name: &str, reach: Reach) -> io::Result<()> {
    let target = match reach {
        // To `kill`, 0 means the process group of the caller.
        _ if pid == 0 => return Err(io::Error::other("process 0 cannot be signalled")),
        Reach::Process => pid.to_string(),
        Reach::Group => format!("-{pid}"),
    };
    let sent = Command::new("kill")
        .args([&format!("-{name}"), "--", &target])
        .stderr(Stdio::null())
        .status()?;
    if !sent.success() {
        let text = format!("cannot send {name} to process {pid}, which may have ended");
        return Err(io::Error::other(text));
    }
    let deadline = Instant::now() + STOP_TIMEOUT;
    while name == "STOP" && !is_stopped(pid)? {
        if Instant::now() >= deadline {
            return Err(io::Error::other(format!(
                "process {pid} did not stop within {} s",
                STOP_TIMEOUT.as_secs()
            )));
        }
        thread::yield_now();
    }
    Ok(())
}

/// Returns whether every thread of a process has stopped.
fn is_stopped(pid: u32) -> io::Result<bool> {
    for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
        // This fails for a thread that has ended meanwhile, which counts as stopped.
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
