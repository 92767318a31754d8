//! What a typed line means. Knows nothing of terminals or servers.

use chat_core::model::Seq;

/// A line of input, understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// Nothing was typed.
    Empty,
    /// To be sent to the present conversation.
    Say(String),
    /// A command.
    Do(Do),
    /// Not understood; says why.
    Wrong(String),
}

/// Everything that can be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Do {
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
    Mute(String, u64),
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
    Search(String),
}

/// A command for people: how it is written and what it does.
pub(super) struct Usage {
    pub(super) name: &'static str,
    pub(super) arguments: &'static str,
    pub(super) help: &'static str,
    /// What Tab completes after it.
    pub(super) completes: Completes,
}

/// What can follow a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Completes {
    Nothing,
    Users,
    Groups,
}

macro_rules! usages {
    ($($name:literal $arguments:literal $completes:ident $help:literal,)*) => {
        /// Every command, in the order of the help.
        pub(super) const USAGES: &[Usage] = &[
            $(Usage { name: $name, arguments: $arguments, help: $help, completes: Completes::$completes },)*
        ];
    };
}

usages! {
    "/dm" "USER [TEXT]" Users "talk to somebody; with TEXT only send it",
    "/group" "NAME" Groups "talk in a group you are in",
    "/list" "" Nothing "your conversations, with unread counts",
    "/history" "[N]" Nothing "what was said here, the last N (20)",
    "/read" "" Nothing "mark this conversation as read",
    "/reply" "SEQ TEXT" Nothing "answer message #SEQ",
    "/edit" "[SEQ] TEXT" Nothing "change your message #SEQ, or your last one",
    "/recall" "[SEQ]" Nothing "take your message #SEQ back, or your last one",
    "/react" "[SEQ] EMOJI" Nothing "react to message #SEQ, or to the last one",
    "/create" "NAME" Nothing "make a group, and talk in it",
    "/join" "GROUP" Groups "join a group, and talk in it",
    "/leave" "[GROUP]" Groups "leave this group, or that one",
    "/members" "" Nothing "who is in this group",
    "/invite" "USER" Users "invite somebody to this group",
    "/kick" "USER" Users "remove somebody from this group",
    "/mute" "USER TIME" Users "silence somebody here: 90s, 10m, 2h; 0 ends it",
    "/who" "" Nothing "friends who are here now",
    "/friends" "" Nothing "friends, requests, blocked users",
    "/add" "USER [NOTE]" Users "ask somebody to be your friend",
    "/accept" "USER" Users "accept a friend request",
    "/decline" "USER" Users "decline a friend request",
    "/remove" "USER" Users "end a friendship",
    "/block" "USER" Users "refuse everything from somebody",
    "/unblock" "USER" Users "undo a block",
    "/search" "TEXT" Nothing "find users and groups",
    "/inbox" "" Nothing "requests, invitations, notices",
    "/devices" "" Nothing "your devices",
    "/help" "" Nothing "this list",
    "/quit" "" Nothing "leave; so does Ctrl-D",
}

/// How a line begins that is sent although it begins with a slash.
const LITERAL_SLASH: &str = "//";
const HISTORY: u32 = 20;
const MAX_HISTORY: u32 = 500;

/// Understands a line.
pub(super) fn parse(line: &str) -> Line {
    let line = line.trim_end();
    if line.trim().is_empty() {
        return Line::Empty;
    }
    if line.starts_with(LITERAL_SLASH) {
        return Line::Say(line[1..].to_owned());
    }
    if !line.starts_with('/') {
        return Line::Say(line.to_owned());
    }
    let (name, rest) = split(line);
    match command(name, rest) {
        Some(command) => Line::Do(command),
        None => Line::Wrong(explain(name)),
    }
}

fn explain(name: &str) -> String {
    match USAGES.iter().find(|usage| usage.name == name) {
        Some(usage) => format!("{} {}: {}", usage.name, usage.arguments, usage.help),
        None => format!("{name} is no command; /help lists them, // sends a line that begins with a slash"),
    }
}

fn command(name: &str, rest: &str) -> Option<Do> {
    let one = || word(rest);
    Some(match name {
        "/help" | "/?" => Do::Help,
        "/quit" | "/exit" => Do::Quit,
        "/list" => Do::List,
        "/who" => Do::Who,
        "/friends" => Do::Friends,
        "/devices" => Do::Devices,
        "/members" => Do::Members,
        "/read" => Do::Read,
        "/inbox" => Do::Inbox,
        "/dm" | "/msg" => {
            let (user, text) = some_first(rest)?;
            Do::Dm(user, (!text.is_empty()).then(|| text.to_owned()))
        }
        "/group" => Do::Open(whole(rest)?),
        "/join" => Do::Join(whole(rest)?),
        "/leave" => Do::Leave(whole(rest)),
        "/create" => Do::Create(whole(rest)?),
        "/invite" => Do::Invite(one()?),
        "/kick" => Do::Kick(one()?),
        "/mute" => {
            let (user, time) = some_first(rest)?;
            Do::Mute(user, crate::args::duration(time).ok()?)
        }
        "/add" => {
            let (user, note) = some_first(rest)?;
            Do::Add(user, note.to_owned())
        }
        "/accept" => Do::Accept(one()?),
        "/decline" => Do::Decline(one()?),
        "/remove" => Do::Remove(one()?),
        "/block" => Do::Block(one()?),
        "/unblock" => Do::Unblock(one()?),
        "/search" => Do::Search(whole(rest)?),
        "/history" if rest.is_empty() => Do::History(HISTORY),
        "/history" => Do::History(rest.parse().ok().filter(|count| (1..=MAX_HISTORY).contains(count))?),
        "/reply" => {
            let (target, text) = split(rest);
            Do::Reply(seq(target)?, whole(text)?)
        }
        "/edit" => {
            let (target, text) = targeted(rest)?;
            Do::Edit(target, whole(text)?)
        }
        "/recall" if rest.is_empty() => Do::Recall(None),
        "/recall" => Do::Recall(Some(seq(rest)?)),
        "/react" => {
            let (target, emoji) = targeted(rest)?;
            Do::React(target, whole(emoji)?)
        }
        _ => return None,
    })
}

