//! Tests of backups that a signal interrupts.

use std::fs;
use std::path::Path;
use std::process::Stdio;

use super::support::{program, run_program, signal, stderr};

fn partial_files(directory: &Path) -> Vec<String> {
    let names = fs::read_dir(directory).unwrap();
    let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.contains(".partial")).collect()
}

#[test]
fn backup_leaves_no_unfinished_file_after_a_signal() {
    let directory = tempfile::tempdir().unwrap();
    let migrated = run_program(directory.path(), &["migrate"]);
    assert!(migrated.status.success(), "{}", stderr(&migrated));
    // The unfinished file of an earlier backup that was killed. The next backup to the same target
    // removes the file.
    fs::write(directory.path().join("0.db.1.partial"), "").unwrap();
    for (round, name, code) in [(0, "TERM", 143), (1, "INT", 130)] {
        let target = directory.path().join(format!("{round}.db"));
        let mut child = program(directory.path(), &["backup", &target.display().to_string()])
            .stderr(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        // The handlers are installed before the file is created.
        while partial_files(directory.path())
            .iter()
            .all(|name| name == "0.db.1.partial")
            && child.try_wait().unwrap().is_none()
        {
            std::thread::yield_now();
        }
        signal(&child, name);
        let ended = child.wait().unwrap().code();
        // The copy may end before the signal.
        assert!(ended == Some(code) || ended == Some(0), "{ended:?}");
        assert_eq!(target.exists(), ended == Some(0));
        assert_eq!(partial_files(directory.path()), Vec::<String>::new());
    }
}
