//! What the other nodes ring.

use std::sync::Arc;

use super::beacon::Heard;
use super::envelope::{Content, Read};
use super::{Shared, topics};
use crate::bus::{Delivery, Subscriber};

pub(super) async fn run(shared: Arc<Shared>, mut subscriber: Box<dyn Subscriber>, heard: Heard) {
    while let Some(delivery) = subscriber.next().await {
        match delivery {
            Delivery::Envelope(_, bytes) => {
                if let Some(read) = shared.writer.read(bytes) {
                    take(&shared, read, &heard);
                }
            }
            Delivery::Gap => heard.ask_for_sweep(),
        }
    }
}

fn take(shared: &Shared, read: Read, heard: &Heard) {
    let own = read.node == shared.writer.node;
    if let Content::Beacon { number, .. } = &read.content {
        heard.beacon(read.node, read.incarnation, *number, own);
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
            overflowed,
            ..
        } => {
            doorbells.into_iter().for_each(|doorbell| shared.heard(doorbell));
            for (user, conversation) in places {
                if shared.registry.has_user(user) {
                    shared.placed.add((user, conversation));
                }
            }
            if overflowed {
                heard.ask_for_sweep();
            }
        }
        Content::Notice { audience, push, except } => shared.notify(audience, &push, except),
        Content::SessionsChanged { user, code } => {
            if shared.registry.has_user(user) {
                shared.logins.add((user, code));
            }
        }
        Content::PlacesChanged { user, conversation } => {
            if shared.registry.has_user(user) {
                shared.placed.add((user, conversation));
                topics::changed(shared, crate::bus::Topic::Conversation(conversation));
            }
        }
    }
}
