//! Protection of what this process keeps in memory and in files: no core dumps, and checks of the
//! owners and modes of its data directory and its private keys.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use rustix::process::{Resource, Rlimit, geteuid, setrlimit};

use crate::failure::Failure;

/// Disables core dumps of this process, which would contain keys, and passwords and tokens of users
/// who are logging in. Ignores a failure, because the process works without this protection.
pub(crate) fn disable_core_dumps() {
    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    let _ = setrlimit(Resource::Core, none);
    // A collector of core dumps that the kernel starts, such as systemd-coredump, ignores the
    // limit.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    let _ = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable);
}

/// Verdict on the owner and the mode of a file or directory, as they concern this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// Only the owner, who is the user of this process or root, has access to the object.
    Private,
    /// Other users have some access to the object, but not all of them can change it.
    Exposed,
    /// The owner of the object is neither the user of this process nor root. A process that runs as
    /// root may still use the object.
    OwnedByOther,
    /// Every user can change the object.
    WritableByAll,
}

fn judge(owner: u32, mode: u32, user: u32) -> Verdict {
    if mode & 0o002 != 0 {
        Verdict::WritableByAll
    } else if owner != user && owner != 0 {
        Verdict::OwnedByOther
    } else if mode & 0o077 != 0 {
        Verdict::Exposed
    } else {
        Verdict::Private
    }
}

/// Fails if every user of the machine can write to `directory`, or if its owner is neither the user
/// of this process nor root; a process that runs as root only logs a warning about such an owner.
/// Otherwise logs a warning if the group or all users have any access. The group may even write,
/// because the server often gets its access to a volume of a container through the group. Accepts a
/// directory that is missing or cannot be examined.
pub(crate) fn check_directory(directory: &Path) -> Result<(), Failure> {
    let Ok(found) = std::fs::metadata(directory) else {
        return Ok(());
    };
    let (name, mode, owner) = (directory.display(), found.mode() & 0o7777, found.uid());
    let user = geteuid().as_raw();
    match judge(owner, mode, user) {
        Verdict::Private => Ok(()),
        Verdict::WritableByAll => Err(Failure::config(format!(
            "every user of this machine can write to the data directory {name} (mode {mode:o}); run `chmod 700 {name}`, \
             or choose a directory that only the server uses"
        ))),
        Verdict::OwnedByOther if user != 0 => Err(Failure::config(format!(
            "the data directory {name} belongs to the user with the id {owner}, who can replace its files, and the server \
             runs as {user}; run the server as the owner, or change the owner (chown)"
        ))),
        Verdict::OwnedByOther => {
            tracing::warn!(
                directory = %name, owner,
                "the server runs as root on the data directory of another user, who can replace its files; run it as that user"
            );
            Ok(())
        }
        Verdict::Exposed => {
            tracing::warn!(
                directory = %name, mode = format!("{mode:o}"),
                "other users have access to the data directory{}; run `chmod 700` on it",
                if mode & 0o020 == 0 { "" } else { ", and those of its group can replace its files" }
            );
            Ok(())
        }
    }
}

/// Fails if the group or all users can change the private key `file`, or if its owner is neither
/// the user of this process nor root; a process that runs as root accepts any owner. Logs a warning
/// if all users can read the key. Accepts a file that is missing or cannot be examined: the code
/// that reads the key reports that, or generates a key.
pub(crate) fn check_key(file: &Path) -> Result<(), Failure> {
    let Ok(found) = std::fs::metadata(file) else {
        return Ok(());
    };
    let (name, mode, owner) = (file.display(), found.mode() & 0o7777, found.uid());
    let user = geteuid().as_raw();
    match judge(owner, mode, user) {
        _ if mode & 0o022 != 0 => Err(Failure::config(format!(
            "other users of this machine can replace the key {name} (mode {mode:o}); run `chmod go-w {name}`"
        ))),
        Verdict::OwnedByOther if user != 0 => Err(Failure::config(format!(
            "the key {name} belongs to the user with the id {owner}, and the server runs as {user}; change its owner (chown)"
        ))),
        _ if mode & 0o004 != 0 => {
            tracing::warn!(key = %name, mode = format!("{mode:o}"), "every user of this machine can read a private key; run `chmod 600` on it");
            Ok(())
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verdict_depends_on_owner_mode_and_user() {
        for (owner, mode, user, expected) in [
            (1000, 0o700, 1000, Verdict::Private),
            (0, 0o700, 1000, Verdict::Private),
            (1000, 0o755, 1000, Verdict::Exposed),
            (1000, 0o770, 1000, Verdict::Exposed),
            (1000, 0o777, 1000, Verdict::WritableByAll),
            (0, 0o1777, 1000, Verdict::WritableByAll),
            (1001, 0o700, 1000, Verdict::OwnedByOther),
            (1001, 0o700, 0, Verdict::OwnedByOther),
        ] {
            assert_eq!(judge(owner, mode, user), expected, "{owner} {mode:o} {user}");
        }
    }

    #[test]
    fn key_that_other_users_can_change_is_refused() {
        use std::os::unix::fs::PermissionsExt as _;
        let directory = tempfile::tempdir().unwrap();
        let key = directory.path().join("tls.key");
        std::fs::write(&key, "").unwrap();
        for (mode, is_usable) in [
            (0o600, true),
            (0o640, true),
            (0o644, true),
            (0o620, false),
            (0o660, false),
            (0o602, false),
        ] {
            std::fs::set_permissions(&key, std::fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(check_key(&key).is_ok(), is_usable, "{mode:o}");
        }
    }
}
