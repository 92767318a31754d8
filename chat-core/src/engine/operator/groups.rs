//! Operator actions that list, transfer and delete groups.

use super::accounts::MAX_PAGE;
use super::{GroupDetails, GroupListPage, GroupListing, Operator};
use crate::engine::error::CommandError;
use crate::engine::operations::operator::{DeleteGroupByOperator, TransferGroup, no_group};
use crate::engine::views::user_infos;
use crate::model::{ConversationId, ConversationRef, Member, MemberInfo, Role, Timestamp, UserId, UserInfo, UserRef};
use crate::store::ListedGroup;

impl Operator {
    /// Examines up to `limit` groups (1 to 500) whose id is greater than `after`, in the order of
    /// their ids, and returns them, including deleted groups. If `orphaned` is true, returns only
    /// the orphaned ones among them: existing groups without an owner, or with an owner whose
    /// account is disabled. The first page starts after `ConversationId(0)`.
    ///
    /// # Errors
    /// [`CommandError`]: the store failed.
    pub async fn list_groups(
        &self,
        after: ConversationId,
        limit: u32,
        orphaned: bool,
    ) -> Result<GroupListPage, CommandError> {
        let limit = limit.clamp(1, MAX_PAGE);
        let access = &self.parts.access;
        let listed = access.read(access.store().list_groups(after, limit)).await?;
        let is_full = listed.len() >= limit as usize;
        let next = listed.last().filter(|_| is_full).map(|last| last.conversation.id);
        let groups = listed.into_iter().filter_map(GroupListing::of);
        let groups = groups.filter(|group| !orphaned || group.orphaned);
        Ok(GroupListPage::new(groups.collect(), next))
    }

    /// Returns a group with its members and the users who are invited, asking to join or banned. A
    /// deleted group is found only by its id.
    ///
    /// # Errors
    /// [`CommandError`]. `NotFound`: there is no such group. `InvalidArgument`: `group` is a
    /// [`ConversationRef::Direct`]; the id of a direct conversation gives `NotFound`.
    pub async fn group(&self, group: impl Into<ConversationRef>) -> Result<GroupDetails, CommandError> {
        let row = self.find_group(&group.into()).await?;
        let id = row.id;
        let members = self.memberships(id).await?;
        let has_enabled_owner = self.has_enabled_owner(&members).await?;
        let listing = GroupListing::of(ListedGroup::new(row, has_enabled_owner)).ok_or_else(|| no_group(id))?;
        let mut infos = Vec::with_capacity(members.len());
        for page in members.chunks(MAX_PAGE as usize) {
            let ids: Vec<UserId> = page.iter().map(|member| member.user).collect();
            let mut users = user_infos(&self.parts.access, &ids).await?;
            let now = self.parts.access.wall_time();
            let info = |member: &Member| member_info(member, users.remove(&member.user), now);
            infos.extend(page.iter().map(info));
        }
        Ok(GroupDetails::new(listing, infos))
    }

    /// Returns whether one of the members is an owner whose account is not disabled.
    async fn has_enabled_owner(&self, members: &[Member]) -> Result<bool, CommandError> {
        let owners = members
            .iter()
            .filter(|member| member.is_active() && member.role == Role::Owner);
        let owners: Vec<UserId> = owners.map(|owner| owner.user).collect();
        let access = &self.parts.access;
        let accounts = access.read(access.store().accounts(&owners)).await?;
        Ok(accounts.iter().any(|account| !account.disabled))
    }

    /// Returns all memberships of a group, in every state but `Left`.
    async fn memberships(&self, group: ConversationId) -> Result<Vec<Member>, CommandError> {
        let access = &self.parts.access;
        let mut members: Vec<Member> = Vec::new();
        loop {
            let after = members.last().map_or(UserId(0), |member| member.user);
            let page = access.read(access.store().members(group, after, MAX_PAGE)).await?;
            let is_last = page.len() < MAX_PAGE as usize;
            members.extend(page);
            if is_last {
                return Ok(members);
            }
        }
    }

    /// Makes a member the owner of a group. The former owner, if there is one, becomes an admin. If
    /// the member was muted, the mute ends. If the member is the owner already, only the audit log
    /// changes.
    ///
    /// # Errors
    /// [`CommandError`]. `NotFound`: there is no such group or user, the user's account is deleted,
    /// or the user is not a member of the group. `AccountDisabled`: the user's account is disabled.
    /// `GroupDeleted`: the group is deleted. `InvalidArgument`: `group` is a
    /// [`ConversationRef::Direct`]; the id of a direct conversation gives `NotFound`.
    pub async fn transfer_group(
        &self,
        group: impl Into<ConversationRef>,
        to: impl Into<UserRef>,
    ) -> Result<(), CommandError> {
        let group = self.find_group(&group.into()).await?.id;
        let to = self.find_user(&to.into()).await?;
        self.spawn(|this| async move {
            let audit = this.audit_context();
            this.run_and_publish(group, TransferGroup { audit, group, to }).await
        })
        .await
    }

    /// Deletes a group. Its log ends with `GroupDeleted`, whose sender is [`UserId::SYSTEM`], and
    /// stays readable to its last members.
    ///
    /// # Errors
    /// [`CommandError`]. `NotFound`: there is no such group. `GroupDeleted`: the group is deleted
    /// already. `InvalidArgument`: `group` is a [`ConversationRef::Direct`]; the id of a direct
    /// conversation gives `NotFound`.
    pub async fn delete_group(&self, group: impl Into<ConversationRef>) -> Result<(), CommandError> {
        let group = self.find_group(&group.into()).await?.id;
        self.spawn(|this| async move {
            let audit = this.audit_context();
            this.run_and_publish(group, DeleteGroupByOperator { audit, group })
                .await
        })
        .await
    }
}

fn member_info(member: &Member, user: Option<UserInfo>, now: Timestamp) -> MemberInfo {
    let user = user.unwrap_or_else(|| UserInfo::new(member.user, format!("#{}", member.user)));
    MemberInfo {
        user,
        role: member.role,
        state: member.state,
        muted_until: member.muted_until_at(now),
        delivered_seq: member.delivered_seq,
        read_seq: member.read_seq,
    }
}
