//! Conversion of requests and answers about other users and contacts.

use super::accounts::{to_user_info, user_info};
use super::{enums, parts};
use crate::codec::error::{InvalidRequest, Malformed};
use crate::codec::proto;
use crate::model::{Command, ContactInfo, ContactPage, Note, Timestamp, UserId, UserName};

/// Maximum number of users in one `GetUsers`.
const MAX_USERS: usize = 200;
/// Maximum length of a search query, in bytes.
const MAX_QUERY_BYTES: usize = 256;

pub(super) fn to_search_users(search: proto::SearchUsers) -> Result<Command, InvalidRequest> {
    let canonical = |query: &str| UserName::parse_any(query).map(|name| name.as_str().to_owned());
    Ok(Command::SearchUsers {
        query: to_query(&search.query, canonical)?,
        limit: parts::to_limit(search.limit, 20, 50)?,
    })
}

/// Decodes a search query, without white space at its ends. `canonical` converts a query that is a
/// valid name to the form in which names are searched, and fails for any other query, such as
/// `alice-`, which is then converted to lower case.
pub(super) fn to_query<E>(
    query: &str,
    canonical: impl Fn(&str) -> Result<String, E>,
) -> Result<String, InvalidRequest> {
    let fits = |query: &str| (1..=MAX_QUERY_BYTES).contains(&query.len());
    let query = query.trim();
    let folded = match fits(query) {
        true => canonical(query).unwrap_or_else(|_| query.to_lowercase()),
        false => String::new(),
    };
    if fits(&folded) {
        Ok(folded)
    } else {
        Err(InvalidRequest::argument(format!(
            "query must have 1 to {MAX_QUERY_BYTES} bytes"
        )))
    }
}

pub(super) fn to_get_users(get: proto::GetUsers) -> Result<Command, InvalidRequest> {
    if get.users.len() > MAX_USERS {
        return Err(InvalidRequest::argument(format!(
            "users must have at most {MAX_USERS} entries"
        )));
    }
    let users = get.users.into_iter().map(|user| parts::to_user_ref(Some(user)));
    users.collect::<Result<_, _>>().map(Command::GetUsers)
}

pub(super) fn to_request_friend(request: proto::RequestFriend) -> Result<Command, InvalidRequest> {
    Ok(Command::RequestFriend {
        user: parts::to_user_ref(request.user)?,
        note: Note::new(request.note)?,
    })
}

pub(super) fn to_list_contacts(list: proto::ListContacts) -> Result<Command, InvalidRequest> {
    Ok(Command::ListContacts {
        after: match list.after_user {
            0 => UserId(0),
            user => parts::to_user_id(user)?,
        },
        // A client that does not know pages sends neither `after_user` nor `limit`, and gets as
        // many contacts as one page can have.
        limit: parts::to_limit(list.limit, ContactPage::MAX_LIMIT, ContactPage::MAX_LIMIT)?,
    })
}

pub(super) fn contact_info(contact: &ContactInfo) -> proto::ContactInfo {
    proto::ContactInfo {
        user: Some(user_info(&contact.user)),
        state: enums::contact_state(contact.state),
        blocked: contact.blocked,
        note: contact.note.clone(),
        since_ms: contact.since.0,
        presence: contact.presence.map_or(0, enums::presence),
    }
}

pub(super) fn to_contact_info(contact: proto::ContactInfo) -> Result<ContactInfo, Malformed> {
    Ok(ContactInfo {
        user: to_user_info(parts::required(contact.user, "user")?)?,
        state: parts::required(enums::to_contact_state(contact.state), "contact state")?,
        blocked: contact.blocked,
        note: contact.note,
        since: Timestamp(contact.since_ms),
        presence: enums::to_presence(contact.presence),
    })
}
