//! What the commands of the interactive client do. Each runs beside the others and prints when it is done.

use std::sync::Arc;
use std::time::Duration;

use chat_core::client::{Client, ClientError, SendOutcome};
use chat_core::model::{
    ClientMessageId, Command, ContactState, ConversationId, ConversationInfo, ConversationRef, Description,
    DraftContent, Emoji, EventBody, GroupName, MessageText, Note, Outcome, PageFrom, PresenceState, Seq, UserId,
    UserRef, sanitize_for_terminal,
};

use crate::args::{group_ref, user_ref};
use crate::commands::{read_history, unexpected};
use crate::failure::Failure;
use crate::output::{
    ContactLine, ConversationLine, DeviceLine, EventLine, GroupLine, MemberLine, Show, UserLine, users_in,
};

use super::app::{App, Told, time_of_day};
use super::command::Do;
use super::completion::Known;

/// Shown when a conversation is entered, at least; all that is unread up to the second number.
const SHOWN: (u32, u32) = (20, 200);

/// Begins what a command asks for.
pub(super) fn perform(app: &mut App, command: Do) {
    if let Err(failure) = begin(app, command) {
        app.complain(&failure.text);
    }
}

fn begin(app: &mut App, command: Do) -> Result<(), Failure> {
    match command {
        Do::Help | Do::Quit => {} // done by the app itself
        Do::List => list(app),
        Do::Who => contacts(app, true),
        Do::Friends => contacts(app, false),
        Do::Devices => devices(app),
        Do::Inbox => inbox(app),
        Do::Search(text) => search(app, text),
        Do::Dm(user, None) => {
            let reference = user_ref(&user)?;
            let label = user_label(&reference);
            enter(app, ConversationRef::Direct(reference), label);
        }
        Do::Dm(user, Some(text)) => {
            let reference = user_ref(&user)?;
            let label = user_label(&reference);
            send_text(
                app,
                ConversationRef::Direct(reference),
                label,
                text,
                None,
                Duration::ZERO,
            );
        }
        Do::Open(name) => {
            let name = GroupName::parse_any(name.trim_start_matches('#')).map_err(Failure::usage)?;
            let label = format!("#{name}");
            enter(app, ConversationRef::Group(name), label);
        }
        Do::Join(name) => join(app, &name)?,
        Do::Create(name) => create(app, &name)?,
        Do::Leave(name) => {
            let group = match name {
                Some(name) => group_ref(&name)?,
                None => here(app)?,
            };
            let label = label_of(&group);
            app.ask(Command::LeaveGroup(group), format!("you left {label}"));
        }
        Do::Members => members(app)?,
        Do::Invite(user) => {
            let command = Command::InviteMember {
                group: here(app)?,
                user: user_ref(&user)?,
            };
            app.ask(command, format!("{user} is invited"));
        }
        Do::Kick(user) => {
            let command = Command::KickMember {
                group: here(app)?,
                user: user_ref(&user)?,
                ban: false,
            };
            app.ask(command, format!("{user} is removed"));
        }
        Do::Mute(user, duration_ms) => {
            let command = Command::MuteMember {
                group: here(app)?,
                user: user_ref(&user)?,
                duration_ms,
            };
            app.ask(
                command,
                if duration_ms == 0 {
                    format!("{user} may speak again")
                } else {
                    format!("{user} is silenced")
                },
            );
        }
        Do::Add(user, note) => {
            let note = Note::new(note).map_err(Failure::usage)?;
            app.ask(
                Command::RequestFriend {
                    user: user_ref(&user)?,
                    note,
                },
                format!("{user} is asked"),
            );
        }
        Do::Accept(user) => {
            app.known.add_user(&user);
            let command = Command::AnswerFriend {
                user: user_ref(&user)?,
                accept: true,
            };
            app.ask(command, format!("{user} is your friend now"));
        }
        Do::Decline(user) => {
            let command = Command::AnswerFriend {
                user: user_ref(&user)?,
                accept: false,
            };
            app.ask(command, format!("{user} is declined"));
        }
        Do::Remove(user) => app.ask(
            Command::RemoveFriend(user_ref(&user)?),
            format!("{user} is not your friend any more"),
        ),
        Do::Block(user) => app.ask(Command::Block(user_ref(&user)?), format!("{user} is blocked")),
        Do::Unblock(user) => app.ask(
            Command::Unblock(user_ref(&user)?),
            format!("{user} is not blocked any more"),
        ),
        Do::History(count) => {
            let (reference, label) = room(app)?;
            app.jobs.spawn(show(job(app), reference, label, Some(count)));
        }
        Do::Read => {
            let info = known_here(app)?;
            app.jobs.spawn(mark_read(app.client.clone(), info.id, info.last_seq));
        }
        Do::Reply(target, text) => app.say(text, Some(target)),
        Do::Edit(target, text) => {
            let target = target
                .or(app.rooms.last_own())
                .ok_or_else(|| none("message of yours"))?;
            let text = MessageText::new(text).map_err(Failure::usage)?;
            touch(
                app,
                DraftContent::Edit { target, text },
                format!("#{target} is changed"),
            )?;
        }
        Do::Recall(target) => {
            let target = target
                .or(app.rooms.last_own())
                .ok_or_else(|| none("message of yours"))?;
            touch(app, DraftContent::Recall { target }, format!("#{target} is taken back"))?;
        }
        Do::React(target, emoji) => {
            let target = target.or(app.rooms.last_any()).ok_or_else(|| none("message"))?;
            let emoji = Emoji::new(&emoji).map_err(Failure::usage)?;
            touch(
                app,
                DraftContent::React {
                    target,
                    emoji,
                    remove: false,
                },
                format!("reacted to #{target}"),
            )?;
        }
    }
    Ok(())
}

