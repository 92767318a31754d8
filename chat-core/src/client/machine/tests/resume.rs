//! Tests of the check that the server's log is still the log that was delivered.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;

use super::script::*;
use crate::client::machine::{Action, MachineConfig, Receive};
use crate::client::{ClientEvent, Cursor, EventIdentity};
use crate::codec::{Answer, Incoming, RequestKind};
use crate::model::{
    Command, ConversationInfo, Event, EventId, HistoryEvent, HistoryPage, Outcome, Page, PageFrom, Push, Seq, Timestamp,
};

const SECOND: Duration = Duration::from_secs(1);

/// Returns the configuration of a device that has acknowledged five events.
fn config_at_five() -> MachineConfig {
    let mut config = config();
    config.cursors.insert(GROUP_ID, cursor(5));
    config
}

/// Returns the event at `seq` of a log that differs from [`event`]'s after `common`.
fn other_event(common: u64, seq: u64) -> Event {
    let mut event = event(seq);
    if seq > common {
        event.id.0[15] ^= 0xff;
        event.time.0 += 60_000;
    }
    event
}

/// Returns the group with the log of [`other_event`].
fn other_group_info(cursor: u64, common: u64, last: u64) -> ConversationInfo {
    ConversationInfo {
        last_time: other_event(common, last).time,
        ..group_info(cursor, last)
    }
}

/// Returns a page of the log of [`other_event`].
fn other_page(asked: Page, common: u64, last: u64) -> HistoryPage {
    let mut answer = page(asked, last, 500);
    for found in &mut answer.events {
        found.event = other_event(common, found.event.seq.0);
    }
    answer
}

/// Returns the cursors of the group that the machine has asked its driver to save, in order.
fn saved(script: &mut Script) -> Vec<Cursor> {
    script.drain();
    let saved = script.actions.iter().filter_map(|action| match action {
        Action::SaveCursors(cursors) => cursors.get(&GROUP_ID).copied(),
        _ => None,
    });
    saved.collect()
}

/// Takes the oldest acknowledgement that the machine has sent to the server.
fn take_acknowledgement(script: &mut Script) -> Option<Seq> {
    let request = script.try_take(|kind| matches!(kind, RequestKind::Command(Command::Acknowledge { .. })))?;
    match request.kind {
        RequestKind::Command(Command::Acknowledge { seq, .. }) => Some(seq),
        _ => None,
    }
}

/// Asserts that the machine reads the log of [`other_event`], reports `Rewound` to the application
/// with position 2, the server's cursor, and then delivers every later event.
fn assert_restarts(script: &mut Script, common: u64, last: u64) {
    let (request, _, asked) = script.take_page().expect("the log is read");
    assert_eq!(
        asked.from,
        PageFrom::After(Seq(4)),
        "the page starts with the last delivered event"
    );
    script.outcome(request, Outcome::History(other_page(asked, common, last)));
    let events = script.events();
    assert!(
        matches!(events[..], [ClientEvent::Rewound { to: Seq(2), .. }]),
        "{events:?}"
    );
    assert_eq!(
        take_acknowledgement(script),
        None,
        "a position of the other log is not acknowledged"
    );
    assert!(
        saved(script).is_empty(),
        "after a crash, the next run reports the reset again"
    );
    let (request, _, asked) = script.take_page().expect("the log is read again");
    assert_eq!(asked.from, PageFrom::After(Seq(2)));
    script.outcome(request, Outcome::History(other_page(asked, common, last)));
    assert_eq!(script.seqs(), (3..=last).collect::<Vec<_>>());
}

#[test]
fn log_without_new_events_is_not_read() {
    let mut script = Script::online(config_at_five(), vec![group_info(5, 5)]);
    assert!(matches!(script.events()[..], [ClientEvent::CaughtUp]));
    script.drain();
    assert!(script.sent.is_empty(), "{:?}", script.sent);
    assert!(saved(&mut script).is_empty());
    script.event(6);
    assert_eq!(script.seqs(), [6], "the log is unchanged");
}

#[test]
fn page_of_the_same_log_delivers_new_events_only() {
    let mut script = Script::online(config_at_five(), vec![group_info(2, 7)]);
    assert_eq!(take_acknowledgement(&mut script), None, "the log is not verified yet");
    let (request, _, asked) = script.take_page().unwrap();
    assert_eq!(asked.from, PageFrom::After(Seq(4)));
    script.outcome(request, Outcome::History(page(asked, 7, 500)));
    assert_eq!(script.seqs(), [6, 7]);
    assert_eq!(
        take_acknowledgement(&mut script),
        Some(Seq(5)),
        "the server had not received this acknowledgement"
    );
    script.pass(SECOND);
    assert!(script.take_page().is_none());
}

