//! [`Console`]: commands to a running program, one per line, from its standard input and from a
//! socket.
//!
//! A client connects to a socket in the file system, sends one line, and reads the answer: its
//! first line is `ok` or `error`, the rest is text.

use std::io::{self, BufRead as _, Read as _, Write as _};
use std::os::unix::fs::FileTypeExt as _;
use std::os::unix::net::UnixStream as StdStream;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// Maximum length of a line from the socket. The rest of a longer line is ignored.
const MAX_LINE_BYTES: u64 = 4096;
/// Maximum number of lines that wait to be handled.
const MAX_QUEUED_LINES: usize = 16;
/// Maximum time for a client of the socket to send its line. Also the maximum time for
/// [`Console::close`] to wait for the client that is being served.
const CLIENT_TIMEOUT: Duration = Duration::from_secs(10);

/// Answer to a line: text to print, or an error.
pub type Answer = Result<String, String>;

/// Source of commands. Dropping it removes the socket.
#[derive(Debug)]
pub struct Console {
    lines: mpsc::Receiver<Line>,
    socket: Option<(PathBuf, JoinHandle<()>)>,
}

/// A line with a command.
#[derive(Debug)]
pub struct Line {
    /// Text without the line break.
    pub text: String,
    reply: Option<oneshot::Sender<Answer>>,
}

impl Line {
    /// Sends the answer to the client of the socket that sent the line. Prints the answer to a line
    /// of standard input: a text to standard output, with `ok` for an empty one, and an error to
    /// standard error.
    pub fn answer(self, answer: Answer) {
        match (self.reply, answer) {
            // The client may have disconnected.
            (Some(reply), answer) => drop(reply.send(answer)),
            (None, Ok(text)) if text.is_empty() => println!("ok"),
            (None, Ok(text)) => println!("{}", text.trim_end()),
            (None, Err(text)) => eprintln!("error: {text}"),
        }
    }
}

impl Console {
    /// Reads standard input, and listens on `socket`, if one is given.
    ///
    /// # Errors
    /// Another process listens on the socket, or the socket or the thread cannot be created.
    pub fn open(socket: Option<&Path>) -> io::Result<Self> {
        let (sender, lines) = mpsc::channel(MAX_QUEUED_LINES);
        let socket = match socket {
            None => None,
            Some(path) => {
                let listener = bind(path)?;
                let listener_task = tokio::spawn(listen(listener, sender.clone()));
                Some((path.to_owned(), listener_task))
            }
        };
        // Reading blocks and cannot be interrupted, so the thread may last as long as the process.
        thread::Builder::new().name("console".into()).spawn(move || {
            for text in io::stdin().lock().lines().map_while(Result::ok) {
                if sender.blocking_send(Line { text, reply: None }).is_err() {
                    return;
                }
            }
        })?;
        Ok(Self { lines, socket })
    }

    /// Returns the next line that is not empty, and answers empty lines with an empty text. Waits
    /// forever once standard input has ended and no socket was given.
    ///
    /// # Cancel safety
    /// No line is lost.
    pub async fn next(&mut self) -> Line {
        loop {
            match self.lines.recv().await {
                Some(line) if line.text.trim().is_empty() => line.answer(Ok(String::new())),
                Some(line) => return line,
                None => std::future::pending().await,
            }
        }
    }

    /// Stops accepting lines. If a client of the socket is being served, waits until it has its
    /// answer or has disconnected, for at most 10 s.
    pub async fn close(mut self) {
        self.lines.close();
        if let Some((_, listener_task)) = &mut self.socket {
            // The client may have disconnected, or not read the answer.
            let _ = timeout(CLIENT_TIMEOUT, listener_task).await;
        }
    }
}

impl Drop for Console {
    fn drop(&mut self) {
        if let Some((path, listener_task)) = self.socket.take() {
            listener_task.abort();
            // The socket may have been removed already.
            let _ = std::fs::remove_file(path);
        }
    }
}

/// Sends a line to the program that listens on `socket`, and returns its answer.
///
/// # Errors
/// No program listens on the socket, or the program closes the connection without an answer.
pub fn send_command(socket: &Path, line: &str) -> io::Result<Answer> {
    let mut stream = StdStream::connect(socket)?;
    stream.write_all(format!("{line}\n").as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (verdict, text) = answer.split_once('\n').unwrap_or((&answer, ""));
    match verdict {
        "ok" => Ok(Ok(text.to_owned())),
        "error" => Ok(Err(text.trim_end().to_owned())),
        _ => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

fn bind(path: &Path) -> io::Result<UnixListener> {
    match UnixListener::bind(path) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse && is_left_over(path)? => {
            std::fs::remove_file(path)?;
            UnixListener::bind(path)
        }
        bound => bound,
    }
}

/// Returns whether `path` is a socket without a listener, left by a process that was killed.
fn is_left_over(path: &Path) -> io::Result<bool> {
    // A file that is not a socket is kept.
    if !std::fs::symlink_metadata(path)?.file_type().is_socket() {
        return Ok(false);
    }
    Ok(StdStream::connect(path).is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused))
}

async fn listen(listener: UnixListener, lines: mpsc::Sender<Line>) {
    // Serves one connection after the other, because commands run one after the other.
    loop {
        tokio::select! {
            accepted = listener.accept() => if let Ok((stream, _)) = accepted {
                // A client that disconnects, or sends nothing, gets no answer.
                let _ = serve(stream, &lines).await;
            },
            () = lines.closed() => return,
        }
    }
}

async fn serve(stream: UnixStream, lines: &mpsc::Sender<Line>) -> io::Result<()> {
    let (reader, mut writer) = stream.into_split();
    let mut text = String::new();
    let mut reader = BufReader::new(reader.take(MAX_LINE_BYTES));
    timeout(CLIENT_TIMEOUT, reader.read_line(&mut text)).await??;
    let (reply, answer) = oneshot::channel();
    let line = Line {
        text: text.trim_end().to_owned(),
        reply: Some(reply),
    };
    lines.send(line).await.map_err(io::Error::other)?;
    let answer = match answer.await.map_err(io::Error::other)? {
        Ok(text) => format!("ok\n{text}"),
        Err(text) => format!("error\n{text}"),
    };
    writer.write_all(answer.as_bytes()).await
}
