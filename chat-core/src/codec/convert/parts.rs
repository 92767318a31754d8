//! Conversion of parts that many packets share: ids, references, limits, lists.

use crate::codec::error::{InvalidRequest, Malformed};
use crate::codec::proto;
use crate::model::{
    ClientMessageId, ConversationId, ConversationRef, DeviceId, EventId, GroupName, Seq, StoreEpoch, UserId, UserName,
    UserRef,
};

/// Maximum id and maximum sequence number, because stores keep them as signed integers.
const MAX_NUMBER: u64 = i64::MAX.cast_unsigned();

pub(in crate::codec) fn to_user_id(number: u64) -> Result<UserId, InvalidRequest> {
    to_number(number, "user").map(UserId)
}

pub(in crate::codec) fn to_conversation_id(number: u64) -> Result<ConversationId, InvalidRequest> {
    to_number(number, "conversation").map(ConversationId)
}

/// Decodes a sequence number that must not be 0.
pub(in crate::codec) fn to_seq(number: u64, field: &'static str) -> Result<Seq, InvalidRequest> {
    to_number(number, field).map(Seq)
}

/// Decodes a sequence number, or 0 for the position before the first event.
pub(in crate::codec) fn to_seq_or_zero(number: u64, field: &'static str) -> Result<Seq, InvalidRequest> {
    if number <= MAX_NUMBER {
        Ok(Seq(number))
    } else {
        Err(InvalidRequest::argument(format!(
            "{field} is not between 0 and {MAX_NUMBER}"
        )))
    }
}

fn to_number(number: u64, field: &'static str) -> Result<u64, InvalidRequest> {
    if (1..=MAX_NUMBER).contains(&number) {
        Ok(number)
    } else {
        Err(InvalidRequest::argument(format!(
            "{field} is missing or not between 1 and {MAX_NUMBER}"
        )))
    }
}

pub(in crate::codec) fn to_device(bytes: &[u8]) -> Result<DeviceId, InvalidRequest> {
    DeviceId::try_from(bytes).map_err(|_| InvalidRequest::argument("device must have 16 bytes"))
}

pub(in crate::codec) fn to_client_message_id(bytes: &[u8]) -> Result<ClientMessageId, InvalidRequest> {
    ClientMessageId::try_from(bytes).map_err(|_| InvalidRequest::argument("client_message_id must have 16 bytes"))
}

pub(in crate::codec) fn to_event_id(bytes: &[u8]) -> Result<EventId, Malformed> {
    EventId::try_from(bytes).map_err(|_| Malformed::Field("event_id"))
}

pub(in crate::codec) fn to_store_epoch(bytes: &[u8]) -> Result<StoreEpoch, Malformed> {
    StoreEpoch::try_from(bytes).map_err(|_| Malformed::Field("store_epoch"))
}

/// Encodes an id of 16 bytes.
pub(in crate::codec) fn id(bytes: [u8; 16]) -> bytes::Bytes {
    bytes::Bytes::copy_from_slice(&bytes)
}

/// Decodes the maximum number of entries in an answer: 1 to `max`, or `default` for 0.
pub(in crate::codec) fn to_limit(limit: u32, default: u32, max: u32) -> Result<u32, InvalidRequest> {
    match limit {
        0 => Ok(default),
        limit if limit <= max => Ok(limit),
        _ => Err(InvalidRequest::argument(format!("limit must be at most {max}"))),
    }
}

pub(in crate::codec) fn to_user_ref(user: Option<proto::UserRef>) -> Result<UserRef, InvalidRequest> {
    use proto::user_ref::Ref;
    match user.and_then(|user| user.r#ref) {
        Some(Ref::Id(id)) => to_user_id(id).map(UserRef::Id),
        Some(Ref::Name(name)) => Ok(UserRef::Name(UserName::parse_any(&name)?)),
        None => Err(InvalidRequest::argument("user is missing")),
    }
}

pub(in crate::codec) fn user_ref(user: &UserRef) -> proto::UserRef {
    use proto::user_ref::Ref;
    proto::UserRef {
        r#ref: Some(match user {
            UserRef::Id(id) => Ref::Id(id.0),
            UserRef::Name(name) => Ref::Name(name.as_str().to_owned()),
        }),
    }
}

pub(in crate::codec) fn to_conversation_ref(
    conversation: Option<proto::ConversationRef>,
) -> Result<ConversationRef, InvalidRequest> {
    use proto::conversation_ref::Ref;
    match conversation.and_then(|conversation| conversation.r#ref) {
        Some(Ref::Id(id)) => to_conversation_id(id).map(ConversationRef::Id),
        Some(Ref::Direct(user)) => to_user_ref(Some(user)).map(ConversationRef::Direct),
        Some(Ref::Group(name)) => Ok(ConversationRef::Group(GroupName::parse_any(&name)?)),
        None => Err(InvalidRequest::argument("conversation is missing")),
    }
}

pub(in crate::codec) fn conversation_ref(conversation: &ConversationRef) -> proto::ConversationRef {
    use proto::conversation_ref::Ref;
    proto::ConversationRef {
        r#ref: Some(match conversation {
            ConversationRef::Id(id) => Ref::Id(id.0),
            ConversationRef::Direct(user) => Ref::Direct(user_ref(user)),
            ConversationRef::Group(name) => Ref::Group(name.as_str().to_owned()),
        }),
    }
}

/// Decodes an enum field of a request. Returns `None` for 0, which means unchanged in an update,
/// and the default in a creation.
pub(in crate::codec) fn to_enum<T>(
    number: i32,
    field: &'static str,
    decode: impl Fn(i32) -> Option<T>,
) -> Result<Option<T>, InvalidRequest> {
    if number == 0 {
        return Ok(None);
    }
    match decode(number) {
        Some(value) => Ok(Some(value)),
        None => Err(InvalidRequest::argument(format!(
            "{field} has the unknown value {number}"
        ))),
    }
}

/// Decodes a list that the server sent. One invalid entry makes the whole list invalid.
pub(in crate::codec) fn decode_list<A, B>(
    list: Vec<A>,
    decode: impl Fn(A) -> Result<B, Malformed>,
) -> Result<Vec<B>, Malformed> {
    list.into_iter().map(decode).collect()
}

/// Returns the value of a field that a server always sends, or an error if it is missing or, in an
/// enum field, unknown.
pub(in crate::codec) fn required<T>(part: Option<T>, field: &'static str) -> Result<T, Malformed> {
    part.ok_or(Malformed::Field(field))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_text_names_the_range_of_the_field() {
        assert_eq!(to_seq_or_zero(0, "after").unwrap(), Seq::ZERO);
        assert_eq!(to_seq_or_zero(MAX_NUMBER, "after").unwrap(), Seq(MAX_NUMBER));
        let text = |result: Result<Seq, InvalidRequest>| result.unwrap_err().text;
        let range = text(to_seq_or_zero(MAX_NUMBER + 1, "after"));
        assert!(range.contains("between 0 and"), "{range}");
        let range = text(to_seq(0, "target"));
        assert!(range.contains("between 1 and"), "{range}");
    }
}