#[test]
fn other_log_past_the_cursor_restarts_delivery() {
    let mut script = Script::online(config_at_five(), vec![other_group_info(2, 3, 8)]);
    assert_restarts(&mut script, 3, 8);
}

#[test]
fn other_log_ending_at_the_cursor_restarts_delivery() {
    let mut script = Script::online(config_at_five(), vec![other_group_info(2, 3, 5)]);
    assert_restarts(&mut script, 3, 5);
}

#[test]
fn other_log_is_found_after_a_reconnection() {
    let mut script = Script::online(config(), vec![group_info(0, 0)]);
    (1..=5).for_each(|seq| script.event(seq));
    assert_eq!(script.seqs().len(), 5);
    script.machine.disconnected(script.now);
    script.log_in(EPOCH, vec![other_group_info(2, 3, 9)]);
    assert_restarts(&mut script, 3, 9);
}

/// The log is shorter than what was delivered, so it may also have another event at the
/// acknowledged cursor. Delivery must not start there: the acknowledgement of the reset would save
/// that position without the identity of its event, so that no later run could notice that another
/// event is there.
#[test]
fn shorter_log_restarts_at_the_servers_cursor() {
    let mut script = Script::online(config(), vec![group_info(0, 0)]);
    (1..=9).for_each(|seq| script.event(seq));
    assert_eq!(script.seqs().len(), 9);
    script.acknowledge(5);
    script.pass(SECOND);
    script.machine.disconnected(script.now);
    script.sent.clear();
    script.log_in(EPOCH, vec![other_group_info(2, 3, 8)]);
    let events = script.events();
    assert!(
        matches!(events[..], [ClientEvent::Rewound { to: Seq(2), .. }]),
        "{events:?}"
    );
    let (request, _, asked) = script.take_page().expect("the log is read again");
    assert_eq!(asked.from, PageFrom::After(Seq(2)));
    script.outcome(request, Outcome::History(other_page(asked, 3, 8)));
    assert_eq!(script.seqs(), (3..=8).collect::<Vec<_>>());
}

#[test]
fn pushes_wait_until_the_log_is_verified() {
    let mut script = Script::online(config_at_five(), vec![group_info(2, 6)]);
    script.event(6);
    script.event(7);
    assert!(script.seqs().is_empty());
    let (request, _, asked) = script.take_page().unwrap();
    script.outcome(request, Outcome::History(page(asked, 6, 500)));
    assert_eq!(script.seqs(), [6, 7]);

    let mut script = Script::online(config_at_five(), vec![other_group_info(2, 3, 5)]);
    script.push(Push::Event(other_event(3, 6)));
    assert_restarts(&mut script, 3, 6);
}

#[test]
fn acknowledgement_before_a_reset_is_void() {
    let mut script = Script::online(config(), vec![group_info(0, 0)]);
    (1..=5).for_each(|seq| script.event(seq));
    assert_eq!(script.seqs().len(), 5);
    script.machine.disconnected(script.now);
    script.log_in(EPOCH, vec![other_group_info(2, 3, 6)]);
    script.acknowledge(4);
    script.pass(SECOND / 10);
    assert_eq!(take_acknowledgement(&mut script), None);
    script.actions.clear();
    assert_restarts(&mut script, 3, 6);
    // The application is slow and had not received the reset.
    script.acknowledge(5);
    script.pass(SECOND / 10);
    assert_eq!(take_acknowledgement(&mut script), None);
    let cursor = Cursor {
        seq: Seq(4),
        identity: Some(EventIdentity::from(&other_event(3, 4))),
    };
    script.machine.acknowledge(script.now, GROUP_ID, cursor, 1);
    script.pass(SECOND / 10);
    assert_eq!(take_acknowledgement(&mut script), Some(Seq(4)));
    assert_eq!(saved(&mut script).last(), Some(&cursor));
}

#[test]
fn server_cursor_at_the_checked_event_restarts_at_the_first_readable_event() {
    let mut info = other_group_info(5, 3, 8);
    info.first_seq = Seq(2);
    let mut script = Script::online(config_at_five(), vec![info]);
    let (request, _, asked) = script.take_page().unwrap();
    script.outcome(request, Outcome::History(other_page(asked, 3, 8)));
    let (_, _, asked) = script.take_page().unwrap();
    assert_eq!(asked.from, PageFrom::After(Seq(1)));
}

