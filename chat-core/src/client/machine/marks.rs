//! Receipts and read marks that may arrive before the events to which they refer, and the last
//! event that was known when the server reported unread counts.

use crate::model::{Seq, UserId};

/// Maximum number of receipts that are kept for a conversation.
const MAX_RECEIPTS: usize = 64;

/// Positions up to which a user has received and read a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Receipt {
    pub(super) user: UserId,
    pub(super) delivered_seq: Seq,
    pub(super) read_seq: Seq,
}

impl Receipt {
    /// Returns the receipt for the events up to `last` only.
    pub(super) fn up_to(self, last: Seq) -> Self {
        Self {
            delivered_seq: self.delivered_seq.min(last),
            read_seq: self.read_seq.min(last),
            ..self
        }
    }

    fn last(&self) -> Seq {
        self.delivered_seq.max(self.read_seq)
    }
}

/// Receipts and the read mark that pushes have reported for one conversation and that may be past
/// its last known event, because they may arrive before the event to which they refer. Each takes
/// effect with its event, so that the application gets no receipt or read mark past the end of the
/// log that it knows. [`counts_reported_at`](Self::counts_reported_at) keeps a recall from
/// reducing unread counts from which the server has left the message out already.
#[derive(Debug)]
pub(super) struct EarlyMarks {
    receipts: Vec<Receipt>,
    /// Highest position to which the read mark was moved elsewhere: on another device, or by an
    /// application or operator. It may be past the last known event.
    pub(super) read_seq: Seq,
    /// Last known event when the server last pushed unread counts, which it does after the read
    /// mark was moved elsewhere. Those counts may already leave out messages up to this position
    /// that were recalled.
    pub(super) counts_reported_at: Seq,
}

impl Default for EarlyMarks {
    fn default() -> Self {
        Self {
            receipts: Vec::new(),
            read_seq: Seq::ZERO,
            counts_reported_at: Seq::ZERO,
        }
    }
}

impl EarlyMarks {
    /// Keeps a receipt that is past the last known event. Of several receipts of one user, keeps
    /// the greatest positions. Drops the receipt if too many users have one.
    pub(super) fn keep(&mut self, receipt: Receipt) {
        if let Some(kept) = self.receipts.iter_mut().find(|kept| kept.user == receipt.user) {
            kept.delivered_seq = kept.delivered_seq.max(receipt.delivered_seq);
            kept.read_seq = kept.read_seq.max(receipt.read_seq);
        } else if self.receipts.len() < MAX_RECEIPTS {
            self.receipts.push(receipt);
        }
    }

    /// Returns the receipts of which a position was past `before`, the event that was the last
    /// known one, and is not past `last`. Removes the receipts that have no position past `last`.
    pub(super) fn take_reached(&mut self, before: Seq, last: Seq) -> Vec<Receipt> {
        let is_new = |seq: Seq| before < seq && seq <= last;
        let is_reached = |kept: &Receipt| is_new(kept.delivered_seq) || is_new(kept.read_seq);
        let reached = self.receipts.iter().filter(|kept| is_reached(kept)).copied().collect();
        self.receipts.retain(|kept| kept.last() > last);
        reached
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn receipt(user: u64, seq: u64) -> Receipt {
        Receipt {
            user: UserId(user),
            delivered_seq: Seq(seq),
            read_seq: Seq(0),
        }
    }

    #[test]
    fn early_receipts_are_taken_once_their_event_is_known() {
        let mut marks = EarlyMarks::default();
        marks.keep(receipt(1, 5));
        marks.keep(receipt(2, 7));
        marks.keep(receipt(1, 6));
        marks.keep(receipt(1, 5));
        assert_eq!(marks.take_reached(Seq(4), Seq(5)), []);
        assert_eq!(marks.take_reached(Seq(5), Seq(6)), [receipt(1, 6)]);
        assert_eq!(marks.take_reached(Seq(6), Seq(9)), [receipt(2, 7)]);
        assert_eq!(marks.take_reached(Seq(9), Seq(10)), []);
    }

    #[test]
    fn each_position_of_a_receipt_takes_effect_with_its_event() {
        let mut marks = EarlyMarks::default();
        let both = |delivered, read| Receipt {
            delivered_seq: Seq(delivered),
            read_seq: Seq(read),
            ..receipt(1, 0)
        };
        marks.keep(both(8, 0));
        marks.keep(both(6, 5));
        assert_eq!(marks.take_reached(Seq(4), Seq(5)), [both(8, 5)]);
        assert_eq!(marks.take_reached(Seq(5), Seq(7)), []);
        assert_eq!(marks.take_reached(Seq(7), Seq(8)), [both(8, 5)]);
        assert_eq!(marks.take_reached(Seq(8), Seq(9)), []);
    }

    #[test]
    fn kept_receipts_are_bounded() {
        let mut marks = EarlyMarks::default();
        for user in 0..1000 {
            marks.keep(receipt(user, 5));
        }
        assert_eq!(marks.take_reached(Seq(4), Seq(5)).len(), MAX_RECEIPTS);
    }
}
