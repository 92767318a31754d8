//! Checks messages before they enter the outbox.

use bytes::{Buf as _, BytesMut};

use crate::codec::{
    DecodeError, Failure, RequestId, client::encode_command, frame::PREFIX_BYTES, server::decode_request,
};
use crate::model::{Command, ConversationRef, Draft, MessageText, ReplyCode};

use super::ClientError;

/// Refuses a message whose form every server would refuse, such as one to user 0. An outbox file
/// with such a message could not be read again, because reading decodes messages as a server does.
pub(super) fn check(conversation: &ConversationRef, draft: &Draft) -> Result<(), ClientError> {
    let command = Command::Send {
        conversation: conversation.clone(),
        draft: draft.clone(),
    };
    let mut packet = BytesMut::new();
    encode_command(RequestId(1), &command, &mut packet);
    packet.advance(PREFIX_BYTES);
    match decode_request(packet.freeze(), MessageText::MAX_BYTES) {
        Ok(_) => Ok(()),
        Err(DecodeError::Invalid { failure, .. }) => Err(ClientError::Refused(failure)),
        Err(error) => Err(ClientError::Refused(Failure::new(
            ReplyCode::BadRequest,
            error.to_string(),
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{ClientMessageId, ConversationId, DraftContent, Seq, UserId, UserRef};

    #[test]
    fn ids_out_of_range_are_refused() {
        let recall = |conversation, target| {
            let draft = Draft {
                client_message_id: ClientMessageId::random(),
                content: DraftContent::Recall { target: Seq(target) },
            };
            check(&conversation, &draft)
        };
        let bob = || ConversationRef::Direct(UserRef::Id(UserId(2)));
        assert!(recall(bob(), 1).is_ok());
        for (conversation, target) in [
            (bob(), 0),
            (bob(), u64::MAX),
            (ConversationRef::Direct(UserRef::Id(UserId(0))), 1),
            (ConversationRef::Id(ConversationId(u64::MAX)), 1),
        ] {
            let refused = recall(conversation.clone(), target);
            assert!(
                matches!(refused, Err(ClientError::Refused(_))),
                "{conversation:?} {target}"
            );
        }
    }
}
