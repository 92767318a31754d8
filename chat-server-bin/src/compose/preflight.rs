//! Finds problems because of which the server would refuse to start. Connects to neither the store
//! nor the bus, so it cannot find all of them.

use std::io;
use std::path::Path;

use chat_bus_redis::RedisBackend;
use chat_core::secure::{IdentityError, ServerIdentity};
use chat_store_mysql::MysqlStore;
use chat_store_sqlite::{DATABASE_FILE, OpenError};
use rustix::fs::{Access, access};

use super::tls::pem_acceptor;
use super::{bus_options, listeners, mysql_options, unusable_directory};
use crate::config::{CheckedConfig, Problem, StoreUrl};
use crate::failure::Failure;
use crate::hardening;

/// Runs all checks of this module, and returns the problems that they find; most of them stop at
/// their first problem. Creates and changes nothing.
pub(crate) fn problems(config: &CheckedConfig) -> Vec<Problem> {
    let checks = [
        check_store(config),
        check_bus(config),
        check_identity(config),
        pem_acceptor(config).map(drop),
        listeners::addresses(config).map(drop),
    ];
    let directories = config.directories().into_iter().map(check_data_dir);
    let results = checks.into_iter().chain(directories);
    results.filter_map(Result::err).flat_map(into_problems).collect()
}

fn into_problems(failure: Failure) -> Vec<Problem> {
    match failure {
        Failure::Config(problems) => problems,
        other => vec![Problem::without_origin(other.to_string())],
    }
}

fn check_store(config: &CheckedConfig) -> Result<(), Failure> {
    match &config.store {
        StoreUrl::Mysql(url) => Ok(MysqlStore::check_url(&url.0, &mysql_options(config))?),
        StoreUrl::Sqlite(_) => {
            let database = config.store_dir().unwrap_or(Path::new("")).join(DATABASE_FILE);
            match access(&database, Access::READ_OK | Access::WRITE_OK) {
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied && database.exists() => {
                    let (path, source) = (database, error.into());
                    Err(OpenError::PermissionDenied { path, source }.into())
                }
                // A missing database is created. Other errors are reported when the server starts.
                _ => Ok(()),
            }
        }
    }
}

/// Checks the URL and the options of the bus, if one is configured.
pub(super) fn check_bus(config: &CheckedConfig) -> Result<(), Failure> {
    match bus_options(config)? {
        None => Ok(()),
        Some(options) => RedisBackend::check_url(&config.settings.bus.url, &options)
            .map_err(|error| Failure::config(format!("bus.url: {error}"))),
    }
}

/// Checks the key file if there is one; otherwise the start generates a key.
fn check_identity(config: &CheckedConfig) -> Result<(), Failure> {
    hardening::check_key(&config.identity_file())?;
    match ServerIdentity::load(&config.identity_file()) {
        Ok(_) => Ok(()),
        Err(IdentityError::File { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Fails unless `directory` is writable, or can be created. If it exists, also checks who has
/// access to it.
fn check_data_dir(directory: &Path) -> Result<(), Failure> {
    let unusable = |error| unusable_directory(directory, &error);
    let absolute = std::path::absolute(directory).map_err(unusable)?;
    for existing in absolute.ancestors() {
        match std::fs::metadata(existing) {
            Ok(metadata) if metadata.is_dir() => {
                let writable = access(existing, Access::WRITE_OK | Access::EXEC_OK);
                writable.map_err(|error| unusable(error.into()))?;
                return if existing == absolute {
                    hardening::check_directory(directory)
                } else {
                    Ok(())
                };
            }
            Ok(_) => return Err(unusable(io::ErrorKind::NotADirectory.into())),
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {}
            Err(error) => return Err(unusable(error)),
        }
    }
    Ok(())
}
