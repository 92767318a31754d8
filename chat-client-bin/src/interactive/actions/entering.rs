//! Going somewhere, and seeing what was said there.

use std::sync::Arc;
use std::time::Duration;

use chat_core::client::{Client, ClientError};
use chat_core::model::{
    Command, ConversationInfo, ConversationRef, ConversationView, EventBody, GroupName, NewGroup, Note, Outcome,
    PageFrom, ReplyCode, UserId, UserName, UserRef,
};
use tokio::time::timeout;

use crate::commands::{read_history, unexpected};
use crate::failure::Failure;
use crate::interactive::app::{App, Told, time_of_day};
use crate::output::{self, EventLine, users_in};

use super::{Job, SHOWN, job, mark_read};

/// The server is asked so long whether there is such a conversation.
const PATIENCE: Duration = Duration::from_secs(3);

/// Goes to a conversation if there is one, or can be.
pub(super) fn go_to(app: &mut App, reference: ConversationRef, label: String) {
    if app
        .client
        .conversations()
        .iter()
        .any(|info| is_called(info, &reference))
    {
        enter(app, reference, label);
    } else {
        let job = job(app);
        app.go(find(job, reference, label));
    }
}

/// Whether this is the conversation that somebody means, and is in.
fn is_called(info: &ConversationInfo, reference: &ConversationRef) -> bool {
    let named = match (&info.view, reference) {
        (ConversationView::Direct(peer), ConversationRef::Direct(UserRef::Id(id))) => peer.id == *id,
        (ConversationView::Direct(peer), ConversationRef::Direct(UserRef::Name(name))) => {
            UserName::parse_any(&peer.name).is_ok_and(|peer| peer == *name)
        }
        (ConversationView::Group(group), ConversationRef::Group(name)) => {
            GroupName::parse_any(&group.profile.name).is_ok_and(|group| group == *name)
        }
        _ => false,
    };
    named && info.active
}

/// Asks the server whether there is such a conversation, or somebody to begin one with. Without an answer it is taken to be there: what is
/// written waits in the outbox until it turns out.
async fn find(job: Job, reference: ConversationRef, label: String) -> Result<Told, Failure> {
    match timeout(PATIENCE, exists(&job.client, &reference)).await {
        Ok(Ok(true)) => {}
        Ok(Ok(false)) => return Err(Failure::usage(format!("{label} is unknown"))),
        Ok(Err(error @ ClientError::Refused(_))) => return Err(error.into()),
        Ok(Err(_)) | Err(_) => {
            let text = format!("-- whether there is {label} cannot be asked now");
            job.screen.line(job.style.dim(&text));
        }
    }
    Ok(Told::Found(reference, label))
}

async fn exists(client: &Client, reference: &ConversationRef) -> Result<bool, ClientError> {
    match client.execute(Command::GetConversation(reference.clone())).await {
        Err(ClientError::Refused(failure)) if failure.code() == Some(ReplyCode::NotFound) => {}
        Err(error) => return Err(error),
        Ok(_) => return Ok(true),
    }
    let ConversationRef::Direct(user) = reference else {
        return Ok(false);
    };
    match client.execute(Command::GetUsers(vec![user.clone()])).await? {
        Outcome::Users(users) => Ok(!users.is_empty()),
        _ => Ok(false),
    }
}

/// Goes to a conversation.
pub(in crate::interactive) fn enter(app: &mut App, reference: ConversationRef, label: String) {
    app.rooms.enter(reference.clone(), label.clone());
    app.jobs.spawn(show(job(app), reference, label, None));
}

/// Shows the end of a conversation, and marks it as read.
pub(super) async fn show(
    job: Job,
    reference: ConversationRef,
    label: String,
    count: Option<u32>,
) -> Result<Told, Failure> {
    let info: Arc<ConversationInfo> = match job.client.execute(Command::GetConversation(reference)).await {
        Ok(Outcome::Conversation(info)) => Arc::from(info),
        Ok(other) => return Err(unexpected(&other)),
        // A direct conversation begins with its first message.
        Err(ClientError::Refused(failure))
            if failure.code() == Some(ReplyCode::NotFound) && !label.starts_with('#') =>
        {
            job.screen
                .line(job.style.dim(&format!("-- {label}: nothing was said yet")));
            return Ok(Told::Nothing);
        }
        Err(error) => return Err(error.into()),
    };
    let most = count.unwrap_or_else(|| info.unread.saturating_add(5).clamp(SHOWN.0, SHOWN.1));
    let history = read_history(&job.client, &info, PageFrom::Newest, most).await?;
    let users = history.events.iter().flat_map(|(found, body)| users_in(found, body));
    let names = job.client.names(users).await?;
    let me = job.client.me().map_or(UserId(0), |me| me.id);
    job.screen.line(job.style.dim(&format!("-- {label} --")));
    let (mut day, mut marked, mut shown) = (String::new(), false, Vec::new());
    for (found, body) in &history.events {
        let event = &found.event;
        if info.unread > 0 && !marked && event.seq > info.read_seq && event.sender != me {
            marked = true;
            job.screen.line(job.style.bold("-- new --"));
        }
        let line = EventLine::new(&info, found, body, &names);
        let today = output::day(line.time_ms());
        if day != today {
            job.screen.line(job.style.dim(&format!("-- {today} UTC")));
            day = today;
        }
        if matches!(body, EventBody::Message(_)) && event.recalled_seq.is_none() {
            shown.push((event.seq, event.sender == me));
        }
        job.screen.line(format_args!(
            "{} {}",
            job.style.dim(&time_of_day(line.time_ms())),
            line.short(job.style)
        ));
    }
    mark_read(job.client, info.id, info.last_seq).await?;
    Ok(Told::Shown { label, info, shown })
}

pub(super) fn join(app: &mut App, name: &str) -> Result<(), Failure> {
    let name = GroupName::parse_any(name.trim_start_matches('#')).map_err(Failure::usage)?;
    let (reference, label) = (ConversationRef::Group(name.clone()), format!("#{name}"));
    let job = job(app);
    app.go(async move {
        let command = Command::JoinGroup {
            group: reference.clone(),
            note: Note::default(),
        };
        match job.client.execute(command).await? {
            Outcome::Conversation(info) if info.active => Ok(Told::Found(reference, label)),
            _ => {
                job.screen.line(job.style.dim(&format!("-- asked to join {label}")));
                Ok(Told::NotFound(None))
            }
        }
    });
    Ok(())
}

pub(super) fn create(app: &mut App, name: &str) -> Result<(), Failure> {
    let name = GroupName::parse(name.trim_start_matches('#')).map_err(Failure::usage)?;
    let (reference, label) = (ConversationRef::Group(name.clone()), format!("#{name}"));
    let client = app.client.clone();
    app.go(async move {
        client.execute(Command::CreateGroup(NewGroup::new(name))).await?;
        Ok(Told::Found(reference, label))
    });
    Ok(())
}
