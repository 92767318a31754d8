//! Cases about accounts and devices.

use std::sync::Arc;

use super::fixture::{World, create_account, device_id, new_account, new_device, put_device, transact};
use crate::model::{Account, Device, DirectPolicy, Seq, SessionEpoch, Timestamp, UserId};
use crate::store::{NewAccount, Store, StoreError};

/// Creates an account. Returns `None` if its name, skeleton or subject is taken.
async fn try_create(store: &dyn Store, new: NewAccount) -> Option<UserId> {
    let made = transact(store, move |tx| {
        let new = new.clone();
        Box::pin(async move { Ok(tx.create_account(new).await?) })
    });
    made.await.unwrap()
}

async fn names_found(store: &dyn Store, prefix: &str, limit: u32) -> Vec<String> {
    let found = store.search_accounts(prefix, limit).await.unwrap();
    found.into_iter().map(|account| account.name).collect()
}

pub async fn created_account_reads_back(store: Arc<dyn Store>) {
    let new = NewAccount {
        password_hash: Some("$argon2id$…".into()),
        subject: Some("auth0|alice".into()),
        direct_policy: DirectPolicy::Everyone,
        ..new_account("alice")
    };
    let id = try_create(&*store, new.clone()).await.unwrap();
    let expected = Account {
        id,
        name: new.name,
        skeleton: new.skeleton,
        display_name: new.display_name,
        password_hash: new.password_hash,
        direct_policy: new.direct_policy,
        disabled: false,
        created: new.created,
        subject: new.subject,
        deleted: None,
    };
    assert_eq!(store.account(id).await.unwrap().as_ref(), Some(&expected));
    assert_eq!(store.account_by_name("alice").await.unwrap(), Some(expected));
}

pub async fn unknown_account_is_none(store: Arc<dyn Store>) {
    create_account(&*store, "alice").await;
    for id in [0, 2, u64::MAX] {
        assert_eq!(store.account(UserId(id)).await.unwrap(), None);
    }
    for name in ["", "alic", "alice ", "bob"] {
        assert_eq!(store.account_by_name(name).await.unwrap(), None);
    }
}

pub async fn taken_name_is_rejected_and_the_transaction_continues(store: Arc<dyn Store>) {
    create_account(&*store, "alice").await;
    let work = transact(&*store, |tx| {
        Box::pin(async move {
            let same = NewAccount {
                skeleton: "another".into(),
                ..new_account("alice")
            };
            let refused = tx.create_account(same).await?;
            let made = tx.create_account(new_account("bob")).await?;
            Ok((refused, made))
        })
    });
    let (refused, bob) = work.await.unwrap();
    assert_eq!(refused, None);
    let stored = store.account_by_name("bob").await.unwrap().unwrap();
    assert_eq!(Some(stored.id), bob);
}

pub async fn taken_skeleton_is_rejected(store: Arc<dyn Store>) {
    create_account(&*store, "alice").await;
    let look_alike = NewAccount {
        skeleton: new_account("alice").skeleton,
        ..new_account("a1ice")
    };
    assert_eq!(try_create(&*store, look_alike).await, None);
    assert_eq!(store.account_by_name("a1ice").await.unwrap(), None);
}

pub async fn account_ids_grow(store: Arc<dyn Store>) {
    let mut last = UserId(0);
    for name in ["a", "b", "c", "d"] {
        let id = create_account(&*store, name).await;
        assert!(id > last, "{id} after {last}");
        last = id;
    }
}

pub async fn names_compare_byte_by_byte(store: Arc<dyn Store>) {
    let names = [
        "ß", "ss", "admin", "admin ", " admin", "Admin", "ADMIN", "🍣", "🍺", "é", "e\u{301}", "𠮷", "吉", "ａ", "a",
        "a\0", "a\0b", "%", "_", "'", "\"", "\\",
    ];
    for name in names {
        create_account(&*store, name).await;
    }
    for name in names {
        let found = store.account_by_name(name).await.unwrap();
        assert_eq!(found.unwrap().name, name);
    }
    assert_eq!(
        names_found(&*store, "a", 100).await,
        ["a", "a\0", "a\0b", "admin", "admin "]
    );
}

