//! Encoding and decoding of the envelopes that nodes, and programs that only announce commits, send
//! to nodes. All decoded data is untrusted.

use bytes::Bytes;
use prost::Message as _;

use super::shared_push::SharedPush;
use crate::bus::Topic;
use crate::codec::frame::PREFIX_BYTES;
use crate::codec::{Incoming, client};
use crate::model::{CloseCode, ConversationId, DeviceId, NodeId, Push, Seq, StoreEpoch, UserId};

/// The messages of `chat.node.v1`, generated from `proto/chat/v1/node.proto`.
#[allow(missing_docs, unreachable_pub, clippy::all, rustdoc::all)]
#[rustfmt::skip]
#[path = "generated/chat.node.v1.rs"]
mod proto;

/// Version of the envelopes that this node encodes and decodes.
const VERSION: u32 = 1;
/// Maximum number of doorbells in one envelope of a heartbeat. The same maximum applies to joins
/// and to changed sessions.
pub(crate) const MAX_REPEATED: usize = 512;

/// Encodes envelopes of one node, and decodes those of nodes on the same store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct EnvelopeCodec {
    pub(crate) epoch: StoreEpoch,
    pub(crate) node: NodeId,
    /// Number that grows at each start of the node.
    pub(crate) incarnation: u64,
}

/// Announcement that the log of a conversation reaches `last_seq`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Doorbell {
    pub(crate) conversation: ConversationId,
    pub(crate) last_seq: Seq,
}

/// Sessions that receive a notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Audience {
    Conversation(ConversationId),
    User(UserId),
}

impl Audience {
    /// Returns the topic to which the nodes with these sessions subscribe.
    pub(crate) fn topic(self) -> Topic {
        match self {
            Self::Conversation(conversation) => Topic::Conversation(conversation),
            Self::User(user) => Topic::User(user),
        }
    }
}

/// Device whose session does not receive a notice, because the device caused the notice.
pub(crate) type ExceptDevice = (UserId, DeviceId);

/// Content of an envelope.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Content {
    Doorbell(Doorbell),
    /// Envelope that a running node sends periodically, with its recent announcements. A program
    /// that only announces commits sends one without announcements, and with `overflowed`, when it
    /// cannot repeat its announcements.
    Heartbeat {
        /// Grows with each heartbeat; the same in all envelopes of a heartbeat that needs several.
        /// 0 if the sender is not a node.
        number: u64,
        doorbells: Vec<Doorbell>,
        /// Users who became members of a conversation.
        joins: Vec<(UserId, ConversationId)>,
        /// Users whose sessions may have ended, each with the close code for the sessions that have
        /// ended.
        changed_sessions: Vec<(UserId, CloseCode)>,
        /// True if there were announcements that the node cannot repeat. The receiver then compares
        /// everything with the store.
        overflowed: bool,
    },
    /// Push that no log contains and that may be lost, such as a receipt.
    Notice {
        audience: Audience,
        push: Push,
        except: Option<ExceptDevice>,
    },
    /// Logins of the user may have ended. The receiver compares the user's sessions with the store,
    /// and closes those that have ended: with `code`, unless the store shows a more exact reason.
    SessionsChanged {
        user: UserId,
        code: CloseCode,
    },
    /// The user became a member of the conversation.
    UserJoined {
        user: UserId,
        conversation: ConversationId,
    },
}

/// Decoded envelope of another node, or of this node itself if the bus returned it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ReceivedEnvelope {
    pub(crate) node: NodeId,
    pub(crate) incarnation: u64,
    pub(crate) content: Content,
}

impl EnvelopeCodec {
    pub(crate) fn encode(&self, content: Content) -> Bytes {
        use proto::envelope::Content as WireContent;
        self.wrap(match content {
            Content::Doorbell(doorbell) => WireContent::Doorbell(doorbell.into()),
            Content::Heartbeat {
                number,
                doorbells,
                joins,
                changed_sessions,
                overflowed,
            } => WireContent::Heartbeat(proto::Heartbeat {
                number,
                doorbells: doorbells.into_iter().map(Into::into).collect(),
                joins: joins.into_iter().map(user_joined).collect(),
                changed_sessions: changed_sessions.into_iter().map(sessions_changed).collect(),
                overflowed,
            }),
            Content::Notice { audience, push, except } => {
                return self.encode_notice(audience, &SharedPush::new(push), except);
            }
            Content::SessionsChanged { user, code } => WireContent::SessionsChanged(sessions_changed((user, code))),
            Content::UserJoined { user, conversation } => WireContent::UserJoined(user_joined((user, conversation))),
        })
    }

    /// Encodes a notice. Its push is encoded as the packet that clients receive.
    pub(crate) fn encode_notice(&self, audience: Audience, push: &SharedPush, except: Option<ExceptDevice>) -> Bytes {
        let (conversation, user) = match audience {
            Audience::Conversation(conversation) => (conversation.0, 0),
            Audience::User(user) => (0, user.0),
        };
        self.wrap(proto::envelope::Content::Notice(proto::Notice {
            conversation,
            user,
            packet: push.frame().slice(PREFIX_BYTES..),
            except_user: except.map_or(0, |(user, _)| user.0),
            except_device: except.map_or_else(Bytes::new, |(_, device)| Bytes::copy_from_slice(&device.0)),
        }))
    }

    /// Puts the content into an envelope with the sender's identity.
    fn wrap(&self, content: proto::envelope::Content) -> Bytes {
        let envelope = proto::Envelope {
            version: VERSION,
            store_epoch: Bytes::copy_from_slice(&self.epoch.0),
            node: Bytes::copy_from_slice(&self.node.0),
            incarnation: self.incarnation,
            content: Some(content),
        };
        envelope.encode_to_vec().into()
    }

