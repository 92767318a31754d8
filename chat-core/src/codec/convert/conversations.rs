//! Conversion of conversations and of pages of their logs.

use super::accounts::{to_user_info, user_info};
use super::groups::{group_info, to_group_info};
use super::{enums, parts};
use crate::codec::error::{InvalidRequest, Malformed};
use crate::codec::event::{self, EventFields};
use crate::codec::proto;
use crate::codec::wire::{Encode, FieldSink};
use crate::model::{
    Command, ConversationId, ConversationInfo, ConversationPage, ConversationQuery, ConversationView, HistoryPage,
    Page, PageFrom, Seq, Timestamp,
};

/// Maximum size of the bodies of all events of a page and of their latest edits, in bytes. A page
/// with only one event may exceed it.
pub(in crate::codec) const MAX_PAGE_BYTES: u32 = 256 * 1024;

pub(super) fn to_read_history(read: proto::ReadHistory) -> Result<Command, InvalidRequest> {
    let from = match (read.after, read.before) {
        (Some(after), None) => PageFrom::After(parts::to_seq_or_zero(after, "after")?),
        (None, Some(0)) => PageFrom::Newest,
        (None, Some(before)) => PageFrom::Before(parts::to_seq(before, "before")?),
        _ => {
            return Err(InvalidRequest::argument(
                "exactly one of after and before must be given",
            ));
        }
    };
    Ok(Command::ReadHistory {
        conversation: parts::to_conversation_ref(read.conversation)?,
        page: Page {
            from,
            max_events: parts::to_limit(read.limit, 100, 500)?,
            max_bytes: MAX_PAGE_BYTES,
        },
    })
}

pub(super) fn read_history(conversation: proto::ConversationRef, page: &Page) -> proto::ReadHistory {
    let (after, before) = match page.from {
        PageFrom::After(seq) => (Some(seq.0), None),
        PageFrom::Before(seq) => (None, Some(seq.0)),
        PageFrom::Newest => (None, Some(0)),
    };
    proto::ReadHistory {
        conversation: Some(conversation),
        after,
        before,
        limit: page.max_events,
    }
}

pub(super) fn to_list_conversations(list: &proto::ListConversations) -> Result<Command, InvalidRequest> {
    Ok(Command::ListConversations(ConversationQuery {
        after: match list.after {
            0 => ConversationId(0),
            after => parts::to_conversation_id(after)?,
        },
        limit: parts::to_limit(
            list.limit,
            ConversationQuery::DEFAULT_LIMIT,
            ConversationQuery::MAX_LIMIT,
        )?,
        include_ended: list.ended,
        include_descriptions: list.descriptions,
    }))
}

pub(super) fn list_conversations(query: ConversationQuery) -> proto::ListConversations {
    proto::ListConversations {
        after: query.after.0,
        limit: match query.limit {
            // 0 stands for the default, and takes no bytes.
            ConversationQuery::DEFAULT_LIMIT => 0,
            limit => limit,
        },
        ended: query.include_ended,
        descriptions: query.include_descriptions,
    }
}

pub(super) fn conversation_list(page: &ConversationPage) -> proto::ConversationList {
    proto::ConversationList {
        conversations: page.conversations.iter().map(conversation_info).collect(),
        next: page.next.map_or(0, |next| next.0),
    }
}

pub(super) fn to_conversation_page(list: proto::ConversationList) -> Result<ConversationPage, Malformed> {
    Ok(ConversationPage {
        conversations: parts::decode_list(list.conversations, to_conversation_info)?,
        next: (list.next != 0).then_some(ConversationId(list.next)),
    })
}

pub(super) fn conversation_info(info: &ConversationInfo) -> proto::ConversationInfo {
    use proto::ConversationKind as Kind;
    let (kind, peer, group) = match &info.view {
        ConversationView::Direct(peer) => (Kind::Direct, Some(user_info(peer)), None),
        ConversationView::Group(group) => (Kind::Group, None, Some(group_info(group))),
        ConversationView::Inbox => (Kind::Inbox, None, None),
    };
    proto::ConversationInfo {
        id: info.id.0,
        kind: kind as i32,
        peer,
        group,
        role: enums::role(info.role),
        first_seq: info.first_seq.0,
        last_seq: info.last_seq.0,
        cursor: info.cursor.0,
        read_seq: info.read_seq.0,
        unread: info.unread,
        unread_mentions: info.unread_mentions,
        peer_delivered_seq: info.peer_delivered_seq.0,
        peer_read_seq: info.peer_read_seq.0,
        last_time_ms: info.last_time.0,
        active: info.active,
    }
}

/// Decodes a conversation. Its `members_version`, which only servers need, is not transmitted and
/// becomes 0.
pub(super) fn to_conversation_info(info: proto::ConversationInfo) -> Result<ConversationInfo, Malformed> {
    use proto::ConversationKind as Kind;
    if info.id == 0 {
        return Err(Malformed::Field("conversation id"));
    }
    let view = match Kind::try_from(info.kind) {
        Ok(Kind::Direct) => ConversationView::Direct(to_user_info(parts::required(info.peer, "peer")?)?),
        Ok(Kind::Group) => ConversationView::Group(to_group_info(parts::required(info.group, "group")?)?),
        Ok(Kind::Inbox) => ConversationView::Inbox,
        Ok(Kind::Unspecified) | Err(_) => return Err(Malformed::Field("conversation kind")),
    };
    Ok(ConversationInfo {
        id: ConversationId(info.id),
        view,
        role: parts::required(enums::to_role(info.role), "role")?,
        first_seq: Seq(info.first_seq),
        last_seq: Seq(info.last_seq),
        cursor: Seq(info.cursor),
        read_seq: Seq(info.read_seq),
        unread: info.unread,
        unread_mentions: info.unread_mentions,
        peer_delivered_seq: Seq(info.peer_delivered_seq),
        peer_read_seq: Seq(info.peer_read_seq),
        last_time: Timestamp(info.last_time_ms),
        members_version: Seq::ZERO,
        active: info.active,
    })
}

impl Encode for HistoryPage {
    fn put_fields(&self, out: &mut impl FieldSink) {
        out.integer(1, self.conversation.0);
        for event in &self.events {
            let event = EventFields::past(event);
            out.message(2, event.len());
            event.put_fields(out);
        }
        out.flag(3, self.has_more);
        out.integer(4, self.first_seq.0);
        out.integer(5, self.last_seq.0);
    }
}

pub(super) fn to_history_page(page: proto::HistoryPage) -> Result<HistoryPage, Malformed> {
    if page.conversation == 0 {
        return Err(Malformed::Field("conversation"));
    }
    Ok(HistoryPage {
        conversation: ConversationId(page.conversation),
        events: parts::decode_list(page.events, event::decode)?,
        has_more: page.more,
        first_seq: Seq(page.first_seq),
        last_seq: Seq(page.last_seq),
    })
}
