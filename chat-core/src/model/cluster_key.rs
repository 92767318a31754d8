//! The key with which the nodes of a cluster authenticate what they tell each other.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

/// Secret that the nodes of a cluster share. A node authenticates with it the data that it hands to
/// a service which others may write to, such as a bus: HMAC-SHA-256 (RFC 2104), truncated to 128
/// bits.
///
/// A [tag](Self::tag) proves that a node of the cluster wrote the data for the place of the tag. It
/// proves neither when nor how often: whoever can read and write the service can repeat old data at
/// the same place.
#[derive(Clone)]
pub struct ClusterKey(Zeroizing<[u8; Self::BYTES]>);

impl ClusterKey {
    /// Length of a key, in bytes.
    pub const BYTES: usize = 32;
    /// Length of a tag, in bytes.
    pub const TAG_BYTES: usize = 16;

    /// Returns a random key.
    #[must_use]
    pub fn random() -> Self {
        let mut bytes = Zeroizing::new([0; Self::BYTES]);
        getrandom::fill(bytes.as_mut_slice()).expect("the operating system provides random bytes");
        Self(bytes)
    }

    /// Returns the key with these bytes.
    #[must_use]
    pub fn from_bytes(bytes: [u8; Self::BYTES]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// Returns the bytes of the key, for a store that keeps it.
    #[must_use]
    pub fn expose(&self) -> &[u8; Self::BYTES] {
        &self.0
    }

    /// Returns the tag for `data` at `place`, the name of the channel or key where the data is
    /// written. Data that is moved to another place has another tag.
    #[must_use]
    pub fn tag(&self, place: &str, data: &[u8]) -> [u8; Self::TAG_BYTES] {
        let code = self.mac(place, data).finalize().into_bytes();
        std::array::from_fn(|index| code[index])
    }

    /// Returns whether `tag` is the tag for `data` at `place`. Compares in constant time.
    #[must_use]
    pub fn verify(&self, place: &str, data: &[u8], tag: &[u8]) -> bool {
        tag.len() == Self::TAG_BYTES && self.mac(place, data).verify_truncated_left(tag).is_ok()
    }

    fn mac(&self, place: &str, data: &[u8]) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0[..]).expect("HMAC takes keys of any length");
        // The length separates the place from the data.
        mac.update(&(place.len() as u64).to_be_bytes());
        mac.update(place.as_bytes());
        mac.update(data);
        mac
    }
}

impl fmt::Debug for ClusterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClusterKey(***)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tag_depends_on_key_place_and_data() {
        let key = ClusterKey::from_bytes([1; 32]);
        let tag = key.tag("ab", b"c");
        assert!(key.verify("ab", b"c", &tag));
        for (place, data) in [("a", &b"bc"[..]), ("abc", b""), ("ab", b"d"), ("ab", b"c\0")] {
            assert!(!key.verify(place, data, &tag), "{place} {data:?}");
        }
        assert!(!ClusterKey::from_bytes([2; 32]).verify("ab", b"c", &tag));
    }

    #[test]
    fn verify_refuses_tags_of_other_lengths() {
        let key = ClusterKey::random();
        let tag = key.tag("a", b"b");
        for length in 0..tag.len() {
            assert!(!key.verify("a", b"b", &tag[..length]), "{length}");
        }
        let longer = [&tag[..], &[0]].concat();
        assert!(!key.verify("a", b"b", &longer));
    }

    #[test]
    fn debug_text_hides_the_key() {
        assert_eq!(format!("{:?}", ClusterKey::from_bytes([7; 32])), "ClusterKey(***)");
    }
}
