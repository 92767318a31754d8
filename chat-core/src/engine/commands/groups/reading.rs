//! Commands that read groups and their members.

use super::GroupCommands;
use std::sync::Arc;

use crate::engine::error::CommandError;
use crate::engine::operations::policy::{self, GroupPermission, Membership};
use crate::engine::query_lanes::QueryPermit;
use crate::engine::views::{conversation_info, group_info, user_infos};
use crate::model::{
    Caller, ConversationId, ConversationInfo, ConversationRef, ConversationView, GroupInfo, GroupName, Member,
    MemberInfo, MemberPage, MemberState, Outcome, ReplyCode, Seq, UserId,
};

impl GroupCommands {
    pub(in crate::engine::commands) async fn search(
        self: Arc<Self>,
        caller: Caller,
        query: String,
        limit: u32,
        mut permit: QueryPermit,
    ) -> Result<Outcome, CommandError> {
        let (access, store) = (&self.access, self.access.store());
        let limit = limit.clamp(1, self.max_list_length);
        let mut found = Vec::new();
        if let Ok(id) = query.parse() {
            found.extend(self.find_by_id(caller, ConversationId(id)).await?);
        }
        let prefix = GroupName::parse_any(&query).map_or_else(|_| query.to_lowercase(), |name| name.key());
        if !prefix.is_empty() {
            let named = access.read(store.search_groups(&prefix, limit)).await?;
            permit.add_rows(named.len());
            let by_id = found.first().map(|group: &GroupInfo| group.id);
            let named = named.iter().filter(|row| Some(row.id) != by_id);
            found.extend(named.filter_map(group_info));
        }
        found.truncate(limit as usize);
        Ok(Outcome::Groups(found))
    }

    /// Returns a group as the caller may see it, or `None` if the caller may not find it. A former
    /// member who is invited to an unlisted group, or has asked to join it, sees it as it was when
    /// that member left.
    async fn find_by_id(&self, caller: Caller, id: ConversationId) -> Result<Option<GroupInfo>, CommandError> {
        let (access, store) = (&self.access, self.access.store());
        let row = access.read(store.conversation(id)).await?;
        let Some(row) = row.filter(|row| !row.deleted) else {
            return Ok(None);
        };
        let Some(profile) = &row.group else {
            return Ok(None);
        };
        let member = access.read(store.member(id, caller.user)).await?;
        let membership = Membership::of(member.as_ref(), access.wall_time());
        if policy::check_group(GroupPermission::Find, membership, profile).is_err() {
            return Ok(None);
        }
        if !profile.unlisted || member.is_none_or(|member| member.until_seq.is_none()) {
            return Ok(group_info(&row));
        }
        match conversation_info(access, caller, id).await {
            Ok(ConversationInfo {
                view: ConversationView::Group(group),
                ..
            }) => Ok(Some(group)),
            Err(error) if error.code != ReplyCode::NotFound => Err(error),
            _ => Ok(None),
        }
    }

    pub(in crate::engine::commands) async fn list_members(
        self: Arc<Self>,
        caller: Caller,
        group: ConversationRef,
        after: UserId,
        limit: u32,
        mut permit: QueryPermit,
    ) -> Result<Outcome, CommandError> {
        let (access, store) = (&self.access, self.access.store());
        let id = self.directory.find(caller.user, &group).await?.id;
        let row = access.read(store.conversation(id)).await?;
        let Some(row) = row else {
            return Err(CommandError::not_found());
        };
        // How far other members have received and read messages is shown only in groups whose
        // members get receipts.
        let has_receipts = row.member_count <= self.max_receipt_members && !row.deleted;
        let Some(profile) = row.group else {
            return Err(CommandError::not_found());
        };
        let own = access.read(store.member(id, caller.user)).await?;
        let now = access.wall_time();
        let own = Membership::of(own.as_ref(), now);
        policy::check_group(GroupPermission::ListMembers, own, &profile)?;
        let sees_all = matches!(own, Membership::Admin | Membership::Owner);
        let limit = limit.clamp(1, self.max_list_length);
        let (members, more) = self.members_after(id, after, limit, sees_all, &mut permit).await?;
        let ids: Vec<UserId> = members.iter().map(|member| member.user).collect();
        let mut users = user_infos(access, &ids).await?;
        let info = |member: Member| {
            let shows_marks = member.user == caller.user || (has_receipts && member.is_active());
            let mark = |seq| if shows_marks { seq } else { Seq::ZERO };
            Some(MemberInfo {
                user: users.remove(&member.user)?,
                role: member.role,
                state: member.state,
                muted_until: member.muted_until_at(now),
                delivered_seq: mark(member.delivered_seq),
                read_seq: mark(member.read_seq),
            })
        };
        let members = members.into_iter().filter_map(info).collect();
        Ok(Outcome::Members(MemberPage::new(members, more)))
    }

    /// Returns at most `limit` members after the user `after`, and whether there are more; unless
    /// `sees_all`, only active members. Pages of the store contain memberships in every state
    /// but `Left`, so this may read several pages.
    async fn members_after(
        &self,
        group: ConversationId,
        after: UserId,
        limit: u32,
        sees_all: bool,
        permit: &mut QueryPermit,
    ) -> Result<(Vec<Member>, bool), CommandError> {
        let max = limit as usize;
        let mut members = Vec::new();
        let mut last = after;
        let more = loop {
            let page = self.access.store().members(group, last, limit.saturating_add(1));
            let page = self.access.read(page).await?;
            permit.add_rows(page.len());
            let is_last = page.len() <= max;
            last = page.last().map_or(last, |member| member.user);
            let visible = |member: &Member| sees_all || member.state == MemberState::Active;
            members.extend(page.into_iter().filter(visible));
            if members.len() > max {
                break true;
            }
            if is_last {
                break false;
            }
        };
        members.truncate(max);
        Ok((members, more))
    }
}
