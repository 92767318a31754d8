use proptest::prelude::*;

use super::canonical::Skeleton;
use super::reserved::RESERVED_NAMES;
use super::*;

fn user(text: &str) -> Result<String, NameError> {
    UserName::parse(text).map(|name| name.to_string())
}

fn skeleton(text: &str) -> Skeleton {
    UserName::parse_any(text)
        .unwrap_or_else(|e| panic!("{text:?}: {e}"))
        .skeleton()
}

#[test]
fn user_names_of_many_scripts_are_accepted() {
    for (typed, canonical) in [
        ("alice", "alice"),
        ("Alice", "alice"),
        // Has digits that look like letters, but looks like no reserved name.
        ("al06492", "al06492"),
        ("a", "a"),
        ("_x_", "_x_"),
        ("j.r-r_tolkien", "j.r-r_tolkien"),
        ("ＡＬＩＣＥ１", "alice1"),
        ("小明", "小明"),
        ("王", "王"),
        ("小明2", "小明2"),
        ("Tom王", "tom王"),
        ("𠮷野家", "𠮷野家"), // Han extension B
        ("さくら", "さくら"),
        ("カタカナ", "カタカナ"),
        ("ｶﾞﾝﾀﾞﾑ", "ガンダム"),
        ("サクラ大戦abc", "サクラ大戦abc"),
        ("김철수", "김철수"),
        ("\u{1100}\u{1161}\u{11a8}", "각"), // decomposed, as some file systems give it
        ("Иван", "иван"),
        ("Ευρυδίκη", "ευρυδίκη"),
        ("josé", "josé"),
        ("jose\u{301}", "josé"),
        ("Straße", "straße"),
        ("राम", "राम"),
        ("สมชาย", "สมชาย"),
        ("שלום", "שלום"),
        ("علي7", "علي7"),
        ("Nguyễn", "nguyễn"),
    ] {
        assert_eq!(user(typed).as_deref(), Ok(canonical), "{typed:?}");
    }
}

#[test]
fn invalid_user_names_are_refused_with_the_reason() {
    use NameError::{BadEdge, Direction, Empty, MixedDigits, MixedScripts, NoLetter, Reserved};

    for (typed, reason) in [
        ("", Empty),
        ("12345", NoLetter),
        ("１２３", NoLetter),
        ("٣٤٥", NoLetter),
        ("___", NoLetter),
        ("1_2", NoLetter),
        ("-bob", BadEdge),
        ("bob.", BadEdge),
        (".bob", BadEdge),
        ("\u{301}abc", BadEdge),
        ("аdmin", MixedScripts),  // Cyrillic а
        ("pаypal", MixedScripts), // Cyrillic а
        ("αlice", MixedScripts),  // Greek α
        ("abcשלום", MixedScripts),
        ("Ivanиван", MixedScripts),
        ("राम1२", MixedDigits),
        ("1שלום", Direction),
        ("admin", Reserved),
        ("ADMIN", Reserved),
        ("ａｄｍｉｎ", Reserved),
        ("Root", Reserved),
        ("r00t", Reserved),
        ("al1", Reserved), // looks like "all"
        ("administrator", Reserved),
        ("管理员", Reserved),
        ("系统", Reserved),
        ("ADM\u{130}N", Reserved), // İ: lower case is i with a dot above
    ] {
        assert_eq!(user(typed), Err(reason), "{typed:?}");
    }
}

#[test]
fn user_names_with_forbidden_characters_are_refused() {
    for bad in [
        ' ',
        '\t',
        '\n',
        '\0',
        '\u{7f}',
        '\u{a0}',
        // Invisible characters.
        '\u{200b}',
        '\u{200c}',
        '\u{200d}',
        '\u{2060}',
        '\u{feff}',
        '\u{3164}',  // Hangul filler
        '\u{1D173}', // control of musical notation
        // Bidirectional controls.
        '\u{202e}',
        '\u{2066}',
        '\u{200f}',
        '\u{61c}',
        // Variation selectors.
        '\u{fe0f}',
        '\u{e0100}',
        '\u{180b}',
        // Other characters that a user name cannot contain.
        '🍺',
        '❤',
        '©',
        '₁',
        '²',
        'ﬁ',
        '①',
        '@',
        '/',
        '\\',
        ':',
        '#',
        '+',
        '\'',
        '"',
        '%',
        '*',
        '<',
        '·',
        '。',
        '，',
        '・',
        'ᛒ',
        '\u{e000}',
        '\u{378}',
        'ℂ',
        '𝐚',
        'ⅷ',
    ] {
        let typed = format!("ab{bad}cd");
        assert!(
            matches!(user(&typed), Err(NameError::Forbidden { .. })),
            "{typed:?}: {:?}",
            user(&typed)
        );
    }
}

