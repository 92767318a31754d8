//! The commands of the command line, one file per family.

mod account;
mod devices;
mod friends;
mod groups;
mod history;
mod line_sender;
mod listen;
mod send;
mod sender;

use std::io::Write as _;

use chat_core::client::Receive;
use chat_core::commands::Commands;
use clap::CommandFactory as _;

use crate::args::{Args, Command, FriendCommand, Global, GroupCommand, SearchCommand};
use crate::command_client::CommandClient;
use crate::failure::{Failure, FailureKind};
use crate::interactive;
use crate::login::LoginMode;
use crate::output::{ConversationLine, GroupLine, Output, UserLine};
use crate::session::Session;

/// Runs the command of the command line, or the interactive client if no command is given.
pub(crate) async fn run(args: Args, output: &mut Output) -> Result<(), Failure> {
    let global = args.global;
    let Some(command) = args.command else {
        if global.json {
            return Err(Failure::usage(
                "--json needs a command; the interactive client prints text only",
            ));
        }
        return interactive::run(&global, output).await;
    };
    match command {
        Command::Register { display_name } => account::register(&global, display_name, output).await,
        Command::Login => account::login(&global, output).await,
        Command::Logout => account::logout(&global, output).await,
        Command::Passwd { new_password_file } => account::passwd(&global, new_password_file, output).await,
        Command::Send(send) => send::send(&global, send, output).await,
        Command::Listen(listen) => listen::listen(&global, &listen, output).await,
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Args::command(), "chat-client", &mut script);
            output.print_raw(&script)
        }
        Command::Man => output.print_raw(&manual()?),
        Command::Edit(args) => send::edit(&global, &args, output).await,
        Command::Recall(args) => send::recall(&global, &args, output).await,
        Command::React { message, remove } => send::react(&global, &message, remove, output).await,
        Command::Group(GroupCommand::Leave { args, yes }) => groups::leave(&global, &args.group, yes, output).await,
        command => in_session(&global, command, output).await,
    }
}

/// Returns the manual page: a description of the program, then a section for each command.
fn manual() -> Result<Vec<u8>, Failure> {
    let command = Args::command();
    let man = clap_mangen::Man::new(command.clone());
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    describe_subcommands(&command, "chat-client", &mut page)?;
    man.render_extra_section(&mut page)?;
    Ok(page)
}

/// Adds a section for each command to the manual page.
fn describe_subcommands(command: &clap::Command, name: &str, page: &mut Vec<u8>) -> std::io::Result<()> {
    for sub in command.get_subcommands() {
        let name = format!("{name} {}", sub.get_name());
        writeln!(page, ".SH \"{}\"", name.to_uppercase())?;
        let about = sub.get_about().map(ToString::to_string).unwrap_or_default();
        writeln!(page, "{}", about.replace('-', "\\-"))?;
        let mut own = sub.clone().disable_help_flag(true);
        for argument in sub.get_arguments().filter(|argument| argument.is_global_set()) {
            own = own.mut_arg(argument.get_id(), |argument| argument.hide(true));
        }
        let mut options = Vec::new();
        clap_mangen::Man::new(own).render_options_section(&mut options)?;
        // The options belong to the section of the command.
        let options = String::from_utf8_lossy(&options).replace(".SH OPTIONS", "");
        write!(page, "{options}")?;
        describe_subcommands(sub, &name, page)?;
    }
    Ok(())
}

/// Connects, and runs a command of [`run_in`]. The failure of a command that changes something on
/// the server says if the outcome is unknown; see [`Failure::with_unknown_outcome`].
async fn in_session(global: &Global, command: Command, output: &mut Output) -> Result<(), Failure> {
    let session = Session::connect(global, LoginMode::Automatic, Receive::Nothing, output).await?;
    let is_read_only = reads_only(&command);
    let result = session.within(run_in(&session, command, output)).await;
    session.finish().await;
    if is_read_only {
        return result;
    }
    result.map_err(Failure::with_unknown_outcome)
}

/// Returns `true` for a command of [`run_in`] that changes nothing on the server.
fn reads_only(command: &Command) -> bool {
    match command {
        Command::Friend(friend) => matches!(friend, FriendCommand::List),
        Command::Group(group) => matches!(group, GroupCommand::List | GroupCommand::Members(_)),
        Command::Devices { command } => command.is_none(),
        Command::Account { .. } | Command::Read(_) => false,
        _ => true,
    }
}

async fn run_in(session: &Session, command: Command, output: &mut Output) -> Result<(), Failure> {
    // The ids that a command looks up are valid in this store epoch only.
    let client = &CommandClient::new(session.client.with_current_epoch());
    match command {
        Command::Whoami => account::whoami(session, output),
        Command::Account { display_name, direct } => account::update(client, display_name, direct, output).await,
        Command::History(history) => history::history(client, &history, output).await,
        Command::Inbox { limit } => history::inbox(client, limit, output).await,
        Command::Conversations => print_conversations(client, output).await,
        Command::Read(read) => history::read(client, &read, output).await,
        Command::Friend(friend) => friends::friend(client, friend, output).await,
        Command::Group(group) => groups::group(client, group, output).await,
        Command::Search(search) => print_search(client, search, output).await,
        Command::Devices { command } => devices::devices(client, command, output).await,
        _ => Err(Failure::new(
            FailureKind::Failed,
            "internal error: the command is not handled",
        )),
    }
}

async fn print_conversations(client: &CommandClient, output: &mut Output) -> Result<(), Failure> {
    let conversations = client.conversations().await?;
    output.print_list(conversations.iter().map(ConversationLine::from))
}

async fn print_search(client: &CommandClient, search: SearchCommand, output: &mut Output) -> Result<(), Failure> {
    match search {
        SearchCommand::Users(search) => {
            let users = client.search_users(search.text, search.limit).await?;
            output.print_list(users.iter().map(UserLine::from))
        }
        SearchCommand::Groups(search) => {
            let groups = client.search_groups(search.text, search.limit).await?;
            output.print_list(groups.iter().map(|group| GroupLine::new(group, None)))
        }
    }
}
