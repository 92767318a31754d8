//! Creation of many accounts from a file.

use std::path::Path;

use super::Call;
use super::call::NewAccount;
use super::executor::Executor;
use crate::args::OperatorArgs;
use crate::config::CheckedConfig;
use crate::failure::Failure;
use crate::files;
use crate::output::print_error;

/// Maximum size of a file of accounts, in bytes.
const MAX_FILE_BYTES: u64 = 64 << 20;

/// Creates an account for each line of `file`. If a line is malformed, creates none. If an account
/// is refused, for example because its name is taken, reports that and continues with the next one;
/// the command then fails. A file without accounts is no failure.
pub(super) async fn add(config: &CheckedConfig, arguments: &OperatorArgs, file: &Path) -> Result<(), Failure> {
    let accounts = read(file)?;
    let count = accounts.len();
    if count == 0 {
        print_error(&format!(
            "chat-server: {} contains no account; none was created",
            file.display()
        ));
        return Ok(());
    }
    let mut executor = Executor::open(config, arguments).await?;
    let result = add_all(&mut executor, accounts).await;
    executor.close().await;
    match result? {
        0 => Ok(()),
        refused => Err(Failure::Failed(format!(
            "{refused} of {count} accounts of {} were not created; see the lines above",
            file.display()
        ))),
    }
}

/// Creates the accounts. Returns the number of accounts that were refused. Stops and fails at the
/// first failure that is no refusal, for example if the server or the store is unavailable.
async fn add_all(executor: &mut Executor, accounts: Vec<(usize, NewAccount)>) -> Result<usize, Failure> {
    let mut refused = 0;
    for (line, account) in accounts {
        let name = account.name.clone();
        match executor.run(Call::UserAdd(account)).await {
            Ok(()) => {}
            Err(Failure::Failed(text)) => {
                refused += 1;
                print_error(&format!("chat-server: line {line}: user {name:?}: {text}"));
            }
            Err(Failure::Unavailable(text)) => {
                return Err(Failure::Unavailable(format!(
                    "stopped at line {line}, whose account may exist or not: {text}"
                )));
            }
            Err(other) => return Err(other),
        }
    }
    Ok(refused)
}

/// Reads the accounts with the numbers of their lines. Blank lines are skipped.
fn read(file: &Path) -> Result<Vec<(usize, NewAccount)>, Failure> {
    let text = files::read_text(file, MAX_FILE_BYTES)
        .map_err(|error| Failure::Failed(format!("cannot read {}: {error}", file.display())))?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let lines = (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty());
    let parse = |(number, line): (usize, &str)| {
        let account = serde_json::from_str(line).map_err(|error| {
            Failure::Failed(format!(
                "{}, line {number}: {error}; expected an object such as {{\"name\":\"alice\"}}; no account was created",
                file.display()
            ))
        });
        account.map(|account| (number, account))
    };
    lines.map(parse).collect()
}