#[test]
fn error_texts_are_printable_and_say_what_to_change() {
    let error = UserName::parse("bob\u{202e}").unwrap_err();
    assert_eq!(
        error.to_string(),
        "the name cannot contain U+202E; use letters, digits, '_', '-' and '.'"
    );
    let error = UserName::parse("bob smith").unwrap_err();
    assert_eq!(
        error.to_string(),
        "the name cannot contain spaces; use letters, digits, '_', '-' and '.'"
    );
    let error = UserName::parse(&"a".repeat(33)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the name is too long; use at most 32 characters and 64 bytes of UTF-8"
    );
}

#[test]
fn user_name_limits_count_code_points_bytes_and_marks() {
    assert!(user(&"a".repeat(32)).is_ok());
    assert!(user(&"ж".repeat(32)).is_ok());
    assert!(user(&"王".repeat(21)).is_ok());
    for long in [
        "a".repeat(33),
        "王".repeat(22),
        "a".repeat(1 << 20),
        "a\u{301}".repeat(33),
    ] {
        assert!(
            matches!(user(&long), Err(NameError::TooLong { .. })),
            "{} bytes",
            long.len()
        );
    }
    let too_many_marks = format!("x{}", "\u{323}".repeat(20));
    assert_eq!(user(&too_many_marks), Err(NameError::TooManyMarks { max: 4 }));
}

#[test]
fn only_look_alikes_share_a_skeleton() {
    for (one, other) in [
        ("сосо", "coco"), // all Cyrillic, all Latin
        ("user1", "userl"),
        ("user0", "usero"),
        ("modern", "modem"),
        ("ıssız", "issiz"),      // dotless i
        ("i\u{307}van", "ivan"), // a dot above a dotted letter
        ("ニ", "二"),            // Katakana ni, Han two
        ("ロ", "口"),
        ("οδος", "οδοσ"),
    ] {
        assert_eq!(skeleton(one), skeleton(other), "{one} {other}");
    }
    for (one, other) in [
        ("alice", "alicia"),
        ("bob", "bob_"),
        ("小明", "小月"),
        ("ali", "all"),
        ("jose", "josé"),
    ] {
        assert_ne!(skeleton(one), skeleton(other), "{one} {other}");
    }
}

#[test]
fn parse_any_accepts_the_reserved_names_that_parse_refuses() {
    assert_eq!(
        UserName::parse_any("Admin").map(|name| name.to_string()).as_deref(),
        Ok("admin")
    );
    for name in RESERVED_NAMES {
        assert_eq!(UserName::parse(name), Err(NameError::Reserved), "{name}");
        assert_eq!(
            UserName::parse_any(name).unwrap().as_str(),
            *name,
            "listed in canonical form"
        );
        assert_eq!(GroupName::parse(name), Err(NameError::Reserved), "{name}");
    }
}

#[test]
fn group_names_keep_capitals_but_their_keys_and_skeletons_ignore_case() {
    for (typed, shown, key) in [
        ("Rust", "Rust", "rust"),
        ("  C++　学习  小组 ", "C++ 学习 小组", "c++ 学习 小组"),
        ("Rust группа", "Rust группа", "rust группа"),
        ("R&D - Team #7", "R&D - Team #7", "r&d - team #7"),
        ("ＲＵＳＴ", "RUST", "rust"),
        ("三年二班", "三年二班", "三年二班"),
    ] {
        let name = GroupName::parse(typed).unwrap_or_else(|e| panic!("{typed:?}: {e}"));
        assert_eq!((name.as_str(), name.key().as_str()), (shown, key));
    }
    let same = |a: &str, b: &str| GroupName::parse(a).unwrap().skeleton() == GroupName::parse(b).unwrap().skeleton();
    assert!(same("Rust 1", "rust l"));
    assert!(same("Сосо", "COCO"), "capitals do not hide a look-alike");
    assert!(!same("Rust 1", "Rust 2"));
}

#[test]
fn invalid_group_names_are_refused() {
    use NameError::{BadEdge, Empty, MixedScripts, NoLetter, Reserved};

    for (typed, reason) in [
        ("", Empty),
        ("   ", Empty),
        ("2026", NoLetter),
        ("20 26", NoLetter),
        ("Rusт", MixedScripts),
        ("- rust", BadEdge),
        ("All", Reserved),
        ("系统", Reserved),
    ] {
        assert_eq!(GroupName::parse(typed), Err(reason), "{typed:?}");
    }
    for typed in [
        "a\tb",
        "a\nb",
        "a\u{a0}b",
        "a\u{200b}b",
        "a\u{202e}b",
        "🎉 party",
        "a/b",
    ] {
        assert!(
            matches!(GroupName::parse(typed), Err(NameError::Forbidden { .. })),
            "{typed:?}"
        );
    }
    assert!(matches!(
        GroupName::parse(&"a".repeat(65)),
        Err(NameError::TooLong { .. })
    ));
}

