//! Table of rights: a row for every command, a column for every relation of the caller to the group
//! or user. Each cell is tested against a real engine.
//!
//! A command without a row fails [`every_command_has_a_row`]; a command that `kinds!` does not list
//! is a compile error.

use std::collections::HashSet;

use super::support::*;
use crate::commands::Commands;
use crate::engine::{Engine, LocalSession};
use crate::model::*;

macro_rules! kinds {
    ($($name:ident)*) => {
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        enum Kind { $($name,)* }

        const ALL: &[Kind] = &[$(Kind::$name,)*];

        fn kind(command: &Command) -> Kind {
            match command { $(Command::$name { .. } => Kind::$name,)* }
        }
    };
}

kinds! {
    Logout ChangePassword ListDevices RevokeDevice UpdateProfile SetStatus
    SearchUsers GetUsers RequestFriend AnswerFriend RemoveFriend Block Unblock ListContacts
    CreateGroup SearchGroups JoinGroup AnswerJoin InviteMember DeclineInvitation LeaveGroup DeleteGroup KickMember
    UnbanMember MuteMember SetRole TransferOwnership UpdateGroup ListMembers
    Send ListConversations GetConversation ReadHistory Acknowledge MarkRead Typing
}

/// Expected result: success, or an error with this code.
type Expect = Option<ReplyCode>;
const OK: Expect = None;
const ABSENT: Expect = Some(ReplyCode::NotFound);
const NO: Expect = Some(ReplyCode::Forbidden);
const MUTED: Expect = Some(ReplyCode::Muted);
const NOT_FRIENDS: Expect = Some(ReplyCode::NotFriends);

/// Relation of a user to the group, in the order of the columns: outsiders first, then members.
#[derive(Clone, Copy, Debug)]
enum GroupRelation {
    Stranger,
    Former,
    Banned,
    Invited,
    Requested,
    Member,
    Muted,
    Admin,
    Owner,
}

