//! Protocol versions and their negotiation.

/// Lowest version that this code supports.
pub const MIN: u32 = 1;
/// Highest version that this code supports.
pub const MAX: u32 = 1;

/// Returns the highest version that both sides support, or `None` if they have no common version.
#[must_use]
pub fn negotiate(peer_min: u32, peer_max: u32) -> Option<u32> {
    let common = peer_max.min(MAX);
    (common >= peer_min.max(MIN)).then_some(common)
}

/// Returns a text for users that explains why client and server have no common version.
#[must_use]
pub fn mismatch_text(peer_min: u32, peer_max: u32) -> String {
    let range = |min: u32, max: u32| match min == max {
        true => format!("version {min}"),
        false => format!("versions {min} to {max}"),
    };
    let (ours, theirs) = (range(MIN, MAX), range(peer_min, peer_max));
    let advice = if peer_min > MAX {
        "the server is too old for this client"
    } else {
        "update the client"
    };
    format!("this server speaks {ours} of the protocol, the client {theirs}: {advice}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn negotiate_finds_version_one_in_each_range_that_contains_it() {
        assert_eq!(negotiate(0, 1), Some(1));
        assert_eq!(negotiate(0, 9), Some(1));
        assert_eq!(negotiate(1, 1), Some(1));
        assert_eq!(negotiate(2, 1), None, "an empty range");
    }

    #[test]
    fn mismatch_names_the_side_that_is_behind() {
        assert_eq!(negotiate(2, 9), None);
        assert_eq!(
            mismatch_text(2, 9),
            "this server speaks version 1 of the protocol, the client versions 2 to 9: the server is too old for this client"
        );
        assert_eq!(negotiate(0, 0), None);
        assert_eq!(
            mismatch_text(0, 0),
            "this server speaks version 1 of the protocol, the client version 0: update the client"
        );
    }
}
