//! A history, looked at from several sides.

use std::collections::{BTreeMap, HashMap};

use crate::history::{Digest, EventRecord, History, Place, What};

/// A message that was sent.
#[derive(Debug)]
pub(super) struct Sent<'a> {
    pub(super) at: u64,
    pub(super) run: u64,
    pub(super) conversation: u64,
    pub(super) message: &'a str,
    pub(super) digest: Digest,
}

/// An acknowledgement.
#[derive(Debug)]
pub(super) struct Ack<'a> {
    pub(super) at: u64,
    pub(super) run: u64,
    pub(super) message: &'a str,
    pub(super) event: &'a str,
    pub(super) place: Place,
}

/// Something that was handed to an application.
#[derive(Debug)]
pub(super) enum Handed<'a> {
    Event { epoch: &'a str, event: &'a EventRecord },
    Skipped { from: Place, to: u64 },
    Reset,
    Rewound { to: Place },
}

/// One life of a client.
#[derive(Debug, Default)]
pub(super) struct Run<'a> {
    pub(super) user: u64,
    pub(super) device: &'a str,
    pub(super) cursors: BTreeMap<u64, u64>,
    pub(super) handed: Vec<Handed<'a>>,
    pub(super) logins: Vec<u64>,
    pub(super) finished: bool,
}

/// The end of a log, as one source tells it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Head {
    pub(super) seq: u64,
    /// How far others knew it to reach before this source was asked.
    pub(super) reached: u64,
}

/// A log, as one source tells it in the end.
pub(super) type Log<'a> = BTreeMap<u64, Vec<&'a EventRecord>>;

/// Everything that is known.
#[derive(Debug, Default)]
pub(super) struct Facts<'a> {
    pub(super) runs: BTreeMap<u64, Run<'a>>,
    /// In the order in which they were sent.
    pub(super) sends: Vec<Sent<'a>>,
    /// In the order of time.
    pub(super) acks: Vec<Ack<'a>>,
    pub(super) refused: HashMap<&'a str, &'a str>,
    /// Sources, conversations, places.
    pub(super) logs: BTreeMap<&'a str, BTreeMap<u64, Log<'a>>>,
    pub(super) heads: BTreeMap<(&'a str, u64), Head>,
    /// How far each conversation was known to reach, and since when; ascending.
    reached: HashMap<u64, Vec<(u64, u64)>>,
    pub(super) epochs: BTreeMap<(&'a str, Place), &'a str>,
    /// First and last readable place of users in conversations; no last one for members.
    pub(super) members: BTreeMap<(u64, u64), (u64, Option<u64>)>,
    pub(super) faults: u64,
}

impl<'a> Facts<'a> {
    pub(super) fn of(history: &'a History) -> Self {
        let mut facts = Self::default();
        for record in history.records() {
            facts.take(record.at, &record.what);
        }
        // A log of which only the end was told is empty, not unknown.
        for (source, conversation) in facts.heads.keys() {
            facts.logs.entry(source).or_default().entry(*conversation).or_default();
        }
        facts
    }

    fn run(&mut self, run: u64) -> &mut Run<'a> {
        self.runs.entry(run).or_default()
    }

    /// Somebody knows of this place.
    fn reach(&mut self, at: u64, place: Place) {
        let steps = self.reached.entry(place.conversation).or_default();
        if steps.last().is_none_or(|(_, seq)| *seq < place.seq) {
            steps.push((at, place.seq));
        }
    }

    /// How far a conversation was known to reach before this time.
    fn reached(&self, conversation: u64, before: u64) -> u64 {
        let steps = self.reached.get(&conversation).map(Vec::as_slice).unwrap_or_default();
        let count = steps.partition_point(|(at, _)| *at < before);
        count.checked_sub(1).map_or(0, |last| steps[last].1)
    }

    fn take(&mut self, at: u64, what: &'a What) {
        match what {
            What::Run {
                run,
                user,
                device,
                cursors,
            } => {
                let known = self.run(*run);
                (known.user, known.device) = (*user, device);
                known.cursors = cursors.iter().map(|place| (place.conversation, place.seq)).collect();
            }
            What::LoggedIn { run, .. } => self.run(*run).logins.push(at),
            What::Send {
                run,
                conversation,
                message,
                digest,
            } => self.sends.push(Sent {
                at,
                run: *run,
                conversation: *conversation,
                message,
                digest: *digest,
            }),
            What::Acked {
                run,
                message,
                event,
                place,
            } => {
                self.reach(at, *place);
                self.acks.push(Ack {
                    at,
                    run: *run,
                    message,
                    event,
                    place: *place,
                });
            }
            What::Refused { message, reason, .. } => drop(self.refused.insert(message, reason)),
            What::Unknown { .. } => {}
            What::Delivered { run, epoch, event } => {
                self.reach(at, event.place);
                self.run(*run).handed.push(Handed::Event { epoch, event });
            }
            What::Skipped { run, from, to } => self.run(*run).handed.push(Handed::Skipped { from: *from, to: *to }),
            What::Reset { run } => self.run(*run).handed.push(Handed::Reset),
            What::Rewound { run, to } => self.run(*run).handed.push(Handed::Rewound { to: *to }),
            What::Finished { run } => self.run(*run).finished = true,
            What::Fault { begins, .. } => self.faults += u64::from(*begins),
            What::Logged { source, epoch, event } => {
                let logs = self.logs.entry(source).or_default();
                let log = logs.entry(event.place.conversation).or_default();
                log.entry(event.place.seq).or_default().push(event);
                self.epochs.insert((source, event.place), epoch);
            }
            What::Head { source, last, asked } => {
                let head = Head {
                    seq: last.seq,
                    reached: self.reached(last.conversation, *asked),
                };
                self.reach(at, *last);
                self.heads.insert((source, last.conversation), head);
            }
            What::Member { user, first, until } => {
                self.members.insert((first.conversation, *user), (first.seq, *until));
            }
        }
    }

    /// The source that knows every conversation: where one rule needs one answer. The rules on logs
    /// see to it that the others agree.
    pub(super) fn whole(&self) -> Option<&BTreeMap<u64, Log<'a>>> {
        self.logs.values().max_by_key(|logs| logs.len())
    }

    /// The last place of a conversation: the highest that any source tells, as one may tell too
    /// little.
    pub(super) fn last(&self, conversation: u64) -> u64 {
        let logs = self.logs.values().filter_map(|logs| logs.get(&conversation));
        let told = logs.filter_map(|log| log.keys().next_back().copied());
        let heads = self.heads.iter().filter(|((_, of), _)| *of == conversation);
        told.chain(heads.map(|(_, head)| head.seq)).max().unwrap_or(0)
    }
}
