//! Tab completion of commands, mentions, and the names of users, groups and emoji.

use std::sync::Arc;

use chat_core::model::sanitize_for_terminal;
use chat_core::sync::Mutex;

use super::command::{Completes, USAGES};
use crate::emoji;

/// Known names of users and groups, and names to mention, shared with the thread that reads the
/// terminal.
#[derive(Clone, Debug, Default)]
pub(super) struct KnownNames {
    inner: Arc<Mutex<Names>>,
}

#[derive(Debug, Default)]
struct Names {
    users: Vec<String>,
    groups: Vec<String>,
    /// Names that texts mention as `@name`: those of members of the current group, and `all` if the
    /// user may mention all members.
    members: Vec<String>,
    /// True if the group has further members, whose names are not known.
    has_more_members: bool,
}

impl KnownNames {
    pub(super) fn add_user(&self, name: &str) {
        add(&mut self.inner.lock().users, name);
    }

    pub(super) fn add_group(&self, name: &str) {
        add(&mut self.inner.lock().groups, name);
    }

    /// Replaces the names that Tab completes after an `@`. `has_more` is true if the group has
    /// further members.
    pub(super) fn set_members<'n>(&self, names: impl IntoIterator<Item = &'n str>, has_more: bool) {
        let mut known = self.inner.lock();
        known.has_more_members = has_more;
        known.members.clear();
        names.into_iter().for_each(|name| add(&mut known.members, name));
    }

    /// Returns whether a line ends with an `@` and the beginning of a name, and the group has
    /// members whose names are not known.
    pub(super) fn needs_more_members(&self, line: &str) -> bool {
        let word = line.rsplit(char::is_whitespace).next().unwrap_or_default();
        word.starts_with('@') && self.inner.lock().has_more_members
    }

    /// Returns the byte offset at which the completed part of `line` begins, and the candidates for
    /// that part. `line` ends at the cursor.
    pub(super) fn complete(&self, line: &str) -> (usize, Vec<String>) {
        let word = line.rsplit(char::is_whitespace).next().unwrap_or_default();
        let word_start = line.len() - word.len();
        if let Some(prefix) = word.strip_prefix('@') {
            let names = self.inner.lock();
            let matching = names.members.iter().filter(|name| begins_with(name, prefix));
            return (word_start, matching.map(|name| format!("@{name} ")).collect());
        }
        if line.starts_with("/react ") && word.starts_with(':') {
            return (word_start, emoji::names(word));
        }
        let Some((command, argument)) = line.split_once(' ') else {
            let commands = USAGES
                .iter()
                .map(|usage| usage.name)
                .filter(|name| line.starts_with('/') && name.starts_with(line));
            return (0, commands.map(|name| format!("{name} ")).collect());
        };
        let completes = USAGES
            .iter()
            .find(|usage| usage.name == command)
            .map(|usage| usage.completes);
        let names = self.inner.lock();
        let candidates = match completes {
            Some(Completes::Users) if !argument.contains(' ') => &names.users,
            Some(Completes::Groups) => &names.groups,
            _ => return (line.len(), Vec::new()),
        };
        let matching = candidates.iter().filter(|name| begins_with(name, argument));
        (command.len() + 1, matching.cloned().collect())
    }
}

/// Returns whether a name begins with `prefix`, regardless of upper and lower case.
fn begins_with(name: &str, prefix: &str) -> bool {
    name.to_lowercase().starts_with(&prefix.to_lowercase())
}

/// Inserts a name into a sorted list, unless the list contains it or it cannot be printed.
fn add(names: &mut Vec<String>, name: &str) {
    if sanitize_for_terminal(name) != name {
        return; // the editor prints candidates unescaped
    }
    if let Err(position) = names.binary_search_by(|known| known.as_str().cmp(name)) {
        names.insert(position, name.to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn completion_offers_commands_and_their_arguments() {
        let known = KnownNames::default();
        ["bob", "bea", "小明", "bob", "b\u{1b}[31m"]
            .iter()
            .for_each(|name| known.add_user(name));
        known.add_group("Rust 学习");
        assert_eq!(known.complete("/his"), (0, vec!["/history ".to_owned()]));
        assert_eq!(known.complete("/dm b"), (4, vec!["bea".to_owned(), "bob".to_owned()]));
        assert_eq!(known.complete("/dm 小"), (4, vec!["小明".to_owned()]));
        assert_eq!(known.complete("/join rust"), (6, vec!["Rust 学习".to_owned()]));
        assert_eq!(known.complete("/join Rust 学"), (6, vec!["Rust 学习".to_owned()]));
        assert!(known.complete("/dm bob b").1.is_empty());
        assert!(known.complete("hel").1.is_empty());
        assert_eq!(known.complete("/react 3 :hea"), (9, vec![":heart:".to_owned()]));
        assert!(known.complete("at :hea").1.is_empty());
        assert!(known.complete("/list b").1.is_empty());
    }

    #[test]
    fn completion_offers_names_after_an_at_sign() {
        let known = KnownNames::default();
        assert!(!known.needs_more_members("@b"));
        known.set_members(["bob", "Bea", "c\u{1b}"], true);
        assert!(known.needs_more_members("hi @b") && !known.needs_more_members("@b hi"));
        assert_eq!(
            known.complete("hi @b"),
            (3, vec!["@Bea ".to_owned(), "@bob ".to_owned()])
        );
        assert_eq!(known.complete("你好\u{3000}@bo"), (9, vec!["@bob ".to_owned()]));
        assert_eq!(known.complete("@bo"), (0, vec!["@bob ".to_owned()]));
        assert!(known.complete("mail a@b").1.is_empty() && known.complete("@c").1.is_empty());
    }
}
