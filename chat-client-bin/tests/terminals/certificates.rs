//! Tests of `tls://` servers, and of the authorities that the client trusts.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use chat_core::secure::Fingerprint;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, PublicKeyData as _};

use super::support::{RunningProcess, TestDevice, eventually, server_program};

/// An authority, and the directory with its certificate and with the certificate, the key, the data
/// and the log of a server on 127.0.0.1.
struct Authority<'a> {
    issuer: Issuer<'static, KeyPair>,
    directory: &'a Path,
}

impl<'a> Authority<'a> {
    /// Creates an authority. Its own certificate is in the file `authority.pem`.
    fn new(directory: &'a Path) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        fs::write(directory.join("authority.pem"), params.self_signed(&key).unwrap().pem()).unwrap();
        Self {
            issuer: Issuer::new(params, key),
            directory,
        }
    }

    /// Returns the path of the file to which the server writes its log.
    fn server_log(&self) -> PathBuf {
        self.directory.join("server.log")
    }

    /// Returns the path of the certificate of the authority itself.
    fn authority_file(&self) -> String {
        self.directory.join("authority.pem").display().to_string()
    }

    /// Replaces the server's certificate and key by new ones for `name`. Returns the fingerprint of
    /// the key.
    fn issue(&self, name: &str) -> Fingerprint {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        fs::write(self.directory.join("certificate.pem"), certificate.pem()).unwrap();
        fs::write(self.directory.join("key.pem"), key.serialize_pem()).unwrap();
        Fingerprint::sha256_of(&key.subject_public_key_info())
    }

    /// Replaces the server's certificate and key. The new certificate is signed by its own key and
    /// marked as that of an authority (CA:TRUE), like one that `openssl req -x509` makes.
    fn use_authority_certificate(&self, name: &str) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).unwrap();
        fs::write(self.directory.join("certificate.pem"), certificate.pem()).unwrap();
        fs::write(self.directory.join("key.pem"), key.serialize_pem()).unwrap();
    }

    /// Starts a server with the certificate, at this port; 0 chooses a free one. Returns it with a
    /// device of alice.
    fn serve(&self, port: u16) -> (RunningProcess, TestDevice) {
        let mut command = Command::new("sh");
        command
            .args(["-c", "exec \"$0\" \"$@\" 2>\"$LOG\""])
            .arg(server_program())
            .env("LOG", self.server_log())
            .env("CHAT_TLS__CERTIFICATE_FILE", self.directory.join("certificate.pem"))
            .env("CHAT_TLS__KEY_FILE", self.directory.join("key.pem"));
        serve(command, port, self.directory)
    }
}

/// Starts the server program of `command` with its data in `directory`. Returns it with a device of
/// alice.
fn serve(mut command: Command, port: u16, directory: &Path) -> (RunningProcess, TestDevice) {
    command
        .args(["--listen", &format!("tls://127.0.0.1:{port}"), "--data-dir"])
        .arg(directory.join("data"))
        .env("CHAT_LOG__LEVEL", "warn");
    let server = RunningProcess::start(command);
    let listening = server.until("listening tls ");
    let device = TestDevice {
        name: "alice".to_owned(),
        profile: directory.join("profile"),
        server: listening.rsplit(' ').next().unwrap().parse().unwrap(),
    };
    (server, device)
}

#[test]
fn renewed_certificate_of_a_known_authority_is_accepted_and_a_self_signed_one_is_not() {
    let directory = tempfile::tempdir().unwrap();
    let authority = Authority::new(directory.path());
    let first = authority.issue("127.0.0.1");
    let (server, alice) = authority.serve(0);
    assert_eq!(server.until("tls-fingerprint "), format!("tls-fingerprint {first}"));
    let ca = authority.authority_file();
    let with_authority = |command: &'static str| ["--tls", "--ca", &ca, command].map(str::to_owned);
    let run = |command: &'static str| {
        let arguments = with_authority(command);
        alice.run(&arguments.iter().map(String::as_str).collect::<Vec<_>>())
    };
    let registered = run("register");
    assert!(registered.status.success(), "{registered:?}");
    let known = fs::read_to_string(alice.profile.join("known_hosts")).unwrap();
    assert_eq!(known, format!("{} authority\n", alice.server), "no key is pinned");

    let renewed = authority.issue("127.0.0.1").to_string();
    let hang_up = Command::new("kill").args(["-HUP", &server.id().to_string()]).status();
    assert!(hang_up.unwrap().success());
    let uses_renewed = || alice.run(&["--tls", "--pin", &renewed, "whoami"]).status.success();
    eventually("the server uses the renewed certificate", uses_renewed);
    assert!(run("whoami").status.success(), "its key may change");

    // Unusable files leave the server with the certificate that it has.
    fs::write(directory.path().join("key.pem"), "no key").unwrap();
    let hang_up = Command::new("kill").args(["-HUP", &server.id().to_string()]).status();
    assert!(hang_up.unwrap().success());
    let log = || fs::read_to_string(authority.server_log()).unwrap();
    eventually("the server reports the unusable key", || {
        log().contains("the TLS certificate cannot be loaded again")
    });
    assert!(run("whoami").status.success());

    // An attacker takes over the port, with the certificate of a key of its own.
    server.kill();
    let (attacker, _) = serve(Command::new(server_program()), alice.server.port(), directory.path());
    let refused = run("whoami");
    let error = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(76), "{error}");
    assert!(error.contains("certificate"), "{error}");
    // Without `--ca`, the client does not pin the key of this server either.
    alice.fails(76, &["--tls", "whoami"]);
    drop(attacker);
}

