//! Cases about rows of conversations: uniqueness, updates, searches.

use std::sync::Arc;

use super::fixture::{NOW, World, append, create, messages, new_group, profile, put_member, transact, without_group};
use crate::model::{
    Conversation, ConversationId, ConversationKind, GroupProfile, JoinPolicy, Member, MemberState, Role, Seq, UserId,
};
use crate::store::{LogVersion, NewConversation, Store, StoreError};

const A: UserId = UserId(1);
const B: UserId = UserId(2);

async fn row(store: &dyn Store, id: ConversationId) -> Conversation {
    store.conversation(id).await.unwrap().expect("the conversation exists")
}

/// Locks a conversation and changes its row. Returns `false` if another existing group has the new
/// key or skeleton.
async fn update(
    store: &dyn Store,
    id: ConversationId,
    change: impl Fn(&mut Conversation) + Clone + Send + Sync + 'static,
) -> bool {
    let work = transact(store, move |tx| {
        let change = change.clone();
        Box::pin(async move {
            let mut row = tx.lock_conversation(id).await?.unwrap();
            change(&mut row);
            Ok(tx.update_conversation(&row).await?)
        })
    });
    work.await.unwrap()
}

/// Returns a change of the row that replaces the profile of a group with `profile(to)`.
fn rename(to: &'static str) -> impl Fn(&mut Conversation) + Clone + Send + Sync + 'static {
    move |row| row.group = Some(profile(to))
}

pub async fn direct_conversation_is_created_once(store: Arc<dyn Store>) {
    let kind = ConversationKind::direct(B, A);
    assert_eq!(store.conversation_of_kind(&kind).await.unwrap(), None);
    let id = create(&*store, without_group(kind.clone())).await.unwrap();
    assert_eq!(create(&*store, without_group(kind.clone())).await, None);
    assert_eq!(
        store
            .conversation_of_kind(&ConversationKind::direct(A, B))
            .await
            .unwrap(),
        Some(id)
    );
    assert_eq!(
        store
            .conversation_of_kind(&ConversationKind::direct(A, UserId(3)))
            .await
            .unwrap(),
        None
    );
    let expected = Conversation {
        id,
        kind,
        group: None,
        last_seq: Seq::ZERO,
        message_count: 0,
        members_version: Seq::ZERO,
        last_time: NOW,
        member_count: 0,
        deleted: false,
    };
    assert_eq!(row(&*store, id).await, expected);
}

pub async fn notes_to_self_are_not_the_inbox(store: Arc<dyn Store>) {
    let notes = ConversationKind::direct(A, A);
    let inbox = ConversationKind::Inbox { owner: A };
    let notes_id = create(&*store, without_group(notes.clone())).await.unwrap();
    let inbox_id = create(&*store, without_group(inbox.clone())).await.unwrap();
    assert_ne!(notes_id, inbox_id);
    assert_eq!(store.conversation_of_kind(&notes).await.unwrap(), Some(notes_id));
    assert_eq!(store.conversation_of_kind(&inbox).await.unwrap(), Some(inbox_id));
    assert_eq!(row(&*store, notes_id).await.kind, notes);
    assert_eq!(row(&*store, inbox_id).await.kind, inbox);
}

pub async fn inbox_is_created_once(store: Arc<dyn Store>) {
    let kind = ConversationKind::Inbox { owner: A };
    assert!(create(&*store, without_group(kind.clone())).await.is_some());
    assert_eq!(create(&*store, without_group(kind)).await, None);
    let other = ConversationKind::Inbox { owner: B };
    assert!(create(&*store, without_group(other)).await.is_some());
}

pub async fn group_name_is_unique(store: Arc<dyn Store>) {
    let id = create(&*store, new_group("rust")).await.unwrap();
    let mut same = new_group("rust");
    same.group.as_mut().unwrap().skeleton = "another".into();
    assert_eq!(create(&*store, same).await, None);
    assert_eq!(store.group_by_key("rust").await.unwrap(), Some(id));
    assert_eq!(
        store.conversation_of_kind(&ConversationKind::Group).await.unwrap(),
        None
    );
}

pub async fn named_group_has_the_membership_of_the_user(store: Arc<dyn Store>) {
    let id = create(&*store, new_group("rust")).await.unwrap();
    let other = create(&*store, new_group("go")).await.unwrap();
    let found = async |key: &str, user| {
        let group = store.named_group(key, user).await.unwrap();
        group.map(|group| (group.conversation, group.member))
    };
    let mut invited = Member::active(id, A, Role::Member, Seq(1));
    invited.state = MemberState::Invited;
    invited.invited_by = Some(B);
    put_member(&*store, invited.clone()).await;
    put_member(&*store, Member::active(other, B, Role::Owner, Seq(1))).await;
    let expected = row(&*store, id).await;
    assert_eq!(found("rust", A).await, Some((expected.clone(), Some(invited))));
    assert_eq!(found("rust", B).await, Some((expected, None)));
    assert_eq!(found("rus", A).await, None);
    assert!(update(&*store, id, |row| row.deleted = true).await);
    assert_eq!(found("rust", A).await, None, "a deleted group is not found by its name");
}

pub async fn group_skeleton_is_unique(store: Arc<dyn Store>) {
    create(&*store, new_group("rust")).await.unwrap();
    let mut look_alike = new_group("ru5t");
    look_alike.group.as_mut().unwrap().skeleton = profile("rust").skeleton;
    assert_eq!(create(&*store, look_alike).await, None);
    assert_eq!(store.group_by_key("ru5t").await.unwrap(), None);
}

pub async fn transaction_continues_after_a_rejected_creation(store: Arc<dyn Store>) {
    create(&*store, new_group("rust")).await.unwrap();
    create(&*store, without_group(ConversationKind::direct(A, B)))
        .await
        .unwrap();
    let work = transact(&*store, |tx| {
        Box::pin(async move {
            assert_eq!(tx.create_conversation(new_group("rust")).await?, None);
            let kind = ConversationKind::direct(A, B);
            assert_eq!(tx.create_conversation(without_group(kind.clone())).await?, None);
            assert!(tx.conversation_of_kind(&kind).await?.is_some());
            Ok(tx.create_conversation(new_group("c")).await?)
        })
    });
    let created = work.await.unwrap();
    assert!(created.is_some());
    assert_eq!(created, store.group_by_key("c").await.unwrap());
}

pub async fn profile_reads_back(store: Arc<dyn Store>) {
    let policies = [JoinPolicy::Open, JoinPolicy::Approval, JoinPolicy::Invite];
    for (number, join_policy) in (0..).zip(policies) {
        let group = GroupProfile {
            description: "说明 😀 ".repeat(500),
            join_policy,
            history_visible: number % 2 == 0,
            unlisted: number % 2 == 1,
            ..profile(&format!("组 {number}"))
        };
        let new = NewConversation {
            group: Some(group.clone()),
            ..new_group("")
        };
        let id = create(&*store, new).await.unwrap();
        assert_eq!(row(&*store, id).await.group, Some(group));
    }
}

pub async fn deletion_frees_name_and_skeleton(store: Arc<dyn Store>) {
    let old = create(&*store, new_group("rust")).await.unwrap();
    assert!(update(&*store, old, |row| row.deleted = true).await);
    assert_eq!(store.group_by_key("rust").await.unwrap(), None);
    let new = create(&*store, new_group("rust")).await.unwrap();
    assert_eq!(store.group_by_key("rust").await.unwrap(), Some(new));
    let deleted = row(&*store, old).await;
    assert!(deleted.deleted);
    assert_eq!(deleted.group, Some(profile("rust")));
    // A deleted group can still be updated.
    assert!(update(&*store, old, |row| row.member_count = 3).await);
    assert_eq!(store.group_by_key("rust").await.unwrap(), Some(new));
}

pub async fn restoring_a_deleted_group_with_a_taken_name_is_rejected(store: Arc<dyn Store>) {
    let old = create(&*store, new_group("rust")).await.unwrap();
    assert!(update(&*store, old, |row| row.deleted = true).await);
    let new = create(&*store, new_group("rust")).await.unwrap();
    assert!(!update(&*store, old, |row| row.deleted = false).await);
    assert!(row(&*store, old).await.deleted);
    assert!(update(&*store, new, |row| row.deleted = true).await);
    assert!(update(&*store, old, |row| row.deleted = false).await);
    assert_eq!(store.group_by_key("rust").await.unwrap(), Some(old));
}

pub async fn renaming_to_a_taken_name_is_rejected(store: Arc<dyn Store>) {
    create(&*store, new_group("rust")).await.unwrap();
    let other = create(&*store, new_group("go")).await.unwrap();
    let before = row(&*store, other).await;
    assert!(!update(&*store, other, rename("rust")).await);
    let same_skeleton = |row: &mut Conversation| {
        row.group = Some(GroupProfile {
            skeleton: profile("rust").skeleton,
            ..profile("ru5t")
        });
    };
    assert!(!update(&*store, other, same_skeleton).await);
    assert_eq!(row(&*store, other).await, before);
    assert_eq!(store.group_by_key("go").await.unwrap(), Some(other));
}

pub async fn renaming_frees_the_old_name(store: Arc<dyn Store>) {
    let id = create(&*store, new_group("rust")).await.unwrap();
    assert!(update(&*store, id, rename("ferrous")).await);
    assert_eq!(store.group_by_key("rust").await.unwrap(), None);
    assert_eq!(store.group_by_key("ferrous").await.unwrap(), Some(id));
    assert!(create(&*store, new_group("rust")).await.is_some());
    // A group does not conflict with its own name and skeleton.
    let describe = |row: &mut Conversation| row.group.as_mut().unwrap().description = "new".into();
    assert!(update(&*store, id, describe).await);
    assert_eq!(row(&*store, id).await.group.unwrap().description, "new");
}

pub async fn update_keeps_the_kind(store: Arc<dyn Store>) {
    let kind = ConversationKind::direct(A, B);
    let id = create(&*store, without_group(kind.clone())).await.unwrap();
    let change = |row: &mut Conversation| {
        row.kind = ConversationKind::direct(A, UserId(9));
        row.members_version = Seq(1);
        row.last_time = NOW.plus_millis(5);
        row.member_count = 2;
        row.deleted = true;
    };
    assert!(update(&*store, id, change).await);
    let expected = Conversation {
        id,
        kind: kind.clone(),
        group: None,
        last_seq: Seq::ZERO,
        message_count: 0,
        members_version: Seq(1),
        last_time: NOW.plus_millis(5),
        member_count: 2,
        deleted: true,
    };
    assert_eq!(row(&*store, id).await, expected);
    // Deletion frees only names and skeletons of groups. The pair of users stays taken.
    assert_eq!(create(&*store, without_group(kind)).await, None);
}

pub async fn update_without_the_lock_is_an_error(store: Arc<dyn Store>) {
    let id = create(&*store, new_group("rust")).await.unwrap();
    let unlocked = row(&*store, id).await;
    let work = transact(&*store, move |tx| {
        let row = unlocked.clone();
        Box::pin(async move { Ok(tx.update_conversation(&row).await?) })
    });
    assert!(matches!(work.await, Err(StoreError::Defect(_))));
}

pub async fn group_keys_compare_byte_by_byte(store: Arc<dyn Store>) {
    for name in [
        "ß", "ss", "admin", "admin ", "Admin", "🍣", "🍺", "é", "e\u{301}", "吉", "𠮷",
    ] {
        let id = create(&*store, new_group(name)).await.expect(name);
        assert_eq!(store.group_by_key(name).await.unwrap(), Some(id));
    }
}

pub async fn search_finds_existing_listed_groups(store: Arc<dyn Store>) {
    for name in ["rust", "rust 中文", "rust%", "rusty", "go"] {
        create(&*store, new_group(name)).await.unwrap();
    }
    let mut hidden = new_group("rust secret");
    hidden.group.as_mut().unwrap().unlisted = true;
    create(&*store, hidden).await.unwrap();
    let deleted = create(&*store, new_group("rust old")).await.unwrap();
    update(&*store, deleted, |row| row.deleted = true).await;
    let keys = async |prefix: &str, limit| {
        let found = store.search_groups(prefix, limit).await.unwrap();
        found.into_iter().map(|row| row.group.unwrap().key).collect::<Vec<_>>()
    };
    assert_eq!(keys("rust", 10).await, ["rust", "rust 中文", "rust%", "rusty"]);
    assert_eq!(keys("rust", 2).await, ["rust", "rust 中文"]);
    assert_eq!(keys("rust%", 10).await, ["rust%"]);
    assert_eq!(keys("x", 10).await, Vec::<String>::new());
}

pub async fn log_versions_returns_only_conversations_that_exist(store: Arc<dyn Store>) {
    let world = World::new(store).await;
    world.say(messages(3)).await;
    let change = |row: &mut Conversation| row.members_version = Seq(2);
    assert!(update(&*world.store, world.group, change).await);
    let asked = [world.group, ConversationId(99), world.direct, ConversationId(u64::MAX)];
    let mut found = world.store.log_versions(&asked).await.unwrap();
    found.sort();
    let version = |conversation, last_seq, members_version| LogVersion {
        conversation,
        last_seq,
        members_version,
    };
    let mut expected = [
        version(world.group, Seq(3), Seq(2)),
        version(world.direct, Seq::ZERO, Seq::ZERO),
    ];
    expected.sort();
    assert_eq!(found, expected);
}

pub async fn unknown_conversation_is_not_found(store: Arc<dyn Store>) {
    let world = World::new(store).await;
    for id in [ConversationId(0), ConversationId(99), ConversationId(u64::MAX)] {
        let store = &world.store;
        assert_eq!(store.conversation(id).await.unwrap(), None);
        assert_eq!(store.member(id, world.alice).await.unwrap(), None);
        assert!(store.members(id, UserId(0), 10).await.unwrap().is_empty());
        assert!(store.events(id, Seq(1), Seq(9), 9).await.unwrap().is_empty());
        assert!(store.events_at(id, &[Seq(1)]).await.unwrap().is_empty());
        let device = super::fixture::device_id(1);
        assert_eq!(store.membership(world.alice, device, id).await.unwrap(), None);
        let page = super::fixture::page(crate::model::PageFrom::Newest);
        assert_eq!(store.events_for(world.alice, id, page).await.unwrap(), None);
        let member = Member::active(id, world.alice, Role::Member, Seq(1));
        let work = transact(&**store, move |tx| {
            let member = member.clone();
            Box::pin(async move {
                assert_eq!(tx.lock_conversation(id).await?, None);
                assert!(tx.members_in(id, &[member.user]).await?.is_empty());
                assert!(tx.events_at(id, &[Seq(1)]).await?.is_empty());
                Ok(())
            })
        });
        work.await.unwrap();
        let appended = append(&**store, id, world.alice, messages(1)).await;
        assert!(matches!(appended, Err(StoreError::Aborted)));
    }
}