fn none(what: &str) -> Failure {
    Failure::usage(format!("there is no {what} here that I know of; give its number"))
}

/// What a job needs of the app.
#[derive(Clone)]
struct Job {
    client: Client,
    screen: super::screen::Screen,
    style: crate::output::Style,
}

fn job(app: &App) -> Job {
    Job {
        client: app.client.clone(),
        screen: app.screen.clone(),
        style: app.style,
    }
}

impl Job {
    fn show(&self, lines: impl IntoIterator<Item = impl Show>, nothing: &str) {
        let mut any = false;
        for line in lines {
            any = true;
            self.screen.line(line.text(self.style));
        }
        if !any {
            self.screen.line(self.style.dim(&format!("-- {nothing}")));
        }
    }
}

fn room(app: &App) -> Result<(ConversationRef, String), Failure> {
    let room = app.rooms.current.as_ref();
    room.map(|room| (room.reference.clone(), room.label.clone()))
        .ok_or_else(|| Failure::usage("you are nowhere; /dm USER or /group NAME goes somewhere"))
}

fn here(app: &App) -> Result<ConversationRef, Failure> {
    Ok(room(app)?.0)
}

fn known_here(app: &App) -> Result<Arc<ConversationInfo>, Failure> {
    let id = app.rooms.current.as_ref().and_then(|room| room.id);
    id.and_then(|id| app.client.conversation(id))
        .ok_or_else(|| Failure::usage("nothing was said here yet"))
}

fn enter(app: &mut App, reference: ConversationRef, label: String) {
    app.rooms.enter(reference.clone(), label.clone());
    app.jobs.spawn(show(job(app), reference, label, None));
}

