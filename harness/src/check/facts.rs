//! [`Facts`]: a history, indexed for the checks.

use std::collections::{BTreeMap, HashMap};

use crate::history::{Digest, EventRecord, History, LogPosition, Observation};

/// A message that was sent; see [`Observation::Send`].
#[derive(Debug)]
pub(super) struct Sent<'a> {
    /// Time of sending, by the history's clock.
    pub(super) at: u64,
    pub(super) run: u64,
    pub(super) conversation: u64,
    pub(super) message: &'a str,
    pub(super) digest: Digest,
}

/// Acknowledgement of a message; see [`Observation::Acked`].
#[derive(Debug)]
pub(super) struct Ack<'a> {
    /// Time of the acknowledgement, by the history's clock.
    pub(super) at: u64,
    pub(super) run: u64,
    pub(super) message: &'a str,
    pub(super) event: &'a str,
    pub(super) position: LogPosition,
}

/// Delivery to an application, or a notice about deliveries. The variants are explained at those of
/// [`Observation`].
#[derive(Debug)]
pub(super) enum Delivery<'a> {
    Event { epoch: &'a str, event: &'a EventRecord },
    Skipped { from: LogPosition, to: u64 },
    Reset,
    Rewound { to: LogPosition },
}

/// Records of one run (one lifetime of a client; see [`Observation`]).
#[derive(Debug, Default)]
pub(super) struct Run<'a> {
    pub(super) user: u64,
    pub(super) device: &'a str,
    /// Position after which deliveries start, by conversation; see [`Observation::Run`].
    pub(super) cursors: BTreeMap<u64, u64>,
    pub(super) deliveries: Vec<Delivery<'a>>,
    /// Times of the logins.
    pub(super) logins: Vec<u64>,
    /// True if the run ended as planned: its client had time to receive everything.
    pub(super) finished: bool,
}

/// End of a log, as one source returned it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Head {
    pub(super) seq: u64,
    /// Last position that an acknowledgement, a delivery or the end of a log had shown before this
    /// source was asked.
    pub(super) known_before_request: u64,
}

/// Final log of a conversation, as one source returned it: events by sequence number. Only a faulty
/// log has several events with one number.
pub(super) type Log<'a> = BTreeMap<u64, Vec<&'a EventRecord>>;

