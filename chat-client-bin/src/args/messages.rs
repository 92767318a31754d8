//! Arguments about conversations and messages.

use chat_core::model::{ConversationId, ConversationRef, DirectPolicy, GroupName, Seq, UserId, UserName, UserRef};
use clap::{Args, ValueEnum};

use crate::failure::Failure;

/// No id and no place is larger: stores keep them as signed integers.
const LARGEST: u64 = i64::MAX.cast_unsigned();

/// Which conversation, in front of the other words.
#[derive(Debug, Clone, Args)]
pub(crate) struct Target {
    /// In this group, by name or #ID, instead of with a user
    #[arg(long, short = 'g', value_name = "NAME")]
    pub(crate) group: Option<String>,
}

impl Target {
    /// The conversation, and the words after it.
    pub(crate) fn split<'a>(&self, words: &'a [String]) -> Result<(ConversationRef, &'a [String]), Failure> {
        if let Some(group) = &self.group {
            return Ok((group_ref(group)?, words));
        }
        match words {
            [user, rest @ ..] => Ok((ConversationRef::Direct(user_ref(user)?), rest)),
            [] => Err(Failure::usage("say which conversation: a user, or --group NAME")),
        }
    }
}

/// A user by name or id.
pub(crate) fn user_ref(text: &str) -> Result<UserRef, Failure> {
    if is_number(text) {
        return Ok(UserRef::Id(UserId(number(text)?)));
    }
    let name = UserName::parse_any(text).map_err(|error| Failure::usage(format!("{text:?}: {error}")))?;
    Ok(UserRef::Name(name))
}

/// A group by name, or by `#` and its id.
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
        Ok(number @ 1..=LARGEST) => Ok(number),
        _ => Err(Failure::usage(format!("no id is {digits}"))),
    }
}

/// A place in a conversation.
pub(crate) fn seq(text: &str) -> Result<Seq, Failure> {
    let digits = text.strip_prefix('#').unwrap_or(text);
    match digits.parse() {
        Ok(number @ 1..=LARGEST) => Ok(Seq(number)),
        _ => Err(Failure::usage(format!(
            "{text:?} is no message; give its number, as history prints it"
        ))),
    }
}

#[derive(Debug, Args)]
pub(crate) struct Send {
    #[command(flatten)]
    pub(crate) target: Target,
    /// The user (not with --group), then the text; several words are joined by spaces; - sends each line of the input
    #[arg(required = true, value_name = "USER> <TEXT")]
    pub(crate) words: Vec<String>,
    /// The message this one answers
    #[arg(long, value_name = "SEQ", value_parser = clap::value_parser!(u64).range(1..=LARGEST))]
    pub(crate) reply_to: Option<u64>,
    /// Call on a member; may be given again
    #[arg(long, value_name = "USER")]
    pub(crate) mention: Vec<String>,
    /// Call on everybody (admins only)
    #[arg(long)]
    pub(crate) mention_all: bool,
    /// Wait so many seconds for the server before leaving the message in the outbox
    #[arg(long, value_name = "SECONDS", default_value_t = 10.0, value_parser = seconds)]
    pub(crate) timeout: f64,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct Listen {
    /// Stop after so many lines
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) count: Option<u64>,
    /// Stop after so many seconds; with --count, too few by then are a failure (75)
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub(crate) timeout: Option<f64>,
    /// Begin with the first event of every conversation, own messages included
    #[arg(long)]
    pub(crate) from_start: bool,
    /// Also print messages that were sent from this device
    #[arg(long)]
    pub(crate) own: bool,
    /// Print everything that happens, not only messages and their edits, recalls and reactions: joins, roles, requests …
    #[arg(long)]
    pub(crate) all: bool,
}

#[derive(Debug, Args)]
pub(crate) struct History {
    #[command(flatten)]
    pub(crate) target: Target,
    /// The user (not with --group)
    #[arg(value_name = "USER")]
    pub(crate) words: Vec<String>,
    /// Events after this one, the oldest first
    #[arg(long, value_name = "SEQ", conflicts_with = "before", value_parser = clap::value_parser!(u64).range(..=LARGEST))]
    pub(crate) after: Option<u64>,
    /// Events before this one; without --after and --before: the newest
    #[arg(long, value_name = "SEQ", value_parser = clap::value_parser!(u64).range(..=LARGEST))]
    pub(crate) before: Option<u64>,
    /// At most so many. Default: 50, with --after all
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) limit: Option<u64>,
}

#[derive(Debug, Args)]
pub(crate) struct Read {
    #[command(flatten)]
    pub(crate) target: Target,
    /// The user (not with --group)
    #[arg(value_name = "USER")]
    pub(crate) words: Vec<String>,
    /// Up to this message. Default: all
    #[arg(long, value_name = "SEQ", value_parser = clap::value_parser!(u64).range(..=LARGEST))]
    pub(crate) up_to: Option<u64>,
}

/// Something about a message that is there already.
#[derive(Debug, Args)]
pub(crate) struct Touch {
    #[command(flatten)]
    pub(crate) target: Target,
    /// The user (not with --group), the message's number, and what to do with it
    #[arg(required = true, value_name = "USER> <SEQ> <WHAT")]
    pub(crate) words: Vec<String>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum DirectArg {
    Friends,
    Everyone,
}

impl From<DirectArg> for DirectPolicy {
    fn from(policy: DirectArg) -> Self {
        match policy {
            DirectArg::Friends => Self::Friends,
            DirectArg::Everyone => Self::Everyone,
        }
    }
}

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(seconds) if (0.0..=1e9).contains(&seconds) => Ok(seconds),
        _ => Err("not a number of seconds".to_owned()),
    }
}
