use proptest::prelude::*;

use super::*;

#[test]
fn message_text_is_byte_exact() {
    for text in [
        "a",
        " ",
        "你好\r\n",
        "e\u{301}",
        "é",
        "𠮷",
        "👨‍👩‍👧‍👦",
        "\u{202e}",
        "\u{1b}[0m",
        "\u{feff}x",
    ] {
        assert_eq!(MessageText::new(text).unwrap().as_str(), text);
        assert_eq!(MessageText::new(text.to_owned()).unwrap().as_str(), text);
    }
    assert!(MessageText::new("x".repeat(16 * 1024)).is_ok());
}

#[test]
fn message_text_refuses_invalid_text_with_the_reason() {
    assert_eq!(MessageText::new(""), Err(TextError::Empty));
    assert_eq!(MessageText::new("a\0b"), Err(TextError::Forbidden(ShownChar('\0'))));
    let marks = MessageText::new("\u{301}".repeat(32 * 1024)).unwrap_err();
    assert_eq!(
        marks.to_string(),
        "the text has 65536 bytes, more than the 16384 allowed; shorten it, or send a message in parts"
    );
    assert_eq!(
        MessageText::with_limit("abc", 2),
        Err(TextError::TooManyBytes { actual: 3, max: 2 })
    );
}

#[test]
fn debug_output_hides_texts_of_messages_and_notes() {
    assert_eq!(
        format!("{:?}", MessageText::new("secret").unwrap()),
        "MessageText(6 bytes)"
    );
    assert_eq!(format!("{:?}", Note::new("secret").unwrap()), "ShortText(6 bytes)");
}

#[test]
fn notes_and_descriptions_limit_characters_and_refuse_controls() {
    assert_eq!(Note::new("").unwrap().as_str(), "");
    assert!(Note::new("友".repeat(200)).is_ok());
    assert_eq!(Note::new("友".repeat(201)), Err(TextError::TooManyChars { max: 200 }));
    assert!(Description::new("two\nlines\t\u{1f37a}").is_ok());
    assert!(Description::new("x".repeat(1000)).is_ok());
    assert_eq!(
        Description::new("x".repeat(1001)),
        Err(TextError::TooManyChars { max: 1000 })
    );
    assert_eq!(Note::new("\x1b[31m"), Err(TextError::Forbidden(ShownChar('\x1b'))));
    assert!(matches!(Note::new("\0"), Err(TextError::Forbidden(_))));
}

#[test]
fn all_spellings_of_a_reaction_have_one_normal_form() {
    for (form, normal) in [
        ("\u{2764}", "\u{2764}\u{fe0f}"),
        ("\u{2764}\u{fe0e}", "\u{2764}\u{fe0f}"),
        ("\u{1f44d}\u{fe0f}", "\u{1f44d}"),
        ("1\u{20e3}", "1\u{fe0f}\u{20e3}"),
        ("1\u{fe0f}", "1"),
        ("\u{261d}", "\u{261d}\u{fe0f}"),
        ("\u{261d}\u{fe0f}\u{1f3fd}", "\u{261d}\u{1f3fd}"),
        ("\u{1f3f3}\u{200d}\u{1f308}", "\u{1f3f3}\u{fe0f}\u{200d}\u{1f308}"),
        ("e\u{fe0f}\u{301}", "\u{e9}"),
    ] {
        assert_eq!(Emoji::new(form).unwrap().as_str(), normal, "{form:?}");
        assert_eq!(Emoji::new(normal).unwrap().as_str(), normal, "{form:?}");
    }
}

#[test]
fn reactions_are_short_and_visible_without_white_space_or_controls() {
    for good in [
        "👍",
        "❤️",
        "👍🏽",
        "🏳️‍🌈",
        "🇨🇳",
        "👨‍👩‍👧‍👦",
        "👩🏽‍❤️‍💋‍👨🏿",
        "🏴󠁧󠁢󠁳󠁣󠁴󠁿",
        "1️⃣",
        "+1",
        "赞",
        "哈哈",
        "LGTM",
        ":tada:",
    ] {
        assert_eq!(
            Emoji::new(good).unwrap_or_else(|e| panic!("{good}: {e}")).as_str(),
            good
        );
    }
    assert_eq!(Emoji::new(""), Err(TextError::Empty));
    assert!(matches!(Emoji::new("a b"), Err(TextError::Forbidden(_))));
    assert!(matches!(Emoji::new("a\n"), Err(TextError::Forbidden(_))));
    assert!(matches!(Emoji::new("👍\u{202e}"), Err(TextError::Forbidden(_))));
    assert!(matches!(Emoji::new("\u{1b}"), Err(TextError::Forbidden(_))));
    assert!(matches!(Emoji::new("\u{fe0f}"), Err(TextError::NotAReaction { .. })));
    assert!(matches!(
        Emoji::new("\u{200d}\u{301}"),
        Err(TextError::NotAReaction { .. })
    ));
    assert!(matches!(Emoji::new("ninechars"), Err(TextError::NotAReaction { .. })));
    assert!(matches!(
        Emoji::new(&"👍".repeat(11)),
        Err(TextError::TooManyBytes { .. })
    ));
}

#[test]
fn sanitized_text_keeps_line_breaks_and_tabs_and_no_other_control() {
    for (text, shown) in [
        ("你好 alice\t!\n", "你好 alice\t!\n"),
        ("a\r\nb", "a\r\nb"),
        ("safe\rforged", "safe\\rforged"),
        ("\x1b]0;title\x07", "\\u{1b}]0;title\\u{7}"),
        ("\u{9b}31m", "\\u{9b}31m"),
        ("x\u{202e}gpj.exe", "x\\u{202e}gpj.exe"),
        ("a\u{2028}b", "a\\u{2028}b"),
        ("\x7f", "\\u{7f}"),
        ("👨‍👩‍👧‍👦", "👨‍👩‍👧‍👦"),
    ] {
        assert_eq!(sanitize_for_terminal(text), shown);
    }
    assert!(matches!(sanitize_for_terminal("plain"), std::borrow::Cow::Borrowed(_)));
}

#[test]
fn log_values_are_one_short_line() {
    assert_eq!(escape_for_log("two\nlines\t\r"), "two\\nlines\\t\\r");
    assert_eq!(escape_for_log(&"x".repeat(256)).len(), 256);
    let long = escape_for_log(&"王".repeat(500)).into_owned();
    assert!(long.ends_with('…') && long.len() <= 256 + '…'.len_utf8());
    let controls = escape_for_log(&"\x1b".repeat(200)).into_owned();
    assert!(controls.ends_with('…') && controls.len() <= 256 + '…'.len_utf8());
}

proptest! {
    #[test]
    fn sanitized_text_is_safe_for_any_input(text in any::<String>()) {
        let unsafe_for_logs = |c: char| c.is_control() || is_bidi_control(c);
        prop_assert!(!escape_for_log(&text).contains(unsafe_for_logs));
        let shown = sanitize_for_terminal(&text);
        prop_assert!(!shown.contains(|c: char| unsafe_for_logs(c) && !"\n\r\t".contains(c)));
        prop_assert!(!shown.replace("\r\n", "").contains('\r'));
        let again = sanitize_for_terminal(&shown);
        prop_assert_eq!(&again, &shown);
    }

    #[test]
    fn text_parsers_never_panic(text in any::<String>()) {
        let _ = (MessageText::new(text.as_str()), Note::new(text.as_str()), Emoji::new(&text));
    }
}
