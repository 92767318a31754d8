//! Tests of what users with each relation to a group or user may see.

use std::sync::Arc;

use super::groups::GROUP_RELATIONS;
use super::users::RELATIONS;
use super::*;
use crate::store::{MemoryStore, Store};
use crate::testkit::store::transact;

/// Members see the group as it is now; former members, banned ones included, see it as they left
/// it; others do not see it.
#[tokio::test]
async fn former_members_see_the_group_as_they_left_it() {
    let fixture = GroupFixture::build(JoinPolicy::Invite, true).await;
    let views = async || {
        let mut views = Vec::new();
        for session in &fixture.sessions {
            let single = session.execute(Command::GetConversation(fixture.group_ref())).await;
            let listed = session.conversations().await.unwrap();
            let listed = listed.into_iter().find(|info| info.id == fixture.group);
            let single = single.ok().map(|outcome| match outcome {
                Outcome::Conversation(info) => *info,
                other => panic!("{other:?}"),
            });
            // Lists leave descriptions out, and are otherwise the same.
            let without_description = single.clone().map(|mut info| {
                if let ConversationView::Group(group) = &mut info.view {
                    group.profile.description.clear();
                }
                info
            });
            assert_eq!(without_description, listed);
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
    let group = fixture.group_ref();
    owner.execute(Command::UpdateGroup { group, changes }).await.unwrap();
    fixture
        .member
        .execute(Command::LeaveGroup(fixture.group_ref()))
        .await
        .unwrap();
    owner.execute(fixture.message(false)).await.unwrap();
    let after = views().await;
    for relation in GROUP_RELATIONS {
        let (before, after) = (&before[relation as usize], &after[relation as usize]);
        // Name, join policy and number of members.
        let expected = match relation {
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
        assert_eq!(seen, expected, "{relation:?}");
        let is_former = matches!(relation, GroupRelation::Former | GroupRelation::Banned);
        assert_eq!(before == after, is_former || expected.is_none(), "{relation:?}");
    }
}

#[tokio::test]
async fn search_finds_unlisted_groups_only_by_id_and_only_for_members_invited_users_and_applicants() {
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

/// A third user cannot tell a direct conversation from one that does not exist. No user can send to
/// an inbox, and only its owner learns that it exists.
#[tokio::test]
async fn third_user_sees_nothing_of_a_direct_conversation() {
    let pair = PairFixture::build(Relation::Friend).await;
    let eve = new_user(&pair.engine, "eve").await;
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
    for relation in [Relation::Stranger, Relation::BlockedByPeer] {
        let pair = PairFixture::build(relation).await;
        let refused = pair.me.send_text(direct(&pair.them), "x").await.unwrap_err();
        let request = Command::RequestFriend {
            user: user(&pair.them),
            note: Note::default(),
        };
        let asked = pair.me.execute(request).await.unwrap();
        let Ok(Outcome::Contacts(page)) = pair.me.execute(list_contacts()).await else {
            panic!("no contacts");
        };
        let contacts: Vec<_> = page
            .contacts
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
        let Ok(Outcome::Contacts(page)) = pair.me.execute(list_contacts()).await else {
            panic!("no contacts");
        };
        assert_eq!(
            page.contacts.first().and_then(|contact| contact.presence),
            expect,
            "{relation:?}"
        );
    }
}

/// Returns a command of each kind that can refer to a group by its name.
fn commands_about(group: &ConversationRef, target: UserRef) -> Vec<Command> {
    let (user, group) = (target, || group.clone());
    vec![
        Command::GetConversation(group()),
        Command::ReadHistory {
            conversation: group(),
            page: everything(),
        },
        Command::ListMembers {
            group: group(),
            after: UserId(0),
            limit: 10,
        },
        Command::Send {
            conversation: group(),
            draft: draft("hello"),
        },
        Command::InviteMember {
            group: group(),
            user: user.clone(),
        },
        Command::DeclineInvitation(group()),
        Command::AnswerJoin {
            group: group(),
            user: user.clone(),
            accept: true,
        },
        Command::KickMember {
            group: group(),
            user: user.clone(),
            ban: true,
        },
        Command::UnbanMember {
            group: group(),
            user: user.clone(),
        },
        Command::MuteMember {
            group: group(),
            user: user.clone(),
            duration_ms: 1000,
        },
        Command::SetRole {
            group: group(),
            user: user.clone(),
            role: Role::Admin,
        },
        Command::TransferOwnership { group: group(), user },
        Command::UpdateGroup {
            group: group(),
            changes: GroupChanges::default(),
        },
        Command::DeleteGroup(group()),
        Command::LeaveGroup(group()),
        Command::JoinGroup {
            group: group(),
            note: Note::default(),
        },
    ]
}

/// Users who may not find an unlisted group cannot tell its name from a name that no group has, not
/// even those who were members and know the id of the group.
#[tokio::test]
async fn name_of_an_unlisted_group_is_known_to_those_who_may_find_it() {
    let named = |name: &str| ConversationRef::Group(GroupName::parse(name).unwrap());
    let fixture = GroupFixture::build(JoinPolicy::Open, true).await;
    let changes = GroupChanges {
        name: Some(GroupName::parse("renamed").unwrap()),
        ..GroupChanges::default()
    };
    let group = fixture.group_ref();
    let owner = fixture.session(GroupRelation::Owner);
    owner.execute(Command::UpdateGroup { group, changes }).await.unwrap();
    let target = user(&fixture.member);
    for relation in [GroupRelation::Stranger, GroupRelation::Former, GroupRelation::Banned] {
        let session = fixture.session(relation);
        let hidden = commands_about(&named("renamed"), target.clone());
        let absent = commands_about(&named("nobody has it"), target.clone());
        for (hidden, absent) in hidden.into_iter().zip(absent) {
            let name = kind(&hidden);
            let hidden = session.execute(hidden).await.err();
            let absent = session.execute(absent).await.err();
            assert_eq!(hidden, absent, "{name:?} by {relation:?}");
            assert_eq!(hidden.map(|error| error.code), ABSENT, "{name:?} by {relation:?}");
        }
    }
    let join = || Command::JoinGroup {
        group: named("renamed"),
        note: Note::default(),
    };
    for relation in [GroupRelation::Invited, GroupRelation::Requested] {
        fixture.session(relation).execute(join()).await.unwrap();
    }
    // The relations from `Invited` on; these users may find the group.
    for relation in &GROUP_RELATIONS[3..] {
        assert_eq!(
            info(fixture.session(*relation), named("renamed")).await.id,
            fixture.group
        );
    }
    // Everyone may find a listed group.
    owner.execute(fixture.change(None, Some(false))).await.unwrap();
    let former = fixture.session(GroupRelation::Former);
    assert_eq!(info(former, named("renamed")).await.id, fixture.group);
    fixture.session(GroupRelation::Stranger).execute(join()).await.unwrap();
}

/// A former member who asks to join an unlisted group, or is invited to it, finds it as it was when
/// the member left.
#[tokio::test]
async fn former_member_finds_an_unlisted_group_as_it_was() {
    for by_invitation in [false, true] {
        let fixture = GroupFixture::build(JoinPolicy::Approval, true).await;
        let former = fixture.session(GroupRelation::Former);
        let owner = fixture.session(GroupRelation::Owner);
        let changes = GroupChanges {
            name: Some(GroupName::parse("renamed").unwrap()),
            description: Some(Description::new("changed").unwrap()),
            ..GroupChanges::default()
        };
        let group = fixture.group_ref();
        owner.execute(Command::UpdateGroup { group, changes }).await.unwrap();
        if by_invitation {
            owner.invite_member(fixture.group_ref(), user(former)).await.unwrap();
        } else {
            join(former, fixture.group).await;
        }
        let find = async |relation| {
            let query = fixture.group.to_string();
            let search = Command::SearchGroups { query, limit: 10 };
            match fixture.session(relation).execute(search).await {
                Ok(Outcome::Groups(mut groups)) if groups.len() == 1 => groups.remove(0),
                other => panic!("not one group: {other:?}"),
            }
        };
        let found = find(GroupRelation::Former).await;
        assert_eq!((found.profile.name.as_str(), found.member_count), ("rust", 7));
        assert_eq!(
            info(former, fixture.group_ref()).await.view,
            ConversationView::Group(found)
        );
        // Members, and users who were never members, find the group as it is now.
        for relation in [GroupRelation::Member, GroupRelation::Requested] {
            assert_eq!(find(relation).await.profile.name, "renamed");
        }
        owner.execute(fixture.change(None, Some(false))).await.unwrap();
        assert_eq!(find(GroupRelation::Former).await.profile.name, "renamed", "listed");
    }
}

/// The store may have no snapshot of a group from the time when a member left, for example because
/// a node of an earlier release removed the member. The former member still sees the group then,
/// but nothing of its later state.
#[tokio::test]
async fn former_member_without_a_snapshot_keeps_the_group() {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let engine = Engine::builder(Arc::clone(&store))
        .config(config())
        .build()
        .await
        .unwrap();
    let (olga, bob) = (new_user(&engine, "olga").await, new_user(&engine, "bob").await);
    let group = create_group(&olga, "rust").await;
    join(&bob, group).await;
    let sent = olga.send_text(ConversationRef::Id(group), "before").await.unwrap();
    let mut member = store.member(group, id(&bob)).await.unwrap().unwrap();
    member.state = MemberState::Left;
    member.until_seq = Some(sent.seq);
    let remove = transact(&*store, move |tx| {
        let member = member.clone();
        Box::pin(async move { Ok(tx.put_member(&member).await?) })
    });
    remove.await.unwrap();
    olga.send_text(ConversationRef::Id(group), "after").await.unwrap();
    let changes = GroupChanges {
        unlisted: Some(true),
        ..GroupChanges::default()
    };
    olga.update_group(group, changes).await.unwrap();

    let shown = info(&bob, ConversationRef::Id(group)).await;
    let listed = bob.conversations().await.unwrap();
    assert!(listed.contains(&shown), "{listed:?}");
    assert_eq!((shown.first_seq, shown.last_seq), (Seq(2), sent.seq));
    assert_eq!((shown.active, shown.unread, shown.last_time), (false, 1, Timestamp(0)));
    let ConversationView::Group(view) = shown.view else {
        panic!("not a group: {shown:?}")
    };
    let profile = view.profile;
    assert_eq!(
        (profile.name, profile.description),
        (format!("#{group}"), String::new())
    );
    assert_eq!((view.id, view.member_count), (group, 0));
    assert_eq!(texts(&history(&bob, ConversationRef::Id(group)).await), ["before"]);
    assert!(
        !engine
            .session(id(&bob), DeviceId::random())
            .await
            .unwrap()
            .conversations()
            .await
            .unwrap()
            .is_empty(),
        "the login of a new device does not fail"
    );
}
