//! Tests of groups from creation to deletion, and of the events that users receive about them.

use super::support::*;
use crate::commands::Commands;
use crate::engine::LocalSession;
use crate::model::*;

fn group_ref(group: ConversationId) -> ConversationRef {
    ConversationRef::Id(group)
}

async fn members(session: &LocalSession, group: ConversationId) -> Vec<(UserId, Role, MemberState)> {
    let list = Command::ListMembers {
        group: group_ref(group),
        after: UserId(0),
        limit: 100,
    };
    match session.execute(list).await {
        Ok(Outcome::Members(page)) => page
            .members
            .iter()
            .map(|member| (member.user.id, member.role, member.state))
            .collect(),
        other => panic!("no members: {other:?}"),
    }
}

fn update(group: ConversationId, join_policy: Option<JoinPolicy>, history_visible: Option<bool>) -> Command {
    let mut changes = GroupChanges::default();
    (changes.join_policy, changes.history_visible) = (join_policy, history_visible);
    Command::UpdateGroup {
        group: group_ref(group),
        changes,
    }
}

#[tokio::test]
async fn retried_creation_finds_the_created_group() {
    let engine = engine().await;
    let (olga, bob) = (new_user(&engine, "olga").await, new_user(&engine, "bob").await);
    let command = create_group_command("Rust 学习");
    let (first, again) = tokio::join!(olga.execute(command.clone()), olga.execute(command.clone()));
    let (first, again) = (conversation(first), conversation(again));
    assert_eq!(first.id, again.id);
    assert_eq!((first.role, first.last_seq), (Role::Owner, Seq(1)));
    for name in ["Rust 学习", "RUST 学习", "ｒｕｓｔ 学习"] {
        assert_eq!(
            error_code(bob.execute(create_group_command(name)).await),
            ReplyCode::NameTaken,
            "{name}"
        );
    }
    let by_name = ConversationRef::Group(GroupName::parse("rust 学习").unwrap());
    assert_eq!(info(&olga, by_name).await.id, first.id);
    let (Command::CreateGroup(first), Command::CreateGroup(mut other)) = (command, create_group_command("other"))
    else {
        unreachable!()
    };
    other.client_message_id = first.client_message_id;
    let other = Command::CreateGroup(other);
    assert_eq!(error_code(olga.execute(other).await), ReplyCode::Conflict);
}

#[tokio::test]
async fn former_member_reads_events_up_to_leaving() {
    let engine = engine().await;
    let (olga, bob) = (new_user(&engine, "olga").await, new_user(&engine, "bob").await);
    let group = create_group(&olga, "crowd").await;
    olga.send_text(group_ref(group), "before").await.unwrap();
    join(&bob, group).await;
    join(&bob, group).await;
    olga.send_text(group_ref(group), "during").await.unwrap();
    bob.execute(Command::LeaveGroup(group_ref(group))).await.unwrap();
    olga.send_text(group_ref(group), "after").await.unwrap();
    let page = history(&bob, group_ref(group)).await;
    assert_eq!(texts(&page), ["during"]);
    assert_eq!((page.first_seq, page.last_seq), (Seq(3), Seq(5)));
    assert_eq!(wait_for_event(&bob, EventKind::MemberLeft).await.seq, Seq(5));
    assert!(bob.try_next_push().is_none(), "no event follows the leave event");
    assert!(!info(&bob, group_ref(group)).await.active);

    join(&bob, group).await;
    assert_eq!(
        texts(&history(&bob, group_ref(group)).await),
        Vec::<String>::new(),
        "a returning member does not read messages from the time of absence"
    );
    assert_eq!(
        info(&olga, group_ref(group)).await.view,
        info(&bob, group_ref(group)).await.view,
        "a returning member sees the group as it is now"
    );
}

