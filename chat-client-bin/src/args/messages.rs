//! Arguments of the commands about conversations and messages.

use std::path::PathBuf;

use chat_core::model::{ConversationId, ConversationRef, DirectPolicy, GroupName, Seq, UserId, UserName, UserRef};
use clap::{Args, ValueEnum};

use crate::failure::Failure;

/// Largest id and sequence number: the server stores them as signed 64-bit integers.
const MAX_ID: u64 = i64::MAX.cast_unsigned();

/// Selection of a conversation: `--group`, or a user as the first word.
#[derive(Debug, Clone, Args)]
pub(crate) struct Target {
    /// Use this group (name or #ID) instead of the conversation with a user
    #[arg(long, short = 'g', value_name = "NAME")]
    pub(crate) group: Option<String>,
}

impl Target {
    /// Returns the conversation and the words after it.
    pub(crate) fn split<'a>(&self, words: &'a [String]) -> Result<(ConversationRef, &'a [String]), Failure> {
        if let Some(group) = &self.group {
            return Ok((group_ref(group)?, words));
        }
        match words {
            [user, rest @ ..] => Ok((ConversationRef::Direct(user_ref(user)?), rest)),
            [] => Err(Failure::usage(
                "the conversation is missing: give a user, or --group NAME",
            )),
        }
    }
}

/// Parses a user name, or an id with or without `#` before it.
pub(crate) fn user_ref(text: &str) -> Result<UserRef, Failure> {
    let id = text.strip_prefix('#').unwrap_or(text);
    if is_number(id) {
        return Ok(UserRef::Id(UserId(number(id)?)));
    }
    let name = UserName::parse_any(text).map_err(|error| Failure::usage(format!("{text:?}: {error}")))?;
    Ok(UserRef::Name(name))
}

