//! Notices that the user is typing: at most one every few seconds.

use std::time::{Duration, Instant};

/// Minimum time between two notices.
const NOTICE_INTERVAL: Duration = Duration::from_secs(3);

/// Decides when to tell the other members that the user is typing.
#[derive(Debug, Default)]
pub(super) struct TypingNotices {
    last: Option<Instant>,
    /// Line that was painted last. A line that is painted again, for instance because an event is
    /// printed above it, has not been typed.
    line: String,
}

impl TypingNotices {
    /// Forgets the line, because another one begins.
    pub(super) fn start(&mut self) {
        self.line.clear();
    }

    /// Takes the line that is painted. Returns `true` if the user has typed a part of a text, and
    /// the last notice is old enough. Commands are not texts.
    pub(super) fn is_due(&mut self, line: &str, now: Instant) -> bool {
        let is_typed = line != self.line && !line.is_empty() && !line.starts_with('/');
        line.clone_into(&mut self.line);
        let is_recent = self
            .last
            .is_some_and(|last| now.saturating_duration_since(last) < NOTICE_INTERVAL);
        if !is_typed || is_recent {
            return false;
        }
        self.last = Some(now);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notice_is_due_for_typed_text_once_in_three_seconds() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut notices = TypingNotices::default();
        assert!(!notices.is_due("", at(0)), "nothing is typed");
        assert!(!notices.is_due("/list", at(0)), "a command is no message");
        assert!(notices.is_due("h", at(0)));
        assert!(!notices.is_due("he", at(2)));
        assert!(!notices.is_due("he", at(4)), "the line is only painted again");
        assert!(notices.is_due("hel", at(4)));
        notices.start();
        assert!(!notices.is_due("hel", at(5)));
        assert!(notices.is_due("hello", at(7)));
    }
}
