use std::{fs, path::Path};

use super::*;
use crate::secure::tests::{VECTORS, identity};

#[test]
fn pem_round_trip_keeps_the_key() {
    let identity = identity();
    let pem = identity.to_pem().unwrap();
    assert_eq!(pem.as_str(), VECTORS["rsa_private_pkcs8_pem"].as_str().unwrap());
    let again = ServerIdentity::from_pem(&pem).unwrap();
    assert_eq!(again.fingerprint(), identity.fingerprint());
}

#[test]
fn identity_rejects_malformed_keys_and_wrong_sizes_and_exponents() {
    for bits in [0, 512, 1024, 2047, 4097, 8192] {
        let refused = ServerIdentity::generate(bits);
        assert!(matches!(refused, Err(IdentityError::KeySize(b)) if b == bits));
    }
    let small = RsaPrivateKey::new(&mut OsRng, 1024).unwrap();
    let pem = small.to_pkcs8_pem(LineEnding::LF).unwrap();
    let refused = ServerIdentity::from_pem(&pem);
    assert!(matches!(refused, Err(IdentityError::KeySize(1024))));
    let small_exponent = RsaPrivateKey::new_with_exp(&mut OsRng, 2048, &rsa::BigUint::from(3u8)).unwrap();
    let pem = small_exponent.to_pkcs8_pem(LineEnding::LF).unwrap();
    let refused = ServerIdentity::from_pem(&pem);
    assert!(matches!(refused, Err(IdentityError::KeyExponent)));
    for text in ["", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"] {
        let refused = ServerIdentity::from_pem(text);
        assert!(matches!(refused, Err(IdentityError::Malformed(_))));
    }
}

#[test]
fn identity_file_is_complete_and_never_overwritten() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("identity.pem");
    let identity = identity();
    identity.save(&path).unwrap();
    assert_eq!(names_in(directory.path()), ["identity.pem"]);
    let loaded = ServerIdentity::load(&path).unwrap();
    assert_eq!(loaded.fingerprint(), identity.fingerprint());

    let before = fs::read(&path).unwrap();
    let refused = identity.save(&path);
    assert!(matches!(
        refused,
        Err(IdentityError::File { source, .. }) if source.kind() == std::io::ErrorKind::AlreadyExists
    ));
    assert_eq!(fs::read(&path).unwrap(), before);
    assert_eq!(names_in(directory.path()), ["identity.pem"]);
    let kept = ServerIdentity::load_or_generate(&path).unwrap();
    assert_eq!(kept.fingerprint(), identity.fingerprint());
}

#[cfg(unix)]
#[test]
fn identity_file_is_private_and_rejected_if_others_can_access_it() {
    use std::os::unix::fs::PermissionsExt as _;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("identity.pem");
    identity().save(&path).unwrap();
    let mode = fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    for mode in [0o640, 0o604, 0o660, 0o644] {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        let refused = ServerIdentity::load_or_generate(&path);
        assert!(matches!(refused, Err(IdentityError::Permissions { mode: m, .. }) if m == mode));
    }
    fs::set_permissions(&path, fs::Permissions::from_mode(0o400)).unwrap();
    assert!(ServerIdentity::load(&path).is_ok());
}

#[test]
fn missing_directory_is_reported_with_its_path() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("none/identity.pem");
    let error = identity().save(&path).unwrap_err();
    assert!(error.to_string().contains("none/identity.pem"));
}

#[test]
fn debug_shows_no_more_than_the_fingerprint() {
    let identity = identity();
    let shown = format!("{identity:?}");
    let expected = format!("ServerIdentity {{ fingerprint: {}, .. }}", identity.fingerprint());
    assert_eq!(shown, expected);
}

fn names_in(directory: &Path) -> Vec<String> {
    fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}
