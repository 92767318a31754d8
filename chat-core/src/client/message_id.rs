//! Client message ids by which a device recognises its own messages.
//!
//! The server does not reveal to readers the device that sent an event. In an id that a client
//! makes, the last four bytes are a digest of the other bytes and the id of the device. Other users
//! do not know the ids of a user's devices, so the digest tells them nothing.

use sha2::{Digest as _, Sha256};

use crate::model::{ClientMessageId, DeviceId};

/// Number of bytes of the digest in a message id.
const DIGEST_BYTES: usize = 4;

/// Returns a new id that `device` recognises.
pub(super) fn new_id(device: DeviceId) -> ClientMessageId {
    let mut id = ClientMessageId::random();
    let digest = digest_of(device, &id);
    if let Some(tail) = id.0.last_chunk_mut::<DIGEST_BYTES>() {
        *tail = digest;
    }
    id
}

/// Returns whether `device` made this id. An id of another device passes with probability 2⁻³².
pub(super) fn is_own(device: DeviceId, id: &ClientMessageId) -> bool {
    id.0.last_chunk::<DIGEST_BYTES>() == Some(&digest_of(device, id))
}

fn digest_of(device: DeviceId, id: &ClientMessageId) -> [u8; DIGEST_BYTES] {
    let [head @ .., _, _, _, _] = &id.0;
    let digest = Sha256::new().chain_update(device.0).chain_update(head).finalize();
    *digest.first_chunk().expect("SHA-256 gives 32 bytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn id_is_recognised_by_its_device_only() {
        let (ours, other) = (DeviceId::random(), DeviceId::random());
        let id = new_id(ours);
        assert!(is_own(ours, &id));
        assert!(!is_own(other, &id));
        assert!(!is_own(ours, &ClientMessageId::random()));
        assert_ne!(new_id(ours), new_id(ours));
    }
}
