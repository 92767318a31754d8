//! Table of rights about users: one or more rows for every command that needs no existing group, a
//! column for every relation of the caller to another user.

use super::*;

/// Relation of the caller to the other user, in the order of the columns.
#[derive(Clone, Copy, Debug)]
pub(super) enum Relation {
    Stranger,
    Friend,
    /// The other user, the peer, has blocked the caller.
    BlockedByPeer,
    /// The caller has blocked the other user.
    BlocksPeer,
}

pub(super) const RELATIONS: [Relation; 4] = [
    Relation::Stranger,
    Relation::Friend,
    Relation::BlockedByPeer,
    Relation::BlocksPeer,
];

/// Two users who were friends when the caller sent a message in their direct conversation. Their
/// relation may have changed afterwards.
pub(super) struct PairFixture {
    /// Session of the caller.
    pub(super) me: LocalSession,
    /// Session of the other user.
    pub(super) them: LocalSession,
    pub(super) direct: ConversationId,
    /// Message of the caller in the direct conversation.
    pub(super) mine: Seq,
    pub(super) engine: Engine,
}

impl PairFixture {
    pub(super) async fn build(relation: Relation) -> Self {
        let engine = engine().await;
        let (me, them) = (new_user(&engine, "mona").await, new_user(&engine, "theo").await);
        befriend(&me, &them).await;
        let sent = me.send_text(direct(&them), "before").await.unwrap();
        match relation {
            Relation::Friend => {}
            Relation::Stranger => drop(me.execute(Command::RemoveFriend(user(&them))).await.unwrap()),
            Relation::BlockedByPeer => drop(them.execute(Command::Block(user(&me))).await.unwrap()),
            Relation::BlocksPeer => drop(me.execute(Command::Block(user(&them))).await.unwrap()),
        }
        Self {
            direct: sent.conversation,
            mine: sent.seq,
            me,
            them,
            engine,
        }
    }

    /// Returns a command that sends a draft to the other user.
    pub(super) fn send_command(&self, content: DraftContent) -> Command {
        Command::Send {
            conversation: direct(&self.them),
            draft: Draft {
                client_message_id: ClientMessageId::random(),
                content,
            },
        }
    }
}

/// Row of the table: its name, its command, and the results in the order of [`RELATIONS`].
pub(super) type UserRow = (&'static str, fn(&PairFixture) -> Command, [Expect; 4]);

#[rustfmt::skip]
pub(super) fn user_rows() -> Vec<UserRow> {
    vec![
        //                                                                                stranger friend blocked blocker
        ("look up by name", |p| Command::GetUsers(vec![UserRef::Name(UserName::parse(&p.them.user().name).unwrap())]), [OK; 4]),
        ("search", |_| Command::SearchUsers { query: "the".to_owned(), limit: 10 },        [OK; 4]),
        ("list contacts", |_| list_contacts(),                                            [OK; 4]),
        ("friend request", |p| Command::RequestFriend { user: user(&p.them), note: Note::default() }, [OK, OK, OK, NO]),
        ("accept", |p| Command::AnswerFriend { user: user(&p.them), accept: true },       [ABSENT, OK, ABSENT, ABSENT]),
        ("decline", |p| Command::AnswerFriend { user: user(&p.them), accept: false },     [ABSENT, ABSENT, ABSENT, ABSENT]),
        ("send", |p| p.send_command(DraftContent::Message { text: text("x"), reply_to: None, mentions: Vec::new(), mention_all: false }),
                                                                                          [NOT_FRIENDS, OK, NOT_FRIENDS, NOT_FRIENDS]),
        ("edit", |p| p.send_command(DraftContent::Edit { target: p.mine, text: text("x") }), [NOT_FRIENDS, OK, NOT_FRIENDS, NOT_FRIENDS]),
        ("react", |p| p.send_command(DraftContent::React { target: p.mine, emoji: Emoji::new("👍").unwrap(), remove: false }),
                                                                                          [NOT_FRIENDS, OK, NOT_FRIENDS, NOT_FRIENDS]),
        ("recall own", |p| p.send_command(DraftContent::Recall { target: p.mine }),       [OK; 4]),
        ("read", |p| Command::ReadHistory { conversation: direct(&p.them), page: everything() }, [OK; 4]),
        ("see", |p| Command::GetConversation(direct(&p.them)),                            [OK; 4]),
        ("type", |p| Command::Typing { conversation: p.direct, stopped: false },          [NO, OK, NO, NO]),
        ("acknowledge", |p| Command::Acknowledge { conversation: p.direct, seq: p.mine }, [OK; 4]),
        ("mark read", |p| Command::MarkRead { conversation: p.direct, seq: p.mine },      [OK; 4]),
        ("block", |p| Command::Block(user(&p.them)),                                      [OK; 4]),
        ("unblock", |p| Command::Unblock(user(&p.them)),                                  [OK; 4]),
        ("unfriend", |p| Command::RemoveFriend(user(&p.them)),                            [OK; 4]),
        ("revoke their device", |p| Command::RevokeDevice(p.them.caller().device().unwrap()),        [ABSENT; 4]),
        ("revoke own device", |p| Command::RevokeDevice(p.me.caller().device().unwrap()),            [OK; 4]),
        ("list devices", |_| Command::ListDevices,                                        [OK; 4]),
        ("change password", |_| Command::ChangePassword { old: Secret::new(PASSWORD), new: Secret::new("another one") }, [OK; 4]),
        ("change profile", |_| Command::UpdateProfile(ProfileChanges::default()), [OK; 4]),
        ("set presence", |_| Command::SetPresence(PresenceState::Idle),                       [OK; 4]),
        ("log out", |_| Command::Logout,                                                  [OK; 4]),
        ("make a group", |_| create_group_command("new"),                                           [OK; 4]),
        ("find groups", |_| Command::SearchGroups { query: "n".to_owned(), limit: 10 },   [OK; 4]),
        ("list conversations", |_| Command::ListConversations(ConversationQuery::default()),                            [OK; 4]),
    ]
}

#[tokio::test]
async fn every_row_about_users_has_the_expected_result() {
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
