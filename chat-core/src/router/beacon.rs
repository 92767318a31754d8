//! Beacons: every node says each second that it is there, and repeats what it rang. Who does not hear them looks for itself.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::envelope::{Content, Doorbell, MAX_REPEATED};
use super::{RouterConfig, Shared};
use crate::bus::Topic;
use crate::model::{CloseCode, ConversationId, NodeId, Seq, UserId};

/// Clean beacons of its own after which a node trusts the bus again.
const CLEAN_BEACONS: u32 = 3;
/// Most conversations, most users and most logins of the last seconds that are repeated. Of more, the others are told to look at
/// everything.
const REMEMBERED: usize = 16 * MAX_REPEATED;
/// Most nodes that are listened to; more are forged.
const MAX_NODES: usize = 4096;

/// What this node rang lately, to be repeated.
#[derive(Debug)]
pub(super) struct Recent {
    keep: Duration,
    rung: Mutex<Rung>,
}

#[derive(Debug, Default)]
struct Rung {
    doorbells: HashMap<ConversationId, (Seq, Instant)>,
    places: HashMap<(UserId, ConversationId), ((), Instant)>,
    logins: HashMap<UserId, (CloseCode, Instant)>,
    overflowed: Option<Instant>,
}

impl Recent {
    pub(super) fn new(keep: Duration) -> Self {
        Self {
            keep,
            rung: Mutex::default(),
        }
    }

    pub(super) fn rang(&self, doorbell: Doorbell) {
        let mut rung = self.rung();
        let full = !remember(&mut rung.doorbells, doorbell.conversation, doorbell.last_seq);
        rung.note(full);
    }

    pub(super) fn placed(&self, user: UserId, conversation: ConversationId) {
        let mut rung = self.rung();
        let full = !remember(&mut rung.places, (user, conversation), ());
        rung.note(full);
    }

    pub(super) fn logins_changed(&self, user: UserId, code: CloseCode) {
        let mut rung = self.rung();
        let full = !remember(&mut rung.logins, user, code);
        rung.note(full);
    }

    /// Something else has to be looked for, nobody knows where.
    pub(super) fn lost(&self) {
        self.rung().note(true);
    }

    /// What the next beacon says, in as many envelopes as it takes; forgets what was repeated long enough.
    fn repeat(&self, number: u64) -> Vec<Content> {
        let mut rung = self.rung();
        let mut doorbells = fresh(&mut rung.doorbells, self.keep)
            .into_iter()
            .map(|(conversation, last_seq)| Doorbell { conversation, last_seq });
        let mut places = fresh(&mut rung.places, self.keep).into_iter().map(|(place, ())| place);
        let mut logins = fresh(&mut rung.logins, self.keep).into_iter();
        rung.overflowed = rung.overflowed.filter(|at| at.elapsed() <= self.keep);
        let overflowed = rung.overflowed.is_some();
        drop(rung);
        let mut contents = Vec::with_capacity(1);
        loop {
            contents.push(Content::Beacon {
                number,
                doorbells: doorbells.by_ref().take(MAX_REPEATED).collect(),
                places: places.by_ref().take(MAX_REPEATED).collect(),
                logins: logins.by_ref().take(MAX_REPEATED).collect(),
                overflowed,
            });
            if doorbells.len() + places.len() + logins.len() == 0 {
                return contents;
            }
        }
    }

    fn rung(&self) -> MutexGuard<'_, Rung> {
        self.rung.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Rung {
    fn note(&mut self, full: bool) {
        if full {
            self.overflowed = Some(Instant::now());
        }
    }
}

/// `false` if there is no room.
fn remember<K: Eq + Hash, V>(map: &mut HashMap<K, (V, Instant)>, key: K, value: V) -> bool {
    let room = map.len() < REMEMBERED || map.contains_key(&key);
    if room {
        map.insert(key, (value, Instant::now()));
    }
    room
}

fn fresh<K: Copy + Eq + Hash, V: Copy>(map: &mut HashMap<K, (V, Instant)>, keep: Duration) -> Vec<(K, V)> {
    map.retain(|_, (_, at)| at.elapsed() <= keep);
    map.iter().map(|(key, (value, _))| (*key, *value)).collect()
}

/// Whom this node hears.
#[derive(Debug, Default)]
pub(super) struct Heard {
    ears: Mutex<Ears>,
    sweep: Notify,
}

#[derive(Debug, Default)]
struct Ears {
    own: Option<(u64, Instant)>,
    /// Own beacons heard one after the other.
    clean: u32,
    others: HashMap<NodeId, Other>,
    /// Since when nodes that are said to be there are.
    expected: HashMap<NodeId, Instant>,
}

#[derive(Debug)]
struct Other {
    incarnation: u64,
    number: u64,
    at: Instant,
}

/// How much the bus is worth.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Judgement {
    /// The own beacon is not heard, or not for long: then nothing is.
    deaf: bool,
    /// A node that is there missed a beacon: what it rang since may be lost.
    unheard: bool,
    /// A node that has been there for a while is not heard.
    mute: bool,
    /// A node that was heard is heard no more.
    silenced: bool,
}

