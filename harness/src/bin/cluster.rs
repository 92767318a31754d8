//! `cluster`: runs a cluster of real processes and injects faults on command.

use std::env;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use chat_harness::commands::{ClusterCommand, CommandExecutor, Disk, HELP};
use chat_harness::console::{self, Answer, Console};
use chat_harness::{Cluster, GuardedTempDir, Signals};
use clap::{Args, Parser, Subcommand};
use tokio::runtime::Builder;
use tokio::task::spawn_blocking;

/// Runs MariaDB, Redis and nodes until Ctrl-C or the command "quit", and injects faults on command.
/// Reads one command per line from its standard input; further calls of this program send commands
/// to it
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100, after_long_help = examples(), args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    action: Option<Action>,
    #[command(flatten)]
    tell: Tell,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Starts a cluster and runs it until Ctrl-C or the command "quit"
    Up(Up),
}

#[derive(Debug, Args)]
struct Up {
    /// Directory of the control socket and the data; created if missing. The data are deleted at
    /// the end
    #[arg(value_name = "DIR")]
    directory: PathBuf,
    /// Number of nodes
    #[arg(long, default_value_t = 3, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=16))]
    nodes: u8,
    /// Server program of the nodes [default: chat-server in the directory CHAT_BIN_DIR, or beside
    /// this program if the variable is not set]
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
    /// Puts all data on an in-memory disk of this size (for example 512M), which the command
    /// "disk full" fills; needs root
    #[arg(long, value_name = "SIZE")]
    disk: Option<String>,
}

#[derive(Debug, Args)]
struct Tell {
    /// Directory of a running cluster
    #[arg(required = true, value_name = "DIR")]
    directory: Option<PathBuf>,
    /// Command to the cluster
    #[arg(
        required = true,
        value_name = "COMMAND",
        trailing_var_arg = true,
        allow_hyphen_values = true
    )]
    command: Vec<String>,
}

fn examples() -> String {
    let help = HELP.lines().map(|line| format!("  {line}\n")).collect::<String>();
    format!(
        "\
Commands:
{help}  help, quit

Examples:
  cluster up /tmp/c
  cluster /tmp/c status
  cluster /tmp/c kill9 1
  cluster /tmp/c start 1
  cluster /tmp/c partition 2 redis in
  cluster /tmp/c heal

Exit codes: 0 the command was executed, or the cluster has quit; 1 the cluster cannot start or does not run, or a
command was refused or failed; 2 wrong usage."
    )
}

/// Maximum time for the start of the cluster, or for a running command, to finish after a signal.
/// Then this process exits, which ends the processes of the cluster.
const LAST_COMMAND_TIMEOUT: Duration = Duration::from_secs(2);

fn main() -> ExitCode {
    let cli = Cli::parse();
    let done = match (cli.action, cli.tell.directory) {
        (Some(Action::Up(up)), _) => run(up),
        (None, Some(directory)) => tell(&directory, &cli.tell.command.join(" ")),
        (None, None) => Ok(()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cluster: {error}");
            ExitCode::FAILURE
        }
    }
}

fn control_socket(directory: &Path) -> PathBuf {
    directory.join("control")
}

fn tell(directory: &Path, line: &str) -> io::Result<()> {
    let no_cluster = |error| io::Error::other(format!("no cluster runs in {}: {error}", directory.display()));
    let text = console::send_command(&control_socket(directory), line).map_err(no_cluster)?;
    print!("{}", text.map_err(io::Error::other)?);
    Ok(())
}

fn run(options: Up) -> io::Result<()> {
    let runtime = Builder::new_multi_thread().enable_all().build()?;
    let done = runtime.block_on(up(options));
    runtime.shutdown_timeout(LAST_COMMAND_TIMEOUT);
    done
}

async fn up(options: Up) -> io::Result<()> {
    let program = match options.program {
        Some(program) => program,
        None => chat_harness::binary("chat-server", env::current_exe()?.with_file_name("chat-server")),
    };
    if !program.is_file() {
        let program = program.display();
        return Err(io::Error::other(format!(
            "{program} does not exist; build it with cargo build -p chat-server-bin, or name another program with --program"
        )));
    }
    std::fs::create_dir_all(&options.directory)?;
    // Opened first, because this fails if another cluster uses the directory.
    let mut console = Console::open(Some(&control_socket(&options.directory)))?;
    let mut signals = Signals::catch()?;
    let mut executor = tokio::select! {
        // If a signal comes first, the processes started so far end with this process.
        executor = spawn_blocking(move || start(&options.directory, &program, options.nodes, options.disk.as_deref())) => executor??,
        () = signals.next() => return Ok(()),
    };
    print!("{}", executor.execute(&ClusterCommand::Status)?);
    println!("ready");
    loop {
        let line = tokio::select! {
            line = console.next() => line,
            () = signals.next() => return Ok(()),
        };
        let text = line.text.trim().to_owned();
        if text == "quit" {
            // The caller gets the answer only after the cluster has ended.
            spawn_blocking(move || drop(executor)).await?;
            line.answer(Ok(String::new()));
            console.close().await;
            return Ok(());
        }
        // Executing a command blocks. Other commands wait until it has ended; a signal does not.
        let executed = spawn_blocking(move || {
            let answer = execute(&mut executor, &text);
            (executor, answer)
        });
        let answer;
        (executor, answer) = tokio::select! {
            executed = executed => executed?,
            () = signals.next() => return Ok(()),
        };
        line.answer(answer);
    }
}

fn start(directory: &Path, program: &Path, nodes: u8, disk: Option<&str>) -> io::Result<CommandExecutor> {
    let temp_dir = GuardedTempDir::open_in(directory)?;
    let disk = disk.map(|size| Disk::mount(&temp_dir, size)).transpose()?;
    let cluster = Cluster::linked(program, usize::from(nodes), &[])?;
    Ok(CommandExecutor::new(cluster, temp_dir, disk))
}

fn execute(executor: &mut CommandExecutor, line: &str) -> Answer {
    if line == "help" {
        return Ok(format!("{HELP}\nquit\n"));
    }
    let command: ClusterCommand = line.parse().map_err(|error| format!("{error}"))?;
    executor.execute(&command).map_err(|error| error.to_string())
}