#[tokio::test]
async fn new_member_reads_older_messages_if_the_group_allows_it() {
    let engine = engine().await;
    let (olga, bob) = (new_user(&engine, "olga").await, new_user(&engine, "bob").await);
    let group = create_group(&olga, "crowd").await;
    olga.send_text(group_ref(group), "before").await.unwrap();
    olga.execute(update(group, None, Some(true))).await.unwrap();
    join(&bob, group).await;
    assert_eq!(texts(&history(&bob, group_ref(group)).await), ["before"]);
    assert_eq!(info(&bob, group_ref(group)).await.unread, 0);
}

#[tokio::test]
async fn join_requests_are_accepted_and_declined() {
    let engine = engine().await;
    let (olga, bob, eve) = (
        new_user(&engine, "olga").await,
        new_user(&engine, "bob").await,
        new_user(&engine, "eve").await,
    );
    let group = create_group(&olga, "crowd").await;
    olga.execute(update(group, Some(JoinPolicy::Approval), None))
        .await
        .unwrap();
    for applicant in [&bob, &eve] {
        join(applicant, group).await;
        join(applicant, group).await;
        let requested = wait_for_event(&olga, EventKind::JoinRequested).await;
        assert!(matches!(body(&requested), EventBody::JoinRequested { user, .. } if user == id(applicant)));
    }
    let states: Vec<_> = members(&olga, group)
        .await
        .into_iter()
        .map(|(_, _, state)| state)
        .collect();
    assert_eq!(
        states,
        [MemberState::Active, MemberState::Requested, MemberState::Requested]
    );
    for (applicant, accept) in [(&bob, true), (&eve, false)] {
        let answer = Command::AnswerJoin {
            group: group_ref(group),
            user: user(applicant),
            accept,
        };
        olga.execute(answer).await.unwrap();
        let answered = wait_for_event(applicant, EventKind::JoinAnswered).await;
        assert!(matches!(body(&answered), EventBody::JoinAnswered { accepted, .. } if accepted == accept));
    }
    bob.send_text(group_ref(group), "thanks").await.unwrap();
    assert_eq!(
        error_code(eve.send_text(group_ref(group), "why").await),
        ReplyCode::NotFound
    );
    assert_eq!(members(&bob, group).await.len(), 2);
}

#[tokio::test]
async fn invitations_are_accepted_and_declined() {
    let engine = engine().await;
    let (olga, bob, eve) = (
        new_user(&engine, "olga").await,
        new_user(&engine, "bob").await,
        new_user(&engine, "eve").await,
    );
    let group = create_group(&olga, "crowd").await;
    olga.execute(update(group, Some(JoinPolicy::Invite), None))
        .await
        .unwrap();
    let invite = |whom: &LocalSession| Command::InviteMember {
        group: group_ref(group),
        user: user(whom),
    };
    olga.execute(invite(&bob)).await.unwrap();
    olga.execute(invite(&bob)).await.unwrap();
    let invited = wait_for_event(&bob, EventKind::GroupInvited).await;
    assert!(matches!(body(&invited), EventBody::GroupInvited { by, .. } if by == id(&olga)));
    assert!(
        bob.try_next_push().is_none(),
        "a repeated invitation sends no second event"
    );
    join(&bob, group).await;
    bob.execute(invite(&eve)).await.unwrap();
    wait_for_event(&eve, EventKind::GroupInvited).await;
    eve.execute(Command::DeclineInvitation(group_ref(group))).await.unwrap();
    let declined = wait_for_event(&bob, EventKind::InvitationDeclined).await;
    assert!(matches!(body(&declined), EventBody::InvitationDeclined { user, .. } if user == id(&eve)));
    eve.execute(Command::Block(user(&bob))).await.unwrap();
    bob.execute(invite(&eve)).await.unwrap();
    let invited = (id(&eve), Role::Member, MemberState::Invited);
    assert!(
        members(&olga, group).await.contains(&invited),
        "a block is visible neither in the reply nor in the list of members"
    );
    while let Some(push) = eve.try_next_push() {
        assert!(!matches!(push, Push::Event(event) if event.kind == EventKind::GroupInvited));
    }
}

