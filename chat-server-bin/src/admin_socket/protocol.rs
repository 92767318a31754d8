//! Requests and replies of the admin socket, and the lines that carry them.

use std::io;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufRead, AsyncBufReadExt as _, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use zeroize::Zeroizing;

use crate::args::OperatorArgs;
use crate::operator::{Call, sudo_user};

/// Version of the protocol. It changes when a request or a reply changes its meaning.
pub(super) const VERSION: u32 = 1;
/// Maximum size of a request, in bytes.
pub(super) const MAX_REQUEST_BYTES: u64 = 64 << 10;
/// Maximum size of a reply, in bytes. The longest is a row with the members of a large group.
pub(super) const MAX_REPLY_BYTES: u64 = 64 << 20;

/// Command of an operator, and the options with which it was called.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Request {
    version: u32,
    /// True if the output is JSON.
    pub(super) json: bool,
    /// Name for the audit log; `None` stands for the login name of the peer.
    pub(super) operator: Option<String>,
    /// User who called `sudo`, as the peer reports it.
    pub(super) sudo_user: Option<String>,
    /// Store that the command is configured for. The server refuses a request for another store
    /// than its own; `None` stands for the store of the server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) store: Option<String>,
    #[serde(flatten)]
    pub(super) call: Call,
}

/// Part of a request that every version has.
#[derive(Debug, Deserialize)]
struct Header {
    version: u32,
}

/// Part of an answer, on one line of the connection. The last part is `Done`, `Failed` or
/// `Unavailable`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Reply {
    /// Row of what the command has read: lines of text, or a JSON object.
    Row(String),
    /// Result of a change. If it cannot be printed, the error message of the program contains it,
    /// unless the reader of standard output has closed the pipe.
    Result(String),
    /// The command succeeded.
    Done,
    /// The command failed. Exit code 1.
    Failed(String),
    /// The command failed, and may work later. Exit code 69.
    Unavailable(String),
}

impl Request {
    pub(crate) fn new(arguments: &OperatorArgs, store: Option<String>, call: Call) -> Self {
        Self {
            version: VERSION,
            json: arguments.json,
            operator: arguments.operator.clone(),
            sudo_user: sudo_user(),
            store,
            call,
        }
    }

    /// Parses a line. The error is a sentence for the operator.
    pub(super) fn parse(line: &[u8]) -> Result<Self, String> {
        let header: Header =
            serde_json::from_slice(line).map_err(|error| format!("the request is malformed: {error}"))?;
        if header.version != VERSION {
            return Err(format!(
                "the running server speaks version {VERSION} of the admin protocol, this program version {}; run the \
                 program of the server's release, or restart the server with this release",
                header.version
            ));
        }
        serde_json::from_slice(line)
            .map_err(|error| format!("the running server does not know this command, or not in this form: {error}"))
    }
}

/// Reads a line of at most `max` bytes, and returns it with its line feed, which counts too.
/// Returns `None` at the end of the stream.
///
/// # Errors
/// The line is longer ([`io::ErrorKind::InvalidData`]), the stream ends within the line, or it
/// cannot be read.
pub(super) async fn read_line(
    reader: &mut (impl AsyncBufRead + Unpin),
    max: u64,
) -> io::Result<Option<Zeroizing<Vec<u8>>>> {
    let mut line = Zeroizing::new(Vec::new());
    reader.take(max).read_until(b'\n', &mut line).await?;
    match line.last() {
        Some(b'\n') => Ok(Some(line)),
        None => Ok(None),
        Some(_) if line.len() as u64 == max => Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("a line is longer than {} KiB", max >> 10),
        )),
        Some(_) => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

/// Reads an object on a line. Returns `None` at the end of the stream.
///
/// # Errors
/// As for [`read_line`]; or the line is not JSON of the type `T`.
pub(super) async fn read<T: DeserializeOwned>(
    reader: &mut (impl AsyncBufRead + Unpin),
    max: u64,
) -> io::Result<Option<T>> {
    let line = read_line(reader, max).await?;
    let parsed = line.map(|line| serde_json::from_slice(&line));
    parsed.transpose().map_err(io::Error::from)
}

/// Writes an object on a line.
pub(super) async fn write(writer: &mut (impl AsyncWrite + Unpin), object: &impl Serialize) -> io::Result<()> {
    let mut line = Zeroizing::new(serde_json::to_vec(object)?);
    line.push(b'\n');
    writer.write_all(&line).await
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Programs of other releases with the same [`VERSION`] write and expect this JSON.
    #[test]
    fn user_rename_and_the_replies_done_and_row_have_a_fixed_json_form() {
        let text = json!({
            "version": 1, "json": true, "operator": "carol", "sudo_user": null,
            "command": "user_rename", "user": "alice", "name": "alicia",
        });
        let request = Request::parse(text.to_string().as_bytes()).unwrap();
        assert!(matches!(&request.call, Call::UserRename { user, name } if user == "alice" && name == "alicia"));
        assert_eq!(serde_json::to_value(&request).unwrap(), text);
        assert_eq!(serde_json::to_value(Reply::Done).unwrap(), json!("done"));
        assert_eq!(
            serde_json::to_value(Reply::Row("a".to_owned())).unwrap(),
            json!({ "row": "a" })
        );
    }

    #[test]
    fn other_version_unknown_command_and_malformed_request_are_refused_with_a_reason() {
        let refused = Request::parse(br#"{"version":2,"command":"user_show"}"#).unwrap_err();
        assert!(
            refused.contains("version 1") && refused.contains("version 2"),
            "{refused}"
        );
        let unknown = br#"{"version":1,"json":false,"operator":null,"sudo_user":null,"command":"dance"}"#;
        assert!(Request::parse(unknown).unwrap_err().contains("does not know"));
        assert!(Request::parse(b"hello\n").unwrap_err().contains("malformed"));
    }

    #[test]
    fn password_is_hidden_in_debug_output() {
        let text = br#"{"version":1,"json":false,"operator":null,"sudo_user":null,"command":"user_passwd","user":"alice","password":"open sesame"}"#;
        let request = Request::parse(text).unwrap();
        assert!(!format!("{request:?}").contains("sesame"));
        assert!(serde_json::to_string(&request).unwrap().contains("open sesame"));
    }

    #[tokio::test]
    async fn overlong_and_incomplete_lines_are_errors() {
        let mut short: &[u8] = b"abc\nde";
        assert_eq!(read_line(&mut short, 4).await.unwrap().unwrap().as_slice(), b"abc\n");
        let cut = read_line(&mut short, 4).await.unwrap_err();
        assert_eq!(cut.kind(), io::ErrorKind::UnexpectedEof);
        let mut long: &[u8] = b"abcd\n";
        let refused = read_line(&mut long, 4).await.unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::InvalidData);
        assert!(read_line(&mut &b""[..], 4).await.unwrap().is_none());
    }
}
