//! Beacons: every node says each second that it is there, and repeats what it rang. Who does not hear them looks for itself.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::envelope::{Content, Doorbell, MAX_REPEATED};
use super::{Shared, repair};
use crate::bus::{MessageBus, Topic};
use crate::model::{CloseCode, ConversationId, NodeId, Seq, UserId};

/// Clean beacons of its own after which a node trusts the bus again.
const CLEAN_BEACONS: u32 = 3;

/// What this node rang lately, to be repeated.
#[derive(Debug)]
pub(super) struct Recent {
    keep: Duration,
    rung: Mutex<Rung>,
}

#[derive(Debug, Default)]
struct Rung {
    doorbells: HashMap<ConversationId, (Seq, Instant)>,
    places: HashMap<(UserId, ConversationId), Instant>,
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
        if rung.doorbells.len() < MAX_REPEATED || rung.doorbells.contains_key(&doorbell.conversation) {
            rung.doorbells
                .insert(doorbell.conversation, (doorbell.last_seq, Instant::now()));
        } else {
            rung.overflowed = Some(Instant::now());
        }
    }

    pub(super) fn placed(&self, user: UserId, conversation: ConversationId) {
        let mut rung = self.rung();
        if rung.places.len() < MAX_REPEATED {
            rung.places.insert((user, conversation), Instant::now());
        } else {
            rung.overflowed = Some(Instant::now());
        }
    }

    /// What the next beacon says; forgets what was repeated long enough.
    fn repeat(&self, number: u64) -> Content {
        let fresh = |at: Instant| at.elapsed() <= self.keep;
        let mut rung = self.rung();
        rung.doorbells.retain(|_, (_, at)| fresh(*at));
        rung.places.retain(|_, at| fresh(*at));
        rung.overflowed = rung.overflowed.filter(|at| fresh(*at));
        let doorbell = |(conversation, (last_seq, _)): (&ConversationId, &(Seq, Instant))| Doorbell {
            conversation: *conversation,
            last_seq: *last_seq,
        };
        Content::Beacon {
            number,
            doorbells: rung.doorbells.iter().map(doorbell).collect(),
            places: rung.places.keys().copied().collect(),
            overflowed: rung.overflowed.is_some(),
        }
    }

    fn rung(&self) -> MutexGuard<'_, Rung> {
        self.rung.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whom this node hears.
#[derive(Clone, Debug, Default)]
pub(super) struct Heard(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    ears: Mutex<Ears>,
    sweep: Notify,
}

#[derive(Debug, Default)]
struct Ears {
    own: Option<Instant>,
    clean: u32,
    others: HashMap<NodeId, Other>,
}

#[derive(Debug)]
struct Other {
    incarnation: u64,
    number: u64,
    at: Instant,
}

impl Heard {
    /// A beacon was heard. One that does not follow the node's last means that others were lost, or that its life began anew.
    pub(super) fn beacon(&self, node: NodeId, incarnation: u64, number: u64, own: bool) {
        let now = Instant::now();
        let mut ears = self.ears();
        if own {
            ears.own = Some(now);
            ears.clean = ears.clean.saturating_add(1);
            return;
        }
        let news = Other {
            incarnation,
            number,
            at: now,
        };
        let follows = ears.others.insert(node, news).is_some_and(|other| {
            // Two lost in a row are repeated by the third.
            other.incarnation == incarnation && number.saturating_sub(other.number) <= 3
        });
        drop(ears);
        if !follows {
            self.ask_for_sweep();
        }
    }

    /// Something may have been missed: compare everything with the store.
    pub(super) fn ask_for_sweep(&self) {
        self.0.sweep.notify_one();
    }

    /// Forgets nodes that have fallen silent; whether there were any.
    fn silenced(&self, silence: Duration) -> bool {
        let mut ears = self.ears();
        let before = ears.others.len();
        ears.others.retain(|_, other| other.at.elapsed() <= silence);
        ears.others.len() < before
    }

    /// Whether the own beacon is not heard: then nothing is.
    fn deaf(&self, since: Instant, silence: Duration) -> bool {
        let mut ears = self.ears();
        let last = ears.own.unwrap_or(since);
        if last.elapsed() > silence {
            ears.clean = 0;
        }
        last.elapsed() > silence || (ears.clean < CLEAN_BEACONS && since.elapsed() > silence)
    }

    fn ears(&self) -> MutexGuard<'_, Ears> {
        self.0.ears.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Publishes what is queued. A failure is repaired by the next beacon that gets through.
pub(super) async fn publish(bus: Arc<dyn MessageBus>, mut queue: mpsc::Receiver<(Topic, Bytes)>) {
    let mut failing = false;
    while let Some((topic, envelope)) = queue.recv().await {
        match bus.publish(topic, envelope).await {
            Ok(()) => failing = false,
            Err(error) if !failing => {
                failing = true;
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "the bus does not take what happens here"
                );
            }
            Err(_) => {}
        }
    }
}

/// Sends beacons and sweeps.
pub(super) async fn run(shared: Arc<Shared>, heard: Heard) {
    let Some(link) = &shared.link else { return };
    let config = &shared.config;
    let started = Instant::now();
    let mut beacons = interval(config.beacon_interval);
    beacons.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut number = 0_u64;
    let mut next_sweep = started + jittered(config.sweep_interval);
    loop {
        // Beacons first: others take their absence for death.
        let sweep = tokio::select! {
            biased;
            _ = beacons.tick() => {
                number += 1;
                link.send(Topic::Control, shared.writer.write(link.recent.repeat(number)));
                let deaf = heard.deaf(started, config.silence);
                if deaf {
                    next_sweep = next_sweep.min(Instant::now() + config.poll_interval);
                }
                heard.silenced(config.silence) || Instant::now() >= next_sweep
            }
            () = heard.0.sweep.notified() => true,
        };
        if sweep {
            next_sweep = Instant::now() + jittered(config.sweep_interval);
            sweep_all(&shared).await;
        }
    }
}

/// Two thirds to four thirds of `interval`, so that nodes do not sweep together.
fn jittered(interval: Duration) -> Duration {
    let random = uuid::Uuid::new_v4().as_u128() % 1000;
    interval.mul_f64(2.0 / 3.0 + random as f64 / 1500.0)
}

/// Compares everything followed here with the store.
async fn sweep_all(shared: &Shared) {
    let compared = shared.compare_with_store(&shared.registry.conversations()).await;
    let mut result = compared;
    for user in shared.registry.users() {
        if result.is_err() {
            break;
        }
        result = repair::close_fenced(shared, user, CloseCode::Replaced).await;
    }
    if let Err(error) = result {
        tracing::warn!(
            error = &error as &dyn std::error::Error,
            "cannot compare with the store"
        );
    }
}
