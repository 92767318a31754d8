//! Test with random delays of replies: what a reply says may be older than pushes that arrived
//! before it.

use std::time::Duration;

use proptest::prelude::*;

use super::script::*;
use crate::client::ClientEvent;
use crate::codec::{Request, RequestKind};
use crate::model::{Command, ConversationPage, Outcome, Push, Seq};

/// Step of the test.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// The server appends an event and pushes it.
    Push,
    /// The server appends an event, and pushes only that the log has grown.
    Behind,
    /// The server reads the store for one of the requests that it has received.
    Read(usize),
    /// The server answers one of the requests for which it has read the store.
    Answer(usize),
    /// The application takes the events that wait for it.
    Take,
    /// The connection breaks, and the client logs in again.
    Reconnect {
        /// True if the reply to the login lists the group; otherwise a page of the list does.
        lists_group: bool,
    },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => Just(Step::Push),
        1 => Just(Step::Behind),
        4 => any::<usize>().prop_map(Step::Read),
        4 => any::<usize>().prop_map(Step::Answer),
        2 => Just(Step::Take),
        1 => any::<bool>().prop_map(|lists_group| Step::Reconnect { lists_group }),
    ];
    prop::collection::vec(step, 1..60)
}

/// A client, and a server with one group.
struct Pair {
    script: Script,
    /// Last event of the group.
    last: u64,
    /// Requests for which the server has read the store, each with the last event at that time.
    read: Vec<(Request, u64)>,
    /// Events that the application has received.
    received: Vec<u64>,
}

impl Pair {
    fn new() -> Self {
        let mut pair = Self {
            script: Script::new(config()),
            last: 1,
            read: Vec::new(),
            received: Vec::new(),
        };
        pair.script.log_in_with(Vec::new(), true);
        pair
    }

    fn run(&mut self, step: Step) {
        match step {
            Step::Push => {
                self.last += 1;
                self.script.event(self.last);
            }
            Step::Behind => {
                self.last += 1;
                self.script.push(Push::Behind {
                    conversation: GROUP_ID,
                    last_seq: Seq(self.last),
                });
            }
            Step::Read(which) => {
                self.script.drain();
                let sent = self.script.sent.len();
                if sent > 0 {
                    let request = self.script.sent.remove(which % sent);
                    self.read.push((request, self.last));
                }
            }
            Step::Answer(which) => {
                let read = self.read.len();
                if read > 0 {
                    let (request, last) = self.read.remove(which % read);
                    self.answer(request, last);
                }
            }
            Step::Take => self.take(),
            Step::Reconnect { lists_group } => {
                self.script.machine.disconnected(self.script.now);
                self.script.drain();
                self.script.sent.clear();
                self.read.clear();
                let listed = lists_group.then(|| group_info(0, self.last));
                self.script.log_in_with(listed.into_iter().collect(), true);
            }
        }
    }

    fn answer(&mut self, request: Request, last: u64) {
        let outcome = match request.kind {
            RequestKind::Command(Command::ListConversations(_)) => {
                Outcome::Conversations(ConversationPage::new(vec![group_info(0, last)]))
            }
            RequestKind::Command(Command::GetConversation(_)) => Outcome::Conversation(Box::new(group_info(0, last))),
            RequestKind::Command(Command::ReadHistory { page: asked, .. }) => Outcome::History(page(asked, last, 500)),
            _ => return,
        };
        self.script.outcome(request.id, outcome);
    }

    fn take(&mut self) {
        for event in self.script.events() {
            match event {
                ClientEvent::Event(delivery) => self.received.push(delivery.seq().0),
                ClientEvent::Rewound { .. } => panic!("the log was not rewound"),
                _ => {}
            }
        }
    }

    /// Answers a request each second, and continues for longer than any delay of the client.
    fn catch_up(&mut self) {
        for _ in 0..120 {
            self.script.pass(Duration::from_secs(1));
            self.take();
            self.run(Step::Read(0));
            self.run(Step::Answer(0));
        }
    }
}

proptest! {
    #[test]
    fn events_are_delivered_once_and_in_order_whatever_is_late(steps in steps()) {
        let mut pair = Pair::new();
        for step in steps {
            pair.run(step);
        }
        pair.catch_up();
        prop_assert_eq!(pair.received, (1..=pair.last).collect::<Vec<_>>());
    }
}
