//! Tests of durability: the state that survives a restart, and the states that a crash may leave.

use std::fs;
use std::path::Path;

use bytes::{BufMut as _, BytesMut};
use sha2::{Digest as _, Sha256};

use super::*;
use crate::client::{Cursor, EventIdentity};
use crate::codec::{RequestId, client::encode_command};
use crate::model::{Command, Draft, Emoji, EventId, GroupName, MessageText, Seq, UserName, UserRef};
use crate::secure::PinVerdict;

fn identified(seq: u64) -> Cursor {
    Cursor {
        seq: Seq(seq),
        identity: Some(EventIdentity {
            id: EventId::random(),
            time: Timestamp(1_790_000_000_001),
        }),
    }
}

fn entry(text: &str) -> OutboxEntry {
    OutboxEntry {
        name: Some(ConversationRef::Group(GroupName::parse("room").unwrap())),
        store_epoch: Some(StoreEpoch([9; 16])),
        id: ClientMessageId::random(),
        conversation: ConversationRef::Direct(UserRef::Name(UserName::parse("bob").unwrap())),
        content: DraftContent::Message {
            text: MessageText::new(text).unwrap(),
            reply_to: Some(Seq(3)),
            mentions: vec![UserId(4)],
            mention_all: false,
        },
        queued_at: Timestamp(1_790_000_000_000),
        deadline: None,
    }
}

/// Length of a record of kind 3 (durable), in bytes.
const DURABLE_RECORD_BYTES: usize = 21;
/// Length of a record of kind 2 (settled), in bytes.
const SETTLED_RECORD_BYTES: usize = 29;

fn open(directory: &Path) -> FileStore {
    FileStore::open(directory, directory.join("known_hosts")).unwrap()
}

#[tokio::test]
async fn profile_keeps_its_state_over_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let (account, entries, cursors, names);
    {
        let store = open(directory.path());
        let kept = store.load().await.unwrap();
        account = AccountState {
            device: kept.account.device,
            user: Some(UserInfo {
                id: UserId(7),
                name: "小明".into(),
                display_name: "Xiao Ming".into(),
                direct_policy: None,
            }),
            session_token: Some(Secret::new(vec![1; 32])),
            device_token: Some(Secret::new(vec![2; 32])),
            tokens_are_from_plain: true,
            store_epoch: Some(StoreEpoch::random()),
        };
        store.save_account(&account).await.unwrap();
        cursors = BTreeMap::from([(ConversationId(1), identified(5)), (ConversationId(2), Seq(6).into())]);
        store.save_cursors(&cursors).await.unwrap();
        names = BTreeMap::from([(UserId(7), "小明".to_owned())]);
        store.save_names(&names).await.unwrap();
        let mut reaction = entry("b");
        reaction.conversation = ConversationRef::Group(GroupName::parse("C++ 学习").unwrap());
        reaction.content = DraftContent::React {
            target: Seq(1),
            emoji: Emoji::new("👍").unwrap(),
            remove: false,
        };
        reaction.deadline = Some(Timestamp(1_790_000_000_001));
        entries = vec![entry("a\nb"), reaction];
        store.queue(&entries).await.unwrap();
    }
    let kept = open(directory.path()).load().await.unwrap();
    assert_eq!(kept.account, account);
    assert_eq!(kept.cursors, cursors);
    assert_eq!(kept.names, names);
    assert_eq!(kept.outbox, entries);
}

#[tokio::test]
async fn torn_groups_are_not_used() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("groups");
    let store = open(directory.path());
    let groups = KnownGroups {
        store_epoch: Some(StoreEpoch::random()),
        names: BTreeMap::from([
            (ConversationId(5), "C++ 学习".to_owned()),
            (ConversationId(6), "b".to_owned()),
        ]),
    };
    store.save_groups(&groups).await.unwrap();
    assert_eq!(store.load().await.unwrap().groups, groups);
    let whole = fs::read(&path).unwrap();
    for cut in 0..whole.len() {
        fs::write(&path, &whole[..cut]).unwrap();
        assert_eq!(store.load().await.unwrap().groups, KnownGroups::default(), "{cut}");
    }
}

/// A message of an earlier version has neither the store epoch of its ids nor a name.
#[tokio::test]
async fn outbox_of_an_earlier_version_is_read() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("outbox");
    let mut message = entry("a");
    store_old_outbox(&path, &message);
    let store = open(directory.path());
    (message.name, message.store_epoch) = (None, None);
    assert_eq!(store.load().await.unwrap().outbox, [message.clone()]);
    drop(store);
    assert_eq!(open(directory.path()).load().await.unwrap().outbox, [message]);
}

/// Writes an outbox file as the earlier version did.
fn store_old_outbox(path: &Path, entry: &OutboxEntry) {
    const QUEUED: u8 = 1;
    let mut content = BytesMut::from(&[QUEUED][..]);
    content.put_i64(entry.queued_at.0);
    content.put_i64(0);
    let draft = Draft {
        client_message_id: entry.id,
        content: entry.content.clone(),
    };
    let conversation = entry.conversation.clone();
    encode_command(RequestId(1), &Command::Send { conversation, draft }, &mut content);
    let mut file = BytesMut::from(&b"chat outbox 1\n"[..]);
    file.put_u32(u32::try_from(content.len()).unwrap());
    file.put_slice(&Sha256::digest(&content)[..8]);
    file.put_slice(&content);
    fs::write(path, file).unwrap();
}

