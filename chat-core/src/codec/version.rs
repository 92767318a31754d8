//! Versions of the protocol.

/// Lowest version this code speaks.
pub const MIN: u32 = 1;
/// Highest version this code speaks.
pub const MAX: u32 = 1;

/// The highest version that both sides speak, if there is one.
#[must_use]
pub fn negotiate(peer_min: u32, peer_max: u32) -> Option<u32> {
    let common = peer_max.min(MAX);
    (peer_min >= 1 && common >= peer_min.max(MIN)).then_some(common)
}
