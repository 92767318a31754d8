//! Table of rights about groups: one or more rows for every command about a group, a column for
//! every relation of the caller to the group.

use super::*;

/// Relation of a user to the group, in the order of the columns: first those of users outside the
/// group, then those of members.
#[derive(Clone, Copy, Debug)]
pub(super) enum GroupRelation {
    Stranger,
    /// The user has left the group.
    Former,
    /// The user was a member, and was kicked and banned.
    Banned,
    Invited,
    /// The user has asked to join.
    Requested,
    Member,
    /// A member who is muted.
    Muted,
    Admin,
    Owner,
}

pub(super) const GROUP_RELATIONS: [GroupRelation; 9] = [
    GroupRelation::Stranger,
    GroupRelation::Former,
    GroupRelation::Banned,
    GroupRelation::Invited,
    GroupRelation::Requested,
    GroupRelation::Member,
    GroupRelation::Muted,
    GroupRelation::Admin,
    GroupRelation::Owner,
];

/// A group, a user for each relation to it, two more members that commands target, and messages of
/// the users who were ever members.
pub(super) struct GroupFixture {
    pub(super) engine: Engine,
    pub(super) group: ConversationId,
    /// Session of each user, in the order of [`GROUP_RELATIONS`].
    pub(super) sessions: Vec<LocalSession>,
    /// Message of each user, in the same order; 0 for users who were never members.
    pub(super) messages: Vec<Seq>,
    /// Member that commands target.
    pub(super) member: LocalSession,
    /// Admin that commands target.
    pub(super) admin: LocalSession,
    /// Message of `member`.
    pub(super) members_message: Seq,
}

impl GroupFixture {
    pub(super) async fn build(policy: JoinPolicy, unlisted: bool) -> Self {
        let engine = engine().await;
        let mut sessions = Vec::new();
        for relation in GROUP_RELATIONS {
            sessions.push(new_user(&engine, &format!("the-{relation:?}").to_lowercase()).await);
        }
        let owner = &sessions[GroupRelation::Owner as usize];
        let group = create_group(owner, "rust").await;
        let member = new_user(&engine, "target").await;
        let admin = new_user(&engine, "other-admin").await;
        for relation in [
            GroupRelation::Former,
            GroupRelation::Banned,
            GroupRelation::Member,
            GroupRelation::Muted,
            GroupRelation::Admin,
        ] {
            join(&sessions[relation as usize], group).await;
        }
        join(&member, group).await;
        join(&admin, group).await;
        let mut messages = Vec::new();
        for session in &sessions {
            let sent = session.send_text(ConversationRef::Id(group), "mine").await;
            messages.push(sent.map_or(Seq::ZERO, |sent| sent.seq));
        }
        let members_message = member
            .send_text(ConversationRef::Id(group), "theirs")
            .await
            .unwrap()
            .seq;
        let fixture = Self {
            engine,
            group,
            sessions,
            messages,
            member,
            admin,
            members_message,
        };
        fixture.set_up_relations(policy, unlisted).await;
        fixture
    }

    /// Gives each user the relation of its column, and `admin` the role of an admin. Then sets the
    /// group's join policy, and whether it is unlisted.
    pub(super) async fn set_up_relations(&self, policy: JoinPolicy, unlisted: bool) {
        let group = self.group_ref();
        let by_owner = |command| self.session(GroupRelation::Owner).execute(command);
        for (session, role) in [
            (self.session(GroupRelation::Admin), Role::Admin),
            (&self.admin, Role::Admin),
        ] {
            let (group, user) = (group.clone(), user(session));
            by_owner(Command::SetRole { group, user, role }).await.unwrap();
        }
        by_owner(Command::MuteMember {
            group: group.clone(),
            user: user(self.session(GroupRelation::Muted)),
            duration_ms: 3_600_000,
        })
        .await
        .unwrap();
        self.session(GroupRelation::Former)
            .execute(Command::LeaveGroup(group.clone()))
            .await
            .unwrap();
        by_owner(Command::KickMember {
            group: group.clone(),
            user: user(self.session(GroupRelation::Banned)),
            ban: true,
        })
        .await
        .unwrap();
        by_owner(Command::InviteMember {
            group: group.clone(),
            user: user(self.session(GroupRelation::Invited)),
        })
        .await
        .unwrap();
        by_owner(self.change(Some(JoinPolicy::Approval), None)).await.unwrap();
        join(self.session(GroupRelation::Requested), self.group).await;
        by_owner(self.change(Some(policy), Some(unlisted))).await.unwrap();
    }

