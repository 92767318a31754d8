//! [`Lock`]: a locked row of the database.

use std::io::{self, BufRead as _, BufReader, Read as _};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;

use super::client;

/// Row of the database that another session has locked. The lock ends when its time is over, or
/// when the database ends.
#[derive(Debug)]
pub struct Lock {
    client: Child,
}

impl Lock {
    /// Runs `command`, which locks the row and then prints a line. Waits for that line.
    pub(super) fn acquire(command: &mut Command) -> io::Result<Self> {
        let mut client = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let output = client.stdout.take().ok_or_else(|| io::Error::other("no output"))?;
        let (sender, locked) = mpsc::sync_channel(1);
        thread::spawn(move || {
            let mut lines = BufReader::new(output).lines().map_while(Result::ok);
            let _ = sender.send(lines.next());
            lines.for_each(drop);
        });
        if let Ok(Some(_)) = locked.recv_timeout(client::ANSWER_TIMEOUT) {
            return Ok(Self { client });
        }
        // Fails if the program has ended already.
        let _ = client.kill();
        Err(failure(client)?)
    }

    /// Waits until the lock is released.
    ///
    /// # Errors
    /// The database ended first.
    pub fn wait(mut self) -> io::Result<()> {
        if self.client.wait()?.success() {
            return Ok(());
        }
        Err(failure(self.client)?)
    }
}

/// Returns the error output of a program that failed.
fn failure(mut client: Child) -> io::Result<io::Error> {
    let mut text = String::new();
    if let Some(mut errors) = client.stderr.take() {
        errors.read_to_string(&mut text)?;
    }
    client.wait()?;
    Ok(match text.trim() {
        "" => io::Error::new(io::ErrorKind::TimedOut, "the row is locked by another session"),
        text => io::Error::other(text.to_owned()),
    })
}
