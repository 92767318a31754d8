//! Test with a server that is killed with `kill -9` under load: every acknowledged message is
//! stored once, in the same order for all members.

#![allow(clippy::unwrap_used)] // these are tests

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chat_core::codec::RequestKind;
use chat_core::commands::Commands;
use chat_core::model::{
    ClientMessageId, Command, ConversationRef, Draft, Event, EventId, GroupName, MessageText, NewGroup, Note, Outcome,
    Page, ReplyCode, Seq,
};
use chat_core::secure::Fingerprint;
use chat_core::testkit::Peer;
use chat_harness::ServerProcess;
use tokio::sync::watch;

const SENDERS: usize = 20;
const MESSAGES_PER_SENDER: usize = 500;
const KILLS: usize = 10;
/// Setting that raises the limit of logins, which is not under test.
const HIGH_LOGIN_RATE: &[(&str, &str)] = &[("CHAT_ACCOUNTS__LOGIN_RATE", "100000/1s")];

/// Position of a message, as acknowledged or as found in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Position {
    seq: Seq,
    event_id: EventId,
}

fn group() -> ConversationRef {
    ConversationRef::Group(GroupName::parse("crowd").unwrap())
}

/// Logs in. Retries, because the server may be down at the moment.
async fn log_in(server: SocketAddr, fingerprint: Fingerprint, name: &str) -> Peer {
    let mut retry = tokio::time::interval(Duration::from_millis(20));
    loop {
        retry.tick().await;
        let attempt = async {
            let mut peer = Peer::connect(server, fingerprint).await?;
            peer.login(name).await?;
            io::Result::Ok(peer)
        };
        if let Ok(peer) = attempt.await {
            return peer;
        }
    }
}

/// Sends each message until it is acknowledged, with the same id each time.
async fn send_all(
    server: SocketAddr,
    fingerprint: Fingerprint,
    sender: usize,
    progress: &watch::Sender<usize>,
) -> Vec<(ClientMessageId, Position)> {
    let name = format!("sender-{sender}");
    let mut peer = log_in(server, fingerprint, &name).await;
    let mut acked = Vec::with_capacity(MESSAGES_PER_SENDER);
    for n in 0..MESSAGES_PER_SENDER {
        let draft = Draft::text(MessageText::new(format!("{n} of {name}")).unwrap());
        let id = draft.client_message_id;
        let command = Command::Send {
            conversation: group(),
            draft,
        };
        loop {
            match peer.ask(RequestKind::Command(command.clone())).await {
                Ok(Ok(chat_core::codec::Answer::Outcome(Outcome::Appended(appended)))) => {
                    acked.push((
                        id,
                        Position {
                            seq: appended.seq,
                            event_id: appended.event_id,
                        },
                    ));
                    progress.send_modify(|acked| *acked += 1);
                    break;
                }
                Ok(Err(failure)) if failure.code() == Some(ReplyCode::TryAgain) => {}
                Ok(other) => panic!("{name}: {other:?}"),
                Err(_) => peer = log_in(server, fingerprint, &name).await,
            }
        }
    }
    acked
}

async fn read_log(peer: &mut Peer) -> Vec<Event> {
    let mut events: Vec<Event> = Vec::new();
    loop {
        let after = events.last().map_or(Seq::ZERO, |event| event.seq);
        let mut page = Page::after(after, 500);
        page.max_bytes = 64 * 1024;
        let page = peer.commands().history(group(), page).await.unwrap();
        events.extend(page.events.into_iter().map(|event| event.event));
        if !page.has_more {
            return events;
        }
    }
}

async fn create_group_with_members(server: &ServerProcess) {
    for sender in 0..SENDERS {
        let mut peer = Peer::connect(server.address(), server.fingerprint()).await.unwrap();
        let name = format!("sender-{sender}");
        peer.register(&name).await.unwrap();
        peer.login(&name).await.unwrap();
        let command = if sender == 0 {
            let mut group = NewGroup::new(GroupName::parse("crowd").unwrap());
            group.history_visible = true;
            Command::CreateGroup(group)
        } else {
            Command::JoinGroup {
                group: group(),
                note: Note::new("").unwrap(),
            }
        };
        peer.run(command).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn server_keeps_ten_thousand_messages_over_ten_kills() {
    let directory = tempfile::tempdir().unwrap();
    let program = &chat_harness::binary("chat-server", env!("CARGO_BIN_EXE_chat-server"));
    let mut server = ServerProcess::start(program, &directory.path().join("data"), HIGH_LOGIN_RATE).unwrap();
    create_group_with_members(&server).await;

    let progress = Arc::new(watch::Sender::new(0_usize));
    let all_acked = Arc::new(Mutex::new(HashMap::new()));
    let (address, fingerprint) = (server.address(), server.fingerprint());
    let senders: Vec<_> = (0..SENDERS)
        .map(|sender| {
            let (progress, all_acked) = (Arc::clone(&progress), Arc::clone(&all_acked));
            tokio::spawn(async move {
                let acked = send_all(address, fingerprint, sender, &progress).await;
                all_acked.lock().unwrap().extend(acked);
            })
        })
        .collect();
    let total = SENDERS * MESSAGES_PER_SENDER;
    for kill in 1..=KILLS {
        // The kills are spread over the load, so that each hits messages in flight.
        let threshold = total * kill / (KILLS + 1);
        progress
            .subscribe()
            .wait_for(|acked| *acked >= threshold)
            .await
            .unwrap();
        tokio::task::block_in_place(|| server.kill_and_restart()).unwrap();
    }
    for sender in senders {
        sender.await.unwrap();
    }

    let acked = std::mem::take(&mut *all_acked.lock().unwrap());
    assert_eq!(acked.len(), total);
    let mut logs = Vec::new();
    for member in 0..SENDERS {
        let mut peer = log_in(address, fingerprint, &format!("sender-{member}")).await;
        logs.push(read_log(&mut peer).await);
    }
    let log = &logs[0];
    let seqs: Vec<u64> = log.iter().map(|event| event.seq.0).collect();
    assert_eq!(
        seqs,
        (1..=log.len() as u64).collect::<Vec<_>>(),
        "numbered from 1 without gaps"
    );
    let mut stored = HashMap::new();
    for event in log {
        if let Some(id) = event.client_message_id
            && acked.contains_key(&id)
        {
            let position = Position {
                seq: event.seq,
                event_id: event.id,
            };
            assert_eq!(stored.insert(id, position), None, "each message is stored once");
        }
    }
    assert_eq!(
        stored, acked,
        "every acknowledged message has its acknowledged position"
    );
    // The creation of the group, the joins and the messages: nothing else was stored.
    assert_eq!(log.len(), SENDERS + total);
    assert!(logs.iter().all(|other| other == log), "all members have the same log");
}
