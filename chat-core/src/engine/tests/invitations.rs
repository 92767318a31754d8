//! Tests of invitations to groups: who learns of them, and when they are announced again.

use std::sync::Arc;
use std::time::Duration;

use super::support::*;
use crate::commands::Commands;
use crate::engine::operator::{DeletedName, DeletedSubject, DeletedTexts, DeletionOptions, OperatorName};
use crate::engine::{CommandError, Engine, EngineConfig, LocalSession};
use crate::model::*;
use crate::store::MemoryStore;
use crate::testkit::store::FaultyStore;

/// Returns a configuration with short timeouts, and without a minimum interval between the
/// announcements of repeated invitations.
fn without_repeat_interval() -> EngineConfig {
    let mut config = short_timeouts();
    config.repeated_request_interval = Duration::ZERO;
    config
}

/// A group of olga with the member anna, and bob, who is not in it. The store fails on demand.
struct Fixture {
    engine: Engine,
    store: Arc<FaultyStore>,
    olga: LocalSession,
    anna: LocalSession,
    bob: LocalSession,
    group: ConversationId,
}

impl Fixture {
    async fn build(policy: JoinPolicy) -> Self {
        let store = Arc::new(FaultyStore::new(Arc::new(MemoryStore::new())));
        let engine = Engine::builder(store.clone())
            .config(without_repeat_interval())
            .build()
            .await
            .unwrap();
        let (olga, anna) = (new_user(&engine, "olga").await, new_user(&engine, "anna").await);
        let bob = new_user(&engine, "bob").await;
        let group = create_group(&olga, "rust").await;
        join(&anna, group).await;
        let fixture = Self {
            engine,
            store,
            olga,
            anna,
            bob,
            group,
        };
        fixture.set_policy(policy).await;
        fixture
    }

    async fn set_policy(&self, policy: JoinPolicy) {
        let changes = GroupChanges {
            join_policy: Some(policy),
            ..GroupChanges::default()
        };
        let group = ConversationRef::Id(self.group);
        let update = Command::UpdateGroup { group, changes };
        self.olga.execute(update).await.unwrap();
    }

    async fn invite(&self, by: &LocalSession) -> Result<(), CommandError> {
        by.invite_member(ConversationRef::Id(self.group), user(&self.bob)).await
    }

    async fn decline(&self) -> Result<Outcome, CommandError> {
        let decline = Command::DeclineInvitation(ConversationRef::Id(self.group));
        self.bob.execute(decline).await
    }

    /// Returns the state of bob in the group.
    async fn state(&self) -> Option<MemberState> {
        let member = self.store.inner().member(self.group, id(&self.bob)).await.unwrap();
        member.map(|member| member.state)
    }

    /// Returns the members who invited bob according to bob's inbox, in the order of their
    /// invitations.
    async fn announced(&self) -> Vec<UserId> {
        inviters(&self.bob, self.group).await
    }
}

/// Returns the inbox of the user of a session.
async fn inbox(session: &LocalSession) -> ConversationId {
    let conversations = session.conversations().await.unwrap();
    let is_inbox = |info: &&ConversationInfo| info.view == ConversationView::Inbox;
    conversations.iter().find(is_inbox).unwrap().id
}

/// Returns who invited the user of a session to `group` according to the user's inbox.
async fn inviters(session: &LocalSession, group: ConversationId) -> Vec<UserId> {
    let inbox = ConversationRef::Id(inbox(session).await);
    let events = history(session, inbox).await.events;
    let inviter = |event: &HistoryEvent| match body(&event.event) {
        EventBody::GroupInvited { group: to, by, .. } if to == group => Some(by),
        _ => None,
    };
    events.iter().filter_map(inviter).collect()
}

/// However an invitation ended, the next one that the user may see is announced. An invitation from
/// a blocked user, of which the user learns nothing, comes between the two and does not prevent
/// this.
#[tokio::test]
async fn ended_invitation_does_not_hide_the_next_one() {
    for way in ["declined", "left", "withdrawn", "banned", "accepted"] {
        let fixture = Fixture::build(JoinPolicy::Invite).await;
        let (olga, anna, bob) = (&fixture.olga, &fixture.anna, &fixture.bob);
        let group = ConversationRef::Id(fixture.group);
        fixture.invite(anna).await.unwrap();
        assert_eq!(fixture.announced().await, [id(anna)]);
        let kick = |ban| Command::KickMember {
            group: group.clone(),
            user: user(bob),
            ban,
        };
        match way {
            "declined" => drop(fixture.decline().await.unwrap()),
            "left" => drop(bob.execute(Command::LeaveGroup(group.clone())).await.unwrap()),
            "withdrawn" => drop(olga.execute(kick(false)).await.unwrap()),
            "banned" => {
                olga.execute(kick(true)).await.unwrap();
                let (group, user) = (group.clone(), user(bob));
                olga.execute(Command::UnbanMember { group, user }).await.unwrap();
            }
            _ => {
                join(bob, fixture.group).await;
                bob.execute(Command::LeaveGroup(group.clone())).await.unwrap();
            }
        }
        bob.execute(Command::Block(user(olga))).await.unwrap();
        fixture.invite(olga).await.unwrap();
        assert_eq!(fixture.state().await, Some(MemberState::Invited), "{way}");
        assert_eq!(fixture.announced().await, [id(anna)], "{way}: olga is blocked");
        fixture.invite(anna).await.unwrap();
        assert_eq!(fixture.announced().await, [id(anna), id(anna)], "{way}");
        fixture.invite(anna).await.unwrap();
        assert_eq!(fixture.announced().await.len(), 2, "{way}: the invitation is pending");
    }
}

