//! Cases that check that bodies of messages, and texts such as names and notes, are stored byte for
//! byte.

use std::sync::Arc;

use super::fixture::{NewEvent, World, create, new_account, new_device, new_group, put_device, transact};
use crate::model::{Contact, ContactState, GroupName, Seq, Timestamp, UserId};
use crate::store::Store;

/// Returns texts that a database may change or reject. The longest has the maximum size of a text
/// in a store, 64 KiB less one byte.
fn samples() -> Vec<String> {
    let mut samples: Vec<String> = [
        "",
        " ",
        "你好，世界",
        "𠮷野家で🍣と🍺",
        "👩‍👩‍👧‍👦🏳️‍🌈",
        "e\u{301}\u{302}\u{303}",
        "\u{202e}rtl\u{202c} العربية",
        "it's \"quoted\" `and` \\back\\slashed\\",
        "'; DROP TABLE event; --",
        "%_*?[]{}()",
        "line\nline\r\n\ttab\0nul\u{1}\u{7f}",
        "trailing   ",
        "\u{feff}bom\u{fffd}\u{ffff}\u{10ffff}",
        "ßSS ﬁ Ⅷ İi ςσΣ",
    ]
    .map(str::to_owned)
    .into();
    samples.push("字".repeat(64 * 1024 / 3));
    samples.push("a\u{301}".repeat(20_000));
    samples
}

/// Returns the text as a name, or a short substitute for a text that is longer than a name can be.
fn name_of(text: &str, number: usize) -> String {
    if text.len() <= GroupName::MAX_BYTES {
        text.to_owned()
    } else {
        format!("text {number}")
    }
}

pub async fn messages_keep_every_byte(store: Arc<dyn Store>) {
    let world = World::new(store).await;
    let mut bodies: Vec<Vec<u8>> = samples().into_iter().map(String::into_bytes).collect();
    bodies.push((0..=255).cycle().take(64 * 1024).collect());
    bodies.push(vec![0xff, 0xfe, 0xc0, 0x80]);
    let new_events = bodies.iter().cloned().map(NewEvent::message).collect();
    world.say(new_events).await;
    let events = world.store.events(world.group, Seq(1), Seq(1000), 1000).await.unwrap();
    assert_eq!(events.len(), bodies.len());
    for (event, body) in events.iter().zip(bodies) {
        assert_eq!(event.body, body);
    }
}

pub async fn names_and_notes_keep_every_byte(store: Arc<dyn Store>) {
    for (number, text) in samples().into_iter().enumerate() {
        let name = name_of(&text, number);
        let mut new = new_account(&name);
        new.display_name.clone_from(&text);
        new.password_hash = Some(text.clone());
        let made = transact(&*store, move |tx| {
            let new = new.clone();
            Box::pin(async move { Ok(tx.create_account(new).await?) })
        });
        let user = made.await.unwrap().expect("a new name");
        let account = store.account(user).await.unwrap().unwrap();
        assert_eq!((&account.name, &account.display_name), (&name, &text));
        assert_eq!(account.password_hash.as_ref(), Some(&text));
        let mut device = new_device(user, 1);
        device.name.clone_from(&text);
        put_device(&*store, device).await;
        assert_eq!(store.devices(user).await.unwrap()[0].name, text);
        let contact = Contact {
            owner: user,
            peer: user,
            state: ContactState::Friend,
            blocked: false,
            note: text,
            since: Timestamp(0),
        };
        let expected = contact.clone();
        let put = transact(&*store, move |tx| {
            let contact = contact.clone();
            Box::pin(async move { Ok(tx.put_contact(&contact).await?) })
        });
        put.await.unwrap();
        assert_eq!(store.contacts(user, UserId(0), 100).await.unwrap(), [expected]);
    }
}

pub async fn group_profiles_keep_every_byte(store: Arc<dyn Store>) {
    for (number, text) in samples().into_iter().enumerate() {
        let name = name_of(&text, number);
        let mut new = new_group(&name);
        let group = new.group.as_mut().unwrap();
        group.description.clone_from(&text);
        let expected = group.clone();
        let id = create(&*store, new).await.expect("a new name");
        assert_eq!(store.conversation(id).await.unwrap().unwrap().group, Some(expected));
        assert_eq!(store.group_by_key(&name).await.unwrap(), Some(id));
    }
}
