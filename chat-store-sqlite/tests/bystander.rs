//! Measures whether users who list their conversations in a loop delay other users. Slow and
//! sensitive to other load, so `scripts/test-slow` runs it, in release mode.

#![allow(clippy::unwrap_used)] // these are tests

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chat_core::commands::Commands;
use chat_core::engine::{Engine, EngineConfig, LocalSession};
use chat_core::model::{Command, ConversationQuery, ConversationRef, DeviceId, Page, UserId, UserRef};
use chat_core::rate::Rate;
use chat_core::testkit::store::{create_direct_conversations, register};
use chat_store_sqlite::{Options, SqliteStore};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Number of users who list their conversations in a loop.
const LOOPING_USERS: u64 = 3;
/// Number of devices of each looping user.
const DEVICES_PER_USER: usize = 4;
/// Number of lists that a device of a looping user has in flight.
const LISTS_PER_DEVICE: usize = 16;
/// Number of conversations of each looping user.
const CONVERSATIONS_PER_USER: u64 = 500;

/// Number of users whose sends and reads are measured. They take turns, so that none of them
/// exceeds the rate of reads.
const BYSTANDERS: u64 = 16;

/// A measurement in pairs of rounds. In the first round of a pair, the looping users do nothing; in
/// the second, they list.
struct Case {
    name: &'static str,
    /// Rate of reads, instead of the default.
    read_rate: Option<Rate>,
    /// True if the looping users have not read anything before the second round of a pair, so that
    /// their rates allow a burst at its start.
    is_burst: bool,
    pairs: usize,
    /// Duration of a round.
    round: Duration,
    max: Maximum,
}

/// Value that each pair of rounds yields for the sends and for the reads of the bystanders, with
/// the maximum of its median over the pairs.
#[derive(Clone, Copy)]
enum Maximum {
    /// The ratio of the 99th percentile of the durations in the second round to that in the first.
    P99Ratio(f64),
    /// The 99th percentile of the durations in the second round, in seconds.
    P99Seconds(f64),
}

const CASES: [Case; 3] = [
    Case {
        name: "default rate",
        read_rate: None,
        is_burst: false,
        pairs: 31,
        round: Duration::from_secs(1),
        max: Maximum::P99Ratio(1.2),
    },
    Case {
        name: "first seconds",
        read_rate: None,
        is_burst: true,
        pairs: 15,
        round: Duration::from_secs(5),
        max: Maximum::P99Ratio(1.2),
    },
    // No rate limits the looping users here, so only the rule that one query of a user at a time
    // reads the store protects the bystanders. The looping users keep the two reader threads of the
    // store busy all the time, so a bystander waits for a thread and for a processor.
    Case {
        name: "without a rate",
        read_rate: Some(Rate::UNLIMITED),
        is_burst: false,
        pairs: 7,
        round: Duration::from_secs(2),
        max: Maximum::P99Seconds(0.1),
    },
];

/// Lists conversations while `is_active`, and drops the list in flight when that ends. Refused
/// lists are repeated when the refusal allows it.
async fn list_in_a_loop(session: Arc<LocalSession>, mut is_active: watch::Receiver<bool>) {
    let mut active = is_active.clone();
    while active.wait_for(|active| *active).await.is_ok() {
        let list = async {
            if let Err(error) = session
                .execute(Command::ListConversations(ConversationQuery::default()))
                .await
            {
                tokio::time::sleep(error.retry_after.unwrap_or_default()).await;
            }
        };
        tokio::select! {
            () = list => {}
            stopped = is_active.wait_for(|active| !active) => drop(stopped),
        }
    }
}

/// An engine with the sessions of the bystanders and the tasks of the looping users.
struct Running {
    engine: Engine,
    sessions: Vec<LocalSession>,
    /// True while the looping users list their conversations.
    activity: watch::Sender<bool>,
    _tasks: JoinSet<()>,
}

/// Starts the looping users, whose tasks end when the set is dropped.
async fn start_looping(engine: &Engine, users: &[UserId], activity: &watch::Sender<bool>) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    for user in users {
        for device in 0..DEVICES_PER_USER {
            let session = engine.session(*user, DeviceId([device as u8 + 1; 16])).await.unwrap();
            let session = Arc::new(session);
            for _ in 0..LISTS_PER_DEVICE {
                tasks.spawn(list_in_a_loop(Arc::clone(&session), activity.subscribe()));
            }
        }
    }
    tasks
}

