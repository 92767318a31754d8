//! What the other nodes ring.

use std::sync::Arc;

use super::Shared;
use super::envelope::{Content, Read};
use crate::bus::{BusMessage, Subscriber};
use crate::model::{CloseCode, ConversationId, UserId};

pub(super) async fn run(shared: Arc<Shared>, mut subscriber: Box<dyn Subscriber>) {
    while let Some(delivery) = subscriber.next().await {
        match delivery {
            BusMessage::Envelope(_, bytes) => {
                if let Some(read) = shared.writer.read(bytes) {
                    take(&shared, read);
                }
            }
            BusMessage::Gap => shared.heard.ask_for_sweep(),
        }
    }
}

fn take(shared: &Shared, read: Read) {
    let own = read.node == shared.writer.node;
    if let Content::Beacon { number, .. } = &read.content {
        shared
            .heard
            .beacon(&shared.config, read.node, read.incarnation, *number, own);
    }
    // What this node rang itself has been delivered here before it was rung.
    if own {
        return;
    }
    match read.content {
        Content::Doorbell(doorbell) => shared.heard(doorbell),
        Content::Beacon {
            doorbells,
            places,
            logins,
            overflowed,
            ..
        } => {
            doorbells.into_iter().for_each(|doorbell| shared.heard(doorbell));
            places.into_iter().for_each(|(user, id)| place(shared, user, id));
            logins
                .into_iter()
                .for_each(|(user, code)| logins_changed(shared, user, code));
            if overflowed {
                shared.heard.ask_for_sweep();
            }
        }
        Content::Notice { audience, push, except } => shared.notify(audience, &push, except),
        Content::SessionsChanged { user, code } => logins_changed(shared, user, code),
        Content::PlacesChanged { user, conversation } => place(shared, user, conversation),
    }
}

fn place(shared: &Shared, user: UserId, conversation: ConversationId) {
    // Anything can be claimed here, so there is a bound; what is genuine beyond it is found by looking.
    if shared.registry.has_user(user) && !shared.placed.add_claimed((user, conversation)) {
        shared.heard.ask_for_sweep();
    }
}

fn logins_changed(shared: &Shared, user: UserId, code: CloseCode) {
    if shared.registry.has_user(user) {
        shared.logins.add((user, code));
    }
}
