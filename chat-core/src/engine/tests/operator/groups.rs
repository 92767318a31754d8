//! Tests of groups that an operator lists, transfers or deletes, and of the groups of users whose
//! accounts the operator disables or deletes.

use super::*;

#[tokio::test]
async fn group_without_other_members_is_deleted_with_the_account_of_its_owner() {
    let engine = engine().await;
    let operator = operator(&engine);
    let alice = new_user(&engine, "alice").await;
    let group = create_group(&alice, "rust").await;
    operator.delete_account(id(&alice), KEEP_TEXTS).await.unwrap();
    let shown = operator.group(group).await.unwrap().group;
    assert!(shown.deleted && !shown.orphaned);
}

#[tokio::test]
async fn owner_cannot_transfer_a_group_to_a_disabled_account() {
    let engine = engine().await;
    let operator = operator(&engine);
    let (alice, bob) = (new_user(&engine, "alice").await, new_user(&engine, "bob").await);
    let group = create_group(&alice, "rust").await;
    join(&bob, group).await;
    operator.disable(id(&bob)).await.unwrap();
    let transfer = Command::TransferOwnership {
        group: ConversationRef::Id(group),
        user: user(&bob),
    };
    assert_eq!(error_code(alice.execute(transfer.clone()).await), ReplyCode::Forbidden);
    operator.enable(id(&bob)).await.unwrap();
    alice.execute(transfer).await.unwrap();
}

#[tokio::test]
async fn orphaned_group_is_listed_and_can_be_transferred() {
    let engine = engine().await;
    let operator = operator(&engine);
    let alice = new_user(&engine, "alice").await;
    let bob = new_user(&engine, "bob").await;
    let rust = create_group(&alice, "rust").await;
    join(&bob, rust).await;
    let go = create_group(&bob, "go").await;
    operator.disable(id(&bob)).await.unwrap();
    operator.delete_account(id(&alice), KEEP_TEXTS).await.unwrap();
    let all = operator.list_groups(ConversationId(0), 9, false).await.unwrap();
    assert_eq!((all.groups.len(), all.next), (2, None));
    // No user can administer either group: one group has no owner, and the owner of the other is
    // disabled.
    let orphaned = operator.list_groups(ConversationId(0), 9, true).await.unwrap();
    let ids: Vec<_> = orphaned.groups.iter().map(|group| group.group.id).collect();
    assert_eq!(ids, [rust, go]);
    assert!(operator.group(go).await.unwrap().group.orphaned);

    let refused = operator.transfer_group(rust, id(&bob)).await;
    assert_eq!(error_code(refused), ReplyCode::AccountDisabled);
    operator.enable(id(&bob)).await.unwrap();
    let refused = operator.transfer_group(rust, id(&alice)).await;
    assert_eq!(error_code(refused), ReplyCode::NotFound);
    operator.transfer_group(rust, id(&bob)).await.unwrap();
    assert_eq!(
        last_action(&operator).await,
        action("group.transfer", &format!("conversation:{rust}"))
    );
    let bob = engine.session(id(&bob), DeviceId::random()).await.unwrap();
    bob.delete_group(rust).await.unwrap();
    assert!(!operator.group(go).await.unwrap().group.orphaned);
}

async fn owner(operator: &Operator, group: ConversationId) -> Option<UserId> {
    let members = operator.group(group).await.unwrap().members;
    let owner = members.iter().find(|member| member.role == Role::Owner);
    owner.map(|member| member.user.id)
}

#[tokio::test]
async fn groups_of_a_disabled_owner_pass_to_the_most_senior_member() {
    let engine = engine().await;
    let operator = operator(&engine);
    let (alice, bob, dora, group, _) = group_and_direct_conversation(&engine).await;
    // Dora, as the only admin, would be the next owner, but her account is disabled, so Bob is.
    alice.set_role(group, id(&dora), Role::Admin).await.unwrap();
    operator.disable(id(&dora)).await.unwrap();
    operator.disable(id(&alice)).await.unwrap();
    assert_eq!(owner(&operator, group).await, Some(bob.user().id));
    assert!(!operator.group(group).await.unwrap().group.orphaned);
    assert_eq!(
        last_action(&operator).await,
        action("group.transfer", &format!("conversation:{group}"))
    );

    operator.enable(id(&dora)).await.unwrap();
    operator.disable(id(&bob)).await.unwrap();
    assert_eq!(
        owner(&operator, group).await,
        Some(dora.user().id),
        "no other member is enabled"
    );
    operator.disable(id(&dora)).await.unwrap();
    assert_eq!(
        owner(&operator, group).await,
        Some(dora.user().id),
        "nobody else is left"
    );
    assert!(operator.group(group).await.unwrap().group.orphaned);
}

#[tokio::test]
async fn transferred_group_keeps_its_former_owner_as_an_admin() {
    let engine = engine().await;
    let operator = operator(&engine);
    let (alice, bob, _, group, _) = group_and_direct_conversation(&engine).await;
    operator
        .transfer_group(GroupName::parse("rust").unwrap(), name("bob"))
        .await
        .unwrap();
    let roles: Vec<Role> = operator
        .group(group)
        .await
        .unwrap()
        .members
        .iter()
        .map(|member| member.role)
        .collect();
    assert_eq!(roles, [Role::Admin, Role::Owner, Role::Member]);
    assert_eq!(error_code(alice.delete_group(group).await), ReplyCode::Forbidden);
    let transferred = wait_for_event(&alice, EventKind::OwnershipTransferred).await;
    assert_eq!((transferred.sender, transferred.device), (UserId::SYSTEM, None));
    bob.delete_group(group).await.unwrap();
}

#[tokio::test]
async fn deleted_group_accepts_no_messages() {
    let engine = engine().await;
    let operator = operator(&engine);
    let (alice, _, _, group, direct) = group_and_direct_conversation(&engine).await;
    operator.delete_group(group).await.unwrap();
    let target = format!("conversation:{group}");
    assert_eq!(last_action(&operator).await, action("group.delete", &target));
    let refused = alice.send_text(group, "hello?").await;
    assert_eq!(error_code(refused), ReplyCode::GroupDeleted);
    assert_eq!(error_code(operator.delete_group(group).await), ReplyCode::GroupDeleted);
    assert_eq!(error_code(operator.delete_group(direct).await), ReplyCode::NotFound);

    // Texts in a deleted group can still be erased, without a recall event.
    let before = history(&alice, group.into()).await;
    let message = before
        .events
        .iter()
        .find(|entry| entry.event.kind == EventKind::Message);
    operator.recall(group, message.unwrap().event.seq).await.unwrap();
    let after = history(&alice, group.into()).await;
    assert_eq!(after.last_seq, before.last_seq);
    assert_eq!(texts(&after), ["", "from bob"]);
}
