//! Tests of a full database and a full queue, of a unit of work that awaits more than its
//! transaction, and of reads of many rows.

use super::*;

#[tokio::test]
async fn full_store_rejects_writes_keeps_its_data_and_recovers() {
    let directory = tempfile::tempdir().unwrap();
    let mut options = Options::default();
    options.max_pages = Some(100);
    let store = Arc::new(SqliteStore::open(directory.path(), options).await.unwrap());
    let world = World::new(Arc::clone(&store) as Arc<dyn Store>).await;
    let mut acked = Vec::new();
    let error = loop {
        match append(&*store, world.group, world.alice, messages(4, 2000)).await {
            Ok(events) => acked.extend(events),
            Err(error) => break error,
        }
    };
    assert!(
        matches!(error, StoreError::Full(_)) && error.is_retryable(),
        "{error:?}"
    );
    assert!(!acked.is_empty());
    // Of many simultaneous writes, none is acknowledged by mistake. Reads still work, and so does
    // the change of a row that needs no further page.
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..16 {
        let (store, group, alice) = (Arc::clone(&store), world.group, world.alice);
        tasks.spawn(async move { append(&*store, group, alice, messages(4, 2000)).await });
    }
    for answer in tasks.join_all().await {
        assert!(matches!(answer, Err(StoreError::Full(_))), "{answer:?}");
    }
    store.advance_reads(&[(world.bob, world.group, Seq(1))]).await.unwrap();
    assert_eq!(
        store
            .events(world.group, Seq(1), Seq(u64::MAX), u32::MAX)
            .await
            .unwrap(),
        acked
    );
    store.close().await;
    drop((store, world.store));

    let store = open(directory.path()).await;
    let more = append(&*store, world.group, world.alice, messages(4, 2000))
        .await
        .unwrap();
    assert_eq!(more[0].seq.0, acked.len() as u64 + 1);
    store.close().await;
    assert_eq!(common::integrity(directory.path()), "ok");
}

#[tokio::test]
async fn full_writer_queue_rejects_units_as_overloaded() {
    let directory = tempfile::tempdir().unwrap();
    let mut options = Options::default();
    options.max_waiting_writes = 2;
    options.max_waiting_reads = 2;
    let store = Arc::new(SqliteStore::open(directory.path(), options).await.unwrap());
    let world = World::new(Arc::clone(&store) as Arc<dyn Store>).await;
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..200 {
        let (store, group, alice) = (Arc::clone(&store), world.group, world.alice);
        tasks.spawn(async move { append(&*store, group, alice, messages(1, 1)).await });
    }
    let (mut acked, mut refused) = (0, 0);
    for answer in tasks.join_all().await {
        match answer {
            Ok(_) => acked += 1,
            Err(StoreError::Overloaded) => refused += 1,
            Err(error) => panic!("{error:?}"),
        }
    }
    assert!(acked > 0 && refused > 0, "{acked} acknowledged, {refused} refused");
    let row = store.conversation(world.group).await.unwrap().unwrap();
    assert_eq!(row.last_seq, Seq(acked));
}

/// Unit of work that writes, then awaits something other than its transaction.
#[derive(Debug)]
struct YieldingUnit;

#[async_trait]
impl Unit for YieldingUnit {
    async fn run(&mut self, tx: &mut dyn Transaction) -> Result<(), TxError> {
        tx.create_account(new_account("alice")).await?;
        tokio::task::yield_now().await;
        Ok(())
    }
}

#[tokio::test]
async fn unit_that_awaits_more_than_its_transaction_is_rejected() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path()).await;
    let answer = store.transact(Box::new(YieldingUnit)).await;
    assert!(matches!(answer, Err(StoreError::Defect(_))));
    assert_eq!(store.account_by_name("alice").await.unwrap(), None);
}

#[tokio::test]
async fn memberships_of_two_thousand_conversations_are_read_within_a_second() {
    const COUNT: u64 = 2000;
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path()).await;
    let reader = UserId(1);
    for batch in 0..COUNT / 100 {
        let work = transact(&*store, move |tx| {
            Box::pin(async move {
                for number in 1..=100 {
                    let id = tx.create_conversation(common::group(batch * 100 + number)).await?;
                    let id = id.ok_or(TxError::Abort)?;
                    tx.put_member(&Member::active(id, reader, Role::Member, Seq(1))).await?;
                    chat_core::testkit::store::append_to(tx, id, UserId(2), &messages(5, 50)).await?;
                    tx.advance_read(id, &[(reader, Seq(number % 6))]).await?;
                }
                Ok(())
            })
        });
        work.await.unwrap();
    }
    let started = std::time::Instant::now();
    let memberships = store
        .memberships(reader, DeviceId([0; 16]), ConversationId(0), u32::MAX)
        .await
        .unwrap();
    let took = started.elapsed();
    println!("{COUNT} memberships in {took:?}");
    assert_eq!(memberships.len() as u64, COUNT);
    for membership in memberships {
        assert_eq!(membership.unread, 5 - membership.member.read_seq.0);
    }
    assert!(took < std::time::Duration::from_secs(1), "{took:?}");
}