pub async fn update_keeps_name_skeleton_subject_and_creation_time(store: Arc<dyn Store>) {
    let id = create_account(&*store, "alice").await;
    let before = store.account(id).await.unwrap().unwrap();
    let given = Account {
        id,
        name: "mallory".into(),
        skeleton: "mallory".into(),
        display_name: "艾丽丝 🌸".into(),
        password_hash: Some("hash".into()),
        direct_policy: DirectPolicy::Everyone,
        disabled: true,
        created: Timestamp(1),
        subject: Some("mallory".into()),
        deleted: Some(Timestamp(2)),
    };
    let update = given.clone();
    let work = transact(&*store, move |tx| {
        let update = update.clone();
        Box::pin(async move { Ok(tx.update_account(&update).await?) })
    });
    work.await.unwrap();
    let expected = Account {
        name: before.name,
        skeleton: before.skeleton,
        created: before.created,
        subject: before.subject,
        ..given
    };
    assert_eq!(store.account(id).await.unwrap(), Some(expected));
    assert_eq!(store.account_by_name("mallory").await.unwrap(), None);
}

async fn rename(store: &dyn Store, id: UserId, name: &'static str, skeleton: &'static str) -> Result<bool, StoreError> {
    let work = transact(store, move |tx| {
        Box::pin(async move { Ok(tx.rename_account(id, name, skeleton).await?) })
    });
    work.await
}

/// Binds an account to an external subject, or removes the binding.
async fn bind(store: &dyn Store, id: UserId, subject: Option<&'static str>) -> Result<bool, StoreError> {
    let work = transact(store, move |tx| {
        Box::pin(async move { Ok(tx.set_subject(id, subject).await?) })
    });
    work.await
}

pub async fn renaming_frees_the_old_name_of_an_account(store: Arc<dyn Store>) {
    let id = create_account(&*store, "alice").await;
    assert!(rename(&*store, id, "alicia", "skeleton of alice").await.unwrap());
    assert_eq!(store.account_by_name("alice").await.unwrap(), None);
    let renamed = store.account_by_name("alicia").await.unwrap().unwrap();
    assert_eq!((renamed.id, renamed.skeleton.as_str()), (id, "skeleton of alice"));
    // Frees the skeleton too, so that another account can get the old name.
    assert!(rename(&*store, id, "#1", "#1").await.unwrap());
    assert_ne!(create_account(&*store, "alice").await, id);
}

pub async fn renaming_an_account_to_a_taken_name_is_rejected(store: Arc<dyn Store>) {
    let (alice, _bob) = (
        create_account(&*store, "alice").await,
        create_account(&*store, "bob").await,
    );
    assert!(!rename(&*store, alice, "bob", "new").await.unwrap());
    assert!(!rename(&*store, alice, "new", "skeleton of bob").await.unwrap());
    let unchanged = store.account(alice).await.unwrap().unwrap();
    assert_eq!(
        (unchanged.name.as_str(), unchanged.skeleton.as_str()),
        ("alice", "skeleton of alice")
    );
    let unknown = rename(&*store, UserId(77), "new", "new").await;
    assert!(matches!(unknown, Err(StoreError::Defect(_))), "{unknown:?}");
}

pub async fn subjects_compare_byte_by_byte(store: Arc<dyn Store>) {
    let long = "ü".repeat(Account::MAX_SUBJECT_BYTES / 2);
    let subjects = [
        "auth0|5f7c8ec7c33c6c004bbafe82",
        "0191d2c4-7b3e-7c60-8000-3f2504e04f89",
        "Alice@Example.org",
        "alice@example.org",
        "alice@example.org ",
        "%",
        "é",
        "e\u{301}",
        &long,
    ];
    for (number, subject) in subjects.into_iter().enumerate() {
        let new = NewAccount {
            subject: Some(subject.to_owned()),
            ..new_account(&format!("user{number}"))
        };
        let id = try_create(&*store, new).await.unwrap();
        let found = store.account_by_subject(subject).await.unwrap().unwrap();
        assert_eq!((found.id, found.subject.as_deref()), (id, Some(subject)));
    }
    for unknown in ["", "auth0", "ALICE@EXAMPLE.ORG", "user1"] {
        assert_eq!(store.account_by_subject(unknown).await.unwrap(), None);
    }
}

pub async fn taken_subject_is_rejected(store: Arc<dyn Store>) {
    let bound = |name| NewAccount {
        subject: Some("subject".into()),
        ..new_account(name)
    };
    let alice = try_create(&*store, bound("alice")).await.unwrap();
    assert_eq!(try_create(&*store, bound("bob")).await, None);
    assert_eq!(store.account_by_name("bob").await.unwrap(), None);
    let carol = create_account(&*store, "carol").await;
    assert!(!bind(&*store, carol, Some("subject")).await.unwrap());
    assert!(
        bind(&*store, alice, Some("subject")).await.unwrap(),
        "alice is bound to the subject already"
    );
    assert!(bind(&*store, alice, None).await.unwrap());
    assert!(bind(&*store, carol, Some("subject")).await.unwrap());
    let found = store.account_by_subject("subject").await.unwrap().unwrap();
    assert_eq!(found.id, carol);
    assert_eq!(store.account(alice).await.unwrap().unwrap().subject, None);
    let unknown = bind(&*store, UserId(77), Some("new")).await;
    assert!(matches!(unknown, Err(StoreError::Defect(_))), "{unknown:?}");
}