#[tokio::test]
async fn kicked_user_may_join_again_and_banned_user_may_not() {
    let engine = engine().await;
    let (olga, bob) = (new_user(&engine, "olga").await, new_user(&engine, "bob").await);
    let group = create_group(&olga, "crowd").await;
    join(&bob, group).await;
    let kick = |ban| Command::KickMember {
        group: group_ref(group),
        user: user(&bob),
        ban,
    };
    olga.execute(kick(false)).await.unwrap();
    let removed = wait_for_event(&bob, EventKind::RemovedFromGroup).await;
    assert!(matches!(body(&removed), EventBody::RemovedFromGroup { .. }));
    assert_eq!(
        error_code(bob.send_text(group_ref(group), "x").await),
        ReplyCode::Forbidden
    );
    join(&bob, group).await;
    olga.execute(kick(true)).await.unwrap();
    let again = Command::JoinGroup {
        group: group_ref(group),
        note: Note::default(),
    };
    assert_eq!(error_code(bob.execute(again.clone()).await), ReplyCode::Forbidden);
    olga.execute(Command::UnbanMember {
        group: group_ref(group),
        user: user(&bob),
    })
    .await
    .unwrap();
    bob.execute(again).await.unwrap();
}

#[tokio::test]
async fn mute_outlasts_leaving() {
    let engine = engine().await;
    let (olga, bob) = (new_user(&engine, "olga").await, new_user(&engine, "bob").await);
    let group = create_group(&olga, "crowd").await;
    join(&bob, group).await;
    let mute = |duration_ms| Command::MuteMember {
        group: group_ref(group),
        user: user(&bob),
        duration_ms,
    };
    olga.execute(mute(3_600_000)).await.unwrap();
    bob.execute(Command::LeaveGroup(group_ref(group))).await.unwrap();
    join(&bob, group).await;
    assert_eq!(error_code(bob.send_text(group_ref(group), "x").await), ReplyCode::Muted);
    olga.execute(mute(0)).await.unwrap();
    bob.send_text(group_ref(group), "x").await.unwrap();
}

#[tokio::test]
async fn owner_leaves_after_a_transfer_or_as_the_last_member() {
    let engine = engine().await;
    let (olga, bob) = (new_user(&engine, "olga").await, new_user(&engine, "bob").await);
    let group = create_group(&olga, "crowd").await;
    join(&bob, group).await;
    let leave = Command::LeaveGroup(group_ref(group));
    assert_eq!(
        error_code(olga.execute(leave.clone()).await),
        ReplyCode::OwnerMustTransfer
    );
    olga.execute(Command::TransferOwnership {
        group: group_ref(group),
        user: user(&bob),
    })
    .await
    .unwrap();
    assert_eq!(
        members(&bob, group).await,
        [
            (id(&olga), Role::Admin, MemberState::Active),
            (id(&bob), Role::Owner, MemberState::Active)
        ]
    );
    olga.execute(leave.clone()).await.unwrap();
    bob.execute(leave).await.unwrap();
    wait_for_event(&bob, EventKind::GroupDeleted).await;
    assert_eq!(
        error_code(bob.send_text(group_ref(group), "x").await),
        ReplyCode::GroupDeleted
    );
    assert!(
        !history(&bob, group_ref(group)).await.events.is_empty(),
        "the log of the deleted group stays readable"
    );
    assert_eq!(
        error_code(new_user(&engine, "eve").await.send_text(group_ref(group), "x").await),
        ReplyCode::NotFound
    );
    bob.execute(create_group_command("crowd"))
        .await
        .expect("the name of the deleted group is still taken");
}

