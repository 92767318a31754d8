//! Actions that print lists.

use chat_core::commands::Commands;
use chat_core::model::{ContactState, ConversationView, PageFrom, PresenceState, UserId};

use crate::command_client::CommandClient;
use crate::failure::Failure;
use crate::interactive::completion::KnownNames;
use crate::interactive::state::{JobResult, State};
use crate::output::{ContactLine, ConversationLine, DeviceLine, EventLine, GroupLine, MemberLine, UserLine, users_in};
use crate::session::read_history;

use super::members::current_group;
use super::mentions::MEMBERS_PER_PAGE;
use super::{JobContext, mark_read};

/// Maximum number of events that `/inbox` prints.
pub(in crate::interactive) const MAX_INBOX_EVENTS: u32 = 20;

pub(super) fn conversations(state: &State) -> Result<(), Failure> {
    let mut conversations = state.client.known_conversations();
    conversations.sort_by_key(|info| std::cmp::Reverse(info.last_time));
    JobContext::of(state).print_list(
        conversations.iter().map(|info| ConversationLine::from(&**info)),
        "no conversations yet",
    );
    Ok(())
}

pub(super) fn contacts(state: &mut State, only_online: bool) -> Result<(), Failure> {
    let job = JobContext::of(state);
    state.spawn(async move {
        let contacts = job.client.contacts().await?;
        let is_online =
            |state: Option<PresenceState>| matches!(state, Some(PresenceState::Online | PresenceState::Idle));
        let selected = contacts
            .iter()
            .filter(|contact| !only_online || is_online(contact.presence));
        let empty_text = if only_online {
            "no friends are online"
        } else {
            "no contacts"
        };
        job.print_list(selected.map(ContactLine::from), empty_text);
        Ok(JobResult::Done)
    });
    Ok(())
}

/// Adds the names of friends, and of users with an open friend request, to Tab completion.
pub(in crate::interactive) async fn add_contacts_to_completion(
    client: CommandClient,
    known: KnownNames,
) -> Result<JobResult, Failure> {
    let contacts = client.contacts().await?;
    for contact in contacts.iter().filter(|contact| contact.state != ContactState::None) {
        known.add_user(&contact.user.name);
    }
    Ok(JobResult::Done)
}

pub(super) fn devices(state: &mut State) -> Result<(), Failure> {
    let job = JobContext::of(state);
    state.spawn(async move {
        let devices = job.client.devices().await?;
        job.print_list(devices.iter().map(DeviceLine::from), "no devices");
        Ok(JobResult::Done)
    });
    Ok(())
}

pub(super) fn inbox(state: &mut State) -> Result<(), Failure> {
    let job = JobContext::of(state);
    state.spawn(async move {
        let conversations = job.client.known_conversations();
        let Some(info) = conversations.iter().find(|info| info.view == ConversationView::Inbox) else {
            job.screen.line(job.style.dim("-- the inbox is empty"));
            return Ok(JobResult::Done);
        };
        let history = read_history(&job.client, info, PageFrom::Newest, MAX_INBOX_EVENTS).await?;
        let users = history.events.iter().flat_map(|(entry, body)| users_in(entry, body));
        let names = job.client.names(users).await?;
        job.print_lines(
            history
                .events
                .iter()
                .map(|(entry, body)| EventLine::new(info, entry, body, &names)),
            "the inbox is empty",
        );
        job.screen.check()?;
        mark_read((*job.client).clone(), info.id, info.last_seq).await
    });
    Ok(())
}

pub(super) fn search(state: &mut State, query: String) -> Result<(), Failure> {
    let job = JobContext::of(state);
    state.spawn(async move {
        /// Maximum number of users that are printed, and maximum number of groups.
        const MAX_RESULTS: u32 = 20;
        let users = job.client.search_users(&*query, MAX_RESULTS).await?;
        job.print_list(users.iter().map(UserLine::from), "no users");
        let groups = job.client.search_groups(query, MAX_RESULTS).await?;
        job.print_list(groups.iter().map(|group| GroupLine::new(group, None)), "no groups");
        Ok(JobResult::Done)
    });
    Ok(())
}

pub(super) fn members(state: &mut State) -> Result<(), Failure> {
    let (group, _) = current_group(state)?;
    let (job, known) = (JobContext::of(state), state.known.clone());
    state.spawn(async move {
        let page = job.client.members(group, UserId(0), MEMBERS_PER_PAGE).await?;
        page.members.iter().for_each(|member| known.add_user(&member.user.name));
        job.print_list(page.members.iter().map(MemberLine::from), "no members");
        if page.has_more {
            job.screen.line(
                job.style
                    .dim("-- the list is longer: `chat-client group members` prints all members"),
            );
        }
        Ok(JobResult::Done)
    });
    Ok(())
}