/// That the user declined is reported to the member whose invitation the user saw, and to no member
/// if the user saw none.
#[tokio::test]
async fn declined_invitation_is_reported_to_its_inviter() {
    let fixture = Fixture::build(JoinPolicy::Invite).await;
    let (olga, anna, bob) = (&fixture.olga, &fixture.anna, &fixture.bob);
    let declined = async |session: &LocalSession| {
        let inbox = ConversationRef::Id(inbox(session).await);
        let events = history(session, inbox).await.events;
        let is_declined = |event: &&HistoryEvent| event.event.kind == EventKind::InvitationDeclined;
        events.iter().filter(is_declined).count()
    };
    fixture.invite(anna).await.unwrap();
    fixture.decline().await.unwrap();
    bob.execute(Command::Block(user(olga))).await.unwrap();
    fixture.invite(olga).await.unwrap();
    fixture.decline().await.unwrap();
    assert_eq!((declined(anna).await, declined(olga).await), (1, 0));
    assert_eq!(error_code(fixture.decline().await), ReplyCode::NotFound);
}

/// An account that was deleted gets no more events in its inbox.
#[tokio::test]
async fn deleted_inviter_is_not_notified() {
    let fixture = Fixture::build(JoinPolicy::Invite).await;
    let anna = id(&fixture.anna);
    fixture.invite(&fixture.anna).await.unwrap();
    let inbox = inbox(&fixture.anna).await;
    let operator = fixture.engine.operator(OperatorName::new("carol").unwrap());
    let how = DeletionOptions {
        texts: DeletedTexts::Keep,
        name: DeletedName::Reserve,
        subject: DeletedSubject::Refuse,
    };
    operator.delete_account(anna, how).await.unwrap();
    let last_seq = async || {
        fixture
            .store
            .inner()
            .conversation(inbox)
            .await
            .unwrap()
            .unwrap()
            .last_seq
    };
    let before = last_seq().await;
    fixture.decline().await.unwrap();
    assert_eq!(last_seq().await, before);
    assert_eq!(fixture.state().await, Some(MemberState::Left));
}

/// If two members invite the same user, and two nodes handle the invitations at the same time, only
/// one is announced.
#[tokio::test]
async fn simultaneous_invitations_are_announced_once() {
    let fixture = Fixture::build(JoinPolicy::Invite).await;
    let other = Engine::builder(fixture.store.clone())
        .config(short_timeouts())
        .build()
        .await
        .unwrap();
    let invite = |engine: &Engine, by: &LocalSession| {
        let (engine, caller) = (engine.clone(), by.caller());
        let (group, user) = (ConversationRef::Id(fixture.group), user(&fixture.bob));
        tokio::spawn(async move { engine.execute(caller, Command::InviteMember { group, user }).await })
    };
    let held = fixture.store.hold_units();
    let (by_olga, by_anna) = (invite(&fixture.engine, &fixture.olga), invite(&other, &fixture.anna));
    while fixture.store.waiting_units() < 2 {
        tokio::task::yield_now().await;
    }
    drop(held);
    by_olga.await.unwrap().unwrap();
    by_anna.await.unwrap().unwrap();
    assert_eq!(fixture.announced().await.len(), 1);
}

/// Neither an invitation nor a decline reads the log of the invited user's inbox outside of its
/// unit of work. A caller without the right to invite thus causes no such read.
#[tokio::test]
async fn invitation_and_decline_do_not_read_the_inbox_outside_of_their_units_of_work() {
    let fixture = Fixture::build(JoinPolicy::Invite).await;
    let eve = new_user(&fixture.engine, "eve").await;
    fixture.invite(&fixture.anna).await.unwrap();
    fixture.store.set_unreadable(Some(inbox(&fixture.bob).await));
    assert_eq!(error_code(fixture.invite(&eve).await), ReplyCode::NotFound);
    fixture.invite(&fixture.olga).await.unwrap();
    fixture.decline().await.unwrap();
    assert_eq!(fixture.state().await, Some(MemberState::Left));
}

/// The invitation of a member whom the user has blocked, and who may not answer requests to join,
/// does not end the user's own request.
#[tokio::test]
async fn blocked_inviter_leaves_a_request_to_join_as_it_is() {
    let fixture = Fixture::build(JoinPolicy::Approval).await;
    let (olga, anna, bob) = (&fixture.olga, &fixture.anna, &fixture.bob);
    join(bob, fixture.group).await;
    fixture.set_policy(JoinPolicy::Invite).await;
    bob.execute(Command::Block(user(anna))).await.unwrap();
    fixture.invite(anna).await.unwrap();
    assert_eq!(fixture.state().await, Some(MemberState::Requested));
    assert_eq!(fixture.announced().await, []);
    let answer = Command::AnswerJoin {
        group: ConversationRef::Id(fixture.group),
        user: user(bob),
        accept: true,
    };
    olga.execute(answer).await.unwrap();
    assert_eq!(fixture.state().await, Some(MemberState::Active));
}
