//! Composes store, bus, engine and server from a configuration. Apart from its submodules, from
//! `admin`, which copies and restores an embedded store, and from `failure`, which converts errors,
//! no other module names the crates of the backends.

mod listeners;
mod options;
pub(crate) mod preflight;
mod tls;

use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use chat_bus_redis::RedisBackend;
use chat_core::clock::{Clock as _, SystemClock};
use chat_core::engine::{Engine, EngineBuilder};
use chat_core::model::StoreEpoch;
use chat_core::secure::{IdentityError, ServerIdentity, ServerKeys};
use chat_core::server::Server;
use chat_core::store::Store;
use chat_core::transport::tls::TlsAcceptor;
use chat_store_mysql::MysqlStore;
use chat_store_sqlite::{OpenError, SqliteStore};

use self::options::{engine_config, server_config};
use self::tls::tls_acceptor;
use crate::admin_socket::AdminSocket;
use crate::config::{CheckedConfig, Scheme, StoreUrl};
use crate::failure::{Failure, chain};
use crate::operator::{CommandTarget, RunningNode};
use crate::{files, hardening, limits};

/// A running node: its open store, the engine on the store, and the server of the engine.
pub(crate) struct Composition {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) engine: Engine,
    pub(crate) server: Arc<Server>,
    /// Fingerprint of the identity key, which clients pin.
    pub(crate) fingerprint: String,
    /// The acceptor with the configured certificate; `None` if there is none, or no `tls://`
    /// listener.
    pub(crate) certificate_acceptor: Option<Arc<TlsAcceptor>>,
    /// Socket for the commands of operators; `None` if it could not be opened.
    pub(crate) admin_socket: Option<AdminSocket>,
}

/// Raises the limit of open files, opens the store, builds the engine, binds the listeners and
/// opens the admin socket. Creates the directories, the store and the identity key if they are
/// missing. If a step fails, closes what the earlier steps opened. A server without its admin
/// socket is no failure.
pub(crate) async fn compose(config: &CheckedConfig) -> Result<Composition, Failure> {
    // This check comes first: with too few file descriptors, later steps fail with errors that do
    // not name the cause.
    let max_connections = limits::max_connections(config)?;
    // A wrong URL is reported before the store is opened, which may take long.
    preflight::check_bus(config)?;
    let addresses = listeners::addresses(config)?;
    let store = open_store(config).await?;
    let result = build_on_store(config, &addresses, Arc::clone(&store), max_connections).await;
    if result.is_err() {
        store.close().await;
    }
    result
}

/// Creates a directory, and the directories above it, with mode 0700 if they are missing. It will
/// contain all messages, or the server's key, so other users must not read it.
pub(crate) fn create_private_dir(directory: &Path) -> std::io::Result<()> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)
}

/// Opens the configured store, creates it if it is missing, and migrates it to this version's
/// schema. Before that, creates the data directory and the directory of an embedded store if they
/// are missing.
pub(crate) async fn open_store(config: &CheckedConfig) -> Result<Arc<dyn Store>, Failure> {
    prepare_directories(config)?;
    Ok(match &config.store {
        StoreUrl::Sqlite(directory) => {
            let directory = directory.as_deref().unwrap_or(&config.settings.server.data_dir);
            Arc::new(SqliteStore::open(directory, chat_store_sqlite::Options::default()).await?)
        }
        StoreUrl::Mysql(url) => Arc::new(MysqlStore::open(&url.0, mysql_options(config)).await?),
    })
}

/// Opens the configured store for a command of an operator. Does not create a store, because the
/// path may be mistyped, and does not migrate it, because running nodes may need the present
/// schema.
pub(crate) async fn open_existing_store(config: &CheckedConfig) -> Result<Arc<dyn Store>, Failure> {
    Ok(match &config.store {
        StoreUrl::Sqlite(directory) => {
            let directory = directory.as_deref().unwrap_or(&config.settings.server.data_dir);
            let mut options = chat_store_sqlite::Options::default();
            options.migrate = false;
            let opened = SqliteStore::open(directory, options).await;
            Arc::new(opened.map_err(explain_lock)?)
        }
        StoreUrl::Mysql(url) => {
            let mut options = mysql_options(config);
            options.migrate = false;
            Arc::new(MysqlStore::open(&url.0, options).await?)
        }
    })
}

/// Converts the error into a failure. Explains why a command cannot use an embedded store that a
/// server uses.
pub(crate) fn explain_lock(error: OpenError) -> Failure {
    match error {
        OpenError::InUse { directory } => Failure::Unavailable(format!(
            "another process, such as a server, uses the store in {}; only one process at a time can use the embedded \
             store, so stop the server, run this command again, and then start the server",
            directory.display()
        )),
        other => other.into(),
    }
}