    /// Returns a command that changes settings of the group.
    pub(super) fn change(&self, join_policy: Option<JoinPolicy>, unlisted: Option<bool>) -> Command {
        let mut changes = GroupChanges::default();
        (changes.join_policy, changes.unlisted) = (join_policy, unlisted);
        Command::UpdateGroup {
            group: self.group_ref(),
            changes,
        }
    }

    pub(super) fn session(&self, relation: GroupRelation) -> &LocalSession {
        &self.sessions[relation as usize]
    }

    /// Returns the reference of the group.
    pub(super) fn group_ref(&self) -> ConversationRef {
        ConversationRef::Id(self.group)
    }

    /// Returns a command that sends a draft to the group.
    pub(super) fn send_command(&self, content: DraftContent) -> Command {
        Command::Send {
            conversation: self.group_ref(),
            draft: Draft {
                client_message_id: ClientMessageId::random(),
                content,
            },
        }
    }

    pub(super) fn message(&self, mention_all: bool) -> Command {
        self.send_command(DraftContent::Message {
            text: text("hello"),
            reply_to: None,
            mentions: Vec::new(),
            mention_all,
        })
    }

    pub(super) fn recall(&self, target: Seq) -> Command {
        self.send_command(DraftContent::Recall { target })
    }

    pub(super) fn kick(&self, target: &LocalSession, ban: bool) -> Command {
        let (group, user) = (self.group_ref(), user(target));
        Command::KickMember { group, user, ban }
    }

    pub(super) fn mute(&self, target: &LocalSession) -> Command {
        Command::MuteMember {
            group: self.group_ref(),
            user: user(target),
            duration_ms: 1000,
        }
    }

    pub(super) fn join(&self) -> Command {
        Command::JoinGroup {
            group: self.group_ref(),
            note: Note::default(),
        }
    }

    /// Returns the message of the user with this relation.
    pub(super) fn message_by(&self, relation: GroupRelation) -> Seq {
        self.messages[relation as usize]
    }
}

/// Row of the table: a command, and its result for each relation of the caller.
pub(super) struct Row {
    pub(super) name: &'static str,
    /// Join policy of the group.
    pub(super) policy: JoinPolicy,
    pub(super) unlisted: bool,
    /// Returns the command of a caller with this relation.
    pub(super) command: fn(&GroupFixture, GroupRelation) -> Command,
    /// Expected results in the order of [`GROUP_RELATIONS`].
    pub(super) expect: [Expect; 9],
}

const fn row(name: &'static str, command: fn(&GroupFixture, GroupRelation) -> Command, expect: [Expect; 9]) -> Row {
    Row {
        name,
        policy: JoinPolicy::Open,
        unlisted: false,
        command,
        expect,
    }
}

impl Row {
    pub(super) const fn policy(mut self, policy: JoinPolicy) -> Self {
        self.policy = policy;
        self
    }

    pub(super) const fn unlisted(mut self) -> Self {
        self.unlisted = true;
        self
    }
}

// Results that several commands share, named after the callers who may execute them.
pub(super) const ALL_MEMBERS: [Expect; 9] = [ABSENT, NO, NO, ABSENT, ABSENT, OK, OK, OK, OK];
pub(super) const UNMUTED: [Expect; 9] = [ABSENT, NO, NO, ABSENT, ABSENT, OK, MUTED, OK, OK];
pub(super) const ADMINS_AND_OWNER: [Expect; 9] = [ABSENT, NO, NO, ABSENT, ABSENT, NO, NO, OK, OK];
pub(super) const NOBODY: [Expect; 9] = [ABSENT, NO, NO, ABSENT, ABSENT, NO, NO, NO, NO];
pub(super) const OWNER: [Expect; 9] = [ABSENT, NO, NO, ABSENT, ABSENT, NO, NO, NO, OK];

