//! C9, C10: order of messages as senders observe it.

use std::collections::{BTreeMap, HashMap};

use super::facts::Facts;
use super::report::{Report, Rule};

pub(super) fn check(facts: &Facts<'_>, report: &mut Report) {
    let places: HashMap<&str, (u64, u64)> = facts
        .acks
        .iter()
        .map(|ack| (ack.message, (ack.place.seq, ack.at)))
        .collect();

    // C9: messages of one run to one conversation.
    let mut last: HashMap<(u64, u64), u64> = HashMap::new();
    for sent in &facts.sends {
        if let Some((seq, _)) = places.get(sent.message) {
            let before = last.entry((sent.run, sent.conversation)).or_insert(0);
            if seq < before {
                report.add_violation(
                    Rule::C9,
                    format_args!(
                        "{} of run {} is at {seq}, but what it sent before is at {before}",
                        sent.message, sent.run
                    ),
                );
            }
            *before = (*before).max(*seq);
        }
    }

    // C10, over all senders: acknowledgements in the order of time, as far as they precede the next
    // send.
    let mut acks = facts.acks.iter().peekable();
    let mut highest: BTreeMap<u64, u64> = BTreeMap::new();
    for sent in &facts.sends {
        while let Some(ack) = acks.next_if(|ack| ack.at < sent.at) {
            let highest = highest.entry(ack.place.conversation).or_insert(0);
            *highest = (*highest).max(ack.place.seq);
        }
        if let (Some((seq, _)), Some(highest)) = (places.get(sent.message), highest.get(&sent.conversation))
            && seq <= highest
        {
            report.add_violation(
                Rule::C10,
                format_args!(
                    "{} is at {seq}, but was sent after {highest} had been acknowledged",
                    sent.message
                ),
            );
        }
    }
}
