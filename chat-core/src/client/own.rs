//! Telling this device's own messages from those that the same user sent elsewhere.
//!
//! The server does not tell readers which device an event came from. A client message id says it to the one device that can check: its last
//! four bytes are a digest of the others and the device id, which nobody else knows but the server.

use sha2::{Digest as _, Sha256};

use crate::model::{ClientMessageId, DeviceId};

const MARK: usize = 4;

/// A new id that `device` recognises.
pub(super) fn new_id(device: DeviceId) -> ClientMessageId {
    let mut id = ClientMessageId::random();
    let mark = mark_of(device, &id);
    if let Some(tail) = id.0.last_chunk_mut::<MARK>() {
        *tail = mark;
    }
    id
}

/// Whether `device` made this id.
pub(super) fn is_own(device: DeviceId, id: &ClientMessageId) -> bool {
    id.0.last_chunk::<MARK>() == Some(&mark_of(device, id))
}

fn mark_of(device: DeviceId, id: &ClientMessageId) -> [u8; MARK] {
    let [head @ .., _, _, _, _] = &id.0;
    let digest = Sha256::new().chain_update(device.0).chain_update(head).finalize();
    *digest.first_chunk().expect("SHA-256 gives 32 bytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_maker_recognises_an_id() {
        let (ours, other) = (DeviceId::random(), DeviceId::random());
        let id = new_id(ours);
        assert!(is_own(ours, &id));
        assert!(!is_own(other, &id));
        assert!(!is_own(ours, &ClientMessageId::random()));
        assert_ne!(new_id(ours), new_id(ours));
    }
}
