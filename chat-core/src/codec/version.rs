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

/// Why there is none, for people.
#[must_use]
pub fn mismatch(peer_min: u32, peer_max: u32) -> String {
    let range = |min: u32, max: u32| match min == max {
        true => format!("version {min}"),
        false => format!("versions {min} to {max}"),
    };
    let (ours, theirs) = (range(MIN, MAX), range(peer_min, peer_max));
    let advice = if peer_min > MAX {
        "the server is too old for it"
    } else {
        "update the client"
    };
    format!("this server speaks {ours} of the protocol, the client {theirs}: {advice}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mismatch_says_who_is_behind() {
        assert_eq!(negotiate(2, 9), None);
        assert_eq!(
            mismatch(2, 9),
            "this server speaks version 1 of the protocol, the client versions 2 to 9: the server is too old for it"
        );
        assert_eq!(negotiate(0, 0), None);
        assert_eq!(
            mismatch(0, 0),
            "this server speaks version 1 of the protocol, the client version 0: update the client"
        );
    }
}
