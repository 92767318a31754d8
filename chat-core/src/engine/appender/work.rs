//! What the appender has under way: jobs that are prepared, transactions of lanes.

use std::sync::Arc;
use std::time::Instant;

use tokio::time::timeout_at;

use super::holds::{Refused, is_for_now};
use super::job::{Charge, Job, LaneWork, Reply, Work, answer};
use super::lane::Queued;
use crate::engine::core::{Core, contain};
use crate::engine::directory::Target;
use crate::engine::error::CommandError;
use crate::engine::message::{Appends, BatchRules, Prepared};
use crate::model::{Appended, Caller, ConversationId, DeviceId, Outcome, ReplyCode, UserId};

/// Jobs of one session are prepared one at a time.
pub(super) type Session = (UserId, DeviceId);

/// Something that was under way has ended.
pub(super) enum Done {
    /// A job knows its conversation, or why it is refused.
    Prepared {
        session: Session,
        job: Box<Result<(Target, Job), (Job, CommandError)>>,
    },
    /// A lane's transaction ended.
    Committed {
        lane: ConversationId,
        /// Drafts that were refused, in their order.
        refused: Vec<(Refused, CommandError)>,
        /// Nothing could be done.
        failed: Option<CommandError>,
        /// Some of it was stored before.
        had_retries: bool,
    },
}

/// Finds a job's conversation and asks the hooks.
pub(super) async fn prepare(core: Arc<Core>, session: Session, mut job: Job) -> Done {
    let prepared = async {
        let target = match job.work {
            Work::Append(..) => core.find_or_open(job.caller, &job.conversation).await?,
            Work::Other(_) => core.find(job.caller.user, &job.conversation).await?,
        };
        if let Work::Append(draft, original) = &mut job.work
            && let Some(original) = original.take()
            && let Some(content) = core.ask_before_append(job.caller, target.id, original).await?
        {
            **draft = Prepared::clone(draft).rewritten(content);
        }
        Ok(target)
    };
    // What takes too long is dropped in there too: even that may panic.
    let prepared = contain(async {
        let prepared = timeout_at(core.deadline().into(), prepared).await;
        prepared.unwrap_or_else(|_| Err(CommandError::try_again()))
    });
    let job = match prepared.await {
        Ok(target) => Ok((target, job)),
        Err(error) => Err((job, error)),
    };
    let job = Box::new(job);
    Done::Prepared { session, job }
}

/// Runs something else in its turn.
pub(super) async fn other(core: Arc<Core>, target: Target, work: LaneWork, reply: Reply, charge: Charge) -> Done {
    let lane = target.id;
    let result = contain(async { work(core, target).await }).await;
    answer(reply, result);
    drop(charge);
    Done::Committed {
        lane,
        refused: Vec::new(),
        failed: None,
        had_retries: false,
    }
}

/// Appends a batch, tells the sessions, and answers the senders. The last in one step: whoever sends a refused draft again finds it
/// noted.
pub(super) async fn commit(core: Arc<Core>, target: Target, batch: Vec<Queued>, look_first: bool) -> Done {
    let lane = target.id;
    // Whoever has waited longest decides how long the store may take.
    let deadline = batch
        .iter()
        .map(|queued| queued.deadline)
        .min()
        .unwrap_or_else(Instant::now);
    let mut drafts = Vec::with_capacity(batch.len());
    let mut senders = Vec::with_capacity(batch.len());
    for queued in batch {
        let name = Refused {
            caller: queued.draft.caller,
            conversation: queued.conversation,
            id: queued.draft.client_message_id,
        };
        drafts.push(queued.draft);
        senders.push((name, queued.reply, queued.charge));
    }
    let appended = contain(append(&core, &target, drafts.into(), look_first, deadline)).await;
    let failed = appended.as_ref().err().cloned();
    let mut results = appended.unwrap_or_default().into_iter();
    let mut refused = Vec::new();
    let mut had_retries = false;
    for (draft, reply, charge) in senders {
        let missing = || Err(failed.clone().unwrap_or_else(CommandError::internal));
        let result = results.next().unwrap_or_else(missing);
        if let Err(error) = &result
            && is_for_now(error)
        {
            refused.push((draft, error.clone()));
        }
        had_retries |= result.as_ref().is_ok_and(|appended| appended.duplicate);
        answer(reply, result.map(Outcome::Appended));
        drop(charge);
    }
    // A defect that one draft shows says nothing of what others sent.
    let failed = failed.filter(|error| error.code != ReplyCode::Internal);
    Done::Committed {
        lane,
        refused,
        failed,
        had_retries,
    }
}

/// One result for each draft, or one failure for all.
async fn append(
    core: &Core,
    target: &Target,
    drafts: Arc<[Prepared]>,
    look_first: bool,
    deadline: Instant,
) -> Result<Vec<Result<Appended, CommandError>>, CommandError> {
    let mut doubt = false;
    let all = unit(core, target, Arc::clone(&drafts), look_first);
    match core.run_idempotent(target.id, all, deadline, &mut doubt).await {
        Ok(batch) => {
            core.publish(batch.events);
            Ok(batch.results)
        }
        Err(error) if error.code == ReplyCode::Internal && drafts.len() > 1 => {
            // One of them breaks the unit. The others shall not suffer for it.
            let mut results = Vec::with_capacity(drafts.len());
            let mut stopped: Vec<Caller> = Vec::new();
            for draft in drafts.iter() {
                if stopped.contains(&draft.caller) {
                    results.push(Err(CommandError::try_again()));
                    continue;
                }
                let alone = unit(core, target, Arc::from([draft.clone()]), doubt);
                let result = match core.run_idempotent(target.id, alone, deadline, &mut doubt).await {
                    Ok(mut batch) => {
                        core.publish(batch.events);
                        batch.results.pop().unwrap_or_else(|| Err(CommandError::internal()))
                    }
                    Err(error) => Err(error),
                };
                if result.as_ref().is_err_and(is_for_now) {
                    stopped.push(draft.caller);
                }
                results.push(result);
            }
            Ok(results)
        }
        Err(error) => Err(error),
    }
}

fn unit(core: &Core, target: &Target, drafts: Arc<[Prepared]>, look_first: bool) -> Appends {
    Appends {
        conversation: target.id,
        kind: target.kind.clone(),
        drafts,
        rules: BatchRules {
            edit_window_ms: u64::try_from(core.config.edit_window.as_millis()).unwrap_or(u64::MAX),
            mentions: core.config.max_mentions,
        },
        now: core.now(),
        look_first,
    }
}
