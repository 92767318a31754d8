//! [`ClientPause`]: a period during which Redis answers no client.

use std::io::{self, BufRead as _, BufReader, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::client::ANSWER_TIMEOUT;

/// Period during which Redis answers no client (`CLIENT PAUSE`). Dropping the handle does not end
/// the pause.
#[derive(Debug)]
pub struct ClientPause {
    /// Connection that can end the pause.
    stream: TcpStream,
    /// Thread that ends with the pause, or when Redis closes the connection.
    watcher: JoinHandle<()>,
}

impl ClientPause {
    /// Starts a pause of the duration `time`. During a pause Redis serves only replicas and clients
    /// in `MONITOR` mode, so the connection that can end the pause enters that mode first.
    pub(super) fn start(server: SocketAddr, time: Duration) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&server, ANSWER_TIMEOUT)?;
        stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
        let mut answers = BufReader::new(stream.try_clone()?);
        for command in ["MONITOR".to_owned(), format!("CLIENT PAUSE {}", time.as_millis())] {
            (&stream).write_all(format!("{command}\r\n").as_bytes())?;
            // In `MONITOR` mode, commands of other clients arrive between the answers.
            loop {
                let mut line = String::new();
                answers.read_line(&mut line)?;
                match line.trim_end() {
                    "+OK" => break,
                    "" => return Err(io::ErrorKind::UnexpectedEof.into()),
                    error if error.starts_with('-') => return Err(io::Error::other(error[1..].to_owned())),
                    _ => {}
                }
            }
        }
        stream.set_read_timeout(Some(time.max(Duration::from_millis(1))))?;
        let watcher = thread::Builder::new().name("pause".into()).spawn(move || {
            // Redis sends nothing before the end of the pause. Afterwards it would send the
            // commands of all clients, so the connection is closed.
            let _ = answers.read_line(&mut String::new());
            let _ = answers.into_inner().shutdown(Shutdown::Both);
        })?;
        Ok(Self { stream, watcher })
    }

    /// Returns whether the pause is over or Redis has ended.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.watcher.is_finished()
    }

    /// Ends the pause before its time is over.
    ///
    /// # Errors
    /// The pause is over already, or Redis has ended.
    pub fn end(self) -> io::Result<()> {
        (&self.stream).write_all(b"CLIENT UNPAUSE\r\n")?;
        self.watcher
            .join()
            .map_err(|_| io::Error::other("the thread that watches the pause panicked"))
    }
}
