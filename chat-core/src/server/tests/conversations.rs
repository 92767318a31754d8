//! Tests of conversations over a server.

use super::*;
use crate::model::ConversationQuery;

async fn sc1_connection_carries_a_conversation(link: EngineLink) {
    let site = Site::new(link, ServerConfig::default()).await;
    let (mut alice, mut bob) = (site.user("alice").await, site.user("bob").await);
    befriend(&mut alice, &mut bob).await;
    for n in 1..=20 {
        let Outcome::Appended(appended) = alice.run(say("bob", "你好, 𠮷")).await.unwrap() else {
            panic!()
        };
        assert_eq!(appended.seq, Seq(n));
    }
    assert_eq!(messages(&mut bob, 20).await, (1..=20).map(Seq).collect::<Vec<_>>());
}

/// Four devices of a user together send no faster than the user's rate allows. No message is
/// rejected, and another user can still send.
async fn message_rate_is_shared_by_all_devices_of_a_user(link: EngineLink) {
    const DEVICES: usize = 4;
    const EACH: usize = 15;
    let mut config = EngineConfig::default();
    config.message_rate_per_user = crate::rate::Rate::new(40, Duration::from_secs(1)).with_burst(20);
    let engine = engine_with(link, Arc::new(MemoryStore::new()), config).await;
    let site = Site::with_engine(link, engine, ServerConfig::default()).await;
    let mut bob = site.user("bob").await;
    let _ = site.user("alice").await;
    let mut devices = Vec::new();
    for _ in 0..DEVICES {
        let mut device = site.peer().await;
        device.login("alice").await.unwrap();
        devices.push(device);
    }
    let started = Instant::now();
    let sends = devices.into_iter().map(async |mut device: Peer| {
        let mut waiting = std::collections::HashSet::new();
        for _ in 0..EACH {
            waiting.insert(device.send(RequestKind::Command(say("alice", "x"))).await.unwrap());
        }
        while !waiting.is_empty() {
            if let Incoming::Reply { request_id, result } = device.next().await.unwrap() {
                result.unwrap();
                waiting.remove(&request_id);
            }
        }
    });
    timeout(WAIT_TIMEOUT, futures_util::future::join_all(sends))
        .await
        .unwrap();
    let took = started.elapsed();
    // 60 messages at 40 a second after a burst of 20 take 1 s. The bound is lower, because the
    // server may have read a few more before it paused each device.
    assert!(took > Duration::from_millis(700), "{took:?}");
    timeout(WAIT_TIMEOUT, bob.run(say("bob", "x"))).await.unwrap().unwrap();
}

async fn pipelined_messages_keep_their_order(link: EngineLink) {
    let site = Site::new(link, ServerConfig::default()).await;
    let (mut alice, mut bob) = (site.user("alice").await, site.user("bob").await);
    befriend(&mut alice, &mut bob).await;
    // From here on, Bob's session follows the conversation. If many messages were sent before, it
    // would get a `Behind` push.
    alice.run(say("bob", "first")).await.unwrap();
    messages(&mut bob, 1).await;
    let mut ids = Vec::new();
    for n in 0..200 {
        ids.push(
            alice
                .send(RequestKind::Command(say("bob", &n.to_string())))
                .await
                .unwrap(),
        );
    }
    let mut seqs = Vec::new();
    while seqs.len() < ids.len() {
        let next = timeout(WAIT_TIMEOUT, alice.next()).await;
        match next.unwrap_or_else(|_| panic!("only {} answers", seqs.len())).unwrap() {
            Incoming::Reply {
                request_id,
                result: Ok(crate::codec::Answer::Outcome(Outcome::Appended(appended))),
            } => {
                seqs.push((request_id, appended.seq));
            }
            Incoming::Reply { result, .. } => panic!("{result:?}"),
            _ => {}
        }
    }
    seqs.sort();
    assert_eq!(seqs, ids.into_iter().zip((2..=201).map(Seq)).collect::<Vec<_>>());
    assert_eq!(messages(&mut bob, 200).await.len(), 200);
}

async fn login_reports_500_conversations_and_pages_list_thousands(link: EngineLink) {
    const MANY: u64 = 5000;
    let store = Arc::new(MemoryStore::new());
    let site = Site::on_store(link, Arc::clone(&store), ServerConfig::default()).await;
    drop(site.user("alice").await);
    transact(&*store, |tx| {
        Box::pin(async move {
            let alice = UserId(1);
            for n in 0..MANY {
                let peer = tx.create_account(new_account(&format!("user-{n}"))).await?.unwrap();
                let new = NewConversation {
                    kind: ConversationKind::direct(alice, peer),
                    group: None,
                    created: Timestamp(1),
                };
                let id = tx.create_conversation(new).await?.unwrap();
                for user in [alice, peer] {
                    tx.put_member(&Member::active(id, user, Role::Member, Seq(1))).await?;
                }
            }
            Ok(())
        })
    })
    .await
    .unwrap();
    let mut peer = site.peer().await;
    let logged_in = timeout(WAIT_TIMEOUT, peer.login("alice")).await.unwrap().unwrap();
    assert_eq!((logged_in.conversations.len(), logged_in.has_more), (500, true));
    let (mut ids, mut query) = (Vec::new(), ConversationQuery::default());
    loop {
        let page = match peer.run(Command::ListConversations(query)).await.unwrap() {
            Outcome::Conversations(page) => page,
            other => panic!("{other:?}"),
        };
        assert!(page.conversations.len() <= query.limit as usize);
        let mut page_ids: Vec<_> = page.conversations.iter().map(|info| info.id).collect();
        page_ids.sort_unstable();
        ids.extend(page_ids);
        let Some(after) = page.next else { break };
        query.after = after;
    }
    assert_eq!(ids.len() as u64, MANY + 1, "the conversations and the inbox");
    assert!(ids.is_sorted(), "pages are in order of the ids");
    assert!(logged_in.conversations.iter().all(|info| ids.contains(&info.id)));
}

on_each_engine_link! {
    #[tokio::test]
    sc1_connection_carries_a_conversation,
    #[tokio::test]
    message_rate_is_shared_by_all_devices_of_a_user,
    #[tokio::test]
    pipelined_messages_keep_their_order,
    #[tokio::test]
    login_reports_500_conversations_and_pages_list_thousands,
}
