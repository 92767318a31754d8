//! Rules C9, C10: order of messages as senders observe it.

use std::collections::{BTreeMap, HashMap};

use super::facts::Facts;
use super::report::{Report, Rule};

pub(super) fn check(facts: &Facts<'_>, report: &mut Report) {
    let positions: HashMap<&str, u64> = facts.acks.iter().map(|ack| (ack.message, ack.position.seq)).collect();

    // C9: messages of one run to one conversation.
    let mut last: HashMap<(u64, u64), u64> = HashMap::new();
    for sent in &facts.sends {
        if let Some(seq) = positions.get(sent.message) {
            let before = last.entry((sent.run, sent.conversation)).or_insert(0);
            if seq < before {
                report.add_violation(
                    Rule::C9,
                    format_args!(
                        "message {} of run {} is at position {seq}, but an earlier message of the run is at position {before}",
                        sent.message, sent.run
                    ),
                );
            }
            *before = (*before).max(*seq);
        }
    }

    // C10: each message follows all messages of its conversation, of any sender, that were
    // acknowledged before it was sent.
    let mut acks = facts.acks.iter().peekable();
    let mut highest: BTreeMap<u64, u64> = BTreeMap::new();
    for sent in &facts.sends {
        while let Some(ack) = acks.next_if(|ack| ack.at < sent.at) {
            let highest = highest.entry(ack.position.conversation).or_insert(0);
            *highest = (*highest).max(ack.position.seq);
        }
        if let (Some(seq), Some(highest)) = (positions.get(sent.message), highest.get(&sent.conversation))
            && seq <= highest
        {
            report.add_violation(
                Rule::C10,
                format_args!(
                    "message {} is at position {seq}, but was sent after position {highest} had been acknowledged",
                    sent.message
                ),
            );
        }
    }
}