/// Gives the store a new epoch and returns it.
pub(crate) async fn renew_epoch(config: &CheckedConfig) -> Result<StoreEpoch, Failure> {
    Ok(match &config.store {
        StoreUrl::Sqlite(directory) => {
            let directory = directory.as_deref().unwrap_or(&config.settings.server.data_dir);
            SqliteStore::renew_epoch(directory).await.map_err(explain_lock)?
        }
        StoreUrl::Mysql(url) => MysqlStore::renew_epoch(&url.0, mysql_options(config)).await?,
    })
}

/// Creates the data directory, and the directory of the embedded store, if they are missing, and
/// checks who has access to them; see [`hardening::check_directory`].
fn prepare_directories(config: &CheckedConfig) -> Result<(), Failure> {
    for directory in config.directories() {
        create_private_dir(directory).map_err(|error| unusable_directory(directory, &error))?;
        hardening::check_directory(directory)?;
    }
    Ok(())
}

fn unusable_directory(directory: &Path, error: &std::io::Error) -> Failure {
    let name = directory.display();
    Failure::Unavailable(format!(
        "cannot create or use the data directory {name}: {error}; change its owner or permissions, or choose another \
         directory with --data-dir or store.url"
    ))
}

/// Returns the options of the MySQL store. Half of the connections are for writes, the others for
/// reads.
fn mysql_options(config: &CheckedConfig) -> chat_store_mysql::Options {
    let settings = &config.settings.store;
    let mut options = chat_store_mysql::Options::default();
    options.write_connections = settings.max_connections / 2;
    options.read_connections = settings.max_connections - settings.max_connections / 2;
    options.allow_unsafe_durability = settings.allow_unsafe_durability;
    options.ca_file = non_empty(&settings.ca_file).map(Path::to_owned);
    options
}

/// Builds an engine on this store for a command of an operator. The engine does not join the
/// cluster as a node. It announces its changes on the bus if one is configured.
pub(crate) async fn build_operator_engine(config: &CheckedConfig, store: Arc<dyn Store>) -> Result<Engine, Failure> {
    let mut builder = Engine::builder(Arc::clone(&store))
        .config(engine_config(&config.settings))
        .operator_only();
    if let Some(redis) = open_bus(config, &*store).await? {
        builder = builder.bus(Arc::new(redis.bus()));
    }
    build(builder).await
}

/// Builds the engine of a node on this store, and on the bus if one is configured.
async fn build_node_engine(config: &CheckedConfig, store: Arc<dyn Store>) -> Result<Engine, Failure> {
    let mut builder = Engine::builder(Arc::clone(&store)).config(engine_config(&config.settings));
    if let Some(redis) = open_bus(config, &*store).await? {
        builder = builder
            .bus(Arc::new(redis.bus()))
            .presence(Arc::new(redis.presence()))
            .discovery(Arc::new(redis.discovery()));
    } else if matches!(config.store, StoreUrl::Mysql(_)) {
        tracing::warn!(
            "bus.url is not set: nodes that share this database poll it every second for messages of other nodes, which is \
             slower and loads the database more than a bus; presence, typing and read receipts do not cross nodes"
        );
    }
    build(builder).await
}

/// Opens the bus if one is configured. `store` contains the cluster key, with which the nodes that
/// share the store authenticate what they send over the bus.
async fn open_bus(config: &CheckedConfig, store: &dyn Store) -> Result<Option<RedisBackend>, Failure> {
    let Some(options) = bus_options(config)? else {
        return Ok(None);
    };
    let cluster_key = store.cluster_key().await;
    let cluster_key = cluster_key.map_err(|error| Failure::Unavailable(chain(&error)))?;
    let redis = RedisBackend::open(&config.settings.bus.url, cluster_key, options);
    redis
        .map(Some)
        .map_err(|error| Failure::config(format!("bus.url: {error}")))
}

/// Returns the options of the bus, or `None` if no bus is configured.
fn bus_options(config: &CheckedConfig) -> Result<Option<chat_bus_redis::Options>, Failure> {
    let bus = &config.settings.bus;
    if bus.url.is_empty() {
        return Ok(None);
    }
    let mut options = chat_bus_redis::Options::default();
    options.prefix.clone_from(&bus.prefix);
    options.authorities = non_empty(&bus.ca_file).map(read_file).transpose()?;
    Ok(Some(options))
}

async fn build(builder: EngineBuilder) -> Result<Engine, Failure> {
    builder
        .build()
        .await
        .map_err(|error| Failure::Unavailable(chain(&error)))
}