/// The first word, and what follows it.
fn split(text: &str) -> (&str, &str) {
    match text.split_once(char::is_whitespace) {
        Some((first, rest)) => (first, rest.trim_start()),
        None => (text, ""),
    }
}

fn some_first(text: &str) -> Option<(String, &str)> {
    let (first, rest) = split(text);
    (!first.is_empty()).then(|| (first.to_owned(), rest))
}

/// Exactly one word.
fn word(text: &str) -> Option<String> {
    let (first, rest) = split(text);
    (!first.is_empty() && rest.is_empty()).then(|| first.to_owned())
}

fn whole(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

/// A message's number in front of something else. A number alone is that something; one that no message can have is nothing.
fn targeted(text: &str) -> Option<(Option<Seq>, &str)> {
    let (first, rest) = split(text);
    let digits = first.strip_prefix('#').unwrap_or(first);
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    if is_number && !rest.is_empty() {
        Some((Some(seq(first)?), rest))
    } else {
        Some((None, text))
    }
}

fn seq(text: &str) -> Option<Seq> {
    crate::args::seq(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn does(line: &str) -> Do {
        match parse(line) {
            Line::Do(command) => command,
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn what_is_no_command_is_said() {
        assert_eq!(parse("hello there "), Line::Say("hello there".into()));
        assert_eq!(parse("  indented"), Line::Say("  indented".into()));
        assert_eq!(parse("//etc/passwd"), Line::Say("/etc/passwd".into()));
        assert_eq!(parse("你好"), Line::Say("你好".into()));
        assert_eq!(parse("   "), Line::Empty);
    }

    #[test]
    fn a_mistyped_command_is_never_sent() {
        for line in [
            "/hepl",
            "/dm",
            "/kick",
            "/kick a b",
            "/mute bob",
            "/mute bob soon",
            "/recall x",
            "/reply 3",
            "/history 0",
            "/history 99999999999999999999",
            "/edit 99999999999999999999 x",
            "/edit 9223372036854775808 x",
            "/edit #99999999999999999999 x",
            "/edit 0 x",
            "/recall 99999999999999999999",
            "/reply 99999999999999999999 x",
            "/react 99999999999999999999 x",
            "/mute bob 99999999999999999999",
        ] {
            assert!(matches!(parse(line), Line::Wrong(_)), "{line}");
        }
    }

    #[test]
    fn commands_take_their_words() {
        assert_eq!(does("/dm bob"), Do::Dm("bob".into(), None));
        assert_eq!(
            does("/dm bob  how are you"),
            Do::Dm("bob".into(), Some("how are you".into()))
        );
        assert_eq!(does("/join C++ 学习"), Do::Join("C++ 学习".into()));
        assert_eq!(does("/leave"), Do::Leave(None));
        assert_eq!(does("/mute bob 10m"), Do::Mute("bob".into(), 600_000));
        assert_eq!(does("/history"), Do::History(20));
        assert_eq!(does("/history 5"), Do::History(5));
        assert_eq!(does("/reply #3 yes"), Do::Reply(Seq(3), "yes".into()));
        assert_eq!(does("/edit 3 new"), Do::Edit(Some(Seq(3)), "new".into()));
        assert_eq!(does("/edit new text"), Do::Edit(None, "new text".into()));
        assert_eq!(does("/edit #new text"), Do::Edit(None, "#new text".into()));
        assert_eq!(does("/edit 42"), Do::Edit(None, "42".into()));
        assert_eq!(does("/recall"), Do::Recall(None));
        assert_eq!(does("/react 👍"), Do::React(None, "👍".into()));
        assert_eq!(does("/react 7 👍"), Do::React(Some(Seq(7)), "👍".into()));
    }

    #[test]
    fn every_command_of_the_help_exists() {
        for usage in USAGES {
            let arguments: Vec<_> = usage
                .arguments
                .split_whitespace()
                .filter(|word| !word.starts_with('['))
                .map(|word| if word == "TIME" { "10m" } else { "5" })
                .collect();
            does(format!("{} {}", usage.name, arguments.join(" ")).trim_end());
        }
    }
}
