//! [`Console`]: a running program is told things, a line each, by whoever started it and by others.
//!
//! Others connect to a socket in the file system, say one line, and read the answer: its first line is `ok` or `error`, the rest is text.

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

/// Longest line.
const LINE: u64 = 4096;
/// Lines that wait.
const WAITING: usize = 16;
/// Whoever connects says something within this time.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a line comes to: what to print, or what is wrong.
pub type Answer = Result<String, String>;

/// Where lines come from. Dropping it removes the socket.
#[derive(Debug)]
pub struct Console {
    lines: mpsc::Receiver<Line>,
    socket: Option<(PathBuf, JoinHandle<()>)>,
}

/// Something that was said.
#[derive(Debug)]
pub struct Line {
    /// Without the line's end.
    pub text: String,
    asker: Option<oneshot::Sender<Answer>>,
}

impl Line {
    /// Answers: on this process's output, or to whoever connected.
    pub fn answer(self, answer: Answer) {
        match (self.asker, answer) {
            // They may not wait for it any more.
            (Some(asker), answer) => drop(asker.send(answer)),
            (None, Ok(text)) if text.is_empty() => println!("ok"),
            (None, Ok(text)) => println!("{}", text.trim_end()),
            (None, Err(text)) => eprintln!("error: {text}"),
        }
    }
}

impl Console {
    /// Listens to this process's input, and to a socket of this name, if there is one.
    ///
    /// # Errors
    /// Somebody else listens there, or the operating system's.
    pub fn open(socket: Option<&Path>) -> io::Result<Self> {
        let (sender, lines) = mpsc::channel(WAITING);
        let socket = match socket {
            None => None,
            Some(path) => {
                let listener = bind(path)?;
                let others = tokio::spawn(listen(listener, sender.clone()));
                Some((path.to_owned(), others))
            }
        };
        // Reading blocks, and nothing can interrupt it: the thread ends with the process.
        thread::Builder::new().name("console".into()).spawn(move || {
            for text in io::stdin().lock().lines().map_while(Result::ok) {
                if sender.blocking_send(Line { text, asker: None }).is_err() {
                    return;
                }
            }
        })?;
        Ok(Self { lines, socket })
    }

    /// The next line that is not empty; waits for ever if there is nobody left to say one.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub async fn next(&mut self) -> Line {
        loop {
            match self.lines.recv().await {
                Some(line) if line.text.trim().is_empty() => line.answer(Ok(String::new())),
                Some(line) => return line,
                None => std::future::pending().await,
            }
        }
    }

    /// Lets whoever was answered last have the answer, and listens no more.
    pub async fn close(mut self) {
        self.lines.close();
        if let Some((_, others)) = &mut self.socket {
            // They may be gone, or not read.
            let _ = timeout(PATIENCE, others).await;
        }
    }
}

impl Drop for Console {
    fn drop(&mut self) {
        if let Some((path, others)) = self.socket.take() {
            others.abort();
            // Whoever removed it before wanted the same.
            let _ = std::fs::remove_file(path);
        }
    }
}

/// Says a line to the program that listens to this socket.
///
/// # Errors
/// Nobody listens there, or does not answer.
pub fn tell(socket: &Path, line: &str) -> io::Result<Answer> {
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

/// Whether this is a socket that nobody listens to: one of a process that was killed.
fn is_left_over(path: &Path) -> io::Result<bool> {
    // Others have files too.
    if !std::fs::symlink_metadata(path)?.file_type().is_socket() {
        return Ok(false);
    }
    Ok(StdStream::connect(path).is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused))
}

async fn listen(listener: UnixListener, lines: mpsc::Sender<Line>) {
    // One after the other: so are their commands.
    loop {
        tokio::select! {
            accepted = listener.accept() => if let Ok((stream, _)) = accepted {
                // Whoever goes away, or says nothing, gets no answer.
                let _ = serve(stream, &lines).await;
            },
            () = lines.closed() => return,
        }
    }
}

async fn serve(stream: UnixStream, lines: &mpsc::Sender<Line>) -> io::Result<()> {
    let (reader, mut writer) = stream.into_split();
    let mut text = String::new();
    let mut reader = BufReader::new(reader.take(LINE));
    timeout(PATIENCE, reader.read_line(&mut text)).await??;
    let (asker, answer) = oneshot::channel();
    let line = Line {
        text: text.trim_end().to_owned(),
        asker: Some(asker),
    };
    lines.send(line).await.map_err(io::Error::other)?;
    let answer = match answer.await.map_err(io::Error::other)? {
        Ok(text) => format!("ok\n{text}"),
        Err(text) => format!("error\n{text}"),
    };
    writer.write_all(answer.as_bytes()).await
}