pub async fn accounts_without_a_subject_do_not_collide(store: Arc<dyn Store>) {
    create_account(&*store, "alice").await;
    create_account(&*store, "bob").await;
    assert_eq!(store.account_by_subject("").await.unwrap(), None);
}

pub async fn update_of_an_unknown_account_is_an_error(store: Arc<dyn Store>) {
    let id = create_account(&*store, "alice").await;
    let mut account = store.account(id).await.unwrap().unwrap();
    account.id = UserId(77);
    let work = transact(&*store, move |tx| {
        let account = account.clone();
        Box::pin(async move { Ok(tx.update_account(&account).await?) })
    });
    assert!(matches!(work.await, Err(StoreError::Defect(_))));
}

pub async fn accounts_finds_those_that_exist(store: Arc<dyn Store>) {
    let (a, b) = (create_account(&*store, "a").await, create_account(&*store, "b").await);
    let asked = [b, UserId(99), a, a, UserId(u64::MAX), UserId(0)];
    let found = store.accounts(&asked).await.unwrap();
    let mut ids: Vec<UserId> = found.iter().map(|account| account.id).collect();
    ids.sort();
    assert_eq!(ids, [a, b]);
    assert!(store.accounts(&[]).await.unwrap().is_empty());
}

pub async fn search_finds_names_by_prefix_in_order(store: Arc<dyn Store>) {
    for name in ["李明", "李", "李丽", "王", "al", "alice", "am"] {
        create_account(&*store, name).await;
    }
    assert_eq!(names_found(&*store, "李", 10).await, ["李", "李丽", "李明"]);
    assert_eq!(names_found(&*store, "al", 10).await, ["al", "alice"]);
    assert_eq!(names_found(&*store, "alice2", 10).await, Vec::<String>::new());
    assert_eq!(
        names_found(&*store, "", 10).await,
        ["al", "alice", "am", "李", "李丽", "李明", "王"]
    );
}

pub async fn search_takes_no_character_as_special(store: Arc<dyn Store>) {
    let names = [
        "a%b",
        "a_b",
        "axb",
        "a*b",
        "a?b",
        "a[b",
        "a\\b",
        "a'b",
        "\u{10ffff}x",
        "a\u{10ffff}",
    ];
    for name in names {
        create_account(&*store, name).await;
    }
    for name in names {
        let prefix: String = name.chars().take(2).collect();
        assert_eq!(names_found(&*store, &prefix, 10).await, [name], "prefix {prefix:?}");
    }
    assert_eq!(names_found(&*store, "\u{10ffff}", 10).await, ["\u{10ffff}x"]);
}

pub async fn search_leaves_out_disabled_accounts_and_stops_at_its_limit(store: Arc<dyn Store>) {
    for name in ["a1", "a2", "a3", "a4"] {
        create_account(&*store, name).await;
    }
    let mut disabled = store.account_by_name("a2").await.unwrap().unwrap();
    disabled.disabled = true;
    let work = transact(&*store, move |tx| {
        let account = disabled.clone();
        Box::pin(async move { Ok(tx.update_account(&account).await?) })
    });
    work.await.unwrap();
    assert_eq!(names_found(&*store, "a", 2).await, ["a1", "a3"]);
    assert_eq!(names_found(&*store, "a", 0).await, Vec::<String>::new());
}

pub async fn device_reads_back(store: Arc<dyn Store>) {
    let user = create_account(&*store, "alice").await;
    let mut device = new_device(user, 200);
    let tokens = [
        (0, None),
        (7, Some([255; 32])),
        (8, None),
        (u64::MAX >> 1, Some([0; 32])),
    ];
    for (epoch, token) in tokens {
        device.session_epoch = SessionEpoch(epoch);
        device.session_token = token;
        device.token_issued = token.map(|_| Timestamp(1_800_000_000_000));
        device.replaced_token = token.map(|_| [8; 32]);
        device.sibling_token = token.filter(|_| epoch > 7);
        device.device_token = token.map(|_| [9; 32]);
        device.name = format!("手机 {epoch}");
        device.last_login = Timestamp(-5);
        device.session_expires = token.map(|_| Timestamp(1_900_000_000_000));
        put_device(&*store, device.clone()).await;
        assert_eq!(store.device(user, device.id).await.unwrap().as_ref(), Some(&device));
        let id = device.id;
        let work = transact(&*store, move |tx| {
            Box::pin(async move { Ok(tx.devices_in(&[(user, id)]).await?) })
        });
        assert_eq!(work.await.unwrap(), [device.clone()]);
    }
    assert_eq!(store.devices(user).await.unwrap(), [device.clone()]);
    assert_eq!(store.device(user, device_id(1)).await.unwrap(), None);
    // A device that is stored again after its deletion, with the same session token, does not get
    // back its former `token_issued`, `replaced_token` and `sibling_token`.
    let id = device.id;
    let delete = transact(&*store, move |tx| {
        Box::pin(async move { Ok(tx.delete_device(user, id).await?) })
    });
    delete.await.unwrap();
    (device.token_issued, device.replaced_token, device.sibling_token) = (None, None, None);
    put_device(&*store, device.clone()).await;
    assert_eq!(store.devices(user).await.unwrap(), [device]);
}