#[tokio::test]
async fn renamed_group_is_found_by_its_new_name_only() {
    let engine = engine().await;
    let olga = new_user(&engine, "olga").await;
    let group_id = create_group(&olga, "crowd").await;
    create_group(&olga, "taken").await;
    let rename = |name: &str| Command::UpdateGroup {
        group: group_ref(group_id),
        changes: GroupChanges {
            name: Some(GroupName::parse(name).unwrap()),
            description: Some(Description::new("about").unwrap()),
            ..GroupChanges::default()
        },
    };
    assert_eq!(error_code(olga.execute(rename("taken")).await), ReplyCode::NameTaken);
    olga.execute(rename("fresh")).await.unwrap();
    olga.execute(rename("Fresh Air")).await.unwrap();
    olga.execute(rename("FRESH air")).await.unwrap();
    let by_name = ConversationRef::Group(GroupName::parse("fresh AIR").unwrap());
    let renamed = info(&olga, by_name).await;
    let ConversationView::Group(shown) = &renamed.view else {
        panic!("not a group: {renamed:?}")
    };
    assert_eq!(
        (renamed.id, shown.profile.name.as_str()),
        (group_id, "FRESH air"),
        "a group name keeps its capitals"
    );
    let old = ConversationRef::Group(GroupName::parse("crowd").unwrap());
    assert_eq!(error_code(olga.send_text(old, "x").await), ReplyCode::NotFound);
    olga.execute(rename("FRESH air")).await.unwrap();
    let page = history(&olga, group_ref(group_id)).await;
    assert_eq!(
        page.events.len(),
        4,
        "neither an unchanged nor a refused name appends an event"
    );
}

#[tokio::test]
async fn group_limits_are_enforced() {
    let mut config = config();
    config.max_group_members = 2;
    config.max_groups_per_user = 2;
    config.group_creation_rate = crate::rate::Rate::new(3, std::time::Duration::from_secs(3600));
    let engine = builder().config(config).build().await.unwrap();
    let (olga, bob, eve) = (
        new_user(&engine, "olga").await,
        new_user(&engine, "bob").await,
        new_user(&engine, "eve").await,
    );
    let crowd = create_group(&olga, "crowd").await;
    join(&bob, crowd).await;
    let join_crowd = Command::JoinGroup {
        group: group_ref(crowd),
        note: Note::default(),
    };
    assert_eq!(
        error_code(eve.execute(join_crowd).await),
        ReplyCode::LimitExceeded,
        "the group is full"
    );
    let second = create_group(&olga, "second").await;
    assert_eq!(
        error_code(olga.execute(create_group_command("third")).await),
        ReplyCode::LimitExceeded,
        "the user is in the maximum number of groups"
    );
    olga.execute(Command::DeleteGroup(group_ref(second))).await.unwrap();
    let third = create_group(&olga, "third").await;
    olga.execute(Command::DeleteGroup(group_ref(third))).await.unwrap();
    let refused = olga.execute(create_group_command("fourth")).await.unwrap_err();
    assert_eq!(refused.code, ReplyCode::LimitExceeded, "creation rate");
    assert!(refused.retry_after.is_some());
}

#[tokio::test]
async fn members_are_listed_in_pages_and_banned_users_not_to_plain_members() {
    let engine = engine().await;
    let olga = new_user(&engine, "olga").await;
    let group = create_group(&olga, "crowd").await;
    let mut all = vec![id(&olga)];
    let mut banned = Vec::new();
    for n in 0..7 {
        let one = new_user(&engine, &format!("user{n}")).await;
        join(&one, group).await;
        all.push(id(&one));
        if n % 2 == 0 {
            let kick = Command::KickMember {
                group: group_ref(group),
                user: user(&one),
                ban: true,
            };
            olga.execute(kick).await.unwrap();
            banned.push(id(&one));
        }
    }
    let active: Vec<_> = all.iter().filter(|user| !banned.contains(user)).copied().collect();
    let member = engine.session(active[1], DeviceId::random()).await.unwrap();
    for (session, expected) in [(&olga, &all), (&member, &active)] {
        let (mut seen, mut after) = (Vec::new(), UserId(0));
        loop {
            let list = Command::ListMembers {
                group: group_ref(group),
                after,
                limit: 2,
            };
            let Ok(Outcome::Members(page)) = session.execute(list).await else {
                panic!("no members");
            };
            assert!(page.members.len() <= 2);
            seen.extend(page.members.iter().map(|member| member.user.id));
            after = *seen.last().unwrap();
            if !page.has_more {
                break;
            }
        }
        assert_eq!(&seen, expected);
    }
}