#[test]
fn log_without_the_event_at_the_cursor_is_trusted() {
    let mut script = Script::online(config_at_five(), vec![group_info(2, 9)]);
    let (request, _, asked) = script.take_page().unwrap();
    let mut answer = page(asked, 9, 500);
    answer.first_seq = Seq(8);
    answer.events.retain(|found| found.event.seq >= Seq(8));
    script.outcome(request, Outcome::History(answer));
    let events = script.events();
    assert!(
        matches!(
            events[0],
            ClientEvent::Truncated {
                from: Seq(6),
                to: Seq(7),
                ..
            }
        ),
        "{events:?}"
    );
    assert!(script.take_page().is_none());
}

#[test]
fn cursor_without_identity_is_trusted() {
    let mut config = config();
    config.cursors.insert(GROUP_ID, Seq(5).into());
    let mut script = Script::online(config, vec![group_info(2, 8)]);
    let (_, _, asked) = script.take_page().unwrap();
    assert_eq!(asked.from, PageFrom::After(Seq(5)));
}

#[test]
fn failed_page_leaves_the_log_unverified() {
    let mut script = Script::online(config_at_five(), vec![other_group_info(2, 3, 8)]);
    let (request, ..) = script.take_page().unwrap();
    script.refuse(request, crate::model::ReplyCode::TryAgain);
    script.push(Push::Event(other_event(3, 6)));
    assert!(script.seqs().is_empty());
    script.pass(SECOND);
    assert_restarts(&mut script, 3, 8);
}

#[test]
fn receive_nothing_neither_acknowledges_nor_reads_the_log() {
    let mut config = config_at_five();
    config.receive = Receive::Nothing;
    let mut script = Script::online(config, vec![other_group_info(2, 3, 8)]);
    assert_eq!(take_acknowledgement(&mut script), None);
    assert!(script.take_page().is_none());
}

/// Simulated server whose data can be copied and restored.
#[derive(Clone, Debug, Default)]
struct Server {
    /// For each event, the number of restores before the server wrote it.
    log: Vec<u8>,
    cursor: u64,
}

impl Server {
    fn last(&self) -> u64 {
        self.log.len() as u64
    }

    fn event(&self, seq: u64) -> Event {
        let restores = self.log[usize::try_from(seq).unwrap() - 1];
        let mut event = event(seq);
        event.id = EventId([restores; 16]);
        event.id.0[..8].copy_from_slice(&seq.to_be_bytes());
        event.time = Timestamp(i64::from(restores) * 1_000_000 + i64::try_from(seq).unwrap());
        event
    }

    fn group_info(&self) -> ConversationInfo {
        let last_time = if self.log.is_empty() {
            Timestamp(0)
        } else {
            self.event(self.last()).time
        };
        ConversationInfo {
            last_time,
            ..group_info(self.cursor, self.last())
        }
    }

    fn page(&self, asked: Page) -> HistoryPage {
        let PageFrom::After(after) = asked.from else {
            panic!("clients read forward")
        };
        let to = self.last().min(after.0 + 7);
        let events = (after.0 + 1..=to).map(|seq| HistoryEvent {
            event: self.event(seq),
            edited_text: None,
        });
        HistoryPage {
            conversation: GROUP_ID,
            events: events.collect(),
            has_more: to < self.last(),
            first_seq: Seq(1),
            last_seq: Seq(self.last()),
        }
    }
}

/// Application that keeps the delivered events, and forgets those after the position of a reset.
#[derive(Debug, Default)]
struct Application {
    log: BTreeMap<u64, EventId>,
    resets: u64,
    /// Cursors that the client has saved.
    cursors: BTreeMap<crate::model::ConversationId, Cursor>,
}

impl Application {
    /// Takes all events. Acknowledges resets, and those events of the log that are not among the
    /// last `unacknowledged`.
    fn take(&mut self, script: &mut Script, unacknowledged: usize) {
        let events = script.events();
        let acknowledged = events.len().saturating_sub(unacknowledged);
        for (at, event) in events.into_iter().enumerate() {
            match event {
                ClientEvent::Rewound { to, .. } => {
                    self.resets += 1;
                    self.log.split_off(&to.next().0);
                    script.machine.acknowledge(script.now, GROUP_ID, to.into(), self.resets);
                }
                ClientEvent::Event(delivery) => {
                    self.log.insert(delivery.seq().0, delivery.event.event.id);
                    if at < acknowledged {
                        let cursor = delivery.cursor();
                        script.machine.acknowledge(script.now, GROUP_ID, cursor, self.resets);
                    }
                }
                _ => {}
            }
        }
    }
}