impl Heard {
    /// A beacon was heard. One that does not follow the node's last means that others were lost, or that its life began anew.
    pub(super) fn beacon(&self, config: &RouterConfig, node: NodeId, incarnation: u64, number: u64, own: bool) {
        let now = Instant::now();
        let mut ears = self.ears();
        if own {
            let parts = ears.own.is_some_and(|(last, _)| last == number);
            ears.clean = ears.clean.saturating_add(u32::from(!parts));
            ears.own = Some((number, now));
            return;
        }
        if ears.others.len() >= MAX_NODES && !ears.others.contains_key(&node) {
            return;
        }
        let news = Other {
            incarnation,
            number,
            at: now,
        };
        let follows = ears.others.insert(node, news).is_some_and(|other| {
            other.incarnation == incarnation && number.saturating_sub(other.number) <= config.spare_beacons()
        });
        drop(ears);
        if !follows {
            self.ask_for_sweep();
        }
    }

    /// Something may have been missed: compare everything with the store.
    pub(super) fn ask_for_sweep(&self) {
        self.sweep.notify_one();
    }

    /// Waits until something may have been missed.
    pub(super) async fn sweep_asked(&self) {
        self.sweep.notified().await;
    }

    /// Judges the bus by who is heard, given who is said to be there.
    fn judge(&self, started: Instant, silence: Duration, nodes: &HashSet<NodeId>) -> Judgement {
        let now = Instant::now();
        let mut ears = self.ears();
        let ears = &mut *ears;

        let last = ears.own.map_or(started, |(_, at)| at);
        if last.elapsed() > silence {
            ears.clean = 0;
        }
        let deaf = started.elapsed() > silence && ears.clean < CLEAN_BEACONS;

        let heard = ears.others.len();
        ears.others.retain(|_, other| other.at.elapsed() <= silence);
        let silenced = ears.others.len() < heard;

        ears.expected.retain(|node, _| nodes.contains(node));
        let (mut unheard, mut mute) = (false, false);
        for node in nodes {
            let since = *ears.expected.entry(*node).or_insert(now);
            let other = ears.others.get(node);
            unheard |= other.is_none_or(|other| other.at.elapsed() > silence / 2);
            mute |= other.is_none() && since.elapsed() > silence;
        }
        Judgement {
            deaf,
            unheard,
            mute,
            silenced,
        }
    }

    fn ears(&self) -> MutexGuard<'_, Ears> {
        self.ears.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Sends beacons, and listens to who else does. Waits for nothing else, because others take its silence for death.
pub(super) async fn run(shared: Arc<Shared>) {
    let config = &shared.config;
    let started = Instant::now();
    let mut beacons = interval(config.heartbeat_interval);
    beacons.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut was = Judgement::default();
    for number in 1_u64.. {
        beacons.tick().await;
        let nodes = shared.other_nodes();
        let is = match &shared.link {
            Some(link) => {
                for content in link.recent.repeat(number) {
                    link.beacons.send(Topic::Control, shared.writer.write(content));
                }
                shared.heard.judge(started, config.peer_timeout, &nodes)
            }
            // Nobody is ever heard.
            None => Judgement {
                mute: !nodes.is_empty(),
                ..Judgement::default()
            },
        };
        if is.deaf != was.deaf || is.mute != was.mute {
            tell(is, shared.link.is_some());
        }
        if is.deaf || is.mute || is.silenced {
            shared.heard.ask_for_sweep();
        } else if is.unheard {
            shared.fresh.add_all(shared.registry.conversations());
        }
        was = is;
    }
}

fn tell(is: Judgement, has_bus: bool) {
    match (is.deaf, is.mute) {
        (true, _) => tracing::warn!("this node does not hear itself on the bus: asking the store every so often"),
        (_, true) if has_bus => tracing::warn!("a node is not heard on the bus: asking the store every so often"),
        (_, true) => {
            tracing::warn!("another node works on this store, and there is no bus: asking the store every so often")
        }
        (false, false) if has_bus => tracing::info!("the bus is trusted again"),
        (false, false) => tracing::info!("no other node works on this store any more"),
    }
}
