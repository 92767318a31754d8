//! Parser of typed lines, and the help of the commands. It depends on neither terminals nor
//! servers.

mod usages;

use chat_core::model::{Role, Seq};

pub(super) use usages::{Completes, USAGES};

/// A parsed line of input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// The line is empty or has only white space.
    Empty,
    /// A text to send to the current conversation.
    Text(String),
    /// A slash command.
    Action(Action),
    /// An invalid command, with the reason.
    Invalid(String),
}

/// Slash command with its arguments: users and groups as they were typed, times in milliseconds.
/// Without a number, `Edit` and `Recall` mean the user's last message, and `React` the last message
/// of any member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Help,
    Quit,
    List,
    Who,
    Friends,
    Devices,
    Dm(String, Option<String>),
    Open(String),
    Join(String),
    Leave(Option<String>),
    Create(String),
    Invite(String),
    Kick(String),
    Ban(String),
    Unban(String),
    Mute(String, u64),
    Approve(String),
    Reject(String),
    Role(String, Role),
    Transfer(String),
    /// Without a text, the description of the group is printed.
    Topic(Option<String>),
    Rename(String),
    Members,
    Add(String, String),
    Accept(String),
    Decline(String),
    Remove(String),
    Block(String),
    Unblock(String),
    History(u32),
    Read,
    Inbox,
    Edit(Option<Seq>, String),
    Recall(Option<Seq>),
    React(Option<Seq>, String),
    Reply(Seq, String),
    Me(String),
    Search(String),
    Name(String),
    Passwd,
}

/// Prefix of a line that is sent as a text beginning with one slash, and not executed as a command.
const LITERAL_SLASH: &str = "//";
/// Number of events that `/history` prints without an argument.
const DEFAULT_HISTORY: u32 = 20;
/// Maximum number of events that `/history` prints.
pub(super) const MAX_HISTORY: u32 = 500;

/// Parses a line, or a pasted text of several lines.
pub(super) fn parse(line: &str) -> Line {
    let line = line.trim_end();
    if line.trim().is_empty() {
        return Line::Empty;
    }
    if line.starts_with(LITERAL_SLASH) {
        return Line::Text(line[1..].to_owned());
    }
    if !line.starts_with('/') {
        return Line::Text(line.to_owned());
    }
    let (first, pasted) = line
        .split_once('\n')
        .map_or((line, None), |(first, rest)| (first, Some(rest)));
    let (name, rest) = split(first.trim_end());
    match (command(name, rest), pasted) {
        (None, _) => Line::Invalid(explain(name)),
        (Some(command), None) => Line::Action(command),
        (Some(command), Some(more)) => match with_lines(command, more) {
            Some(command) => Line::Action(command),
            None => Line::Invalid(format!(
                "the pasted text begins with the command {name} and has {} lines, so that nothing was executed; paste \
                 one command at a time, or write a second / before it to send it as a text",
                line.lines().count()
            )),
        },
    }
}

/// Returns whether a line is sent as a message. `is_open` is `true` if a conversation is open.
pub(super) fn is_message(line: &str, is_open: bool) -> bool {
    match parse(line) {
        Line::Text(_) | Line::Action(Action::Reply(..) | Action::Me(_)) => is_open,
        Line::Action(Action::Dm(_, text)) => text.is_some(),
        _ => false,
    }
}

/// Adds further lines to the text of a command, or returns `None` if the command neither sends a
/// message nor edits one: the lines may be other commands.
fn with_lines(command: Action, lines: &str) -> Option<Action> {
    let join = |text: String| format!("{text}\n{lines}");
    Some(match command {
        Action::Dm(user, Some(text)) => Action::Dm(user, Some(join(text))),
        Action::Edit(target, text) => Action::Edit(target, join(text)),
        Action::Reply(target, text) => Action::Reply(target, join(text)),
        Action::Me(text) => Action::Me(join(text)),
        _ => return None,
    })
}

/// Returns the usage of a command, or says that the command does not exist.
fn explain(name: &str) -> String {
    let main_name = match name {
        "/msg" => "/dm",
        "/?" => "/help",
        "/exit" => "/quit",
        name => name,
    };
    match USAGES.iter().find(|usage| usage.name == main_name) {
        Some(usage) => format!("{} {}: {}", usage.name, usage.arguments, usage.help),
        None => {
            format!("{name} is not a command; /help lists the commands, and // sends a text that begins with a slash")
        }
    }
}