/// Loads or generates the identity key, builds the engine, binds the listeners to `addresses`, one
/// for each configured URL, announces the addresses for clients, and opens the admin socket. If a
/// step fails, `store` stays open.
async fn build_on_store(
    config: &CheckedConfig,
    addresses: &[SocketAddr],
    store: Arc<dyn Store>,
    max_connections: u32,
) -> Result<Composition, Failure> {
    let path = config.identity_file();
    hardening::check_key(&path)?;
    let was_missing = !path.exists();
    // Generating a key takes seconds on a slow machine.
    let loaded = tokio::task::spawn_blocking(move || ServerIdentity::load_or_generate(&path)).await;
    let loaded =
        loaded.map_err(|error| Failure::Failed(format!("cannot load or generate the identity key: {error}")))?;
    let identity = loaded.map_err(|error| match error {
        IdentityError::Malformed(_) | IdentityError::KeySize(_) | IdentityError::KeyExponent => {
            Failure::config(format!(
                "{} is no usable identity key: {}; restore a copy of the key",
                config.identity_file().display(),
                chain(&error)
            ))
        }
        error => error.into(),
    })?;
    let fingerprint = identity.fingerprint().to_string();
    if was_missing && is_used(&*store).await {
        let file = config.identity_file();
        tracing::warn!(
            file = %file.display(),
            fingerprint,
            "the identity key was missing and a new one was generated, but clients have used this store: clients that \
             pinned the former key will refuse this server; stop the server and restore the former key file, or publish the \
             new fingerprint"
        );
    }
    let acceptor = tls_acceptor(config, &identity)?;
    let keys = Arc::new(ServerKeys::new(identity, SystemClock.now().unix_seconds())?);

    let engine = build_node_engine(config, Arc::clone(&store)).await?;
    let mut builder = Server::builder(engine.clone()).config(server_config(config, max_connections));
    for (listen, &address) in config.listen.iter().zip(addresses) {
        builder = match (listen.scheme, &acceptor) {
            (Scheme::Sc1, _) => builder.sc1(address, Arc::clone(&keys)),
            (Scheme::Plain, _) => builder.plain(address),
            (Scheme::Tls, Some(acceptor)) => builder.tls(address, Arc::clone(acceptor)),
            (Scheme::Tls, None) => unreachable!("a TLS acceptor is built whenever a tls:// URL is configured"),
        };
        if listen.is_behind_proxy {
            builder = builder.behind_proxy();
        }
    }
    let server = match builder.bind().await {
        Ok(server) => server,
        Err(error) => {
            engine.shutdown().await;
            return Err(listeners::cannot_bind(&error));
        }
    };
    engine.advertise(advertised_addresses(config, &server));
    let has_own_certificate = non_empty(&config.settings.tls.certificate_file).is_some();
    let server = Arc::new(server);
    Ok(Composition {
        admin_socket: open_admin_socket(config, &engine, &server, &fingerprint),
        store,
        engine,
        server,
        fingerprint,
        certificate_acceptor: acceptor.filter(|_| has_own_certificate),
    })
}

/// Opens the admin socket. If that fails, logs a warning and returns `None`: the server works
/// without it too, for example on a file system that has no sockets.
fn open_admin_socket(
    config: &CheckedConfig,
    engine: &Engine,
    server: &Arc<Server>,
    fingerprint: &str,
) -> Option<AdminSocket> {
    let node = RunningNode {
        server: Arc::clone(server),
        fingerprint: fingerprint.to_owned(),
        started: Instant::now(),
    };
    let target = CommandTarget::new(config, engine.clone(), Some(Arc::new(node)));
    let directory = &config.settings.server.data_dir;
    let opened = AdminSocket::open(directory, target);
    let warn = |error: &std::io::Error| {
        tracing::warn!(
            directory = %directory.display(),
            error = error as &dyn std::error::Error,
            "cannot open the admin socket: the commands of operators do not reach this server"
        );
    };
    opened.inspect_err(warn).ok()
}

/// Returns `true` if an account of this store has a device, whose client may have pinned a server
/// key. Checks only the first 50 enabled accounts, which is enough for a warning, and takes an
/// error of the store for a lack of devices.
async fn is_used(store: &dyn Store) -> bool {
    let accounts = store.search_accounts("", 50).await.unwrap_or_default();
    for account in accounts {
        if store.devices(account.id).await.is_ok_and(|devices| !devices.is_empty()) {
            return true;
        }
    }
    false
}

/// Returns the addresses at which clients reach this node: `server.advertise` if it is set,
/// otherwise those addresses of the listeners to which clients can connect.
fn advertised_addresses(config: &CheckedConfig, server: &Server) -> Vec<String> {
    let configured = &config.settings.server.advertise;
    if !configured.is_empty() {
        return configured.clone();
    }
    // Clients cannot connect to a port behind a proxy, or to the unspecified address.
    let addresses = server.addresses().iter().zip(&config.listen);
    let usable = addresses.filter(|((_, address), listen)| !listen.is_behind_proxy && !address.ip().is_unspecified());
    usable
        .map(|((protocol, address), _)| format!("{protocol}://{address}"))
        .collect()
}

/// Returns the path, or `None` if it is empty (not configured).
fn non_empty(path: &Path) -> Option<&Path> {
    (!path.as_os_str().is_empty()).then_some(path)
}

fn read_file(path: &Path) -> Result<Vec<u8>, Failure> {
    files::open_regular(path)
        .and_then(|file| files::read_opened(file, files::MAX_CONFIG_FILE_BYTES))
        .map_err(|error| Failure::config(format!("cannot read {}: {error}", path.display())))
}