/// Records of a history, indexed for the checks.
#[derive(Debug, Default)]
pub(super) struct Facts<'a> {
    /// Runs, by id.
    pub(super) runs: BTreeMap<u64, Run<'a>>,
    /// Messages, ordered by the time of sending.
    pub(super) sends: Vec<Sent<'a>>,
    /// Acknowledgements, ordered by time.
    pub(super) acks: Vec<Ack<'a>>,
    /// Reasons for refusals, by message.
    pub(super) refused: HashMap<&'a str, &'a str>,
    /// Final logs by source and conversation.
    pub(super) logs: BTreeMap<&'a str, BTreeMap<u64, Log<'a>>>,
    /// Ends of logs, by source and conversation.
    pub(super) heads: BTreeMap<(&'a str, u64), Head>,
    /// For each conversation, the times at which a higher position became known, and these
    /// positions; ascending.
    known: HashMap<u64, Vec<(u64, u64)>>,
    /// Store epochs of the events in the logs, by source and position.
    pub(super) epochs: BTreeMap<(&'a str, LogPosition), &'a str>,
    /// First and last readable position by conversation and user. The last position is `None` while
    /// the user is a member.
    pub(super) members: BTreeMap<(u64, u64), (u64, Option<u64>)>,
    /// Number of injected faults.
    pub(super) faults: u64,
}

impl<'a> Facts<'a> {
    pub(super) fn of(history: &'a History) -> Self {
        let mut facts = Self::default();
        for record in history.records() {
            facts.add(record.at, &record.observation);
        }
        // A log with a head but without events is empty; with neither, it is unknown.
        for (source, conversation) in facts.heads.keys() {
            facts.logs.entry(source).or_default().entry(*conversation).or_default();
        }
        facts
    }

    fn run(&mut self, run: u64) -> &mut Run<'a> {
        self.runs.entry(run).or_default()
    }

    /// Records that a source (a node or the database) or a client knew a position at the time `at`,
    /// if it is the highest one so far.
    fn record_known(&mut self, at: u64, position: LogPosition) {
        let steps = self.known.entry(position.conversation).or_default();
        if steps.last().is_none_or(|(_, seq)| *seq < position.seq) {
            steps.push((at, position.seq));
        }
    }

    /// Returns the last position of a conversation that was known before the time `before`; 0 if
    /// none was.
    fn known_before(&self, conversation: u64, before: u64) -> u64 {
        let steps = self.known.get(&conversation).map(Vec::as_slice).unwrap_or_default();
        let count = steps.partition_point(|(at, _)| *at < before);
        count.checked_sub(1).map_or(0, |last| steps[last].1)
    }

    fn add(&mut self, at: u64, observation: &'a Observation) {
        match observation {
            Observation::Run {
                run,
                user,
                device,
                cursors,
            } => {
                let run = self.run(*run);
                (run.user, run.device) = (*user, device);
                run.cursors = cursors
                    .iter()
                    .map(|position| (position.conversation, position.seq))
                    .collect();
            }
            Observation::LoggedIn { run, .. } => self.run(*run).logins.push(at),
            Observation::Send {
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
            Observation::Acked {
                run,
                message,
                event,
                position,
            } => {
                self.record_known(at, *position);
                self.acks.push(Ack {
                    at,
                    run: *run,
                    message,
                    event,
                    position: *position,
                });
            }
            Observation::Refused { message, reason, .. } => drop(self.refused.insert(message, reason)),
            Observation::Unknown { .. } => {}
            Observation::Delivered { run, epoch, event } => {
                self.record_known(at, event.position);
                self.run(*run).deliveries.push(Delivery::Event { epoch, event });
            }
            Observation::Skipped { run, from, to } => self
                .run(*run)
                .deliveries
                .push(Delivery::Skipped { from: *from, to: *to }),
            Observation::Reset { run } => self.run(*run).deliveries.push(Delivery::Reset),
            Observation::Rewound { run, to } => self.run(*run).deliveries.push(Delivery::Rewound { to: *to }),
            Observation::Finished { run } => self.run(*run).finished = true,
            Observation::Fault { begins, .. } => self.faults += u64::from(*begins),
            Observation::Logged { source, epoch, event } => {
                let logs = self.logs.entry(source).or_default();
                let log = logs.entry(event.position.conversation).or_default();
                log.entry(event.position.seq).or_default().push(event);
                self.epochs.insert((source, event.position), epoch);
            }
            Observation::Head { source, last, asked } => {
                let head = Head {
                    seq: last.seq,
                    known_before_request: self.known_before(last.conversation, *asked),
                };
                self.record_known(at, *last);
                self.heads.insert((source, last.conversation), head);
            }
            Observation::Member { user, first, until } => {
                self.members.insert((first.conversation, *user), (first.seq, *until));
            }
        }
    }

    /// Returns the logs of the source with the most conversations, for rules that need one set of
    /// logs. Other rules compare the sources with each other.
    pub(super) fn most_complete_logs(&self) -> Option<&BTreeMap<u64, Log<'a>>> {
        self.logs.values().max_by_key(|logs| logs.len())
    }

    /// Returns the last position of a conversation: the highest one of all sources, because a
    /// source may lack events.
    pub(super) fn last(&self, conversation: u64) -> u64 {
        let logs = self.logs.values().filter_map(|logs| logs.get(&conversation));
        let ends = logs.filter_map(|log| log.keys().next_back().copied());
        let heads = self.heads.iter().filter(|((_, id), _)| *id == conversation);
        ends.chain(heads.map(|(_, head)| head.seq)).max().unwrap_or(0)
    }
}