/// Returns the action of a command, or `None` if the command does not exist or an argument is
/// invalid.
fn command(name: &str, rest: &str) -> Option<Action> {
    let one_word = || word(rest);
    if let Some(action) = without_arguments(name) {
        return rest.is_empty().then_some(action);
    }
    Some(match name {
        "/dm" | "/msg" => {
            let (user, text) = first_word(rest)?;
            Action::Dm(user, (!text.is_empty()).then(|| text.to_owned()))
        }
        "/group" => Action::Open(non_empty(rest)?),
        "/join" => Action::Join(non_empty(rest)?),
        "/leave" => Action::Leave(non_empty(rest)),
        "/create" => Action::Create(non_empty(rest)?),
        "/invite" => Action::Invite(one_word()?),
        "/approve" => Action::Approve(one_word()?),
        "/reject" => Action::Reject(one_word()?),
        "/kick" => Action::Kick(one_word()?),
        "/ban" => Action::Ban(one_word()?),
        "/unban" => Action::Unban(one_word()?),
        "/role" => {
            let (user, name) = first_word(rest)?;
            Action::Role(user, role(name)?)
        }
        "/transfer" => Action::Transfer(one_word()?),
        "/topic" => Action::Topic(non_empty(rest)),
        "/rename" => Action::Rename(non_empty(rest)?),
        "/me" => Action::Me(non_empty(rest)?),
        "/name" => Action::Name(non_empty(rest)?),
        "/mute" => {
            let (user, time) = first_word(rest)?;
            Action::Mute(user, crate::args::duration_ms(time).ok()?)
        }
        "/add" => {
            let (user, note) = first_word(rest)?;
            Action::Add(user, note.to_owned())
        }
        "/accept" => Action::Accept(one_word()?),
        "/decline" => Action::Decline(one_word()?),
        "/remove" => Action::Remove(one_word()?),
        "/block" => Action::Block(one_word()?),
        "/unblock" => Action::Unblock(one_word()?),
        "/search" => Action::Search(non_empty(rest)?),
        "/history" if rest.is_empty() => Action::History(DEFAULT_HISTORY),
        "/history" => Action::History(rest.parse().ok().filter(|count| (1..=MAX_HISTORY).contains(count))?),
        "/reply" => {
            let (target, text) = split(rest);
            Action::Reply(seq(target)?, non_empty(text)?)
        }
        "/edit" => {
            let (target, text) = split_target(rest)?;
            Action::Edit(target, non_empty(text)?)
        }
        "/recall" if rest.is_empty() => Action::Recall(None),
        "/recall" => Action::Recall(Some(seq(rest)?)),
        "/react" => {
            let (target, emoji) = split_target(rest)?;
            Action::React(target, non_empty(emoji)?)
        }
        _ => return None,
    })
}

/// Returns the action of a command that takes no arguments.
fn without_arguments(name: &str) -> Option<Action> {
    Some(match name {
        "/help" | "/?" => Action::Help,
        "/quit" | "/exit" => Action::Quit,
        "/list" => Action::List,
        "/who" => Action::Who,
        "/friends" => Action::Friends,
        "/devices" => Action::Devices,
        "/members" => Action::Members,
        "/read" => Action::Read,
        "/inbox" => Action::Inbox,
        "/passwd" => Action::Passwd,
        _ => return None,
    })
}

/// Splits off the first word; returns it and the rest.
fn split(text: &str) -> (&str, &str) {
    match text.split_once(char::is_whitespace) {
        Some((first, rest)) => (first, rest.trim_start()),
        None => (text, ""),
    }
}

fn first_word(text: &str) -> Option<(String, &str)> {
    let (first, rest) = split(text);
    (!first.is_empty()).then(|| (first.to_owned(), rest))
}

/// Returns the text if it is exactly one word.
fn word(text: &str) -> Option<String> {
    let (first, rest) = split(text);
    (!first.is_empty() && rest.is_empty()).then(|| first.to_owned())
}

fn non_empty(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

/// Splits off a leading message number; returns it and the rest. A number without text after it is
/// text, not a message number. Returns `None` if the number is out of range.
fn split_target(text: &str) -> Option<(Option<Seq>, &str)> {
    let (first, rest) = split(text);
    let digits = first.strip_prefix('#').unwrap_or(first);
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    if is_number && !rest.is_empty() {
        Some((Some(seq(first)?), rest))
    } else {
        Some((None, text))
    }
}

/// Returns a role that can be given to a member.
fn role(name: &str) -> Option<Role> {
    match name {
        "admin" => Some(Role::Admin),
        "member" => Some(Role::Member),
        _ => None,
    }
}

fn seq(text: &str) -> Option<Seq> {
    crate::args::seq(text).ok()
}

#[cfg(test)]
mod tests;
