//! Asking the server for something, and showing it.

use chat_core::client::Client;
use chat_core::model::{Command, ContactState, ConversationView, Outcome, PageFrom, PresenceState, UserId};

use crate::commands::{read_history, unexpected};
use crate::failure::Failure;
use crate::interactive::app::{App, Told};
use crate::interactive::completion::Known;
use crate::output::{ContactLine, ConversationLine, DeviceLine, EventLine, GroupLine, MemberLine, UserLine, users_in};

use super::{SHOWN, here, job, mark_read};

pub(super) fn list(app: &App) {
    let mut all = app.client.conversations();
    all.sort_by_key(|info| std::cmp::Reverse(info.last_time));
    job(app).show(
        all.iter().map(|info| ConversationLine::from(&**info)),
        "no conversations yet",
    );
}

pub(super) fn contacts(app: &mut App, only_present: bool) {
    let job = job(app);
    app.jobs.spawn(async move {
        match job.client.execute(Command::ListContacts).await? {
            Outcome::Contacts(contacts) => {
                let present =
                    |state: Option<PresenceState>| matches!(state, Some(PresenceState::Online | PresenceState::Idle));
                let wanted = contacts
                    .iter()
                    .filter(|contact| !only_present || present(contact.presence));
                job.show(wanted.map(ContactLine::from), "nobody");
                Ok(Told::Nothing)
            }
            other => Err(unexpected(&other)),
        }
    });
}

/// Names for Tab, of people one has to do with.
pub(in crate::interactive) async fn learn_contacts(client: Client, known: Known) -> Result<Told, Failure> {
    if let Outcome::Contacts(contacts) = client.execute(Command::ListContacts).await? {
        for contact in contacts.iter().filter(|contact| contact.state != ContactState::None) {
            known.add_user(&contact.user.name);
        }
    }
    Ok(Told::Nothing)
}

pub(super) fn devices(app: &mut App) {
    let job = job(app);
    app.jobs.spawn(async move {
        match job.client.execute(Command::ListDevices).await? {
            Outcome::Devices(devices) => {
                job.show(devices.iter().map(DeviceLine::from), "no devices");
                Ok(Told::Nothing)
            }
            other => Err(unexpected(&other)),
        }
    });
}

pub(super) fn inbox(app: &mut App) {
    let job = job(app);
    app.jobs.spawn(async move {
        let all = job.client.conversations();
        let Some(info) = all.iter().find(|info| info.view == ConversationView::Inbox) else {
            job.screen.line(job.style.dim("-- nothing yet"));
            return Ok(Told::Nothing);
        };
        let history = read_history(&job.client, info, PageFrom::Newest, SHOWN.0).await?;
        let users = history.events.iter().flat_map(|(found, body)| users_in(found, body));
        let names = job.client.names(users).await?;
        job.show(
            history
                .events
                .iter()
                .map(|(found, body)| EventLine::new(info, found, body, &names)),
            "nothing yet",
        );
        mark_read(job.client.clone(), info.id, info.last_seq).await
    });
}

pub(super) fn search(app: &mut App, query: String) {
    let job = job(app);
    app.jobs.spawn(async move {
        const LIMIT: u32 = 20;
        let users = Command::SearchUsers {
            query: query.clone(),
            limit: LIMIT,
        };
        if let Outcome::Users(users) = job.client.execute(users).await? {
            job.show(users.iter().map(UserLine::from), "no users");
        }
        if let Outcome::Groups(groups) = job
            .client
            .execute(Command::SearchGroups { query, limit: LIMIT })
            .await?
        {
            job.show(groups.iter().map(|group| GroupLine::new(group, None)), "no groups");
        }
        Ok(Told::Nothing)
    });
}

pub(super) fn members(app: &mut App) -> Result<(), Failure> {
    let group = here(app)?;
    let (job, known) = (job(app), app.known.clone());
    app.jobs.spawn(async move {
        match job
            .client
            .execute(Command::ListMembers {
                group,
                after: UserId(0),
                limit: 500,
            })
            .await?
        {
            Outcome::Members(page) => {
                page.members.iter().for_each(|member| known.add_user(&member.user.name));
                job.show(page.members.iter().map(MemberLine::from), "nobody");
                if page.more {
                    job.screen
                        .line(job.style.dim("-- and more: `chat-client group members` lists them all"));
                }
                Ok(Told::Nothing)
            }
            other => Err(unexpected(&other)),
        }
    });
    Ok(())
}