/// Step of a simulation of a server, a client and its application.
#[derive(Clone, Debug)]
enum Step {
    /// The server appends events, and pushes them to the client if `pushed`.
    Appends {
        events: u8,
        pushed: bool,
    },
    /// The operator copies the server's data.
    IsCopied,
    /// The operator restores the copy, and the server then appends `grows` events.
    IsRestored {
        grows: u8,
    },
    ConnectionBreaks,
    /// The client starts again with its saved cursors.
    ClientRestarts,
    /// The server answers the client's requests.
    Answers,
    /// The application takes all events. It acknowledges resets, and those events of the log that
    /// are not among the last `unacknowledged`.
    Takes {
        unacknowledged: usize,
    },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (1..6_u8, any::<bool>()).prop_map(|(events, pushed)| Step::Appends { events, pushed }),
        1 => Just(Step::IsCopied),
        2 => (0..12_u8).prop_map(|grows| Step::IsRestored { grows }),
        1 => Just(Step::ConnectionBreaks),
        1 => Just(Step::ClientRestarts),
        4 => Just(Step::Answers),
        4 => (0..4_usize).prop_map(|unacknowledged| Step::Takes { unacknowledged }),
    ];
    prop::collection::vec(step, 1..80)
}

/// Answers the client's requests, and saves the cursors that the machine asks to save.
fn answer(script: &mut Script, server: &mut Server, app: &mut Application) {
    while let Some((request, _, asked)) = script.take_page() {
        script.outcome(request, Outcome::History(server.page(asked)));
    }
    while let Some(seq) = take_acknowledgement(script) {
        assert!(seq.0 <= server.last());
        server.cursor = server.cursor.max(seq.0);
    }
    if let Some(ping) = script.try_take(|kind| matches!(kind, RequestKind::Ping)) {
        script.machine.incoming(
            script.now,
            Incoming::Reply {
                request_id: ping.id,
                result: Ok(Answer::Pong(Timestamp(1))),
            },
        );
    }
    script.drain();
    for action in script.actions.drain(..) {
        if let Action::SaveCursors(cursors) = action {
            app.cursors.extend(cursors);
        }
    }
}

/// Breaks the connection, if there is one, logs in, and answers the requests of the new session.
fn reconnect(script: &mut Script, server: &mut Server, app: &mut Application) {
    script.machine.disconnected(script.now);
    script.sent.clear();
    script.log_in(EPOCH, vec![server.group_info()]);
    answer(script, server, app);
}

proptest! {
    #[test]
    fn logs_are_never_mixed(steps in steps()) {
        let (mut server, mut copy, mut restores) = (Server::default(), Server::default(), 0);
        let mut app = Application::default();
        let mut script = Script::online(config(), vec![server.group_info()]);
        for step in steps {
            match step {
                Step::Appends { events, pushed } => for _ in 0..events {
                    server.log.push(restores);
                    if pushed {
                        script.push(Push::Event(server.event(server.last())));
                    }
                },
                Step::IsCopied => copy = server.clone(),
                Step::IsRestored { grows } => {
                    server = copy.clone();
                    restores += 1;
                    server.log.extend((0..grows).map(|_| restores));
                    reconnect(&mut script, &mut server, &mut app);
                }
                Step::ConnectionBreaks => reconnect(&mut script, &mut server, &mut app),
                Step::ClientRestarts => {
                    // Events that were delivered but not acknowledged are delivered again.
                    answer(&mut script, &mut server, &mut app);
                    let kept = app.cursors.get(&GROUP_ID).map_or(Seq::ZERO, |cursor| cursor.seq);
                    app.log.split_off(&kept.next().0);
                    script = Script::new(MachineConfig { cursors: app.cursors.clone(), ..config() });
                    app.resets = 0;
                    reconnect(&mut script, &mut server, &mut app);
                }
                Step::Answers => answer(&mut script, &mut server, &mut app),
                Step::Takes { unacknowledged } => app.take(&mut script, unacknowledged),
            }
            script.pass(Duration::from_millis(150));
        }
        server.log.push(restores);
        reconnect(&mut script, &mut server, &mut app);
        for _ in 0..200 {
            script.pass(SECOND);
            answer(&mut script, &mut server, &mut app);
            app.take(&mut script, 0);
        }
        for (seq, id) in &app.log {
            prop_assert_eq!(*id, server.event(*seq).id, "the event at {} is from another log", seq);
        }
        let delivered: Vec<u64> = app.log.keys().copied().collect();
        prop_assert_eq!(delivered, (1..=server.last()).collect::<Vec<_>>());
    }
}
