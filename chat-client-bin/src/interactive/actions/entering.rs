//! Going somewhere, and seeing what was said there.

use std::sync::Arc;

use chat_core::client::ClientError;
use chat_core::model::{
    ClientMessageId, Command, ConversationInfo, ConversationRef, Description, EventBody, GroupName, JoinPolicy, Note,
    Outcome, PageFrom, ReplyCode, UserId,
};

use crate::commands::{read_history, unexpected};
use crate::failure::Failure;
use crate::interactive::app::{App, Told, time_of_day};
use crate::output::{self, EventLine, users_in};

use super::{Job, SHOWN, job, mark_read};

pub(super) fn enter(app: &mut App, reference: ConversationRef, label: String) {
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
    Ok(Told::Entered { label, info, shown })
}

pub(super) fn join(app: &mut App, name: &str) -> Result<(), Failure> {
    let name = GroupName::parse_any(name.trim_start_matches('#')).map_err(Failure::usage)?;
    let (reference, label) = (ConversationRef::Group(name.clone()), format!("#{name}"));
    app.rooms.enter(reference.clone(), label.clone());
    let job = job(app);
    app.jobs.spawn(async move {
        let command = Command::JoinGroup {
            group: reference.clone(),
            note: Note::default(),
        };
        match job.client.execute(command).await? {
            Outcome::Conversation(info) if info.active => show(job, reference, label, None).await,
            _ => {
                job.screen.line(job.style.dim(&format!("-- asked to join {label}")));
                Ok(Told::Nothing)
            }
        }
    });
    Ok(())
}

pub(super) fn create(app: &mut App, name: &str) -> Result<(), Failure> {
    let name = GroupName::parse(name.trim_start_matches('#')).map_err(Failure::usage)?;
    let (reference, label) = (ConversationRef::Group(name.clone()), format!("#{name}"));
    app.rooms.enter(reference.clone(), label.clone());
    let job = job(app);
    app.jobs.spawn(async move {
        let command = Command::CreateGroup {
            client_message_id: ClientMessageId::random(),
            name,
            description: Description::default(),
            join_policy: JoinPolicy::default(),
            history_visible: false,
            unlisted: false,
        };
        job.client.execute(command).await?;
        show(job, reference, label, None).await
    });
    Ok(())
}
