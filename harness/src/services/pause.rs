//! [`Pause`].

use std::io::{self, BufRead as _, BufReader, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::client::PATIENCE;

/// A time in which Redis answers nobody. Dropping this changes nothing about it.
#[derive(Debug)]
pub struct Pause {
    stream: TcpStream,
    /// Ends when the pause does.
    watch: JoinHandle<()>,
}

impl Pause {
    /// Begins one. Redis makes everybody wait but those who watch it (`MONITOR`): whoever is to end
    /// the pause watches before it begins.
    pub(super) fn begin(server: SocketAddr, time: Duration) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&server, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut answers = BufReader::new(stream.try_clone()?);
        for command in ["MONITOR".to_owned(), format!("CLIENT PAUSE {}", time.as_millis())] {
            (&stream).write_all(format!("{command}\r\n").as_bytes())?;
            // Between the answers come the commands of others.
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
        let watch = thread::Builder::new().name("pause".into()).spawn(move || {
            // Nothing comes before the end of the pause. After it, this would be told everything
            // that is said.
            let _ = answers.read_line(&mut String::new());
            let _ = answers.into_inner().shutdown(Shutdown::Both);
        })?;
        Ok(Self { stream, watch })
    }

    /// Whether it is over, or Redis is.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.watch.is_finished()
    }

    /// Ends it.
    ///
    /// # Errors
    /// It is over.
    pub fn end(self) -> io::Result<()> {
        (&self.stream).write_all(b"CLIENT UNPAUSE\r\n")?;
        self.watch
            .join()
            .map_err(|_| io::Error::other("the pause was not watched"))
    }
}
