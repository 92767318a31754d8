//! Tests of messages: their edits and recalls, history pages, order, recipients and retries.

mod edits;
mod history;
mod order;
mod recipients;
mod retries;

use std::sync::Arc;

use futures_util::future::join_all;

use super::support::*;
use crate::clock::Clock;
use crate::commands::Commands;
use crate::engine::operator::{DeletionOptions, OperatorName};
use crate::model::*;

fn new_draft(content: DraftContent) -> Draft {
    Draft {
        client_message_id: ClientMessageId::random(),
        content,
    }
}

fn edit(target: Seq, new: &str) -> Draft {
    new_draft(DraftContent::Edit {
        target,
        text: text(new),
    })
}

fn recall(target: Seq) -> Draft {
    new_draft(DraftContent::Recall { target })
}