/// Parses a group name, or `#` followed by its id.
pub(crate) fn group_ref(text: &str) -> Result<ConversationRef, Failure> {
    if let Some(id) = text.strip_prefix('#').filter(|id| is_number(id)) {
        return Ok(ConversationRef::Id(ConversationId(number(id)?)));
    }
    let name = GroupName::parse_any(text).map_err(|error| Failure::usage(format!("{text:?}: {error}")))?;
    Ok(ConversationRef::Group(name))
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn number(digits: &str) -> Result<u64, Failure> {
    match digits.parse() {
        Ok(number @ 1..=MAX_ID) => Ok(number),
        _ => Err(Failure::usage(format!(
            "{digits} is not an id; ids are between 1 and {MAX_ID}"
        ))),
    }
}

/// Parses the number of a message, with or without `#`.
pub(crate) fn seq(text: &str) -> Result<Seq, Failure> {
    let digits = text.strip_prefix('#').unwrap_or(text);
    match digits.parse() {
        Ok(number @ 1..=MAX_ID) => Ok(Seq(number)),
        _ => Err(Failure::usage(format!(
            "{text:?} is not a message number; `history` prints the numbers"
        ))),
    }
}

#[derive(Debug, Args)]
pub(crate) struct Send {
    #[command(flatten)]
    pub(crate) target: Target,
    /// User (not with --group), then the text; words are joined by spaces; - sends each line of
    /// standard input
    // clap puts the value name in angle brackets, so the help shows `<USER> <TEXT>`.
    #[arg(required_unless_present_any = ["text", "stdin", "file"], value_name = "USER> <TEXT")]
    pub(crate) words: Vec<String>,
    /// Send this text, even if it is -
    #[arg(long, value_name = "TEXT", conflicts_with_all = ["stdin", "file"], allow_hyphen_values = true)]
    pub(crate) text: Option<String>,
    /// Send all of standard input as one message
    #[arg(long, conflicts_with = "file")]
    pub(crate) stdin: bool,
    /// Send the content of a file as one message
    #[arg(long, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// Number of the message that is replied to
    #[arg(long, value_name = "SEQ", value_parser = clap::value_parser!(u64).range(1..=MAX_ID))]
    pub(crate) reply_to: Option<u64>,
    /// Mention a member; may be repeated
    #[arg(long, value_name = "USER")]
    pub(crate) mention: Vec<String>,
    /// Mention all members (only for admins and the owner)
    #[arg(long)]
    pub(crate) mention_all: bool,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct Listen {
    /// Print the events of the conversation with this user only [default: all conversations]
    #[arg(value_name = "USER", conflicts_with = "group")]
    pub(crate) peer: Option<String>,
    /// Print the events of this group (name or #ID) only
    #[arg(long, short = 'g', value_name = "NAME")]
    pub(crate) group: Option<String>,
    /// Print what this device has not seen yet, and exit
    #[arg(long)]
    pub(crate) new: bool,
    /// Print the events of the last TIME (90s, 10m, 2h, 1d) first, seen or not
    #[arg(long, value_name = "TIME", value_parser = super::duration_ms, conflicts_with = "from_start")]
    pub(crate) since: Option<u64>,
    /// Stop after N events; if fewer arrive before --timeout, fail (exit code 75)
    #[arg(long, value_name = "N", value_parser = count)]
    pub(crate) count: Option<u64>,
    /// Start with the first event of every conversation, and also print events sent from this
    /// device
    #[arg(long)]
    pub(crate) from_start: bool,
    /// Also print events sent from this device
    #[arg(long)]
    pub(crate) own: bool,
    /// Print all events (joins, roles, requests …), not only messages, edits, recalls and reactions
    #[arg(long)]
    pub(crate) all: bool,
}

#[derive(Debug, Args)]
pub(crate) struct History {
    #[command(flatten)]
    pub(crate) target: Target,
    /// User (not with --group)
    #[arg(value_name = "USER")]
    pub(crate) words: Vec<String>,
    /// Print the events after event SEQ, oldest first
    #[arg(long, value_name = "SEQ", conflicts_with = "before", value_parser = clap::value_parser!(u64).range(..=MAX_ID))]
    pub(crate) after: Option<u64>,
    /// Print the newest events before event SEQ [default: the newest events of the conversation]
    #[arg(long, value_name = "SEQ", value_parser = clap::value_parser!(u64).range(..=MAX_ID))]
    pub(crate) before: Option<u64>,
    /// Maximum number of events [default: 50; no limit with --after]
    #[arg(long, value_name = "N", value_parser = count)]
    pub(crate) limit: Option<u64>,
}

#[derive(Debug, Args)]
pub(crate) struct Read {
    #[command(flatten)]
    pub(crate) target: Target,
    /// User (not with --group)
    #[arg(value_name = "USER")]
    pub(crate) words: Vec<String>,
    /// Last message to mark as read [default: the newest]
    #[arg(long, value_name = "SEQ", value_parser = clap::value_parser!(u64).range(..=MAX_ID))]
    pub(crate) up_to: Option<u64>,
}

/// Arguments of a command that changes or reacts to an existing message.
#[derive(Debug, Args)]
pub(crate) struct Modify {
    #[command(flatten)]
    pub(crate) target: Target,
    /// User (not with --group), number of the message, and the text (edit) or emoji (react)
    // The help shows `<USER> <SEQ> <TEXT>`.
    #[arg(required = true, value_name = "USER> <SEQ> <TEXT")]
    pub(crate) words: Vec<String>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum DirectArg {
    /// Friends only
    Friends,
    /// Everyone, unless one of you has blocked the other
    Everyone,
    /// Friends, and users to whom you have written
    Replies,
}

impl From<DirectArg> for DirectPolicy {
    fn from(policy: DirectArg) -> Self {
        match policy {
            DirectArg::Friends => Self::Friends,
            DirectArg::Everyone => Self::Everyone,
            DirectArg::Replies => Self::Replies,
        }
    }
}

/// Parses a number of events.
pub(super) fn count(text: &str) -> Result<u64, String> {
    match text.parse() {
        Ok(count @ 1..) => Ok(count),
        _ => Err("not a number of events; the least is 1".to_owned()),
    }
}

/// Parses a number of seconds, which may have a fraction.
pub(super) fn seconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(seconds) if (0.0..=1e9).contains(&seconds) => Ok(seconds),
        _ => Err("not a number of seconds between 0 and 1000000000".to_owned()),
    }
}
