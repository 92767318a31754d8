//! `chaosproxy`: forwards TCP connections and impairs them on command.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use chat_harness::Signals;
use chat_harness::console::{self, Answer, Console};
use chat_harness::proxy::{HELP, Proxy, ProxyCommand};
use clap::{Args, Parser, Subcommand};
use tokio::net::lookup_host;

/// Forwards TCP connections to servers and impairs them on command. Reads one command per line,
/// from its standard input and, with --control, from a socket
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100, after_long_help = examples(), args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    action: Option<Action>,
    #[command(flatten)]
    run: Run,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Sends a command to a running proxy and prints the answer
    Tell {
        /// Control socket of the proxy
        #[arg(value_name = "PATH")]
        control: PathBuf,
        /// Command to the proxy
        #[arg(
            required = true,
            value_name = "WORD",
            trailing_var_arg = true,
            allow_hyphen_values = true
        )]
        words: Vec<String>,
    },
}

#[derive(Debug, Args)]
struct Run {
    /// Address to listen on and server to forward to; can be repeated. Port 0 chooses a free port
    #[arg(required = true, value_name = "LISTEN=SERVER", value_parser = parse_route)]
    routes: Vec<(SocketAddr, String)>,
    /// Path of a Unix socket on which to listen for commands too
    #[arg(long, value_name = "PATH")]
    control: Option<PathBuf>,
}

fn examples() -> String {
    let help = HELP.lines().map(|line| format!("  {line}\n")).collect::<String>();
    format!(
        "\
Commands:
{help}  help, quit
  @2 COMMAND: for the second route only

Examples:
  chaosproxy 127.0.0.1:7500=127.0.0.1:7400 --control /tmp/chaos
  chaosproxy tell /tmp/chaos delay 50ms
  chaosproxy tell /tmp/chaos freeze up
  chaosproxy tell /tmp/chaos heal

Exit codes of the proxy: 0 after quit, Ctrl-C, SIGTERM or SIGHUP; 1 it cannot start. Exit codes of tell: 0 the command
was executed; 1 no proxy answers, or the command was refused or failed. Both: 2 wrong usage."
    )
}

fn parse_route(text: &str) -> Result<(SocketAddr, String), String> {
    let (listen, server) = text
        .split_once('=')
        .ok_or("write LISTEN=SERVER, for example 127.0.0.1:7500=127.0.0.1:7400")?;
    let listen = listen
        .parse()
        .map_err(|_| format!("{listen} is not an IP address with a port; write, for example, 127.0.0.1:7500"))?;
    Ok((listen, server.to_owned()))
}

/// A proxy and the server that it forwards to.
struct Route {
    proxy: Proxy,
    server: String,
}

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    let done = match cli.action {
        Some(Action::Tell { control, words }) => tell(&control, &words.join(" ")),
        None => run(cli.run).await,
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("chaosproxy: {error}");
            ExitCode::FAILURE
        }
    }
}

fn tell(control: &Path, line: &str) -> io::Result<()> {
    let answer = console::send_command(control, line);
    let text = answer
        .map_err(|error| io::Error::other(format!("no proxy answers on {}: {error}", control.display())))?
        .map_err(io::Error::other)?;
    print!("{text}");
    Ok(())
}

async fn run(options: Run) -> io::Result<()> {
    let mut routes = Vec::new();
    for (listen, server) in options.routes {
        let resolved = lookup_host(&server).await.map(|mut resolved| resolved.next());
        let target = resolved.map_err(|error| io::Error::other(format!("cannot resolve {server}: {error}")))?;
        let target = target.ok_or_else(|| io::Error::other(format!("{server} has no address")))?;
        let proxy = Proxy::start_on(listen, target);
        let proxy = proxy.map_err(|error| io::Error::other(format!("cannot listen on {listen}: {error}")))?;
        println!("listening {} to {server}", proxy.address());
        routes.push(Route { proxy, server });
    }
    let mut console = Console::open(options.control.as_deref())?;
    let mut signals = Signals::catch()?;
    println!("ready");
    loop {
        tokio::select! {
            line = console.next() => {
                if line.text.trim() == "quit" {
                    line.answer(Ok(String::new()));
                    console.close().await;
                    return Ok(());
                }
                let answer = execute(&routes, line.text.trim());
                line.answer(answer);
            }
            () = signals.next() => return Ok(()),
        }
    }
}

fn execute(routes: &[Route], line: &str) -> Answer {
    if line == "help" {
        return Ok(format!("{HELP}\nquit\n"));
    }
    let (selected, line) = select_routes(routes, line)?;
    let command: ProxyCommand = line.parse().map_err(|error| format!("{error}"))?;
    let mut status = String::new();
    for (number, route) in selected {
        let output = command.execute(&route.proxy).map_err(|error| error.to_string())?;
        if command == ProxyCommand::Status {
            let (listen, server) = (route.proxy.address(), &route.server);
            status += &format!("@{number} {listen} to {server}: {output}\n");
        }
    }
    Ok(status)
}

/// Selected routes, with their numbers from 1.
type SelectedRoutes<'a> = Vec<(usize, &'a Route)>;

/// Returns the routes that a line selects, and the rest of the line: `@2 heal` selects the second
/// route, and a line without `@` selects all routes.
fn select_routes<'a, 'b>(routes: &'a [Route], line: &'b str) -> Result<(SelectedRoutes<'a>, &'b str), String> {
    let all = || (1..).zip(routes);
    let Some(rest) = line.strip_prefix('@') else {
        return Ok((all().collect(), line));
    };
    let (number, rest) = rest.split_once(' ').unwrap_or((rest, ""));
    let selected: Vec<_> = all()
        .filter(|(route_number, _)| number == route_number.to_string())
        .collect();
    if selected.is_empty() {
        return Err(format!(
            "there is no route @{number}: the routes are @1 to @{}",
            routes.len()
        ));
    }
    Ok((selected, rest))
}
