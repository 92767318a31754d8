//! The commands `send`, `edit`, `recall` and `react`, which send through the outbox.

use std::io::{self, Read};
use std::time::Duration;

use chat_core::client::Receive;
use chat_core::commands::Commands as _;
use chat_core::model::{ConversationRef, DraftContent, Emoji, MessageText, Seq, UserRef};

use crate::args::{Global, Modify, Send, seq};
use crate::emoji;
use crate::failure::{Failure, FailureKind};
use crate::login::LoginMode;
use crate::output::Output;
use crate::session::Session;

use super::line_sender::LineSender;
use super::sender::Sender;

/// Maximum time that a command waits for the outcome of a message, unless `--timeout` sets another.
const SEND_TIMEOUT: Duration = Duration::from_secs(10);

/// Maximum time that a message waits for the owner of the name to which it is addressed.
const NAME_TIMEOUT: Duration = Duration::from_secs(2);

pub(super) async fn send(global: &Global, args: Send, output: &mut Output) -> Result<(), Failure> {
    let (conversation, words) = args.target.split(&args.words)?;
    let text = match text_of_options(&args)? {
        Some(_) if !words.is_empty() => return Err(Failure::usage("the text is given twice")),
        Some(text) => Some(text),
        None if words.is_empty() => {
            return Err(Failure::usage(
                "the text is missing: give it after the conversation, or `-` to send each line of standard input, or \
                 `--stdin` to send all of it as one message",
            ));
        }
        None => (words != ["-"]).then(|| words.join(" ")),
    };
    let text = text.map(MessageText::new).transpose().map_err(Failure::usage)?;
    let session = Session::start(global, LoginMode::Automatic, Receive::Nothing, output).await?;
    if session.uses_agent() {
        ask_for_owner_of_name(&session, &conversation).await;
    }
    let sender = Sender::new(&session, conversation, global.timeout_or(SEND_TIMEOUT));
    let sent = match text {
        Some(text) => {
            let content = sender.build_message(text, &args).await;
            match content {
                Ok(content) => sender.send_one(content, output).await,
                Err(failure) => Err(failure),
            }
        }
        None => LineSender::new(&sender).run(output).await,
    };
    finish(session, &sent).await;
    sent
}

/// Asks the server for the user to whose name a message is addressed. From the answer, this client
/// and that of the agent, which may have run for a long time, learn that the name has another owner
/// now. Without an answer, the message goes to the owner whom they know.
async fn ask_for_owner_of_name(session: &Session, conversation: &ConversationRef) {
    if let ConversationRef::Direct(user @ UserRef::Name(_)) = conversation {
        let asking = session.client.users([user.clone()]);
        let _ = tokio::time::timeout(NAME_TIMEOUT, asking).await;
    }
}

/// Returns the text of `--text` unchanged, or that of `--stdin` or `--file` without the line break
/// at its end. Returns `None` without these options.
fn text_of_options(args: &Send) -> Result<Option<String>, Failure> {
    if args.text.is_some() {
        return Ok(args.text.clone());
    }
    let (name, input): (_, Box<dyn Read>) = match &args.file {
        Some(path) => {
            let open = std::fs::File::open(path);
            let failed = |error| Failure::usage(format!("cannot read {}: {error}", path.display()));
            (path.display().to_string(), Box::new(open.map_err(failed)?))
        }
        None if args.stdin => ("standard input".to_owned(), Box::new(io::stdin().lock())),
        None => return Ok(None),
    };
    read_text(&name, input).map(Some)
}