#[rustfmt::skip]
pub(super) fn group_rows() -> Vec<Row> {
    vec![
        //                                                                          stranger former banned invited requested member muted admin owner
        row("see it", |f, _| Command::GetConversation(f.group_ref()),               [ABSENT, OK, OK, ABSENT, ABSENT, OK, OK, OK, OK]),
        row("list members", |f, _| Command::ListMembers { group: f.group_ref(), after: UserId(0), limit: 10 }, ALL_MEMBERS),
        row("read history", |f, _| Command::ReadHistory { conversation: f.group_ref(), page: everything() },
                                                                                    [ABSENT, OK, OK, ABSENT, ABSENT, OK, OK, OK, OK]),
        row("send", |f, _| f.message(false),                                        UNMUTED),
        row("mention all", |f, _| f.message(true),                                  ADMINS_AND_OWNER),
        row("react", |f, _| f.send_command(DraftContent::React { target: f.members_message, emoji: Emoji::new("👍").unwrap(), remove: false }), UNMUTED),
        row("edit own", |f, relation| f.send_command(DraftContent::Edit { target: f.message_by(relation), text: text("new") }), UNMUTED),
        row("recall own", |f, relation| f.recall(f.message_by(relation)),                            ALL_MEMBERS),
        row("recall a member's", |f, _| f.recall(f.members_message),                ADMINS_AND_OWNER),
        row("recall the owner's", |f, _| f.recall(f.message_by(GroupRelation::Owner)),               OWNER),
        row("invite, open", |f, _| Command::InviteMember { group: f.group_ref(), user: user(f.session(GroupRelation::Stranger)) }, UNMUTED)
            .targets_stranger(),
        row("invite, by invitation", |f, _| Command::InviteMember { group: f.group_ref(), user: user(f.session(GroupRelation::Stranger)) }, UNMUTED)
            .policy(JoinPolicy::Invite).targets_stranger(),
        row("invite, by approval", |f, _| Command::InviteMember { group: f.group_ref(), user: user(f.session(GroupRelation::Stranger)) }, ADMINS_AND_OWNER)
            .policy(JoinPolicy::Approval).targets_stranger(),
        row("join, open", |f, _| f.join(),                                          [OK, OK, NO, OK, OK, OK, OK, OK, OK]),
        row("join, by approval", |f, _| f.join(),                                   [OK, OK, NO, OK, OK, OK, OK, OK, OK]).policy(JoinPolicy::Approval),
        row("join, by invitation", |f, _| f.join(),                                 [NO, NO, NO, OK, NO, OK, OK, OK, OK]).policy(JoinPolicy::Invite),
        row("join, unlisted", |f, _| f.join(),                                      [ABSENT, OK, NO, OK, OK, OK, OK, OK, OK]).unlisted(),
        row("join, unlisted, by approval", |f, _| f.join(),                         [ABSENT, OK, NO, OK, OK, OK, OK, OK, OK])
            .policy(JoinPolicy::Approval).unlisted(),
        row("answer a join request", |f, _| Command::AnswerJoin { group: f.group_ref(), user: user(f.session(GroupRelation::Requested)), accept: true }, ADMINS_AND_OWNER),
        row("decline an invitation", |f, _| Command::DeclineInvitation(f.group_ref()), [ABSENT, ABSENT, ABSENT, OK, ABSENT, ABSENT, ABSENT, ABSENT, ABSENT]),
        row("kick a member", |f, _| f.kick(&f.member, false),                       ADMINS_AND_OWNER),
        row("ban a member", |f, _| f.kick(&f.member, true),                         ADMINS_AND_OWNER),
        row("kick an admin", |f, _| f.kick(&f.admin, false),                        OWNER),
        row("ban an admin", |f, _| f.kick(&f.admin, true),                          OWNER),
        row("unban", |f, _| Command::UnbanMember { group: f.group_ref(), user: user(f.session(GroupRelation::Banned)) }, ADMINS_AND_OWNER),
        row("mute a member", |f, _| f.mute(&f.member),                              ADMINS_AND_OWNER),
        row("mute an admin", |f, _| f.mute(&f.admin),                               NOBODY),
        row("change it", |f, _| f.change(None, Some(true)),                         ADMINS_AND_OWNER),
        row("promote", |f, _| Command::SetRole { group: f.group_ref(), user: user(&f.member), role: Role::Admin }, OWNER),
        row("demote", |f, _| Command::SetRole { group: f.group_ref(), user: user(&f.admin), role: Role::Member }, OWNER),
        row("transfer", |f, _| Command::TransferOwnership { group: f.group_ref(), user: user(&f.member) }, OWNER),
        row("delete", |f, _| Command::DeleteGroup(f.group_ref()),                   OWNER),
        row("leave", |f, _| Command::LeaveGroup(f.group_ref()),
            [ABSENT, OK, OK, OK, OK, OK, OK, OK, Some(ReplyCode::OwnerMustTransfer)]),
        row("type", |f, _| Command::Typing { conversation: f.group, stopped: false }, [ABSENT, NO, NO, ABSENT, ABSENT, OK, MUTED, OK, OK]),
    ]
}

