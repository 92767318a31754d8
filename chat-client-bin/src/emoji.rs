//! Names of common emoji, as reactions take them.

/// Names without colons, and their emoji, sorted by name.
const EMOJI: &[(&str, &str)] = &[
    ("+1", "👍"),
    ("-1", "👎"),
    ("100", "💯"),
    ("clap", "👏"),
    ("cry", "😢"),
    ("eyes", "👀"),
    ("fire", "🔥"),
    ("heart", "❤️"),
    ("joy", "😂"),
    ("ok", "👌"),
    ("pray", "🙏"),
    ("rocket", "🚀"),
    ("sad", "🙁"),
    ("smile", "😄"),
    ("tada", "🎉"),
    ("think", "🤔"),
    ("thumbsdown", "👎"),
    ("thumbsup", "👍"),
    ("wave", "👋"),
    ("wink", "😉"),
    ("x", "❌"),
    ("yes", "✅"),
];

/// Returns the emoji of a name such as `:heart:`, or `None` if the name is unknown. Returns any
/// other reaction unchanged.
pub(crate) fn resolve(reaction: &str) -> Option<&str> {
    let name = reaction.strip_prefix(':').and_then(|rest| rest.strip_suffix(':'));
    let Some(name) = name.filter(|name| !name.is_empty()) else {
        return Some(reaction);
    };
    EMOJI.iter().find(|(known, _)| *known == name).map(|(_, emoji)| *emoji)
}

/// Returns the names, with colons, that begin with `prefix`.
pub(crate) fn names(prefix: &str) -> Vec<String> {
    let names = EMOJI.iter().map(|(name, _)| format!(":{name}:"));
    names.filter(|name| name.starts_with(prefix)).collect()
}

#[cfg(test)]
mod tests {
    use chat_core::model::Emoji;

    use super::*;

    #[test]
    fn resolve_replaces_known_names_between_colons() {
        assert_eq!(resolve(":tada:"), Some("🎉"));
        assert_eq!(resolve("🎉"), Some("🎉"));
        assert_eq!(resolve(":)"), Some(":)"));
        assert_eq!(resolve("::"), Some("::"));
        assert_eq!(resolve(":nosuch:"), None);
        assert_eq!(names(":th"), [":think:", ":thumbsdown:", ":thumbsup:"]);
        assert!(EMOJI.is_sorted_by_key(|(name, _)| name));
        assert!(EMOJI.iter().all(|(_, emoji)| Emoji::new(emoji).is_ok()));
    }
}
