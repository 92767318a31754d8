//! Creation of accounts for users whom an application identifies by a [`Subject`].

use async_trait::async_trait;
use sha2::{Digest as _, Sha256};

use super::create::create_inbox;
use super::private_info;
use crate::auth::{Profile, Subject};
use crate::engine::error::{CommandError, Rejection};
use crate::engine::operation::{Operation, WriteIntents};
use crate::model::{DirectPolicy, DisplayName, Timestamp, UserInfo, UserName};
use crate::store::{NewAccount, Transaction};

/// Finds the account of a subject, or creates it. Fails if a deleted account reserves the subject.
#[derive(Clone, Debug)]
pub(in crate::engine) struct Provision {
    pub(in crate::engine) subject: Subject,
    pub(in crate::engine) profile: Profile,
    /// Initial direct-message policy of the user.
    pub(in crate::engine) direct_policy: DirectPolicy,
    pub(in crate::engine) now: Timestamp,
}

#[async_trait]
impl Operation for Provision {
    /// The account, and whether it was created.
    type Output = (UserInfo, bool);

    async fn apply(&mut self, tx: &mut dyn Transaction, _intents: &WriteIntents) -> Result<Self::Output, Rejection> {
        if let Some(account) = tx.account_by_subject(self.subject.as_str()).await? {
            return Ok((private_info(&account), false));
        }
        if tx.account_by_subject(&self.subject.tombstone()).await?.is_some() {
            return Err(CommandError::account_deleted().into());
        }
        let hint = self.profile.name_hint.as_deref();
        for name in names(hint, &self.subject).into_iter().chain(random_names(hint)) {
            let display_name = self.profile.display_name.as_ref();
            let new = NewAccount {
                subject: Some(self.subject.as_str().to_owned()),
                name: name.as_str().to_owned(),
                skeleton: name.skeleton().as_str().to_owned(),
                display_name: display_name.map_or(name.as_str(), DisplayName::as_str).to_owned(),
                password_hash: None,
                direct_policy: self.direct_policy,
                created: self.now,
            };
            if let Some(id) = tx.create_account(new).await? {
                create_inbox(tx, id, self.now).await?;
                let account = tx
                    .account(id)
                    .await?
                    .ok_or_else(|| CommandError::defect("a created account is missing"))?;
                return Ok((private_info(&account), true));
            }
            // The name is taken, or another login of the user created the account at the same time.
            if let Some(account) = tx.account_by_subject(self.subject.as_str()).await? {
                return Ok((private_info(&account), false));
            }
        }
        tracing::error!("cannot provision an account: all candidate names are taken, even random ones");
        Err(CommandError::internal().into())
    }
}

/// Returns the names to try, in order: the hint as [`cleaned`] returns it, its start with 4, 8 and
/// 16 digits, and `user` with 4, 8 and 16 digits. Leaves out those that are not valid names. The
/// digits are derived from a hash of the subject, so that a retry tries the same names and the
/// names do not reveal the subject.
fn names(hint: Option<&str>, subject: &Subject) -> Vec<UserName> {
    let digest = Sha256::digest(subject.as_str().as_bytes());
    let number = digest
        .iter()
        .take(8)
        .fold(0_u64, |number, byte| (number << 8) | u64::from(*byte));
    let digits = [
        format!("{:04}", number % 10_000),
        format!("{:08}", number % 100_000_000),
        sixteen_digits(number),
    ];
    let mut names = Vec::with_capacity(2 * digits.len() + 1);
    names.extend(UserName::parse(&hint.map(cleaned).unwrap_or_default()));
    for stem in stems(hint) {
        for digits in &digits {
            names.extend(UserName::parse(&format!("{stem}-{digits}")));
        }
    }
    names
}

/// Returns up to two names with random digits, for the case that all of [`names`] are taken: by
/// deleted accounts of the subject that reserve their names, or by users who know the subject. A
/// retry need not try the same names, because it finds the account by its subject.
fn random_names(hint: Option<&str>) -> impl Iterator<Item = UserName> {
    stems(hint).into_iter().filter_map(|stem| {
        let digits = sixteen_digits(getrandom::u64().ok()?);
        UserName::parse(&format!("{stem}-{digits}")).ok()
    })
}

fn sixteen_digits(number: u64) -> String {
    format!("{:016}", number % 10_000_000_000_000_000)
}

/// Returns the parts of names before the digits: the start of the hint, and `user`. The start has
/// up to 15 characters, which with a separator and 16 digits make the longest possible name.
fn stems(hint: Option<&str>) -> [String; 2] {
    let hint = hint.map(cleaned).unwrap_or_default();
    [hint.chars().take(15).collect(), "user".to_owned()]
}

/// Converts a hint to a possible name: keeps letters and digits, replaces each sequence of other
/// characters by one separator, and removes separators at the ends. Of an e-mail address, only the
/// part before the `@` is used, and of this, only the first [`UserName::MAX_CHARS`] characters.
fn cleaned(hint: &str) -> String {
    let hint = hint.split('@').next().unwrap_or_default();
    let mut name = String::with_capacity(hint.len().min(UserName::MAX_BYTES));
    for character in hint.chars().take(UserName::MAX_CHARS) {
        let is_separator = !character.is_alphanumeric();
        if is_separator && (name.is_empty() || name.ends_with(['-', '_', '.'])) {
            continue;
        }
        name.push(match character {
            '_' | '.' => character,
            _ if is_separator => '-',
            _ => character,
        });
    }
    name.trim_end_matches(['-', '_', '.']).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names_for(hint: Option<&str>) -> Vec<String> {
        let subject = Subject::new("auth0|64f1").unwrap();
        let names = names(hint, &subject);
        names.iter().map(|name| name.as_str().to_owned()).collect()
    }

    #[test]
    fn name_is_the_hint_as_far_as_names_allow() {
        for (hint, name) in [
            ("alice", "alice"),
            ("Alice Smith", "alice-smith"),
            ("alice.smith@example.org", "alice.smith"),
            ("  <alice>  ", "alice"),
            ("_alice_", "alice"),
        ] {
            assert_eq!(names_for(Some(hint))[0], name, "{hint}");
        }
        let long = "a".repeat(100);
        assert_eq!(names_for(Some(&long))[0].len(), UserName::MAX_CHARS);
    }

    #[test]
    fn names_without_a_usable_hint_do_not_reveal_the_subject() {
        for hint in [None, Some(""), Some("12345"), Some("@"), Some("---"), Some("admin")] {
            let names = names_for(hint);
            assert!(!names.is_empty(), "{hint:?}");
            assert!(names.iter().all(|name| !name.contains("64f1")), "{names:?}");
        }
        assert!(names_for(None).iter().all(|name| name.starts_with("user-")));
    }

    #[test]
    fn random_names_differ_each_time() {
        let names_for = |hint| {
            random_names(hint)
                .map(|name| name.as_str().to_owned())
                .collect::<Vec<_>>()
        };
        assert_eq!((names_for(Some("alice")).len(), names_for(None).len()), (2, 1));
        assert!(names_for(Some("alice"))[0].starts_with("alice-"));
        assert!(
            names_for(Some("alice"))
                .iter()
                .all(|name| !names_for(Some("alice")).contains(name))
        );
    }

    #[test]
    fn names_are_the_same_for_a_retry() {
        let names = names_for(Some("alice"));
        assert_eq!((names.len(), names_for(Some("alice"))), (7, names.clone()));
        assert!(names[1..4].iter().all(|name| name.starts_with("alice-")), "{names:?}");
    }
}
