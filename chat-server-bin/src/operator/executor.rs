//! [`Executor`]: sends the commands of operators to the running server, or runs them in this
//! process.

use std::sync::Arc;

use chat_core::engine::operator::OperatorName;
use chat_core::store::Store;

use super::call::Call;
use super::command_target::CommandTarget;
use super::printer::Printer;
use super::{identity, invalid, run};
use crate::admin_socket::{AdminClient, Request};
use crate::args::OperatorArgs;
use crate::compose::{build_operator_engine, open_existing_store};
use crate::config::CheckedConfig;
use crate::failure::Failure;

/// Executor of the commands of one operator: the server that runs on the data directory, or this
/// process if it finds none there.
pub(super) enum Executor {
    Server {
        client: AdminClient,
        arguments: OperatorArgs,
        /// The configured store, if it is not left to the default.
        store: Option<String>,
    },
    Process {
        store: Arc<dyn Store>,
        target: Box<CommandTarget>,
        operator: OperatorName,
        is_json: bool,
    },
}

impl Executor {
    /// Connects to the running server, or opens the store. The caller has to
    /// [`close`](Self::close) the executor.
    pub(super) async fn open(config: &CheckedConfig, arguments: &OperatorArgs) -> Result<Self, Failure> {
        let name = arguments.operator.clone().unwrap_or_else(identity::login_name);
        let operator = OperatorName::new(name).map_err(invalid)?;
        if let Some(client) = AdminClient::connect(&config.settings.server.data_dir).await? {
            return Ok(Self::Server {
                client,
                arguments: arguments.clone(),
                store: config.store.location(),
            });
        }
        let store = open_existing_store(config).await?;
        match build_operator_engine(config, Arc::clone(&store)).await {
            Ok(engine) => Ok(Self::Process {
                store,
                target: Box::new(CommandTarget::new(config, engine, None)),
                operator,
                is_json: arguments.json,
            }),
            Err(failure) => {
                store.close().await;
                Err(failure)
            }
        }
    }

    /// Executes a command, and prints its output.
    pub(super) async fn run(&mut self, call: Call) -> Result<(), Failure> {
        match self {
            Self::Server {
                client,
                arguments,
                store,
            } => client.call(&Request::new(arguments, store.clone(), call)).await,
            Self::Process {
                target,
                operator,
                is_json,
                ..
            } => {
                let context = target.command_context(operator.clone(), &identity::source());
                let mut printer = Printer::to_stdout(*is_json);
                run(&context, call, &mut printer).await?;
                printer.finish()
            }
        }
    }

    /// Announces the committed changes on the bus, if one is configured, including the changes of a
    /// command that failed halfway, and closes the engine and the store. If a running server
    /// executes the commands, only closes the connection to it.
    pub(super) async fn close(self) {
        if let Self::Process { store, target, .. } = self {
            target.announce().await;
            target.engine().shutdown().await;
            store.close().await;
        }
    }
}
