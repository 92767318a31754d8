//! Cases for the reads of operators: listings, statistics, the audit log, and the reads that the
//! deletion of an account needs.

use std::sync::Arc;

use super::fixture::{
    NOW, NewEvent, World, append, create, create_account, messages, new_device, new_group, put_device, put_member,
    transact,
};
use crate::model::{Account, ConversationId, EventKind, Member, MemberState, Role, Seq, Timestamp, UserId};
use crate::store::{AuditId, AuditPage, NewAuditRecord, Store};

async fn update(store: &dyn Store, account: Account) {
    let work = transact(store, move |tx| {
        let account = account.clone();
        Box::pin(async move { Ok(tx.update_account(&account).await?) })
    });
    work.await.unwrap();
}

pub async fn accounts_are_listed_in_pages_by_name(store: Arc<dyn Store>) {
    for name in ["bob", "al", "alice", "李", "am"] {
        create_account(&*store, name).await;
    }
    let mut alice = store.account_by_name("alice").await.unwrap().unwrap();
    alice.disabled = true;
    alice.deleted = Some(NOW);
    update(&*store, alice).await;
    let names = async |prefix: &str, after: &str, limit| {
        let found = store.list_accounts(prefix, after, limit).await.unwrap();
        found.into_iter().map(|account| account.name).collect::<Vec<_>>()
    };
    assert_eq!(names("", "", 100).await, ["al", "alice", "am", "bob", "李"]);
    assert_eq!(names("", "alice", 2).await, ["am", "bob"]);
    assert_eq!(names("al", "", 100).await, ["al", "alice"]);
    assert_eq!(names("al", "al", 100).await, ["alice"]);
    assert_eq!(names("al", "b", 100).await, Vec::<String>::new());
    assert_eq!(names("b", "a", 100).await, ["bob"]);
    assert_eq!(names("", "李", 100).await, Vec::<String>::new());
}

pub async fn group_list_says_which_groups_have_an_owner(store: Arc<dyn Store>) {
    let world = World::new(store).await;
    let store = &*world.store;
    // A group without an owner: its owner has left.
    let orphaned = create(store, new_group("orphaned")).await.unwrap();
    let left = Member {
        state: MemberState::Left,
        ..Member::active(orphaned, world.alice, Role::Owner, Seq(1))
    };
    put_member(store, left).await;
    put_member(store, Member::active(orphaned, world.bob, Role::Admin, Seq(1))).await;
    let listed = async |after, limit| {
        let groups = store.list_groups(after, limit).await.unwrap();
        let ids = groups
            .into_iter()
            .map(|group| (group.conversation.id, group.has_enabled_owner));
        ids.collect::<Vec<_>>()
    };
    assert_eq!(
        listed(ConversationId(0), 10).await,
        [(world.group, true), (orphaned, false)]
    );
    assert_eq!(listed(world.group, 10).await, [(orphaned, false)]);
    assert_eq!(listed(ConversationId(0), 1).await, [(world.group, true)]);
    let mut alice = store.account(world.alice).await.unwrap().unwrap();
    alice.disabled = true;
    update(store, alice.clone()).await;
    assert_eq!(
        listed(ConversationId(0), 1).await,
        [(world.group, false)],
        "an owner whose account is disabled does not count"
    );
    alice.disabled = false;
    update(store, alice).await;
    let group = store.list_groups(world.group, 1).await.unwrap().remove(0).conversation;
    assert_eq!(store.conversation(orphaned).await.unwrap(), Some(group));
    let work = transact(store, move |tx| {
        Box::pin(async move {
            let mut row = tx.lock_conversation(orphaned).await?.expect("a group");
            row.deleted = true;
            Ok(tx.update_conversation(&row).await?)
        })
    });
    work.await.unwrap();
    assert_eq!(
        listed(world.group, 10).await,
        [(orphaned, false)],
        "deleted groups are listed too"
    );
}

pub async fn stats_count_rows(store: Arc<dyn Store>) {
    assert_eq!(store.stats().await.unwrap(), crate::store::StoreStats::default());
    let world = World::new(store).await;
    let before = world.store.stats().await.unwrap();
    assert_eq!(
        (before.accounts, before.existing_groups, before.conversations),
        (3, 1, 2)
    );
    world.say(messages(3)).await;
    world.say(vec![NewEvent::of(EventKind::Edit, Some(Seq(1)))]).await;
    put_device(&*world.store, new_device(world.alice, 99)).await;
    let mut carol = world.store.account(world.carol).await.unwrap().unwrap();
    carol.disabled = true;
    carol.deleted = Some(NOW);
    update(&*world.store, carol).await;
    let after = world.store.stats().await.unwrap();
    assert_eq!((after.events, after.messages), (before.events + 4, before.messages + 3));
    assert_eq!(after.devices, before.devices + 1);
    assert_eq!((after.disabled_accounts, after.deleted_accounts), (1, 1));
}

fn record(number: i64) -> NewAuditRecord {
    NewAuditRecord {
        time: Timestamp(number),
        operator: "操作员".into(),
        action: "account.disable".into(),
        target: format!("user:{number}"),
        detail: "reason: 'spam' 🌸".into(),
        source: "2001:db8::1".into(),
    }
}

