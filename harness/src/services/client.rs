//! Runs client programs such as `mariadb` and `redis-cli`, which send a request to a server and
//! print the answer.

use std::io;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use crate::process::{Reach, signal};

/// Maximum time to wait for the answer of a server, which may be stopped.
pub(super) const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

/// Runs a program to its end and returns its standard output.
///
/// # Errors
/// The program cannot be started, takes longer than [`ANSWER_TIMEOUT`] and is killed, fails, or
/// prints invalid UTF-8. If the program failed, the error contains its error output.
pub(super) fn output(command: &mut Command) -> io::Result<String> {
    output_within(command, ANSWER_TIMEOUT)
}

fn output_within(command: &mut Command, timeout: Duration) -> io::Result<String> {
    let child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let pid = child.id();
    let (sender, ended) = mpsc::sync_channel(1);
    // The send fails if the caller has stopped waiting because of the timeout.
    thread::spawn(move || drop(sender.send(child.wait_with_output())));
    let output = match ended.recv_timeout(timeout) {
        Ok(output) => output?,
        Err(_) => {
            // This fails if the program has ended just now.
            let _ = signal(pid, "KILL", Reach::Process);
            let program = command.get_program().to_string_lossy();
            let text = format!("{program} did not end within {timeout:?} and was killed");
            return Err(io::Error::new(io::ErrorKind::TimedOut, text));
        }
    };
    if !output.status.success() {
        let errors = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        return Err(io::Error::other(errors));
    }
    String::from_utf8(output.stdout).map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeout_of_a_program_is_reported() {
        let mut slow = Command::new("sh");
        slow.args(["-c", "exec sleep 600"]);
        let error = output_within(&mut slow, Duration::from_millis(50)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert_eq!(error.to_string(), "sh did not end within 50ms and was killed");
    }

    #[test]
    fn error_contains_the_error_output_of_the_program() {
        let shell = |script| output(Command::new("sh").args(["-c", script]));
        assert_eq!(shell("echo fine").unwrap(), "fine\n");
        assert_eq!(shell("echo bad >&2; exit 1").unwrap_err().to_string(), "bad");
    }
}