#[tokio::test]
async fn device_id_stays_the_same() {
    let directory = tempfile::tempdir().unwrap();
    let first = open(directory.path()).load().await.unwrap().account.device;
    let second = open(directory.path()).load().await.unwrap().account.device;
    assert_eq!(first, second);
}

#[cfg(unix)]
#[tokio::test]
async fn files_are_readable_by_their_owner_only() {
    use std::os::unix::fs::PermissionsExt as _;

    let parent = tempfile::tempdir().unwrap();
    let directory = parent.path().join("made/by/us");
    let store = open(&directory);
    store.load().await.unwrap();
    store.queue(&[entry("a")]).await.unwrap();
    store.save_cursors(&BTreeMap::new()).await.unwrap();
    store.save_names(&BTreeMap::new()).await.unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&directory), 0o700);
    for file in ["account", "outbox", "cursors", "names", "lock"] {
        assert_eq!(mode(&directory.join(file)), 0o600, "{file}");
    }
}

#[tokio::test]
async fn open_profile_cannot_be_opened_again() {
    let directory = tempfile::tempdir().unwrap();
    let held = open(directory.path());
    let refused = FileStore::open(directory.path(), directory.path().join("known_hosts"));
    let error = refused.unwrap_err();
    assert!(
        matches!(&error, ClientStoreError::InUse(text) if text.contains(&std::process::id().to_string())),
        "{error}"
    );
    drop(held);
    open(directory.path());
}

#[tokio::test]
async fn settled_messages_stay_settled() {
    let directory = tempfile::tempdir().unwrap();
    let entries = ["a", "b", "c"].map(entry);
    {
        let store = open(directory.path());
        store.queue(&entries).await.unwrap();
        store.settle(&[entries[1].id]).await.unwrap();
    }
    let kept = open(directory.path()).load().await.unwrap();
    assert_eq!(kept.outbox, [entries[0].clone(), entries[2].clone()]);
}

#[tokio::test]
async fn outbox_file_is_compacted() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let left = entry("left");
    store.queue(std::slice::from_ref(&left)).await.unwrap();
    for _ in 0..20 {
        let some: Vec<_> = (0..50).map(|_| entry("some text")).collect();
        store.queue(&some).await.unwrap();
        store
            .settle(&some.iter().map(|entry| entry.id).collect::<Vec<_>>())
            .await
            .unwrap();
    }
    let size = fs::metadata(directory.path().join("outbox")).unwrap().len();
    assert!(size < 60_000, "{size}");
    store.queue(&[entry("more")]).await.unwrap();
    drop(store);
    let kept = open(directory.path()).load().await.unwrap();
    assert_eq!(kept.outbox.len(), 2);
    assert_eq!(kept.outbox[0], left);
}

#[tokio::test]
async fn truncated_tail_loses_only_messages_whose_queueing_was_not_confirmed() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("outbox");
    let entries = ["a", "b"].map(entry);
    let (first_end, whole);
    {
        let store = open(directory.path());
        store.queue(&entries[..1]).await.unwrap();
        first_end = fs::metadata(&path).unwrap().len();
        store.queue(&entries[1..]).await.unwrap();
        whole = fs::read(&path).unwrap();
    }
    // A crash while the second message is written may leave each beginning of the file.
    for cut in usize::try_from(first_end).unwrap()..whole.len() {
        fs::write(&path, &whole[..cut]).unwrap();
        let store = open(directory.path());
        let kept = store.load().await.unwrap().outbox;
        // The second message is complete if only the record of kind 3 after it is cut.
        let survives = cut >= whole.len() - DURABLE_RECORD_BYTES;
        assert_eq!(kept, entries[..1 + usize::from(survives)], "cut at {cut}");
        if !survives {
            store.queue(&entries[1..]).await.unwrap();
        }
        drop(store);
        assert_eq!(
            open(directory.path()).load().await.unwrap().outbox,
            entries,
            "cut at {cut}"
        );
    }
}

#[tokio::test]
async fn garbled_messages_whose_queueing_was_not_confirmed_are_dropped() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("outbox");
    let entries = ["a", "b", "c"].map(entry);
    let store = open(directory.path());
    store.queue(&entries[..1]).await.unwrap();
    let first_end = usize::try_from(fs::metadata(&path).unwrap().len()).unwrap();
    store.queue(&entries[1..]).await.unwrap();
    drop(store);
    let whole = fs::read(&path).unwrap();
    // A power failure interrupted the write of both messages: the disk had written the end of the
    // file, but not the beginning of the first of them.
    let mut garbled = whole[..whole.len() - DURABLE_RECORD_BYTES].to_vec();
    garbled[first_end..first_end + 20].fill(0);
    fs::write(&path, garbled).unwrap();
    assert_eq!(open(directory.path()).load().await.unwrap().outbox, entries[..1]);
}

