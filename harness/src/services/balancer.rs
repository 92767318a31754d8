//! [`Balancer`]: an nginx or HAProxy server for tests.

use std::fs;
use std::io;
use std::net::SocketAddr;

use tempfile::TempDir;

use super::{GuardedProcess, on_free_port};

/// A load balancer in front of three nodes. It runs with an example configuration from `deploy/`,
/// in which the addresses are replaced. Dropping the handle kills the load balancer.
#[derive(Debug)]
pub struct Balancer {
    process: GuardedProcess,
    address: SocketAddr,
    _directory: TempDir,
}

impl Balancer {
    /// Starts nginx in front of three nodes. `example` is the text of `deploy/nginx/chat.conf`.
    ///
    /// # Errors
    /// nginx or its stream module is not installed (Debian: `nginx-light`, `libnginx-mod-stream`),
    /// or cannot be started.
    pub fn nginx(example: &str, nodes: [SocketAddr; 3]) -> io::Result<Self> {
        Self::start(example, "listen 7400", "listen", nodes, |directory, file| {
            let (directory, file) = (directory.display().to_string(), file.display().to_string());
            let settings = format!("daemon off; pid {directory}/pid; error_log stderr notice;");
            GuardedProcess::start(
                "nginx",
                &["-p", &directory, "-c", &file, "-g", &settings],
                "start worker process ",
            )
        })
    }

    /// Starts HAProxy in front of three nodes. `example` is the text of
    /// `deploy/haproxy/haproxy.cfg`.
    ///
    /// # Errors
    /// HAProxy is not installed (Debian: `haproxy`), or cannot be started.
    pub fn haproxy(example: &str, nodes: [SocketAddr; 3]) -> io::Result<Self> {
        Self::start(example, "bind :7400", "bind", nodes, |_, file| {
            let file = file.display().to_string();
            GuardedProcess::start("haproxy", &["-W", "-db", "-f", &file], "Loading success")
        })
    }

    /// Starts a load balancer with `launch`, which gets a directory and the path of the
    /// configuration file. In the file, `directive` and the address to listen on replace
    /// `example_listen`, and `nodes` replace the nodes of the example.
    fn start(
        example: &str,
        example_listen: &str,
        directive: &str,
        nodes: [SocketAddr; 3],
        launch: impl Fn(&std::path::Path, &std::path::Path) -> io::Result<GuardedProcess>,
    ) -> io::Result<Self> {
        let directory = tempfile::tempdir()?;
        let (process, address) = on_free_port(|address| {
            let mut text = example.replace(example_listen, &format!("{directive} {address}"));
            for (number, node) in (1..).zip(nodes) {
                text = text.replace(&format!("10.0.0.{number}:7401"), &node.to_string());
            }
            let file = directory.path().join("configuration");
            fs::write(&file, text)?;
            Ok((launch(directory.path(), &file)?, address))
        })?;
        Ok(Self {
            process,
            address,
            _directory: directory,
        })
    }

    /// Returns the address on which the load balancer listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the process of the load balancer, for signals and for its state.
    #[must_use]
    pub const fn process(&self) -> &GuardedProcess {
        &self.process
    }
}