/// A user who invites another one cannot tell from the answers or from the list of members whether
/// the other one has blocked the user.
#[tokio::test]
async fn invitation_to_a_blocker_looks_like_any_other() {
    let mut seen = Vec::new();
    for blocks in [false, true] {
        let mut config = config();
        config.repeated_request_interval = std::time::Duration::ZERO;
        let engine = builder().config(config).build().await.unwrap();
        let (olga, anna) = (new_user(&engine, "olga").await, new_user(&engine, "anna").await);
        let bob = new_user(&engine, "bob").await;
        let group = create_group(&olga, "rust").await;
        join(&anna, group).await;
        if blocks {
            bob.execute(Command::Block(user(&olga))).await.unwrap();
        }
        let group_ref = ConversationRef::Id(group);
        let invite = Command::InviteMember {
            group: group_ref.clone(),
            user: user(&bob),
        };
        let withdraw = Command::KickMember {
            group: group_ref.clone(),
            user: user(&bob),
            ban: false,
        };
        let state = async || {
            let members = olga.members(group_ref.clone(), UserId(0), 10).await.unwrap();
            let member = members.members.into_iter().find(|member| member.user.id == id(&bob));
            member.map(|member| (member.state, member.role))
        };
        let invitations = async || {
            let inbox = bob.conversations().await.unwrap();
            let inbox = inbox
                .into_iter()
                .find(|info| info.view == ConversationView::Inbox)
                .unwrap();
            let events = history(&bob, ConversationRef::Id(inbox.id)).await.events;
            let invited = events
                .iter()
                .filter(|event| event.event.kind == EventKind::GroupInvited);
            invited.count()
        };
        let mut steps = Vec::new();
        for command in [&invite, &invite, &withdraw, &invite] {
            steps.push((olga.execute(command.clone()).await, state().await));
        }
        assert_eq!(invitations().await, if blocks { 0 } else { 2 });
        // If bob has blocked olga, he received no event about her invitation, but he receives one
        // about the invitation by anna.
        steps.push((anna.execute(invite).await, state().await));
        assert_eq!(invitations().await, if blocks { 1 } else { 2 });
        seen.push(steps);
        let decline = Command::DeclineInvitation(group_ref.clone());
        bob.execute(decline).await.unwrap();
    }
    assert_eq!(seen[0], seen[1]);
}

#[tokio::test]
async fn admins_cannot_be_muted() {
    let engine = engine().await;
    let (olga, anna) = (new_user(&engine, "olga").await, new_user(&engine, "anna").await);
    let group = create_group(&olga, "rust").await;
    join(&anna, group).await;
    let group_ref = ConversationRef::Id(group);
    let promote = Command::SetRole {
        group: group_ref.clone(),
        user: user(&anna),
        role: Role::Admin,
    };
    olga.execute(promote).await.unwrap();
    let before = info(&olga, group_ref.clone()).await.last_seq;
    let mute = Command::MuteMember {
        group: group_ref.clone(),
        user: user(&anna),
        duration_ms: 60_000,
    };
    assert_eq!(error_code(olga.execute(mute).await), ReplyCode::Forbidden);
    assert_eq!(
        info(&olga, group_ref).await.last_seq,
        before,
        "a refused mute appends no event"
    );
}