pub async fn devices_are_ordered_oldest_first(store: Arc<dyn Store>) {
    let user = create_account(&*store, "alice").await;
    let other = create_account(&*store, "bob").await;
    put_device(&*store, new_device(other, 9)).await;
    for (number, created) in [(5, 30), (1, 20), (3, 10), (2, 20)] {
        let mut device = new_device(user, number);
        device.created = Timestamp(created);
        put_device(&*store, device).await;
    }
    let order = [3, 1, 2, 5].map(device_id);
    let devices = store.devices(user).await.unwrap();
    assert_eq!(devices.iter().map(|device| device.id).collect::<Vec<_>>(), order);
    let work = transact(&*store, move |tx| {
        Box::pin(async move { Ok(tx.lock_devices_of(user).await?) })
    });
    assert_eq!(work.await.unwrap(), devices);
}

pub async fn devices_in_finds_those_that_exist(store: Arc<dyn Store>) {
    let world = World::new(store).await;
    let (alice, bob) = (world.alice, world.bob);
    let work = transact(&*world.store, move |tx| {
        Box::pin(async move {
            let one = (alice, device_id(1));
            Ok(tx
                .devices_in(&[one, (bob, device_id(9)), (bob, device_id(2)), one])
                .await?)
        })
    });
    let sorted = |devices: Vec<Device>| {
        let mut keys: Vec<_> = devices.into_iter().map(|device| (device.user, device.id)).collect();
        keys.sort();
        keys
    };
    let expected = [(alice, device_id(1)), (bob, device_id(2))];
    assert_eq!(sorted(work.await.unwrap()), expected);

    // Outside a unit of work, the caller may ask for more devices than fit into one SQL statement.
    let mut keys: Vec<_> = (1..3000).map(|user| (UserId(1_000_000 + user), device_id(1))).collect();
    keys.insert(2, expected[1]);
    keys.extend([expected[0], expected[1]]);
    assert_eq!(sorted(world.store.devices_in(&keys).await.unwrap()), expected);
    assert!(world.store.devices_in(&[]).await.unwrap().is_empty());
}

pub async fn deleting_a_device_deletes_its_cursors(store: Arc<dyn Store>) {
    let world = World::new(store).await;
    world.say(super::fixture::messages(3)).await;
    let (bob, group) = (world.bob, world.group);
    let moves = [1, 2].map(|number| (bob, device_id(number), group, Seq(3)));
    world.store.advance_cursors(&moves).await.unwrap();
    let work = transact(&*world.store, move |tx| {
        Box::pin(async move { Ok(tx.delete_device(bob, device_id(1)).await?) })
    });
    work.await.unwrap();
    assert_eq!(world.store.device(bob, device_id(1)).await.unwrap(), None);
    put_device(&*world.store, new_device(bob, 1)).await;
    assert_eq!(world.membership(bob).await.cursor, Seq::ZERO);
    let kept = world.store.membership(bob, device_id(2), group).await.unwrap().unwrap();
    assert_eq!(kept.cursor, Seq(3));
}

pub async fn transaction_reads_its_own_writes(store: Arc<dyn Store>) {
    let work = transact(&*store, |tx| {
        Box::pin(async move {
            let id = tx.create_account(new_account("alice")).await?.unwrap();
            let mut account = tx.account(id).await?.unwrap();
            account.display_name = "changed".into();
            tx.update_account(&account).await?;
            assert_eq!(tx.account_by_name("alice").await?, Some(account));
            assert_eq!(tx.lock_device(id, device_id(1)).await?, None);
            tx.put_device(&new_device(id, 1)).await?;
            assert_eq!(tx.lock_devices_of(id).await?, [new_device(id, 1)]);
            tx.delete_device(id, device_id(1)).await?;
            tx.delete_device(id, device_id(1)).await?;
            assert_eq!(tx.lock_devices_of(id).await?, []);
            Ok(())
        })
    });
    work.await.unwrap();
}