async fn append_record(store: &dyn Store, number: i64) -> AuditId {
    let work = transact(store, move |tx| {
        Box::pin(async move { Ok(tx.append_audit(&record(number)).await?) })
    });
    work.await.unwrap()
}

pub async fn audit_log_is_read_in_both_directions(store: Arc<dyn Store>) {
    let store = &*store;
    assert_eq!(store.audit_log(AuditPage::Newest, 10).await.unwrap(), []);
    let mut ids = Vec::new();
    for number in 1..=5 {
        ids.push(append_record(store, number).await);
    }
    assert!(ids.is_sorted());
    let times = async |page, limit| {
        let records = store.audit_log(page, limit).await.unwrap();
        for record in &records {
            assert_eq!(record.record, self::record(record.record.time.0));
            assert_eq!(record.id, ids[usize::try_from(record.record.time.0).unwrap() - 1]);
        }
        records
            .into_iter()
            .map(|record| record.record.time.0)
            .collect::<Vec<_>>()
    };
    assert_eq!(times(AuditPage::Newest, 2).await, [5, 4]);
    assert_eq!(times(AuditPage::Before(ids[3]), 2).await, [3, 2]);
    assert_eq!(times(AuditPage::Before(ids[0]), 2).await, [0; 0]);
    assert_eq!(times(AuditPage::After(AuditId(0)), 3).await, [1, 2, 3]);
    assert_eq!(times(AuditPage::After(ids[2]), 9).await, [4, 5]);
    assert_eq!(times(AuditPage::After(AuditId(u64::MAX)), 9).await, [0; 0]);
}

/// A reader that continues after the last record it has seen misses no record, however long
/// concurrent transactions that append records take.
pub async fn audit_log_grows_at_its_end_only(store: Arc<dyn Store>) {
    const WRITERS: i64 = 8;
    const RECORDS: i64 = 10;
    let mut writers = Vec::new();
    for writer in 0..WRITERS {
        let store = Arc::clone(&store);
        writers.push(tokio::spawn(async move {
            for number in 0..RECORDS {
                let number = writer * RECORDS + number;
                let work = transact(&*store, move |tx| {
                    Box::pin(async move {
                        tx.append_audit(&record(number)).await?;
                        // Makes some transactions last longer than others.
                        for _ in 0..(number % 4) * 3 {
                            tx.account(UserId(1)).await?;
                        }
                        Ok(())
                    })
                });
                work.await.unwrap();
            }
        }));
    }
    let (mut last, mut records_read) = (AuditId(0), 0);
    loop {
        let are_writers_finished = writers.iter().all(tokio::task::JoinHandle::is_finished);
        let page = store.audit_log(AuditPage::After(last), 100).await.unwrap();
        records_read += page.len();
        if let Some(newest) = page.last() {
            last = newest.id;
        } else if are_writers_finished {
            break;
        }
        tokio::task::yield_now().await;
    }
    assert_eq!(records_read, usize::try_from(WRITERS * RECORDS).unwrap());
}

pub async fn rolled_back_actions_leave_no_audit_record(store: Arc<dyn Store>) {
    let work = transact::<(), _>(&*store, |tx| {
        Box::pin(async move {
            tx.append_audit(&record(1)).await?;
            Err(crate::store::TxError::Abort)
        })
    });
    assert!(work.await.is_err());
    assert_eq!(store.audit_log(AuditPage::Newest, 10).await.unwrap(), []);
}

pub async fn members_of_user_come_in_pages_and_include_bans(store: Arc<dyn Store>) {
    let world = World::new(store).await;
    let store = &*world.store;
    let group = create(store, new_group("banned")).await.unwrap();
    let member = Member {
        state: MemberState::Banned,
        ..Member::active(group, world.alice, Role::Member, Seq(1))
    };
    put_member(store, member).await;
    let ids = async |after, limit| {
        let members = store.members_of_user(world.alice, after, limit).await.unwrap();
        assert!(members.iter().all(|member| member.user == world.alice));
        members
            .into_iter()
            .map(|member| member.conversation)
            .collect::<Vec<_>>()
    };
    let mut all = vec![world.direct, world.group, group];
    all.sort();
    assert_eq!(ids(ConversationId(0), 10).await, all);
    assert_eq!(ids(all[0], 1).await, all[1..2]);
    assert_eq!(ids(all[2], 10).await, []);
    assert_eq!(
        store.members_of_user(UserId(77), ConversationId(0), 10).await.unwrap(),
        []
    );
}

pub async fn events_by_sender_returns_events_of_that_user_only(store: Arc<dyn Store>) {
    let world = World::new(store).await;
    let store = &*world.store;
    for sender in [world.alice, world.bob, world.alice, world.bob, world.alice] {
        append(store, world.group, sender, messages(1)).await.unwrap();
    }
    let seqs = async |first, last| {
        let found = store.events_by_sender(world.group, world.alice, Seq(first), Seq(last));
        let events = found.await.unwrap();
        assert!(events.iter().all(|event| event.sender == world.alice));
        events.into_iter().map(|event| event.seq.0).collect::<Vec<_>>()
    };
    assert_eq!(seqs(1, 100).await, [1, 3, 5]);
    assert_eq!(seqs(2, 4).await, [3]);
    assert_eq!(seqs(4, 4).await, [0; 0]);
    assert_eq!(seqs(5, 4).await, [0; 0]);
}