/// Shows the end of a conversation, and marks it as read.
async fn show(job: Job, reference: ConversationRef, label: String, count: Option<u32>) -> Result<Told, Failure> {
    let info: Arc<ConversationInfo> = match job.client.execute(Command::GetConversation(reference)).await {
        Ok(Outcome::Conversation(info)) => Arc::from(info),
        Ok(other) => return Err(unexpected(&other)),
        // A direct conversation begins with its first message.
        Err(ClientError::Refused(failure))
            if failure.code() == Some(chat_core::model::ReplyCode::NotFound) && !label.starts_with('#') =>
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
        let today = crate::output::day(line.time_ms());
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

/// The user has read everything up to there.
pub(super) async fn mark_read(client: Client, conversation: ConversationId, seq: Seq) -> Result<Told, Failure> {
    if seq > Seq::ZERO {
        client.execute(Command::MarkRead { conversation, seq }).await?;
    }
    Ok(Told::Nothing)
}

/// Sends a text, and says how it went: `✓` stored, `…` after `slow` without an answer, `!` failed.
pub(super) fn send_text(
    app: &mut App,
    reference: ConversationRef,
    label: String,
    text: String,
    reply_to: Option<Seq>,
    slow: Duration,
) {
    let text = match MessageText::new(text) {
        Ok(text) => text,
        Err(error) => return app.complain(&error.to_string()),
    };
    let content = DraftContent::Message {
        text,
        reply_to,
        mentions: Vec::new(),
        mention_all: false,
    };
    app.jobs.spawn(send(job(app), reference, label, content, slow, None));
}

/// Edits, recalls or reacts to something here.
fn touch(app: &mut App, content: DraftContent, done: String) -> Result<(), Failure> {
    let (reference, label) = room(app)?;
    app.jobs.spawn(send(
        job(app),
        reference,
        label,
        content,
        Duration::from_secs(1),
        Some(done),
    ));
    Ok(())
}

async fn send(
    job: Job,
    reference: ConversationRef,
    label: String,
    content: DraftContent,
    slow: Duration,
    done: Option<String>,
) -> Result<Told, Failure> {
    let mut handle = job.client.send(reference, content).await?;
    let outcome = match tokio::time::timeout(slow.max(Duration::from_millis(200)), handle.outcome()).await {
        Ok(outcome) => outcome,
        Err(_) => {
            job.screen.line(
                job.style
                    .dim(&format!("… sending to {label}; it is kept until the server has it")),
            );
            handle.outcome().await
        }
    };
    match outcome? {
        SendOutcome::Acked(appended) => {
            let what = done.unwrap_or_else(|| format!("#{} {label}", appended.seq));
            job.screen.line(job.style.dim(&format!("✓ {what}")));
            Ok(Told::Stored(appended.conversation, appended.seq))
        }
        SendOutcome::Rejected(reason) => Err(Failure::usage(format!("not sent to {label}: {reason}"))),
        _ => Err(Failure::usage(format!("whether it was sent to {label} is unknown"))),
    }
}

fn list(app: &App) {
    let mut all = app.client.conversations();
    all.sort_by_key(|info| std::cmp::Reverse(info.last_time));
    job(app).show(
        all.iter().map(|info| ConversationLine::from(&**info)),
        "no conversations yet",
    );
}

fn contacts(app: &mut App, only_present: bool) {
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
pub(super) async fn learn_contacts(client: Client, known: Known) -> Result<Told, Failure> {
    if let Outcome::Contacts(contacts) = client.execute(Command::ListContacts).await? {
        for contact in contacts.iter().filter(|contact| contact.state != ContactState::None) {
            known.add_user(&contact.user.name);
        }
    }
    Ok(Told::Nothing)
}

fn devices(app: &mut App) {
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

fn inbox(app: &mut App) {
    let job = job(app);
    app.jobs.spawn(async move {
        let all = job.client.conversations();
        let Some(info) = all
            .iter()
            .find(|info| info.view == chat_core::model::ConversationView::Inbox)
        else {
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

fn search(app: &mut App, query: String) {
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

fn join(app: &mut App, name: &str) -> Result<(), Failure> {
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

fn create(app: &mut App, name: &str) -> Result<(), Failure> {
    let name = GroupName::parse(name.trim_start_matches('#')).map_err(Failure::usage)?;
    let (reference, label) = (ConversationRef::Group(name.clone()), format!("#{name}"));
    app.rooms.enter(reference.clone(), label.clone());
    let job = job(app);
    app.jobs.spawn(async move {
        let command = Command::CreateGroup {
            client_message_id: ClientMessageId::random(),
            name,
            description: Description::default(),
            join_policy: chat_core::model::JoinPolicy::default(),
            history_visible: false,
            unlisted: false,
        };
        job.client.execute(command).await?;
        show(job, reference, label, None).await
    });
    Ok(())
}

fn members(app: &mut App) -> Result<(), Failure> {
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
            Outcome::Members { members, more } => {
                members.iter().for_each(|member| known.add_user(&member.user.name));
                job.show(members.iter().map(MemberLine::from), "nobody");
                if more {
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

fn user_label(user: &UserRef) -> String {
    let label = match user {
        UserRef::Name(name) => name.to_string(),
        UserRef::Id(id) => format!("user {id}"),
    };
    sanitize_for_terminal(&label).into_owned()
}

/// How a conversation is called, as far as its reference says.
pub(super) fn label_of(reference: &ConversationRef) -> String {
    match reference {
        ConversationRef::Direct(user) => user_label(user),
        ConversationRef::Group(name) => sanitize_for_terminal(&format!("#{name}")).into_owned(),
        ConversationRef::Id(id) => format!("conversation {id}"),
    }
}
