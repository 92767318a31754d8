//! What may go into the outbox: only what can be read back from it.

use bytes::{Buf as _, BytesMut};

use crate::codec::{DecodeError, Failure, RequestId, client::encode_command, frame::PREFIX, server::decode_request};
use crate::model::{Command, ConversationRef, Draft, MessageText, ReplyCode};

use super::ClientError;

/// Refuses a message that every server would refuse for its form, such as one for user 0. In the outbox it would be unreadable, and hold up
/// everything else there.
pub(super) fn check(conversation: &ConversationRef, draft: &Draft) -> Result<(), ClientError> {
    let command = Command::Send {
        conversation: conversation.clone(),
        draft: draft.clone(),
    };
    let mut packet = BytesMut::new();
    encode_command(RequestId(1), &command, &mut packet);
    packet.advance(PREFIX);
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
    fn numbers_that_nothing_has_are_refused_at_once() {
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