    /// Decodes an envelope. Returns `None` if it is damaged, of another version, or from a node on
    /// another store, or if its content is a notice that is not allowed, or a
    /// [`SessionsChanged`](Content::SessionsChanged) with an unknown close code.
    pub(crate) fn decode(&self, bytes: Bytes) -> Option<ReceivedEnvelope> {
        use proto::envelope::Content as WireContent;
        let envelope = proto::Envelope::decode(bytes).ok()?;
        if envelope.version != VERSION || envelope.store_epoch[..] != self.epoch.0 {
            return None;
        }
        let content = match envelope.content? {
            WireContent::Doorbell(doorbell) => Content::Doorbell(doorbell.into()),
            WireContent::Heartbeat(heartbeat) => decode_heartbeat(heartbeat),
            WireContent::Notice(notice) => decode_notice(notice)?,
            WireContent::SessionsChanged(changed) => {
                let (user, code) = decode_sessions_changed(&changed)?;
                Content::SessionsChanged { user, code }
            }
            WireContent::UserJoined(joined) => Content::UserJoined {
                user: UserId(joined.user),
                conversation: ConversationId(joined.conversation),
            },
        };
        Some(ReceivedEnvelope {
            node: NodeId::try_from(&envelope.node[..]).ok()?,
            incarnation: envelope.incarnation,
            content,
        })
    }
}

/// Decodes a heartbeat. A heartbeat with more than [`MAX_REPEATED`] doorbells, joins or changed
/// sessions counts as overflowed, and all of these are ignored. Changed sessions with a close code
/// that this version does not know are left out, and the heartbeat counts as overflowed too. A
/// [sweep](super::workers::sweep), which compares users with the store, then finds the sessions
/// that have ended.
fn decode_heartbeat(heartbeat: proto::Heartbeat) -> Content {
    let lists = [
        heartbeat.doorbells.len(),
        heartbeat.joins.len(),
        heartbeat.changed_sessions.len(),
    ];
    if lists.iter().any(|len| *len > MAX_REPEATED) {
        return Content::Heartbeat {
            number: heartbeat.number,
            doorbells: Vec::new(),
            joins: Vec::new(),
            changed_sessions: Vec::new(),
            overflowed: true,
        };
    }
    let joins = heartbeat.joins.iter();
    let changed = heartbeat.changed_sessions.iter();
    let changed_sessions: Vec<_> = changed.filter_map(decode_sessions_changed).collect();
    Content::Heartbeat {
        number: heartbeat.number,
        doorbells: heartbeat.doorbells.into_iter().map(Into::into).collect(),
        joins: joins
            .map(|joined| (UserId(joined.user), ConversationId(joined.conversation)))
            .collect(),
        overflowed: heartbeat.overflowed || changed_sessions.len() < heartbeat.changed_sessions.len(),
        changed_sessions,
    }
}

fn sessions_changed((user, code): (UserId, CloseCode)) -> proto::SessionsChanged {
    proto::SessionsChanged {
        user: user.0,
        code: code.number().into(),
    }
}

fn decode_sessions_changed(changed: &proto::SessionsChanged) -> Option<(UserId, CloseCode)> {
    let code = u16::try_from(changed.code).ok().and_then(CloseCode::from_number)?;
    Some((UserId(changed.user), code))
}

fn user_joined((user, conversation): (UserId, ConversationId)) -> proto::UserJoined {
    proto::UserJoined {
        user: user.0,
        conversation: conversation.0,
    }
}

fn decode_notice(notice: proto::Notice) -> Option<Content> {
    let audience = match (notice.conversation, notice.user) {
        (0, 0) => return None,
        (0, user) => Audience::User(UserId(user)),
        (conversation, _) => Audience::Conversation(ConversationId(conversation)),
    };
    let Ok(Incoming::Push(push)) = client::decode(notice.packet) else {
        return None;
    };
    // All other pushes, such as events and the end of a session, follow from what this node reads
    // from the store, so they must not come from the bus.
    let is_notice = matches!(
        push,
        Push::Receipt { .. } | Push::Read { .. } | Push::Typing { .. } | Push::Presence { .. }
    );
    let except = DeviceId::try_from(&notice.except_device[..])
        .ok()
        .map(|device| (UserId(notice.except_user), device));
    is_notice.then_some(Content::Notice { audience, push, except })
}

impl From<Doorbell> for proto::Doorbell {
    fn from(doorbell: Doorbell) -> Self {
        Self {
            conversation: doorbell.conversation.0,
            last_seq: doorbell.last_seq.0,
        }
    }
}

impl From<proto::Doorbell> for Doorbell {
    fn from(doorbell: proto::Doorbell) -> Self {
        Self {
            conversation: ConversationId(doorbell.conversation),
            last_seq: Seq(doorbell.last_seq),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A node of a later version can announce the end of sessions for a reason that this version
    /// does not know.
    #[test]
    fn unknown_close_code_in_a_heartbeat_asks_for_a_sweep() {
        let heartbeat = |codes: &[u32]| proto::Heartbeat {
            number: 1,
            changed_sessions: codes
                .iter()
                .map(|code| proto::SessionsChanged { user: 7, code: *code })
                .collect(),
            ..proto::Heartbeat::default()
        };
        let decoded = |codes: &[u32]| match decode_heartbeat(heartbeat(codes)) {
            Content::Heartbeat {
                changed_sessions,
                overflowed,
                ..
            } => (changed_sessions, overflowed),
            other => panic!("{other:?}"),
        };
        let known = CloseCode::Revoked;
        let code = known.number().into();
        assert_eq!(decoded(&[code]), (vec![(UserId(7), known)], false));
        assert_eq!(decoded(&[60_000, code]), (vec![(UserId(7), known)], true));
    }
}
