//! Tags that prove to a node that a node of its cluster wrote the data which it read from Redis.

use std::time::{Duration, Instant};

use chat_core::model::ClusterKey;
use chat_core::sync::Mutex;

/// Minimum interval between two warnings about data without a valid tag.
const WARNING_INTERVAL: Duration = Duration::from_secs(60);

/// Adds tags to data for Redis, and checks and removes the tags of data from Redis.
#[derive(Debug)]
pub(crate) struct Tagger {
    key: ClusterKey,
    last_warning: Mutex<Option<Instant>>,
}

impl Tagger {
    pub(crate) fn new(key: ClusterKey) -> Self {
        Self {
            key,
            last_warning: Mutex::default(),
        }
    }

    /// Returns `data` followed by its tag at `place`, the full name of the key or channel.
    pub(crate) fn add(&self, place: &str, data: &[u8]) -> Vec<u8> {
        [data, &self.key.tag(place, data)].concat()
    }

    /// Returns the data before the tag, or `None` if the tag is not valid at `place`. A warning
    /// says so, at most once a minute.
    pub(crate) fn check<'a>(&self, place: &str, tagged: &'a [u8]) -> Option<&'a [u8]> {
        let (data, tag) = tagged.split_at(tagged.len().saturating_sub(ClusterKey::TAG_BYTES));
        if self.key.verify(place, data, tag) {
            return Some(data);
        }
        self.warn(place);
        None
    }

    fn warn(&self, place: &str) {
        let mut last = self.last_warning.lock();
        if last.is_none_or(|last| last.elapsed() >= WARNING_INTERVAL) {
            *last = Some(Instant::now());
            tracing::warn!(
                place,
                "data in Redis was ignored because no node of this cluster wrote it there: another program writes to the same Redis \
                 server with the same prefix, or a node uses another cluster key; give each cluster its own prefix, and protect \
                 Redis with a password"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn check_returns_only_data_that_was_tagged_with_the_same_key_for_the_same_place() {
        let tagger = Tagger::new(ClusterKey::from_bytes([1; 32]));
        let tagged = tagger.add("a", b"data");
        assert_eq!(tagger.check("a", &tagged), Some(&b"data"[..]));
        assert_eq!(tagger.check("b", &tagged), None);
        assert_eq!(tagger.check("a", &tagged[1..]), None);
        assert_eq!(tagger.check("a", b"short"), None);
        assert_eq!(Tagger::new(ClusterKey::from_bytes([2; 32])).check("a", &tagged), None);
    }
}
