//! Users and groups as operators name them in arguments.

use chat_core::model::{ConversationRef, GroupName, UserName, UserRef};

use crate::failure::chain;

/// Parses the name of a user. Operators may use names that registration reserves.
///
/// # Errors
/// A sentence for the operator, as for the other functions of this module.
pub(crate) fn user_name(text: &str) -> Result<UserName, String> {
    UserName::parse_any(text).map_err(|error| chain(&error))
}

/// Parses the name of a user, or `#` and the id of a user.
pub(crate) fn user_ref(text: &str) -> Result<UserRef, String> {
    match text.strip_prefix('#') {
        Some(id) => id.parse().map(UserRef::Id).map_err(|_| invalid_id(text)),
        None => user_name(text).map(UserRef::Name),
    }
}

/// Parses the name of a group, or `#` and the id of a group.
pub(crate) fn group_ref(text: &str) -> Result<ConversationRef, String> {
    match text.strip_prefix('#') {
        Some(id) => id.parse().map(ConversationRef::Id).map_err(|_| invalid_id(text)),
        None => {
            let name = GroupName::parse_any(text).map_err(|error| chain(&error))?;
            Ok(ConversationRef::Group(name))
        }
    }
}

fn invalid_id(text: &str) -> String {
    format!("the id in {text:?} is not valid; write # and a number, such as '#17', or a name without #")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invalid_id_is_explained() {
        assert!(matches!(user_ref("#17"), Ok(UserRef::Id(_))));
        for text in ["#x", "#", "#-1", "#99999999999999999999999"] {
            let (user, group) = (user_ref(text).unwrap_err(), group_ref(text).unwrap_err());
            assert!(user.contains(text) && user.contains("'#17'"), "{user}");
            assert_eq!(user, group);
        }
    }
}