#[test]
fn display_names_may_contain_any_printable_text_within_limits() {
    for (typed, shown) in [
        (" Alice Müller ", "Alice Müller"),
        ("小明 🍺", "小明 🍺"),
        ("👨‍👩‍👧‍👦", "👨‍👩‍👧‍👦"),
        ("❤️", "❤️"),
        ("a\u{202e}b\u{2066}c\u{200f}", "abc"),
        ("O'Neil (✈)", "O'Neil (✈)"),
    ] {
        assert_eq!(DisplayName::parse(typed).unwrap().as_str(), shown, "{typed:?}");
    }
    for invisible in [
        "",
        "  ",
        "\u{202e}",
        "\u{200b}\u{200d}",
        "\u{3164}\u{3164}",
        "\u{fe0f}",
        "\u{301}",
    ] {
        assert_eq!(DisplayName::parse(invisible), Err(NameError::Empty), "{invisible:?}");
    }
    for bad in ["a\nb", "a\0b", "\x1b[31mred", "a\u{2028}b", "a\u{9b}b", "a\u{e000}"] {
        assert!(
            matches!(DisplayName::parse(bad), Err(NameError::Forbidden { .. })),
            "{bad:?}"
        );
    }
    assert!(DisplayName::parse(&"x".repeat(64)).is_ok());
    assert!(matches!(
        DisplayName::parse(&"x".repeat(65)),
        Err(NameError::TooLong { .. })
    ));
    assert!(matches!(
        DisplayName::parse(&"王".repeat(86)),
        Err(NameError::TooLong { .. })
    ));
    let too_many_marks = format!("x{}", "\u{323}".repeat(5));
    assert_eq!(
        DisplayName::parse(&too_many_marks),
        Err(NameError::TooManyMarks { max: 4 })
    );
    assert!(matches!(
        DisplayName::parse(&"\u{301}".repeat(32 * 1024)),
        Err(NameError::TooLong { .. })
    ));
}

/// Strategy for short strings, mostly of characters that are special to at least one rule.
fn tricky() -> impl Strategy<Value = String> {
    let pool: Vec<char> =
        "aAbBiIlL1oO0mrnZzßſİıσςΣΑαаАсоДжк小明王二ニロｶﾞＡａ１각ᄀ\u{1161}\u{11a8}é\u{301}\u{307}\u{323}\
                           שלוםعلي7٣۳२राम_-. \u{3000}\u{202e}\u{200d}\u{fe0f}🍺+#&K\u{212b}ǅﬁ\u{345}"
            .chars()
            .collect();
    prop::collection::vec(prop_oneof![8 => prop::sample::select(pool), 1 => any::<char>()], 0..12)
        .prop_map(|chars| chars.into_iter().collect())
}

proptest! {
    #[test]
    fn canonicalisation_is_idempotent(text in tricky()) {
        if let Ok(name) = UserName::parse_any(&text) {
            prop_assert_eq!(UserName::parse_any(name.as_str()), Ok(name.clone()));
            prop_assert!(name.as_str().len() <= UserName::MAX_BYTES);
        }
        if let Ok(name) = GroupName::parse_any(&text) {
            prop_assert_eq!(GroupName::parse_any(name.as_str()), Ok(name.clone()));
            let key = GroupName::parse_any(&name.key());
            prop_assert_eq!(key.map(|key| (key.key(), key.skeleton())), Ok((name.key(), name.skeleton())));
        }
        if let Ok(name) = DisplayName::parse(&text) {
            prop_assert_eq!(DisplayName::parse(name.as_str()), Ok(name.clone()));
        }
    }

    #[test]
    fn skeletons_ignore_case_and_are_idempotent(text in tricky()) {
        if let Ok(name) = UserName::parse_any(&text) {
            let skeleton = name.skeleton();
            prop_assert_eq!(&Skeleton::of(skeleton.as_str()), &skeleton);
            let upper = UserName::parse_any(&name.as_str().to_ascii_uppercase());
            prop_assert_eq!(upper.map(|upper| upper.skeleton()), Ok(skeleton));
        }
    }

    #[test]
    fn name_parsers_never_panic(text in any::<String>()) {
        let _ = (UserName::parse(&text), GroupName::parse(&text), DisplayName::parse(&text));
        let _ = UserName::parse(&text).map_err(|e| e.to_string());
    }
}
