//! Tests of the command line.

use clap::CommandFactory as _;

use super::messages::Target;
use super::*;
use chat_core::model::{ConversationId, ConversationRef, Seq, UserId, UserRef};

fn parse(line: &str) -> Result<Args, clap::Error> {
    Args::try_parse_from(std::iter::once("chat-client").chain(line.split_whitespace()))
}

/// Returns the name of the conversation that `target` and `words` select, and the words that
/// remain.
fn split<'a>(target: &Target, words: &'a [String]) -> (String, Vec<&'a str>) {
    let (conversation, rest) = target.split(words).unwrap();
    let name = match conversation {
        ConversationRef::Direct(UserRef::Name(name)) => name.to_string(),
        ConversationRef::Group(name) => format!("#{name}"),
        other => format!("{other:?}"),
    };
    (name, rest.iter().map(String::as_str).collect())
}

#[test]
fn command_line_definition_is_consistent() {
    Args::command().debug_assert();
}

#[test]
fn send_targets_a_user_or_a_group() {
    let send = |line: &str| match parse(line).unwrap().command {
        Some(Command::Send(send)) => send,
        other => panic!("{other:?}"),
    };
    let direct = send("send bob hello there");
    assert_eq!(
        split(&direct.target, &direct.words),
        ("bob".into(), vec!["hello", "there"])
    );
    let group = send("send --group rust hi");
    assert_eq!(split(&group.target, &group.words), ("#rust".into(), vec!["hi"]));
    let lines = send("send bob -");
    assert_eq!(split(&lines.target, &lines.words), ("bob".into(), vec!["-"]));
    assert!(parse("send").is_err());
}

#[test]
fn global_options_may_precede_or_follow_the_command() {
    for line in [
        "--server a:1 --server b:2 --json --user bob --profile p --plain whoami",
        "whoami --server a:1,b:2 --json --user bob --profile p --plain",
    ] {
        let args = parse(line).unwrap();
        assert_eq!(args.global.server, ["a:1", "b:2"]);
        assert!(args.global.json && args.global.plain);
        assert_eq!(args.global.user.as_deref(), Some("bob"));
    }
}

/// Ids of positional arguments and of global options share one namespace in clap, which does not
/// check for duplicates.
#[test]
fn commands_do_not_redefine_global_options() {
    fn check(command: &clap::Command, globals: &[String]) {
        for argument in command.get_arguments().filter(|argument| !argument.is_global_set()) {
            let id = argument.get_id().to_string();
            assert!(!globals.contains(&id), "{} {id}", command.get_name());
        }
        command.get_subcommands().for_each(|sub| check(sub, globals));
    }
    let command = Args::command();
    let globals = command.get_arguments().filter(|argument| argument.is_global_set());
    let globals: Vec<_> = globals.map(|argument| argument.get_id().to_string()).collect();
    assert!(globals.contains(&"user".to_owned()));
    check(&command, &globals);
}

#[test]
fn invalid_command_lines_are_refused() {
    for line in [
        "--plain --tls whoami",
        "--pin nonsense whoami",
        "listen --count 0",
        "listen --timeout soon",
        "history bob --after 1 --before 2",
        "search users",
        "group kick rust",
        "group role rust bob owner",
        "friend add",
        "send bob hi --reply-to 0",
        "history bob --after 99999999999999999999",
        "history bob --before 9223372036854775808",
        "read bob --up-to 99999999999999999999",
        "unheard-of",
    ] {
        assert!(parse(line).is_err(), "{line}");
    }
}

#[test]
fn command_is_optional() {
    assert!(parse("--user bob").unwrap().command.is_none());
}

#[test]
fn json_flag_is_found_in_invalid_command_lines() {
    let wants = |line: &str| wants_json(&line.split(' ').map(Into::into).collect::<Vec<_>>());
    assert!(wants("chat-client --json unheard-of") && wants("chat-client send --json"));
    assert!(!wants("--json send") && !wants("chat-client send bob -- --json"));
}

#[test]
fn users_groups_and_message_numbers_parse() {
    assert_eq!(user_ref("42").unwrap(), UserRef::Id(UserId(42)));
    assert_eq!(user_ref("#42").unwrap(), UserRef::Id(UserId(42)), "as it is printed");
    assert!(matches!(user_ref("小明").unwrap(), UserRef::Name(_)));
    assert!(user_ref("no way").is_err());
    assert!(user_ref("0").is_err() && user_ref("9223372036854775808").is_err());
    assert!(user_ref("99999999999999999999").is_err() && group_ref("#99999999999999999999").is_err());
    assert_eq!(group_ref("#7").unwrap(), ConversationRef::Id(ConversationId(7)));
    assert!(matches!(group_ref("C++ 学习").unwrap(), ConversationRef::Group(_)));
    assert_eq!(seq("#7").unwrap(), Seq(7));
    assert!(seq("0").is_err() && seq("x").is_err() && seq("99999999999999999999").is_err());
}

#[test]
fn durations_are_shown_in_their_largest_unit() {
    let shown = [90_000, 600_000, 7_200_000, 86_400_000, 1500].map(duration_text);
    assert_eq!(shown, ["90 s", "10 min", "2 h", "1 d", "1500 ms"]);
}

#[test]
fn durations_parse_with_units() {
    assert_eq!(duration_ms("90"), Ok(90_000));
    assert_eq!(duration_ms("10m"), Ok(600_000));
    assert_eq!(duration_ms("2h"), Ok(7_200_000));
    assert_eq!(duration_ms("0"), Ok(0));
    for wrong in ["", "m", "1w", "-5", "10mmm", "90ss", "+5m", "99999999999999999999d"] {
        assert!(duration_ms(wrong).is_err(), "{wrong}");
    }
}
