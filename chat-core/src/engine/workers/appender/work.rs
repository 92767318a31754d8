//! Work that the driver starts: preparing a submission, committing a batch, running a change.

use std::sync::Arc;
use std::time::Instant;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::driver::Ports;
use super::lanes::BatchResult;
use super::machine::{Done, Work};
use super::prepare::prepare;
use super::resend_order::is_temporary;
use super::submission::LaneChange;
use crate::engine::directory::{Directory, FoundConversation};
use crate::engine::error::CommandError;
use crate::engine::hook_calls::HookCalls;
use crate::engine::operations::message::{AppendBatch, AppendedBatch, MessageLimits, QueuedDraft};
use crate::engine::panics::contain;
use crate::engine::store_access::StoreAccess;
use crate::engine::workers::{DirectOpener, Publisher};
use crate::model::{Appended, Caller, ConversationRef, ReplyCode, UserId};

/// Parts of the engine that the work of the appender uses.
#[derive(Debug)]
pub(in crate::engine) struct AppendPorts {
    pub(in crate::engine) access: Arc<StoreAccess>,
    pub(in crate::engine) directory: Arc<Directory>,
    pub(in crate::engine) opener: DirectOpener,
    pub(in crate::engine) hooks: Arc<HookCalls>,
    pub(in crate::engine) publisher: Publisher,
    pub(in crate::engine) limits: MessageLimits,
}

/// The driver's [`Ports`], implemented by these parts of the engine.
pub(super) struct EnginePorts(pub(super) Arc<AppendPorts>);

impl Ports for EnginePorts {
    fn cached(&self, user: UserId, conversation: &ConversationRef) -> Option<FoundConversation> {
        self.0.directory.cached(user, conversation)
    }

    fn start(&self, work: Work) -> BoxFuture<'static, Done> {
        let ports = Arc::clone(&self.0);
        match work {
            Work::Prepare(preparation) => prepare(ports, *preparation).boxed(),
            Work::Commit {
                found,
                drafts,
                look_first,
                deadline,
            } => commit(ports, found, drafts, look_first, deadline).boxed(),
            Work::Run { found, change } => run(found, change).boxed(),
        }
    }
}

/// Runs a change. A panic becomes an internal error.
async fn run(found: FoundConversation, change: LaneChange) -> Done {
    let conversation = found.id;
    let result = contain(async { change(found).await }).await;
    Done::Ran { conversation, result }
}

/// Appends a batch and publishes its events. A panic becomes an internal error.
async fn commit(
    ports: Arc<AppendPorts>,
    found: FoundConversation,
    drafts: Arc<[QueuedDraft]>,
    look_first: bool,
    deadline: Instant,
) -> Done {
    let conversation = found.id;
    let result = contain(append(&ports, &found, drafts, look_first, deadline)).await;
    Done::Committed { conversation, result }
}

/// Appends a batch in one transaction, or draft by draft if one of them causes an internal error.
/// With `look_first`, the transaction first asks the store which of the drafts it has.
async fn append(
    ports: &AppendPorts,
    found: &FoundConversation,
    drafts: Arc<[QueuedDraft]>,
    look_first: bool,
    deadline: Instant,
) -> BatchResult {
    let mut outcome_unknown = false;
    let all = unit_of_work(ports, found, Arc::clone(&drafts), look_first);
    match ports
        .access
        .run_idempotent(found.id, all, deadline, &mut outcome_unknown)
        .await
    {
        Ok(batch) => Ok(publish(ports, batch, outcome_unknown)),
        Err(error) if error.code == ReplyCode::Internal && drafts.len() > 1 => {
            Ok(append_each(ports, found, &drafts, deadline, outcome_unknown).await)
        }
        Err(error) => Err(error),
    }
}

/// Appends the drafts of a batch one by one, after one of them has made the transaction of the
/// whole batch fail, so that only that draft fails. After a temporary refusal, later drafts of the
/// same session are refused too.
async fn append_each(
    ports: &AppendPorts,
    found: &FoundConversation,
    drafts: &[QueuedDraft],
    deadline: Instant,
    mut outcome_unknown: bool,
) -> Vec<Result<Appended, CommandError>> {
    let mut results = Vec::with_capacity(drafts.len());
    let mut refused_callers: Vec<Caller> = Vec::new();
    for draft in drafts {
        if refused_callers.contains(&draft.caller) {
            results.push(Err(CommandError::try_again()));
            continue;
        }
        // A transaction without an answer may have stored the draft already.
        let alone = unit_of_work(ports, found, Arc::from([draft.clone()]), outcome_unknown);
        let result = match ports
            .access
            .run_idempotent(found.id, alone, deadline, &mut outcome_unknown)
            .await
        {
            Ok(batch) => {
                let result = publish(ports, batch, outcome_unknown).pop();
                result.unwrap_or_else(|| Err(CommandError::defect("a batch of one draft has no result")))
            }
            Err(error) => Err(error),
        };
        if result.as_ref().is_err_and(is_temporary) {
            refused_callers.push(draft.caller);
        }
        results.push(result);
    }
    results
}

/// Publishes the events of a batch, and returns the results of its drafts. If an earlier run of the
/// batch may have been committed without an answer (`outcome_unknown`), the events that this run
/// found are probably those of the earlier one, and no observer has seen them.
fn publish(ports: &AppendPorts, batch: AppendedBatch, outcome_unknown: bool) -> Vec<Result<Appended, CommandError>> {
    if outcome_unknown {
        ports.publisher.publish(batch.found);
    } else {
        ports.publisher.deliver(&batch.found);
    }
    ports.publisher.publish(batch.events);
    batch.results
}

fn unit_of_work(
    ports: &AppendPorts,
    found: &FoundConversation,
    drafts: Arc<[QueuedDraft]>,
    look_first: bool,
) -> AppendBatch {
    AppendBatch {
        conversation: found.id,
        kind: found.kind.clone(),
        drafts,
        limits: ports.limits,
        now: ports.access.wall_time(),
        look_first,
    }
}
