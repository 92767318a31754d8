//! What nodes tell each other, in words of the model. Everything read here is untrusted.

use bytes::Bytes;
use prost::Message as _;

use super::proto;
use crate::codec::frame::PREFIX;
use crate::codec::{Incoming, client};
use crate::model::{CloseCode, ConversationId, DeviceId, NodeId, Push, Seq, StoreEpoch, UserId};

/// Version of the envelopes that this node writes and understands.
const VERSION: u32 = 1;
/// Most doorbells, most places and most logins that one beacon repeats.
pub(super) const MAX_REPEATED: usize = 512;

/// Who writes envelopes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Writer {
    pub(super) epoch: StoreEpoch,
    pub(super) node: NodeId,
    pub(super) incarnation: u64,
}

/// Events were committed to a conversation, up to there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Doorbell {
    pub(super) conversation: ConversationId,
    pub(super) last_seq: Seq,
}

/// Whom a notice is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Audience {
    Conversation(ConversationId),
    User(UserId),
}

/// A session anywhere, by what it is called everywhere.
pub(super) type Exception = Option<(UserId, DeviceId)>;

/// What an envelope says.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Content {
    Doorbell(Doorbell),
    Beacon {
        number: u64,
        doorbells: Vec<Doorbell>,
        places: Vec<(UserId, ConversationId)>,
        logins: Vec<(UserId, CloseCode)>,
        overflowed: bool,
    },
    Notice {
        audience: Audience,
        push: Push,
        except: Exception,
    },
    SessionsChanged {
        user: UserId,
        code: CloseCode,
    },
    PlacesChanged {
        user: UserId,
        conversation: ConversationId,
    },
}

/// An envelope from another node, or an own one that came back.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Read {
    pub(super) node: NodeId,
    pub(super) incarnation: u64,
    pub(super) content: Content,
}

impl Writer {
    pub(super) fn write(&self, content: Content) -> Bytes {
        use proto::envelope::Content as Wire;
        let content = match content {
            Content::Doorbell(doorbell) => Wire::Doorbell(doorbell.into()),
            Content::Beacon {
                number,
                doorbells,
                places,
                logins,
                overflowed,
            } => Wire::Beacon(proto::Beacon {
                number,
                doorbells: doorbells.into_iter().map(Into::into).collect(),
                places: places.into_iter().map(places_changed).collect(),
                logins: logins.into_iter().map(sessions_changed).collect(),
                overflowed,
            }),
            Content::Notice { audience, push, except } => Wire::Notice(notice(audience, &push, except)),
            Content::SessionsChanged { user, code } => Wire::SessionsChanged(sessions_changed((user, code))),
            Content::PlacesChanged { user, conversation } => Wire::PlacesChanged(places_changed((user, conversation))),
        };
        let envelope = proto::Envelope {
            version: VERSION,
            store_epoch: Bytes::copy_from_slice(&self.epoch.0),
            node: Bytes::copy_from_slice(&self.node.0),
            incarnation: self.incarnation,
            content: Some(content),
        };
        envelope.encode_to_vec().into()
    }

    /// Reads an envelope. `None` if it is damaged, of another version or of another history: nothing to go by.
    pub(super) fn read(&self, bytes: Bytes) -> Option<Read> {
        use proto::envelope::Content as Wire;
        let envelope = proto::Envelope::decode(bytes).ok()?;
        if envelope.version != VERSION || envelope.store_epoch[..] != self.epoch.0 {
            return None;
        }
        let content = match envelope.content? {
            Wire::Doorbell(doorbell) => Content::Doorbell(doorbell.into()),
            Wire::Beacon(beacon) if is_bounded(&beacon) => Content::Beacon {
                number: beacon.number,
                doorbells: beacon.doorbells.into_iter().map(Into::into).collect(),
                places: beacon
                    .places
                    .iter()
                    .map(|p| (UserId(p.user), ConversationId(p.conversation)))
                    .collect(),
                logins: beacon.logins.iter().filter_map(read_sessions_changed).collect(),
                overflowed: beacon.overflowed,
            },
            Wire::Beacon(beacon) => Content::Beacon {
                number: beacon.number,
                doorbells: Vec::new(),
                places: Vec::new(),
                logins: Vec::new(),
                overflowed: true,
            },
            Wire::Notice(notice) => read_notice(notice)?,
            Wire::SessionsChanged(changed) => {
                let (user, code) = read_sessions_changed(&changed)?;
                Content::SessionsChanged { user, code }
            }
            Wire::PlacesChanged(changed) => Content::PlacesChanged {
                user: UserId(changed.user),
                conversation: ConversationId(changed.conversation),
            },
        };
        Some(Read {
            node: NodeId::from_slice(&envelope.node)?,
            incarnation: envelope.incarnation,
            content,
        })
    }
}

fn is_bounded(beacon: &proto::Beacon) -> bool {
    [beacon.doorbells.len(), beacon.places.len(), beacon.logins.len()]
        .iter()
        .all(|count| *count <= MAX_REPEATED)
}

fn sessions_changed((user, code): (UserId, CloseCode)) -> proto::SessionsChanged {
    proto::SessionsChanged {
        user: user.0,
        code: code.number().into(),
    }
}

fn read_sessions_changed(changed: &proto::SessionsChanged) -> Option<(UserId, CloseCode)> {
    let code = u16::try_from(changed.code).ok().and_then(CloseCode::from_number)?;
    Some((UserId(changed.user), code))
}

fn places_changed((user, conversation): (UserId, ConversationId)) -> proto::PlacesChanged {
    proto::PlacesChanged {
        user: user.0,
        conversation: conversation.0,
    }
}

fn notice(audience: Audience, push: &Push, except: Exception) -> proto::Notice {
    let (conversation, user) = match audience {
        Audience::Conversation(conversation) => (conversation.0, 0),
        Audience::User(user) => (0, user.0),
    };
    proto::Notice {
        conversation,
        user,
        packet: crate::codec::server::encode_push(push).slice(PREFIX..),
        except_user: except.map_or(0, |(user, _)| user.0),
        except_device: except.map_or_else(Bytes::new, |(_, device)| Bytes::copy_from_slice(&device.0)),
    }
}

fn read_notice(notice: proto::Notice) -> Option<Content> {
    let audience = match (notice.conversation, notice.user) {
        (0, 0) => return None,
        (0, user) => Audience::User(UserId(user)),
        (conversation, _) => Audience::Conversation(ConversationId(conversation)),
    };
    let Ok(Incoming::Push(push)) = client::decode(notice.packet) else {
        return None;
    };
    // Nothing that a client takes for durable, or for an order, comes this way.
    let ephemeral = matches!(
        push,
        Push::Receipt { .. } | Push::Read { .. } | Push::Typing { .. } | Push::Presence { .. }
    );
    let except = DeviceId::from_slice(&notice.except_device).map(|device| (UserId(notice.except_user), device));
    ephemeral.then_some(Content::Notice { audience, push, except })
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
