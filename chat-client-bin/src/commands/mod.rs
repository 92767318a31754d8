//! What the commands do, a file for each family.

mod account;
mod devices;
mod friends;
mod groups;
mod history;
mod listen;
mod send;

use chat_core::client::{Client, Receive};
use chat_core::model::{ConversationInfo, EventBody, HistoryEvent, Outcome};
use clap::CommandFactory as _;

use crate::args::{Args, Command, Global, SearchCommand};
use crate::failure::{Failure, Kind};
use crate::interactive;
use crate::output::{ConversationLine, EventLine, GroupLine, Output, UserLine, users_in};
use crate::session::{How, Session};

pub(crate) use history::read_history;

/// Does what the command line says.
pub(crate) async fn run(args: Args, output: &mut Output) -> Result<(), Failure> {
    let global = args.global;
    let Some(command) = args.command else {
        if global.json {
            return Err(Failure::usage("--json needs a command: what is typed is for people"));
        }
        return interactive::run(&global, output).await;
    };
    match command {
        Command::Register { display_name } => account::register(&global, display_name, output).await,
        Command::Login => account::login(&global, output).await,
        Command::Passwd { new_password_file } => account::passwd(&global, new_password_file, output).await,
        Command::Send(send) => send::send(&global, send, output).await,
        Command::Listen(listen) => listen::listen(&global, &listen, output).await,
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Args::command(), "chat-client", &mut script);
            output.page(&script)
        }
        Command::Man => {
            let mut page = Vec::new();
            clap_mangen::Man::new(Args::command()).render(&mut page)?;
            output.page(&page)
        }
        Command::Edit(touch) => send::edit(&global, &touch, output).await,
        Command::Recall(touch) => send::recall(&global, &touch, output).await,
        Command::React { touch, remove } => send::react(&global, &touch, remove, output).await,
        command => in_session(&global, command, output).await,
    }
}

/// Commands that ask, print the answer, and are done.
async fn in_session(global: &Global, command: Command, output: &mut Output) -> Result<(), Failure> {
    let session = Session::connect(global, How::AsIs, Receive::Nothing, output).await?;
    let done = ask(&session, command, output).await;
    session.finish().await;
    done
}

async fn ask(session: &Session, command: Command, output: &mut Output) -> Result<(), Failure> {
    let client = &session.client;
    match command {
        Command::Logout => account::logout(client, output).await,
        Command::Whoami => account::whoami(session, output),
        Command::Account { display_name, direct } => account::update(client, display_name, direct, output).await,
        Command::History(history) => history::history(client, &history, output).await,
        Command::Inbox { limit } => history::inbox(client, limit, output).await,
        Command::Conversations => conversations(client, output),
        Command::Read(read) => history::read(client, &read, output).await,
        Command::Friend(friend) => friends::friend(client, friend, output).await,
        Command::Group(group) => groups::group(client, group, output).await,
        Command::Search(search) => find(client, search, output).await,
        Command::Devices { command } => devices::devices(client, command, output).await,
        _ => Err(Failure::new(Kind::Failed, "this command needs no session")),
    }
}

fn conversations(client: &Client, output: &mut Output) -> Result<(), Failure> {
    let mut all = client.conversations();
    all.sort_by_key(|info| std::cmp::Reverse(info.last_time));
    for info in all {
        output.print(&ConversationLine::from(&*info))?;
    }
    Ok(())
}

async fn find(client: &Client, search: SearchCommand, output: &mut Output) -> Result<(), Failure> {
    use chat_core::model::Command;

    let command = match search {
        SearchCommand::Users(search) => Command::SearchUsers {
            query: search.text,
            limit: search.limit,
        },
        SearchCommand::Groups(search) => Command::SearchGroups {
            query: search.text,
            limit: search.limit,
        },
    };
    match client.execute(command).await? {
        Outcome::Users(users) => users.iter().try_for_each(|user| output.print(&UserLine::from(user))),
        Outcome::Groups(groups) => groups
            .iter()
            .try_for_each(|group| output.print(&GroupLine::new(group, None))),
        other => Err(unexpected(&other)),
    }
}

/// The line of an entry, with the names it needs. While the server cannot say who somebody is, their number has to do: what arrived is shown.
pub(crate) async fn event_line(
    client: &Client,
    info: &ConversationInfo,
    found: &HistoryEvent,
    body: &EventBody,
) -> EventLine {
    let users = users_in(found, body);
    let names = match client.names(users.iter().copied()).await {
        Ok(names) => names,
        Err(_) => client.known_names(users),
    };
    EventLine::new(info, found, body, &names)
}

/// The server answered a question with something else.
pub(crate) fn unexpected(outcome: &Outcome) -> Failure {
    let text = format!("the server answered with something else: {outcome:.40?}");
    Failure::new(Kind::Protocol, text)
}