/// Reads a text that fits into a message, without the line break at its end.
fn read_text(name: &str, input: impl Read) -> Result<String, Failure> {
    /// Maximum length with the line break at the end.
    const MAX_BYTES: usize = MessageText::MAX_BYTES + 2;
    // One byte more shows that the text is too long, and the rest need not be read.
    let mut bytes = Vec::new();
    let read = input.take(MAX_BYTES as u64 + 1).read_to_end(&mut bytes);
    read.map_err(|error| Failure::usage(format!("cannot read {name}: {error}")))?;
    // The error cannot tell the length of the text, because only its beginning was read.
    let too_long = || {
        let max = MessageText::MAX_BYTES;
        Failure::usage(format!("{name} is too long: a message has at most {max} bytes"))
    };
    if bytes.len() > MAX_BYTES {
        return Err(too_long());
    }
    let text = String::from_utf8(bytes);
    let mut text = text.map_err(|_| Failure::usage(format!("cannot read {name}: it is not valid UTF-8")))?;
    let end = text
        .strip_suffix('\n')
        .map_or(text.len(), |line| line.strip_suffix('\r').unwrap_or(line).len());
    text.truncate(end);
    if text.len() > MessageText::MAX_BYTES {
        return Err(too_long());
    }
    Ok(text)
}

/// Closes the session, without waiting again for a message that stays in the outbox.
async fn finish(session: Session, sent: &Result<(), Failure>) {
    match sent {
        Err(failure) if failure.kind == FailureKind::Queued => session.close().await,
        _ => session.finish().await,
    }
}

pub(super) async fn edit(global: &Global, args: &Modify, output: &mut Output) -> Result<(), Failure> {
    send_change(global, args, output, |target, words| {
        let text = MessageText::new(words.join(" ")).map_err(Failure::usage)?;
        Ok(DraftContent::Edit { target, text })
    })
    .await
}

pub(super) async fn recall(global: &Global, args: &Modify, output: &mut Output) -> Result<(), Failure> {
    send_change(global, args, output, |target, words| match words {
        [] => Ok(DraftContent::Recall { target }),
        _ => Err(Failure::usage(
            "recall takes a conversation and the number of a message",
        )),
    })
    .await
}

pub(super) async fn react(global: &Global, args: &Modify, remove: bool, output: &mut Output) -> Result<(), Failure> {
    send_change(global, args, output, |target, words| {
        let text = words.join(" ");
        let emoji =
            emoji::resolve(&text).ok_or_else(|| Failure::usage(format!("{text} is not the name of an emoji")))?;
        let emoji = Emoji::new(emoji).map_err(Failure::usage)?;
        Ok(DraftContent::React { target, emoji, remove })
    })
    .await
}

/// Sends an edit, recall or reaction. `build_content` gets the number of the message, and the words
/// after it.
async fn send_change(
    global: &Global,
    args: &Modify,
    output: &mut Output,
    build_content: impl FnOnce(Seq, &[String]) -> Result<DraftContent, Failure>,
) -> Result<(), Failure> {
    let (conversation, words) = args.target.split(&args.words)?;
    let [target, rest @ ..] = words else {
        return Err(Failure::usage(
            "the number of the message is missing; `history` prints the numbers",
        ));
    };
    let content = build_content(seq(target)?, rest)?;
    let session = Session::start(global, LoginMode::Automatic, Receive::Nothing, output).await?;
    let sender = Sender::new(&session, conversation, global.timeout_or(SEND_TIMEOUT));
    let sent = sender.send_one(content, output).await;
    finish(session, &sent).await;
    sent
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_longer_than_a_message_is_refused_and_not_cut() {
        let read = |text: &str| read_text("input", text.as_bytes()).map_err(|failure| failure.text);
        let longest = "x".repeat(MessageText::MAX_BYTES);
        assert_eq!(read(&format!("{longest}\r\n")), Ok(longest.clone()));
        let refused = read(&format!("{longest}\r\nmore")).unwrap_err();
        assert!(refused.contains("too long"), "{refused}");
        // The bytes that are read end inside a character.
        let refused = read(&"\u{20ac}".repeat(MessageText::MAX_BYTES)).unwrap_err();
        assert!(refused.contains("too long"), "{refused}");
        assert!(read_text("input", &b"\xff"[..]).is_err());
    }
}