#[test]
fn error_for_the_certificate_of_an_authority_names_the_next_step() {
    let directory = tempfile::tempdir().unwrap();
    let authority = Authority::new(directory.path());
    authority.use_authority_certificate("127.0.0.1");
    let (_server, alice) = authority.serve(0);
    let own = directory.path().join("certificate.pem").display().to_string();
    let errors = alice.fails(76, &["--tls", "--ca", &own, "register"]);
    assert!(
        errors.contains("it is the certificate of an authority (CA:TRUE)"),
        "{errors}"
    );
    // The TLS library prints this error as `Other(…)`; the client says it in words.
    assert!(
        errors.contains("leave out --ca") && !errors.contains("Other"),
        "{errors}"
    );
}

#[test]
fn certificate_for_another_name_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let authority = Authority::new(directory.path());
    authority.issue("chat.example");
    let (_server, alice) = authority.serve(0);
    let ca = authority.authority_file();
    let error = alice.fails(76, &["--tls", "--ca", &ca, "register"]);
    assert!(error.contains("certificate") && error.contains("127.0.0.1"), "{error}");
    assert!(!alice.profile.join("known_hosts").exists());
}

/// Runs a command for which the authorities in `file`, as `SSL_CERT_FILE`, replace those of the
/// platform.
fn run_with_authorities(alice: &TestDevice, file: &str, command: &str) -> Output {
    let mut process = alice.command(&["--tls", command]);
    process
        .env("SSL_CERT_FILE", file)
        .env_remove("SSL_CERT_DIR")
        .output()
        .unwrap()
}

#[test]
fn authority_of_ssl_cert_file_is_trusted_without_a_pin() {
    let directory = tempfile::tempdir().unwrap();
    let authority = Authority::new(directory.path());
    authority.issue("127.0.0.1");
    let (server, alice) = authority.serve(0);
    let file = authority.authority_file();
    let registered = run_with_authorities(&alice, &file, "register");
    assert!(registered.status.success(), "{registered:?}");
    assert!(registered.stderr.is_empty(), "no key is announced: {registered:?}");
    let known_hosts = || fs::read_to_string(alice.profile.join("known_hosts")).unwrap();
    let known = format!("{} authority\n", alice.server);
    assert_eq!(known_hosts(), known, "no key is pinned");

    // The renewed certificate may have another key, but no other name.
    server.kill();
    authority.issue("127.0.0.1");
    let (server, _) = authority.serve(alice.server.port());
    assert!(run_with_authorities(&alice, &file, "whoami").status.success());
    server.kill();
    authority.issue("chat.example");
    let (_server, _) = authority.serve(alice.server.port());
    for command in ["whoami", "login"] {
        let refused = run_with_authorities(&alice, &file, command);
        let errors = String::from_utf8_lossy(&refused.stderr);
        assert_eq!(refused.status.code(), Some(76), "{errors}");
        assert!(
            errors.contains("certificate") && errors.contains("127.0.0.1"),
            "{errors}"
        );
    }
    assert_eq!(known_hosts(), known);
}

#[test]
fn certificate_for_another_name_by_an_authority_of_ssl_cert_file_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let authority = Authority::new(directory.path());
    authority.issue("chat.example");
    let (_server, alice) = authority.serve(0);
    let refused = run_with_authorities(&alice, &authority.authority_file(), "register");
    let errors = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(76), "{errors}");
    assert!(
        errors.contains("certificate") && errors.contains("127.0.0.1"),
        "{errors}"
    );
    assert!(!alice.profile.join("known_hosts").exists(), "no key is pinned");
}

#[test]
fn unusable_authority_file_is_a_usage_error() {
    let directory = tempfile::tempdir().unwrap();
    let authority = Authority::new(directory.path());
    authority.issue("127.0.0.1");
    let (_server, alice) = authority.serve(0);
    for file in ["missing.pem", "key.pem"] {
        let file = directory.path().join(file).display().to_string();
        let error = alice.fails(2, &["--tls", "--ca", &file, "register"]);
        assert!(error.contains("--ca") && error.contains(&file), "{error}");
    }
}
