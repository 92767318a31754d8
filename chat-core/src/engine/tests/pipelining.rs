//! Helpers for a session that sends drafts without waiting for answers.

use std::ops::RangeInclusive;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, join_all};

use super::support::draft;
use crate::engine::{CommandError, LocalSession};
use crate::model::*;

// Numbers of reply codes, as `codes` returns them.
pub(super) const INTERNAL: u32 = 500;
pub(super) const TRY_AGAIN: u32 = 501;
pub(super) const BUSY: u32 = 502;

pub(super) type Answer = BoxFuture<'static, Result<Outcome, CommandError>>;

/// Submits drafts in order and returns the futures of their answers.
pub(super) fn send(session: &LocalSession, conversation: &ConversationRef, drafts: &[Draft]) -> Vec<Answer> {
    let send = |draft: &Draft| {
        let (conversation, draft) = (conversation.clone(), draft.clone());
        session.execute(Command::Send { conversation, draft }).boxed()
    };
    drafts.iter().map(send).collect()
}

/// Returns the code of each answer: 0 for a stored draft.
pub(super) async fn codes(answers: Vec<Answer>) -> Vec<u32> {
    let answers = join_all(answers).await;
    let code = |answer: Result<_, CommandError>| answer.err().map_or(0, |error| error.code.number());
    answers.into_iter().map(code).collect()
}

/// Creates drafts whose texts are these numbers.
pub(super) fn drafts(numbers: RangeInclusive<u32>) -> Vec<Draft> {
    numbers.map(|n| draft(&n.to_string())).collect()
}
