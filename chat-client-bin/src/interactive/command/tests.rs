use super::*;

fn action(line: &str) -> Action {
    match parse(line) {
        Line::Action(command) => command,
        other => panic!("{line}: {other:?}"),
    }
}

#[test]
fn line_without_a_command_is_a_text_or_empty() {
    assert_eq!(parse("hello there "), Line::Text("hello there".into()));
    assert_eq!(parse("  indented"), Line::Text("  indented".into()));
    assert_eq!(parse("//etc/passwd"), Line::Text("/etc/passwd".into()));
    assert_eq!(parse("你好"), Line::Text("你好".into()));
    assert_eq!(parse("   "), Line::Empty);
}

#[test]
fn mistyped_command_is_never_sent() {
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
        "/list all",
        "/approve",
        "/role bob",
        "/role bob owner",
        "/role bob admin now",
        "/transfer",
        "/transfer bob carol",
        "/unban",
        "/rename",
        "/name",
        "/me",
        "/passwd secret",
        "/quit now",
    ] {
        assert!(matches!(parse(line), Line::Invalid(_)), "{line}");
    }
}

#[test]
fn pasted_lines_belong_to_the_text_of_a_command_or_are_refused() {
    assert_eq!(parse("one\ntwo\n"), Line::Text("one\ntwo".into()));
    assert_eq!(parse("//etc\n/usr"), Line::Text("/etc\n/usr".into()));
    assert_eq!(
        action("/dm bob one\n/two\n\n three"),
        Action::Dm("bob".into(), Some("one\n/two\n\n three".into()))
    );
    assert_eq!(action("/reply 3 yes\nno"), Action::Reply(Seq(3), "yes\nno".into()));
    assert_eq!(action("/edit one\ntwo"), Action::Edit(None, "one\ntwo".into()));
    for pasted in [
        "/list\nhello",
        "/dm bob\nhello",
        "/leave club\n/list",
        "/kick\nbob",
        "/etc\n/usr",
        "/add bob hi\nx",
    ] {
        assert!(matches!(parse(pasted), Line::Invalid(_)), "{pasted:?}");
    }
    let Line::Invalid(problem) = parse("/list\nhello\nthere") else {
        panic!("the pasted command is executed")
    };
    assert!(problem.contains("/list") && problem.contains("3 lines"), "{problem}");
}

#[test]
fn commands_parse_their_arguments() {
    assert_eq!(action("/dm bob"), Action::Dm("bob".into(), None));
    assert_eq!(
        action("/dm bob  how are you"),
        Action::Dm("bob".into(), Some("how are you".into()))
    );
    assert_eq!(action("/join C++ 学习"), Action::Join("C++ 学习".into()));
    assert_eq!(action("/leave"), Action::Leave(None));
    assert_eq!(action("/mute bob 10m"), Action::Mute("bob".into(), 600_000));
    assert_eq!(action("/history"), Action::History(20));
    assert_eq!(action("/history 5"), Action::History(5));
    assert_eq!(action("/reply #3 yes"), Action::Reply(Seq(3), "yes".into()));
    assert_eq!(action("/edit 3 new"), Action::Edit(Some(Seq(3)), "new".into()));
    assert_eq!(action("/edit new text"), Action::Edit(None, "new text".into()));
    assert_eq!(action("/edit #new text"), Action::Edit(None, "#new text".into()));
    assert_eq!(action("/edit 42"), Action::Edit(None, "42".into()));
    assert_eq!(action("/recall"), Action::Recall(None));
    assert_eq!(action("/approve bob"), Action::Approve("bob".into()));
    assert_eq!(action("/reject bob"), Action::Reject("bob".into()));
    assert_eq!(action("/ban bob"), Action::Ban("bob".into()));
    assert_eq!(action("/unban bob"), Action::Unban("bob".into()));
    assert_eq!(action("/role bob admin"), Action::Role("bob".into(), Role::Admin));
    assert_eq!(action("/role bob member"), Action::Role("bob".into(), Role::Member));
    assert_eq!(action("/transfer bob"), Action::Transfer("bob".into()));
    assert_eq!(action("/topic"), Action::Topic(None));
    assert_eq!(action("/topic all about C"), Action::Topic(Some("all about C".into())));
    assert_eq!(action("/rename C++ 学习"), Action::Rename("C++ 学习".into()));
    assert_eq!(action("/name Bob B."), Action::Name("Bob B.".into()));
    assert_eq!(action("/me waves"), Action::Me("waves".into()));
    assert_eq!(action("/passwd"), Action::Passwd);
    assert_eq!(action("/react 👍"), Action::React(None, "👍".into()));
    assert_eq!(action("/react 7 👍"), Action::React(Some(Seq(7)), "👍".into()));
}

#[test]
fn help_lists_only_existing_commands() {
    for usage in USAGES {
        let arguments: Vec<_> = usage
            .arguments
            .split_whitespace()
            .filter(|word| !word.starts_with('['))
            .map(|word| match word {
                "TIME" => "10m",
                "admin|member" => "admin",
                _ => "5",
            })
            .collect();
        action(format!("{} {}", usage.name, arguments.join(" ")).trim_end());
    }
}