const GROUP_RELATIONS: [GroupRelation; 9] = [
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

/// A group, a user for each relation to it, and a message of each user who was ever a member.
struct GroupFixture {
    engine: Engine,
    group: ConversationId,
    sessions: Vec<LocalSession>,
    messages: Vec<Seq>,
    /// Member that commands target.
    member: LocalSession,
    admin: LocalSession,
    by_member: Seq,
}

impl GroupFixture {
    async fn build(policy: JoinPolicy, unlisted: bool) -> Self {
        let engine = engine().await;
        let mut sessions = Vec::new();
        for relation in GROUP_RELATIONS {
            sessions.push(new_user(&engine, &format!("the-{relation:?}").to_lowercase()).await);
        }
        let owner = &sessions[GroupRelation::Owner as usize];
        let group = group(owner, "rust").await;
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
        let by_member = member
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
            by_member,
        };
        fixture.settle(policy, unlisted).await;
        fixture
    }

    /// Gives each user the relation of its column.
    async fn settle(&self, policy: JoinPolicy, unlisted: bool) {
        let group = self.here();
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

    fn change(&self, join_policy: Option<JoinPolicy>, unlisted: Option<bool>) -> Command {
        let mut changes = GroupChanges::default();
        (changes.join_policy, changes.unlisted) = (join_policy, unlisted);
        Command::UpdateGroup {
            group: self.here(),
            changes,
        }
    }

    fn session(&self, relation: GroupRelation) -> &LocalSession {
        &self.sessions[relation as usize]
    }

    fn here(&self) -> ConversationRef {
        ConversationRef::Id(self.group)
    }

    fn say(&self, content: DraftContent) -> Command {
        Command::Send {
            conversation: self.here(),
            draft: Draft {
                client_message_id: ClientMessageId::random(),
                content,
            },
        }
    }

    fn message(&self, mention_all: bool) -> Command {
        self.say(DraftContent::Message {
            text: text("hello"),
            reply_to: None,
            mentions: Vec::new(),
            mention_all,
        })
    }

    fn recall(&self, target: Seq) -> Command {
        self.say(DraftContent::Recall { target })
    }

    fn kick(&self, target: &LocalSession, ban: bool) -> Command {
        let (group, user) = (self.here(), user(target));
        Command::KickMember { group, user, ban }
    }

    fn mute(&self, target: &LocalSession) -> Command {
        Command::MuteMember {
            group: self.here(),
            user: user(target),
            duration_ms: 1000,
        }
    }

    fn join(&self) -> Command {
        Command::JoinGroup {
            group: self.here(),
            note: Note::default(),
        }
    }

    fn own(&self, relation: GroupRelation) -> Seq {
        self.messages[relation as usize]
    }
}

struct Row {
    name: &'static str,
    policy: JoinPolicy,
    unlisted: bool,
    command: fn(&GroupFixture, GroupRelation) -> Command,
    /// Expected results in the order of [`GROUP_RELATIONS`].
    expect: [Expect; 9],
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
    const fn policy(mut self, policy: JoinPolicy) -> Self {
        self.policy = policy;
        self
    }

    const fn unlisted(mut self) -> Self {
        self.unlisted = true;
        self
    }
}

const ALL_MEMBERS: [Expect; 9] = [ABSENT, NO, NO, ABSENT, ABSENT, OK, OK, OK, OK];
const UNMUTED: [Expect; 9] = [ABSENT, NO, NO, ABSENT, ABSENT, OK, MUTED, OK, OK];
const LEADERS: [Expect; 9] = [ABSENT, NO, NO, ABSENT, ABSENT, NO, NO, OK, OK];
const NOBODY: [Expect; 9] = [ABSENT, NO, NO, ABSENT, ABSENT, NO, NO, NO, NO];
const OWNER: [Expect; 9] = [ABSENT, NO, NO, ABSENT, ABSENT, NO, NO, NO, OK];

#[rustfmt::skip]
fn group_rows() -> Vec<Row> {
    vec![
        //                                                                          stranger former banned invited requested member muted admin owner
        row("see it", |h, _| Command::GetConversation(h.here()),                    [ABSENT, OK, OK, ABSENT, ABSENT, OK, OK, OK, OK]),
        row("list members", |h, _| Command::ListMembers { group: h.here(), after: UserId(0), limit: 10 }, ALL_MEMBERS),
        row("read history", |h, _| Command::ReadHistory { conversation: h.here(), page: everything() },
                                                                                    [ABSENT, OK, OK, ABSENT, ABSENT, OK, OK, OK, OK]),
        row("send", |h, _| h.message(false),                                        UNMUTED),
        row("mention all", |h, _| h.message(true),                                  LEADERS),
        row("react", |h, _| h.say(DraftContent::React { target: h.by_member, emoji: Emoji::new("👍").unwrap(), remove: false }), UNMUTED),
        row("edit own", |h, relation| h.say(DraftContent::Edit { target: h.own(relation), text: text("new") }), UNMUTED),
        row("recall own", |h, relation| h.recall(h.own(relation)),                            ALL_MEMBERS),
        row("recall a member's", |h, _| h.recall(h.by_member),                      LEADERS),
        row("recall the owner's", |h, _| h.recall(h.own(GroupRelation::Owner)),               OWNER),
        row("invite, open", |h, _| Command::InviteMember { group: h.here(), user: user(h.session(GroupRelation::Stranger)) }, UNMUTED)
            .targets_stranger(),
        row("invite, by invitation", |h, _| Command::InviteMember { group: h.here(), user: user(h.session(GroupRelation::Stranger)) }, UNMUTED)
            .policy(JoinPolicy::Invite).targets_stranger(),
        row("invite, by approval", |h, _| Command::InviteMember { group: h.here(), user: user(h.session(GroupRelation::Stranger)) }, LEADERS)
            .policy(JoinPolicy::Approval).targets_stranger(),
        row("join, open", |h, _| h.join(),                                          [OK, OK, NO, OK, OK, OK, OK, OK, OK]),
        row("join, by approval", |h, _| h.join(),                                   [OK, OK, NO, OK, OK, OK, OK, OK, OK]).policy(JoinPolicy::Approval),
        row("join, by invitation", |h, _| h.join(),                                 [NO, NO, NO, OK, NO, OK, OK, OK, OK]).policy(JoinPolicy::Invite),
        row("join, unlisted", |h, _| h.join(),                                      [ABSENT, OK, NO, OK, OK, OK, OK, OK, OK]).unlisted(),
        row("join, unlisted, by approval", |h, _| h.join(),                         [ABSENT, OK, NO, OK, OK, OK, OK, OK, OK])
            .policy(JoinPolicy::Approval).unlisted(),
        row("answer who asked", |h, _| Command::AnswerJoin { group: h.here(), user: user(h.session(GroupRelation::Requested)), accept: true }, LEADERS),
        row("decline an invitation", |h, _| Command::DeclineInvitation(h.here()),   [ABSENT, ABSENT, ABSENT, OK, ABSENT, ABSENT, ABSENT, ABSENT, ABSENT]),
        row("kick a member", |h, _| h.kick(&h.member, false),                       LEADERS),
        row("ban a member", |h, _| h.kick(&h.member, true),                         LEADERS),
        row("kick an admin", |h, _| h.kick(&h.admin, false),                        OWNER),
        row("ban an admin", |h, _| h.kick(&h.admin, true),                          OWNER),
        row("unban", |h, _| Command::UnbanMember { group: h.here(), user: user(h.session(GroupRelation::Banned)) }, LEADERS),
        row("mute a member", |h, _| h.mute(&h.member),                              LEADERS),
        row("mute an admin", |h, _| h.mute(&h.admin),                               NOBODY),
        row("change it", |h, _| h.change(None, Some(true)),                         LEADERS),
        row("promote", |h, _| Command::SetRole { group: h.here(), user: user(&h.member), role: Role::Admin }, OWNER),
        row("demote", |h, _| Command::SetRole { group: h.here(), user: user(&h.admin), role: Role::Member }, OWNER),
        row("transfer", |h, _| Command::TransferOwnership { group: h.here(), user: user(&h.member) }, OWNER),
        row("delete", |h, _| Command::DeleteGroup(h.here()),                        OWNER),
        row("leave", |h, _| Command::LeaveGroup(h.here()),
            [ABSENT, OK, OK, OK, OK, OK, OK, OK, Some(ReplyCode::OwnerMustTransfer)]),
        row("type", |h, _| Command::Typing { conversation: h.group, stopped: false }, [ABSENT, NO, NO, ABSENT, ABSENT, OK, MUTED, OK, OK]),
    ]
}

impl Row {
    /// For commands that target the stranger of the table: the stranger cannot target itself.
    fn targets_stranger(mut self) -> Self {
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

/// Members see the group as it is now; former members, banned ones included, see it as they left
/// it; others do not see it.
#[tokio::test]
async fn former_members_see_the_group_as_they_left_it() {
    let fixture = GroupFixture::build(JoinPolicy::Invite, true).await;
    let views = async || {
        let mut views = Vec::new();
        for session in &fixture.sessions {
            let single = session.execute(Command::GetConversation(fixture.here())).await;
            let listed = session.conversations().await.unwrap();
            let listed = listed.into_iter().find(|info| info.id == fixture.group);
            let single = single.ok().map(|outcome| match outcome {
                Outcome::Conversation(info) => *info,
                other => panic!("{other:?}"),
            });
            assert_eq!(single, listed);
            views.push(single);
        }
        views
    };
    let before = views().await;
    let owner = fixture.session(GroupRelation::Owner);
    let changes = GroupChanges {
        name: Some(GroupName::parse("renamed").unwrap()),
        description: Some(Description::new("changed").unwrap()),
        ..GroupChanges::default()
    };
    let group = fixture.here();
    owner.execute(Command::UpdateGroup { group, changes }).await.unwrap();
    fixture
        .member
        .execute(Command::LeaveGroup(fixture.here()))
        .await
        .unwrap();
    owner.execute(fixture.message(false)).await.unwrap();
    let after = views().await;
    for relation in GROUP_RELATIONS {
        let (before, after) = (&before[relation as usize], &after[relation as usize]);
        let count = match relation {
            GroupRelation::Stranger | GroupRelation::Invited | GroupRelation::Requested => None,
            GroupRelation::Former => Some(("rust", JoinPolicy::Open, 7)),
            GroupRelation::Banned => Some(("rust", JoinPolicy::Open, 6)),
            _ => Some(("renamed", JoinPolicy::Invite, 5)),
        };
        let seen = after.as_ref().map(|info| match &info.view {
            ConversationView::Group(group) => (
                group.profile.name.as_str(),
                group.profile.join_policy,
                group.member_count,
            ),
            other => panic!("{other:?}"),
        });
        assert_eq!(seen, count, "{relation:?}");
        let is_former = matches!(relation, GroupRelation::Former | GroupRelation::Banned);
        assert_eq!(before == after, is_former || count.is_none(), "{relation:?}");
    }
}

/// An outsider cannot tell an unlisted group from a group that does not exist: the errors are
/// equal, including their texts.
#[tokio::test]
async fn absent_and_forbidden_groups_have_the_same_error() {
    let fixture = GroupFixture::build(JoinPolicy::Open, true).await;
    let stranger = fixture.session(GroupRelation::Stranger);
    for row in group_rows() {
        let command = (row.command)(&fixture, GroupRelation::Stranger);
        if row.name.starts_with("invite") {
            continue;
        }
        let there = stranger.execute(command).await.unwrap_err();
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
            by_member: fixture.by_member,
        };
        let Some(command) = absent_twin(&row, &absent_group) else {
            continue;
        };
        let absent = stranger.execute(command).await.unwrap_err();
        assert_eq!(there, absent, "{}", row.name);
    }
}

/// Returns the same command about a group that does not exist, unless it names users of the group.
fn absent_twin(row: &Row, absent_group: &GroupFixture) -> Option<Command> {
    let names_members = ["answer who asked", "unban", "recall the owner's"];
    (!names_members.contains(&row.name)).then(|| (row.command)(absent_group, GroupRelation::Stranger))
}

#[tokio::test]
async fn search_finds_groups_that_the_caller_may_see() {
    for (unlisted, expect) in [
        (false, [true; 9]),
        (true, [false, false, false, true, true, true, true, true, true]),
    ] {
        let fixture = GroupFixture::build(JoinPolicy::Open, unlisted).await;
        for (relation, expect) in GROUP_RELATIONS.into_iter().zip(expect) {
            let find = |query: String| {
                fixture
                    .session(relation)
                    .execute(Command::SearchGroups { query, limit: 10 })
            };
            let Ok(Outcome::Groups(by_id)) = find(fixture.group.to_string()).await else {
                panic!("no groups");
            };
            assert_eq!(!by_id.is_empty(), expect, "by id, {relation:?}, unlisted: {unlisted}");
            let Ok(Outcome::Groups(by_name)) = find("rus".to_owned()).await else {
                panic!("no groups");
            };
            assert_eq!(
                !by_name.is_empty(),
                !unlisted,
                "by name, {relation:?}, unlisted: {unlisted}"
            );
        }
    }
}

/// Relation of the caller to the other user, in the order of the columns.
#[derive(Clone, Copy, Debug)]
enum Relation {
    Stranger,
    Friend,
    Blocked,
    Blocker,
}

const RELATIONS: [Relation; 4] = [
    Relation::Stranger,
    Relation::Friend,
    Relation::Blocked,
    Relation::Blocker,
];

/// Two users with a direct conversation, whose relation may have changed since.
struct PairFixture {
    me: LocalSession,
    them: LocalSession,
    direct: ConversationId,
    mine: Seq,
    _engine: Engine,
}

impl PairFixture {
    async fn build(relation: Relation) -> Self {
        let engine = engine().await;
        let (me, them) = (new_user(&engine, "mona").await, new_user(&engine, "theo").await);
        befriend(&me, &them).await;
        let sent = me.send_text(direct(&them), "before").await.unwrap();
        match relation {
            Relation::Friend => {}
            Relation::Stranger => drop(me.execute(Command::RemoveFriend(user(&them))).await.unwrap()),
            Relation::Blocked => drop(them.execute(Command::Block(user(&me))).await.unwrap()),
            Relation::Blocker => drop(me.execute(Command::Block(user(&them))).await.unwrap()),
        }
        Self {
            direct: sent.conversation,
            mine: sent.seq,
            me,
            them,
            _engine: engine,
        }
    }

    fn say(&self, content: DraftContent) -> Command {
        Command::Send {
            conversation: direct(&self.them),
            draft: Draft {
                client_message_id: ClientMessageId::random(),
                content,
            },
        }
    }
}

type UserRow = (&'static str, fn(&PairFixture) -> Command, [Expect; 4]);

#[rustfmt::skip]
fn user_rows() -> Vec<UserRow> {
    vec![
        //                                                                                stranger friend blocked blocker
        ("look up by name", |s| Command::GetUsers(vec![UserRef::Name(UserName::parse(&s.them.user().name).unwrap())]), [OK; 4]),
        ("search", |_| Command::SearchUsers { query: "the".to_owned(), limit: 10 },        [OK; 4]),
        ("list contacts", |_| Command::ListContacts,                                      [OK; 4]),
        ("friend request", |s| Command::RequestFriend { user: user(&s.them), note: Note::default() }, [OK, OK, OK, NO]),
        ("accept", |s| Command::AnswerFriend { user: user(&s.them), accept: true },       [ABSENT, OK, ABSENT, ABSENT]),
        ("decline", |s| Command::AnswerFriend { user: user(&s.them), accept: false },     [ABSENT, ABSENT, ABSENT, ABSENT]),
        ("send", |s| s.say(DraftContent::Message { text: text("x"), reply_to: None, mentions: Vec::new(), mention_all: false }),
                                                                                          [NOT_FRIENDS, OK, NOT_FRIENDS, NOT_FRIENDS]),
        ("edit", |s| s.say(DraftContent::Edit { target: s.mine, text: text("x") }),       [NOT_FRIENDS, OK, NOT_FRIENDS, NOT_FRIENDS]),
        ("react", |s| s.say(DraftContent::React { target: s.mine, emoji: Emoji::new("👍").unwrap(), remove: false }),
                                                                                          [NOT_FRIENDS, OK, NOT_FRIENDS, NOT_FRIENDS]),
        ("recall own", |s| s.say(DraftContent::Recall { target: s.mine }),                [OK; 4]),
        ("read", |s| Command::ReadHistory { conversation: direct(&s.them), page: everything() }, [OK; 4]),
        ("see", |s| Command::GetConversation(direct(&s.them)),                            [OK; 4]),
        ("type", |s| Command::Typing { conversation: s.direct, stopped: false },          [NO, OK, NO, NO]),
        ("acknowledge", |s| Command::Acknowledge { conversation: s.direct, seq: s.mine }, [OK; 4]),
        ("mark read", |s| Command::MarkRead { conversation: s.direct, seq: s.mine },      [OK; 4]),
        ("block", |s| Command::Block(user(&s.them)),                                      [OK; 4]),
        ("unblock", |s| Command::Unblock(user(&s.them)),                                  [OK; 4]),
        ("unfriend", |s| Command::RemoveFriend(user(&s.them)),                            [OK; 4]),
        ("revoke their device", |s| Command::RevokeDevice(s.them.caller().device().unwrap()),        [ABSENT; 4]),
        ("revoke own device", |s| Command::RevokeDevice(s.me.caller().device().unwrap()),            [OK; 4]),
        ("list devices", |_| Command::ListDevices,                                        [OK; 4]),
        ("change password", |_| Command::ChangePassword { old: Secret::new(PASSWORD), new: Secret::new("another one") }, [OK; 4]),
        ("change profile", |_| Command::UpdateProfile(ProfileChanges::default()), [OK; 4]),
        ("set status", |_| Command::SetStatus(PresenceState::Idle),                       [OK; 4]),
        ("log out", |_| Command::Logout,                                                  [OK; 4]),
        ("make a group", |_| create_group_command("new"),                                           [OK; 4]),
        ("find groups", |_| Command::SearchGroups { query: "n".to_owned(), limit: 10 },   [OK; 4]),
        ("list conversations", |_| Command::ListConversations,                            [OK; 4]),
    ]
}

#[tokio::test]
async fn every_command_about_a_user_has_the_expected_result() {
    let mut wrong = Vec::new();
    for (name, command, expect) in user_rows() {
        for (relation, expect) in RELATIONS.into_iter().zip(expect) {
            let pair = PairFixture::build(relation).await;
            let result = pair.me.execute(command(&pair)).await;
            let got = result.as_ref().err().map(|error| error.code);
            if got != expect {
                wrong.push(format!("{name} as {relation:?}: {got:?} instead of {expect:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// A third user cannot tell a direct conversation from one that does not exist.
#[tokio::test]
async fn third_user_sees_nothing_of_a_direct_conversation() {
    let pair = PairFixture::build(Relation::Friend).await;
    let eve = new_user(&pair._engine, "eve").await;
    for conversation in [pair.direct, ConversationId(999_999)] {
        let conversation = ConversationRef::Id(conversation);
        let read = Command::ReadHistory {
            conversation: conversation.clone(),
            page: everything(),
        };
        assert_eq!(error_code(eve.execute(read).await), ReplyCode::NotFound);
        assert_eq!(
            error_code(eve.execute(Command::GetConversation(conversation.clone())).await),
            ReplyCode::NotFound
        );
        assert_eq!(error_code(eve.send_text(conversation, "x").await), ReplyCode::NotFound);
    }
    let conversations = pair.me.conversations().await.unwrap();
    let inbox = conversations.iter().find(|info| info.view == ConversationView::Inbox);
    let inbox = ConversationRef::Id(inbox.unwrap().id);
    assert_eq!(error_code(eve.send_text(inbox.clone(), "x").await), ReplyCode::NotFound);
    assert_eq!(error_code(pair.me.send_text(inbox, "x").await), ReplyCode::Forbidden);
}

/// A blocked user gets the same errors as a stranger, including their texts, and sees the same
/// state of a friend request.
#[tokio::test]
async fn block_is_not_visible_to_the_blocked_user() {
    let mut seen = Vec::new();
    for relation in [Relation::Stranger, Relation::Blocked] {
        let pair = PairFixture::build(relation).await;
        let refused = pair.me.send_text(direct(&pair.them), "x").await.unwrap_err();
        let request = Command::RequestFriend {
            user: user(&pair.them),
            note: Note::default(),
        };
        let asked = pair.me.execute(request).await.unwrap();
        let Ok(Outcome::Contacts(contacts)) = pair.me.execute(Command::ListContacts).await else {
            panic!("no contacts");
        };
        let contacts: Vec<_> = contacts
            .into_iter()
            .map(|contact| (contact.state, contact.presence))
            .collect();
        seen.push((refused, asked, contacts));
    }
    assert_eq!(seen[0], seen[1]);
}

#[tokio::test]
async fn presence_is_visible_to_friends_only() {
    for (relation, expect) in RELATIONS
        .into_iter()
        .zip([None, Some(PresenceState::Online), None, None])
    {
        let pair = PairFixture::build(relation).await;
        let Ok(Outcome::Contacts(contacts)) = pair.me.execute(Command::ListContacts).await else {
            panic!("no contacts");
        };
        assert_eq!(
            contacts.first().and_then(|contact| contact.presence),
            expect,
            "{relation:?}"
        );
    }
}

/// A new command needs a row in one of the tables, so that its rights are decided explicitly.
#[tokio::test]
async fn every_command_has_a_row() {
    let fixture = GroupFixture::build(JoinPolicy::Open, false).await;
    let pair = PairFixture::build(Relation::Friend).await;
    let mut covered: HashSet<Kind> = HashSet::new();
    covered.extend(
        group_rows()
            .iter()
            .map(|row| kind(&(row.command)(&fixture, GroupRelation::Member))),
    );
    covered.extend(user_rows().iter().map(|(_, command, _)| kind(&command(&pair))));
    let missing: Vec<_> = ALL.iter().filter(|kind| !covered.contains(kind)).collect();
    assert!(missing.is_empty(), "no row for {missing:?}");
}

/// Returns whether a command is refused unless its session is the latest of the device. Marks and
/// status are not fenced: they affect the user only, and the replaced session is closed anyway.
fn is_fenced(kind: Kind) -> bool {
    match kind {
        Kind::Logout
        | Kind::ChangePassword
        | Kind::RevokeDevice
        | Kind::UpdateProfile
        | Kind::RequestFriend
        | Kind::AnswerFriend
        | Kind::RemoveFriend
        | Kind::Block
        | Kind::Unblock
        | Kind::CreateGroup
        | Kind::JoinGroup
        | Kind::AnswerJoin
        | Kind::InviteMember
        | Kind::DeclineInvitation
        | Kind::LeaveGroup
        | Kind::DeleteGroup
        | Kind::KickMember
        | Kind::UnbanMember
        | Kind::MuteMember
        | Kind::SetRole
        | Kind::TransferOwnership
        | Kind::UpdateGroup
        | Kind::Send => true,
        Kind::ListDevices
        | Kind::SetStatus
        | Kind::SearchUsers
        | Kind::GetUsers
        | Kind::ListContacts
        | Kind::SearchGroups
        | Kind::ListMembers
        | Kind::ListConversations
        | Kind::GetConversation
        | Kind::ReadHistory
        | Kind::Acknowledge
        | Kind::MarkRead
        | Kind::Typing => false,
    }
}

/// A session has no effect after a newer login of its device, or after the device was revoked.
#[tokio::test]
async fn every_change_is_fenced() {
    let mut tried = HashSet::new();
    for row in group_rows() {
        for revoked in [false, true] {
            let fixture = GroupFixture::build(row.policy, row.unlisted).await;
            let owner = fixture.session(GroupRelation::Owner).caller();
            let command = (row.command)(&fixture, GroupRelation::Owner);
            tried.extend(fenced_off(&fixture.engine, owner, command, revoked).await);
        }
    }
    for (_, command, _) in user_rows() {
        for revoked in [false, true] {
            let pair = PairFixture::build(Relation::Friend).await;
            let command = command(&pair);
            tried.extend(fenced_off(&pair._engine, pair.me.caller(), command, revoked).await);
        }
    }
    let missing: Vec<_> = ALL
        .iter()
        .filter(|kind| is_fenced(**kind) && !tried.contains(*kind))
        .collect();
    assert!(missing.is_empty(), "not tried: {missing:?}");
}

async fn fenced_off(engine: &Engine, caller: Caller, command: Command, revoked: bool) -> Option<Kind> {
    let kind = kind(&command);
    if !is_fenced(kind) {
        return None;
    }
    if revoked {
        let device = caller.device().unwrap();
        engine.execute(caller, Command::RevokeDevice(device)).await.unwrap();
    }
    let _newer = engine.session(caller.user, caller.device().unwrap()).await.unwrap();
    let result = engine.execute(caller, command).await;
    assert_eq!(result.map_err(|error| error.code), Err(ReplyCode::Fenced), "{kind:?}");
    Some(kind)
}