#[tokio::test]
async fn garbled_messages_whose_queueing_was_confirmed_are_an_error() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("outbox");
    let entries = ["a", "b", "c"].map(entry);
    let store = open(directory.path());
    store.queue(&entries[..1]).await.unwrap();
    store.queue(&entries[1..]).await.unwrap();
    store.settle(&[entries[0].id]).await.unwrap();
    drop(store);
    let whole = fs::read(&path).unwrap();
    // The last record of kind 3 and the settled record after it may be lost without an error.
    for at in 0..whole.len() - SETTLED_RECORD_BYTES - DURABLE_RECORD_BYTES {
        let mut garbled = whole.clone();
        garbled[at] ^= 1;
        fs::write(&path, &garbled).unwrap();
        let error = FileStore::open(directory.path(), "known_hosts").unwrap_err();
        assert!(matches!(error, ClientStoreError::Damaged { .. }), "{at}: {error}");
        assert_eq!(
            fs::read(&path).unwrap(),
            garbled,
            "the damaged file is kept for inspection"
        );
    }
}

#[tokio::test]
async fn failed_rewrite_loses_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("outbox");
    let [left, more, last] = ["left", "more", "last"].map(entry);
    let store = open(directory.path());
    store.queue(std::slice::from_ref(&left)).await.unwrap();
    // The file cannot be replaced, because the name of the temporary file is taken.
    let temporary = directory.path().join("outbox.new");
    fs::create_dir(&temporary).unwrap();
    let settled: Vec<_> = (0..300).map(|_| entry("some text")).collect();
    store.queue(&settled).await.unwrap();
    let ids: Vec<_> = settled.iter().map(|entry| entry.id).collect();
    store.settle(&ids).await.unwrap_err();
    store.queue(std::slice::from_ref(&more)).await.unwrap();
    fs::remove_dir(&temporary).unwrap();
    store.settle(&[]).await.unwrap();
    store.queue(std::slice::from_ref(&last)).await.unwrap();
    assert!(fs::metadata(&path).unwrap().len() < 2000, "the file was rewritten");
    drop(store);
    assert_eq!(open(directory.path()).load().await.unwrap().outbox, [left, more, last]);
}

#[tokio::test]
async fn foreign_file_is_left_unchanged() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("outbox");
    for text in ["my diary", "", "chat out"] {
        fs::write(&path, text).unwrap();
        let error = FileStore::open(directory.path(), "known_hosts").unwrap_err();
        assert!(matches!(error, ClientStoreError::Damaged { .. }), "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
    }
}

#[tokio::test]
async fn error_of_a_damaged_file_names_the_file() {
    for text in ["nonsense", "device 5"] {
        let directory = tempfile::tempdir().unwrap();
        let store = open(directory.path());
        fs::write(directory.path().join("account"), text).unwrap();
        let error = store.load().await.unwrap_err().to_string();
        assert!(error.contains("account"), "{error}");
    }
}

#[tokio::test]
async fn torn_cursors_are_not_used() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("cursors");
    let store = open(directory.path());
    let cursors = BTreeMap::from([
        (ConversationId(12), identified(345)),
        (ConversationId(67), identified(890)),
    ]);
    store.save_cursors(&cursors).await.unwrap();
    let whole = fs::read(&path).unwrap();
    for cut in 0..whole.len() {
        let (mut end, mut beginning) = (whole.clone(), whole.clone());
        end[cut..].fill(0);
        beginning[..=cut].fill(0);
        for torn in [&whole[..cut], &end, &beginning] {
            fs::write(&path, torn).unwrap();
            // The names are torn too, which must not make the load fail.
            fs::write(directory.path().join("names"), b"1 alice\n2 \xff\0").unwrap();
            let kept = store.load().await.unwrap();
            assert!(
                kept.cursors.is_empty() || kept.cursors == cursors,
                "{cut}: {:?}",
                kept.cursors
            );
        }
    }
    // A file without digest and identities of events is accepted.
    fs::write(&path, "12 345\n67 890\n").unwrap();
    let unidentified = BTreeMap::from([
        (ConversationId(12), Seq(345).into()),
        (ConversationId(67), Seq(890).into()),
    ]);
    assert_eq!(store.load().await.unwrap().cursors, unidentified);
}

#[tokio::test]
async fn pin_is_kept_and_a_changed_key_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let (ours, other) = (Fingerprint::sha256_of(b"a"), Fingerprint::sha256_of(b"b"));
    let stores: [Box<dyn ClientStore>; 2] = [Box::new(open(directory.path())), Box::new(MemoryStore::new())];
    for store in stores {
        store.pin("chat.example:7400", &ours).await.unwrap();
        store.pin("chat.example:7400", &ours).await.unwrap();
        let refused = store.pin("CHAT.example:7400", &other).await.unwrap_err();
        assert!(refused.to_string().contains("has changed"), "{refused}");
        let known = store.known_hosts().await.unwrap();
        assert_eq!(known.check("chat.example:7400", &ours), PinVerdict::Known);
        assert_eq!(known.keys().collect::<Vec<_>>(), [ours]);
    }
}
