//! [`RowLock`]: a lock on a row of the database.

use std::io::{self, BufRead as _, BufReader, Read as _};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;

use super::client;

/// Lock on a row of the database, which a client program holds. The lock ends when the statements
/// of the client have ended their transaction, or when the database ends. Dropping the handle does
/// not end it.
#[derive(Debug)]
pub struct RowLock {
    /// The client program that holds the lock.
    client: Child,
}

impl RowLock {
    /// Runs `command`, a client that locks the row and then prints a line. Waits for that line.
    ///
    /// # Errors
    /// The client fails, or prints nothing for a minute and is killed.
    pub(super) fn acquire(command: &mut Command) -> io::Result<Self> {
        let mut client = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let output = client
            .stdout
            .take()
            .ok_or_else(|| io::Error::other("the output of the client is not a pipe"))?;
        let (sender, locked) = mpsc::sync_channel(1);
        thread::spawn(move || {
            let mut lines = BufReader::new(output).lines().map_while(Result::ok);
            let _ = sender.send(lines.next());
            lines.for_each(drop);
        });
        if let Ok(Some(_)) = locked.recv_timeout(client::ANSWER_TIMEOUT) {
            return Ok(Self { client });
        }
        // This fails if the client has ended already.
        let _ = client.kill();
        Err(failure(client)?)
    }

    /// Waits until the lock is released.
    ///
    /// # Errors
    /// The client failed, for example because the database ended before the lock was released.
    pub fn wait(mut self) -> io::Result<()> {
        if self.client.wait()?.success() {
            return Ok(());
        }
        Err(failure(self.client)?)
    }
}

/// Returns the error output of a client that failed, as an error. If there is none, returns a
/// timeout, because a client that is killed while it waits for the lock has printed nothing.
fn failure(mut client: Child) -> io::Result<io::Error> {
    let mut text = String::new();
    if let Some(mut errors) = client.stderr.take() {
        errors.read_to_string(&mut text)?;
    }
    client.wait()?;
    Ok(match text.trim() {
        "" => io::Error::new(io::ErrorKind::TimedOut, "another transaction holds the lock of the row"),
        text => io::Error::other(text.to_owned()),
    })
}
