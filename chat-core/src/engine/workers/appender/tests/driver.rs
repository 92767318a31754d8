//! Tests of the driver over fake ports: panics and shutdown.

use std::collections::VecDeque;
use std::sync::Mutex;

use futures_util::future::BoxFuture;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::engine::workers::appender::driver::{Driver, Ports};

/// [`Ports`] that store drafts in a list, and that panic where a test has asked for it.
#[derive(Clone, Default)]
struct FakePorts(Arc<FakeState>);

#[derive(Default)]
struct FakeState {
    /// Numbers of the stored drafts.
    stored: Mutex<Vec<u32>>,
    /// Function that has to panic, and the number of its calls that succeed before.
    panic_in: Mutex<Option<(Call, usize)>>,
    /// If set, each commit waits for a permit of this semaphore.
    gate: Mutex<Option<Arc<Semaphore>>>,
    /// Number of running commits.
    running_commits: Mutex<usize>,
}

/// Function of [`Ports`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Call {
    Cached,
    Start,
}

impl FakePorts {
    /// Makes one call of a function panic, once `after` more of its calls have succeeded.
    fn panic_at(&self, call: Call, after: usize) {
        *self.0.panic_in.lock().unwrap() = Some((call, after));
    }

    /// Counts a call, and panics if a test has asked for it.
    fn called(&self, call: Call) {
        let mut panic_in = self.0.panic_in.lock().unwrap();
        match &mut *panic_in {
            Some((at, 0)) if *at == call => {
                *panic_in = None;
                drop(panic_in);
                panic!("a deliberate panic of a port");
            }
            Some((at, after)) if *at == call => *after -= 1,
            _ => {}
        }
    }
}

impl Ports for FakePorts {
    fn cached(&self, user: UserId, conversation: &ConversationRef) -> Option<FoundConversation> {
        self.called(Call::Cached);
        cached(user, conversation)
    }

    fn start(&self, work: Work) -> BoxFuture<'static, Done> {
        self.called(Call::Start);
        let fake = Arc::clone(&self.0);
        Box::pin(async move {
            match work {
                Work::Prepare(preparation) => Done::Prepared {
                    sender: preparation.sender,
                    result: Ok((found(id_of(&preparation.conversation)), None)),
                },
                Work::Commit { found, drafts, .. } => {
                    {
                        let mut running = fake.running_commits.lock().unwrap();
                        assert_eq!(*running, 0, "two transactions at a time");
                        *running += 1;
                    }
                    let gate = fake.gate.lock().unwrap().clone();
                    if let Some(gate) = gate {
                        gate.acquire().await.unwrap().forget();
                    }
                    *fake.running_commits.lock().unwrap() -= 1;
                    let mut stored = fake.stored.lock().unwrap();
                    let store = |draft: &QueuedDraft| {
                        let duplicate = stored.contains(&number(draft));
                        if !duplicate {
                            stored.push(number(draft));
                        }
                        Ok(appended(found.id, duplicate))
                    };
                    Done::Committed {
                        conversation: found.id,
                        result: Ok(drafts.iter().map(store).collect()),
                    }
                }
                Work::Run { found, change } => Done::Ran {
                    conversation: found.id,
                    result: change(found).await,
                },
            }
        })
    }
}

/// A driver that runs in a task.
struct RunningDriver {
    ports: FakePorts,
    queue: Arc<AppendQueue>,
    draining: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

impl RunningDriver {
    fn start() -> Self {
        let (ports, queue) = (FakePorts::default(), Arc::new(AppendQueue::new(1 << 20)));
        let draining = CancellationToken::new();
        let task = tokio::spawn({
            let (ports, queue, draining) = (ports.clone(), Arc::clone(&queue), draining.clone());
            async move { Driver::new(ports, &queue, LIMITS, RESEND_WINDOW).run(draining).await }
        });
        Self {
            ports,
            queue,
            draining,
            task,
        }
    }

    fn send(&self, conversation: ConversationId, numbers: impl IntoIterator<Item = u32>) -> Vec<CommandFuture> {
        let send = |number| submit(&self.queue, session(1), conversation, number);
        numbers.into_iter().map(send).collect()
    }

    fn stored(&self) -> Vec<u32> {
        self.ports.0.stored.lock().unwrap().clone()
    }
}

/// Waits for the replies. Returns the code of each, 0 for success.
async fn answers(replies: Vec<CommandFuture>) -> Vec<u32> {
    let replies = futures_util::future::join_all(replies).await;
    let code = |reply: Result<Outcome, CommandError>| reply.map_or_else(|error| error.code.number(), |_| 0);
    replies.into_iter().map(code).collect()
}

#[tokio::test]
async fn driver_keeps_order_and_continues_after_a_panic() {
    for (call, after) in [(Call::Cached, 0), (Call::Cached, 2), (Call::Start, 0)] {
        for conversation in [KNOWN, UNKNOWN] {
            let running = RunningDriver::start();
            running.ports.panic_at(call, after);
            let first = answers(running.send(conversation, 1..=3)).await;
            let stored = first.iter().take_while(|code| **code == 0).count();
            let mut refused = first[stored..].iter();
            assert!(
                stored < 3 && refused.all(|code| *code == TRY_AGAIN),
                "{call:?} {after}: {first:?}"
            );
            assert_eq!(answers(running.send(conversation, 4..=4)).await, [TRY_AGAIN]);
            let resent = answers(running.send(conversation, (1..=4).skip(stored))).await;
            assert_eq!(resent, vec![0; 4 - stored]);
            assert_eq!(running.stored(), [1, 2, 3, 4]);
            assert_eq!(running.queue.queued_bytes(), 0);
        }
    }
}

#[tokio::test]
async fn driver_runs_one_transaction_at_a_time_after_a_panic() {
    let running = RunningDriver::start();
    let gate = Arc::new(Semaphore::new(0));
    *running.ports.0.gate.lock().unwrap() = Some(Arc::clone(&gate));
    let started = running.send(KNOWN, 1..=1);
    while *running.ports.0.running_commits.lock().unwrap() == 0 {
        tokio::task::yield_now().await;
    }
    running.ports.panic_at(Call::Cached, 0);
    assert_eq!(answers(running.send(KNOWN, 2..=2)).await, [TRY_AGAIN]);
    assert_eq!(
        answers(started).await,
        [TRY_AGAIN],
        "the outcome of the draft is unknown"
    );
    let resent = running.send(KNOWN, 1..=2);
    tokio::task::yield_now().await;
    gate.add_permits(2);
    assert_eq!(answers(resent).await, [0, 0]);
    assert_eq!(running.stored(), [1, 2]);
}

#[tokio::test]
async fn driver_answers_everything_before_it_ends() {
    let running = RunningDriver::start();
    let mut replies: VecDeque<CommandFuture> = running.send(UNKNOWN, 1..=3).into();
    replies.extend(running.send(KNOWN, 4..=5));
    running.draining.cancel();
    running.task.await.unwrap();
    assert_eq!(answers(replies.into()).await, [0; 5]);
    let late = submit(&running.queue, session(1), KNOWN, 6);
    assert_eq!(answers(vec![late]).await, [ReplyCode::ShuttingDown.number()]);
}
