//! Actions that read the members of groups, whom texts can mention.

use std::time::Duration;

use chat_core::commands::Commands;
use chat_core::model::{ConversationId, ConversationView, MemberState, Seq, UserId};
use tokio::time::timeout;

use crate::command_client::CommandClient;
use crate::failure::Failure;
use crate::interactive::mentions::MemberList;
use crate::interactive::state::{JobResult, State};

/// Maximum number of members that one request asks for.
pub(super) const MEMBERS_PER_PAGE: u32 = 500;
/// Maximum number of pages of further members that are read for one text or one completion.
const MAX_PAGES: usize = 20;
/// Maximum time for which a text waits for further members.
const MEMBERS_TIMEOUT: Duration = Duration::from_secs(3);
/// Maximum number of groups whose members are read at the start, for completion.
const MAX_GROUPS: usize = 10;

/// A text to the current group, which waits for further members.
#[derive(Clone, Debug)]
pub(in crate::interactive) struct WaitingText {
    pub(in crate::interactive) text: String,
    pub(in crate::interactive) reply_to: Option<Seq>,
}

/// Reads the first members of the groups with the newest events.
pub(in crate::interactive) fn load_members_of_recent_groups(state: &mut State) {
    let mut groups = state.client.known_conversations();
    groups.retain(|info| info.active && matches!(info.view, ConversationView::Group(_)));
    groups.sort_by_key(|info| std::cmp::Reverse(info.last_time));
    for info in groups.into_iter().take(MAX_GROUPS) {
        let (client, group) = (state.client.clone(), info.id);
        state.spawn(async move {
            Ok(match members_page(&client, group, UserId(0)).await {
                Ok(list) => JobResult::FirstMembers { group, list },
                Err(_) => JobResult::Done, // they are read again when the group is opened
            })
        });
    }
}

/// Reads further members of the current group for completion: those that were not read yet, up to
/// the limit of pages. Does nothing if that is already being done.
pub(in crate::interactive) fn load_remaining_members(state: &mut State) {
    let Some(group) = state.conversations.current.as_ref().and_then(|current| current.id) else {
        return;
    };
    if let Some(after) = state.members.rest_after(group)
        && state.loading_members.insert(group)
    {
        let client = state.client.clone();
        state.spawn(async move {
            let list = members_after(&client, group, after).await;
            let text = None;
            Ok(JobResult::FurtherMembers { group, list, text })
        });
    }
}

/// Reads further members of a group, for at most 3 s; `text` is sent to the group afterwards. No
/// input line is read in that time, so that the texts keep their order.
pub(super) fn load_remaining_members_for(state: &mut State, group: ConversationId, after: UserId, text: WaitingText) {
    state.input_is_held = true;
    let client = state.client.clone();
    state.spawn(async move {
        let list = timeout(MEMBERS_TIMEOUT, members_after(&client, group, after)).await;
        let nobody = || MemberList {
            users: Vec::new(),
            rest_after: Some(after),
        };
        Ok(JobResult::FurtherMembers {
            group,
            list: list.unwrap_or_else(|_| nobody()),
            text: Some(text),
        })
    });
}

/// Reads the members after `after`: all, or as many as the limit of pages allows. If a page cannot
/// be read, returns those that were read before.
async fn members_after(client: &CommandClient, group: ConversationId, after: UserId) -> MemberList {
    let mut all = MemberList {
        users: Vec::new(),
        rest_after: Some(after),
    };
    for _ in 0..MAX_PAGES {
        let Some(after) = all.rest_after else { break };
        let Ok(next) = members_page(client, group, after).await else {
            break;
        };
        all.users.extend(next.users);
        all.rest_after = next.rest_after;
    }
    all
}

/// Reads one page of the members of a group, without the users who are invited, have asked to join
/// or are banned.
pub(super) async fn members_page(
    client: &CommandClient,
    group: ConversationId,
    after: UserId,
) -> Result<MemberList, Failure> {
    let page = client.members(group, after, MEMBERS_PER_PAGE).await?;
    let last = page.members.last().map(|member| member.user.id);
    let active = page
        .members
        .into_iter()
        .filter(|member| member.state == MemberState::Active);
    Ok(MemberList {
        users: active.map(|member| member.user).collect(),
        rest_after: last.filter(|_| page.has_more),
    })
}
