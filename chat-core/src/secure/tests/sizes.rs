//! Test of the memory that an idle channel and an unfinished handshake of a server need.

use aes_gcm::Aes256Gcm;

use crate::secure::{Channel, Opener, Sealer, ServerHandshake};

#[test]
fn channel_and_server_handshake_are_small() {
    let inline = size_of::<Channel>();
    let boxed = 2 * size_of::<Aes256Gcm>();
    eprintln!(
        "channel {inline} B inline (sealer {}, opener {}) + {boxed} B keys, handshake {} B",
        size_of::<Sealer>(),
        size_of::<Opener>(),
        size_of::<ServerHandshake>(),
    );
    // The size of an expanded key depends on the architecture.
    let limit = if cfg!(target_arch = "x86_64") { 2048 } else { 3072 };
    assert!(inline + boxed <= limit, "{inline} + {boxed}");
    assert!(size_of::<ServerHandshake>() <= 160);
}