/// Sends messages and reads pages for `round`, as each of the sessions in turn. Returns the 99th
/// percentiles of the durations of the sends and of the reads.
async fn measure(sessions: &[LocalSession], round: Duration) -> [Duration; 2] {
    let mut durations = [Vec::new(), Vec::new()];
    let started = Instant::now();
    let mut sessions = sessions.iter().cycle();
    while started.elapsed() < round {
        let session = sessions.next().unwrap();
        let notes = ConversationRef::Direct(UserRef::Id(session.caller().user));
        durations[0].push(timed(session.send_text(notes.clone(), "note")).await);
        durations[1].push(timed(session.history(notes.clone(), Page::newest(50))).await);
    }
    durations.map(|mut durations| {
        durations.sort_unstable();
        durations[durations.len() * 99 / 100]
    })
}

async fn timed<T>(work: impl Future<Output = T>) -> Duration {
    let started = Instant::now();
    work.await;
    started.elapsed()
}

/// Runs the pairs of rounds of a case. Returns the medians, for sends and for pages, of the value
/// that [`Case::max`] limits.
async fn run(case: &Case, store: &Arc<SqliteStore>, bystanders: &[UserId], looping: &[UserId]) -> [f64; 2] {
    let mut config = EngineConfig::default();
    // The bystanders send and read as fast as the store answers.
    (config.page_rate, config.message_rate_per_user) = (Rate::UNLIMITED, Rate::UNLIMITED);
    config.read_rate = case.read_rate.unwrap_or(config.read_rate);
    let start = async || {
        let engine = Engine::builder(store.clone())
            .config(config.clone())
            .build()
            .await
            .unwrap();
        let mut sessions = Vec::new();
        for bystander in bystanders {
            sessions.push(engine.session(*bystander, DeviceId::random()).await.unwrap());
        }
        let activity = watch::Sender::new(false);
        let tasks = start_looping(&engine, looping, &activity).await;
        Running {
            engine,
            sessions,
            activity,
            _tasks: tasks,
        }
    };
    let mut measured = [Vec::new(), Vec::new()];
    let mut running = start().await;
    if !case.is_burst {
        running.activity.send_replace(true);
        // Uses up the burst.
        measure(&running.sessions, Duration::from_secs(10)).await;
        running.activity.send_replace(false);
    }
    for _ in 0..case.pairs {
        let Running { sessions, activity, .. } = &running;
        // Warms caches up. Meanwhile, the store ends the lists that it was still reading.
        measure(sessions, Duration::from_millis(200)).await;
        let alone = measure(sessions, case.round).await;
        activity.send_replace(true);
        let beside = measure(sessions, case.round).await;
        activity.send_replace(false);
        println!("{}: alone {alone:.1?}, beside {beside:.1?}", case.name);
        for (values, (alone, beside)) in measured.iter_mut().zip(alone.iter().zip(&beside)) {
            values.push(match case.max {
                Maximum::P99Ratio(_) => beside.as_secs_f64() / alone.as_secs_f64(),
                Maximum::P99Seconds(_) => beside.as_secs_f64(),
            });
        }
        if case.is_burst {
            running.engine.shutdown().await;
            running = start().await;
        }
    }
    running.engine.shutdown().await;
    // Other load of the machine changes from round to round, so the median of many pairs is taken.
    measured.map(|mut values| {
        values.sort_unstable_by(f64::total_cmp);
        values[values.len() / 2]
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "slow; scripts/test-slow runs it"]
async fn users_who_list_in_a_loop_hardly_delay_bystanders() {
    let directory = tempfile::tempdir().unwrap();
    let store = Arc::new(SqliteStore::open(directory.path(), Options::default()).await.unwrap());
    let mut bystanders = Vec::new();
    for n in 0..BYSTANDERS {
        bystanders.push(register(&*store, format!("bystander-{n}")).await);
    }
    let mut looping = Vec::new();
    for n in 0..LOOPING_USERS {
        let user = register(&*store, format!("looping-{n}")).await;
        create_direct_conversations(&*store, user, CONVERSATIONS_PER_USER).await;
        looping.push(user);
    }
    let mut exceeded = Vec::new();
    for case in &CASES {
        let [sends, pages] = run(case, &store, &bystanders, &looping).await;
        println!("{}: sends {sends:.3}, pages {pages:.3}", case.name);
        let (Maximum::P99Ratio(max) | Maximum::P99Seconds(max)) = case.max;
        if sends.max(pages) > max {
            exceeded.push((case.name, sends, pages));
        }
    }
    assert!(exceeded.is_empty(), "{exceeded:.2?}");
}