impl Row {
    /// Marks a command that targets the stranger of the table: for the stranger itself, it is
    /// invalid.
    pub(super) fn targets_stranger(mut self) -> Self {
        self.expect[GroupRelation::Stranger as usize] = Some(ReplyCode::InvalidArgument);
        self
    }
}

#[tokio::test]
async fn every_command_about_a_group_has_the_expected_result() {
    let mut wrong = Vec::new();
    for row in group_rows() {
        for (relation, expect) in GROUP_RELATIONS.into_iter().zip(row.expect) {
            let fixture = GroupFixture::build(row.policy, row.unlisted).await;
            let command = (row.command)(&fixture, relation);
            let result = fixture.session(relation).execute(command).await;
            let got = result.as_ref().err().map(|error| error.code);
            if got != expect {
                wrong.push(format!("{} by {relation:?}: {got:?} instead of {expect:?}", row.name));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// A stranger cannot tell an unlisted group from a group that does not exist: the errors are equal,
/// including their texts.
#[tokio::test]
async fn absent_and_unlisted_groups_have_the_same_error() {
    let fixture = GroupFixture::build(JoinPolicy::Open, true).await;
    let stranger = fixture.session(GroupRelation::Stranger);
    for row in group_rows() {
        let command = (row.command)(&fixture, GroupRelation::Stranger);
        if row.name.starts_with("invite") {
            // These commands would invite the stranger itself, which is refused as invalid.
            continue;
        }
        let hidden = stranger.execute(command).await.unwrap_err();
        let missing = ConversationId(999_999);
        let absent_group = GroupFixture {
            group: missing,
            engine: fixture.engine.clone(),
            sessions: Vec::new(),
            messages: fixture.messages.clone(),
            member: fixture
                .engine
                .session(id(&fixture.member), fixture.member.caller().device().unwrap())
                .await
                .unwrap(),
            admin: fixture
                .engine
                .session(id(&fixture.admin), fixture.admin.caller().device().unwrap())
                .await
                .unwrap(),
            members_message: fixture.members_message,
        };
        let Some(command) = command_about_absent_group(&row, &absent_group) else {
            continue;
        };
        let absent = stranger.execute(command).await.unwrap_err();
        assert_eq!(hidden, absent, "{}", row.name);
    }
}

/// Returns the command of a row about a group that does not exist, or `None` if the row needs users
/// or messages that only an existing group has.
fn command_about_absent_group(row: &Row, absent_group: &GroupFixture) -> Option<Command> {
    let need_an_existing_group = ["answer a join request", "unban", "recall the owner's"];
    (!need_an_existing_group.contains(&row.name)).then(|| (row.command)(absent_group, GroupRelation::Stranger))
}
