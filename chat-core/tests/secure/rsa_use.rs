//! Test for RUSTSEC-2023-0071: in every release of the crate `rsa`, the timing of private-key
//! operations leaks information about the key. With this crate, the server signs rarely, and never
//! on behalf of a peer; this test checks that it never decrypts.

use std::{
    fs,
    path::{Path, PathBuf},
};

#[test]
fn workspace_crates_never_decrypt_with_rsa() {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    // The words are split, so that this file does not contain them.
    let forbidden: Vec<String> = [
        ["Pkcs1v15", "Encrypt"],
        ["Oa", "ep"],
        ["decrypt_", "blinded"],
        ["rsa_", "decrypt"],
        ["traits::Padding", "Scheme"],
        ["traits::Randomized", "Decryptor"],
        ["traits::", "Decryptor"],
        ["pkcs1v15::", "DecryptingKey"],
        ["haz", "mat"],
    ]
    .into_iter()
    .map(|pieces| pieces.concat())
    .collect();
    let mut violations = Vec::new();
    let mut files_read = 0;
    for file in sources(workspace) {
        let text = fs::read_to_string(&file).unwrap();
        files_read += 1;
        for word in &forbidden {
            if text.contains(word.as_str()) {
                violations.push(format!("{}: {word}", file.display()));
            }
        }
        let names_private_key = text.contains("RsaPrivateKey") || text.contains("use rsa::");
        let calls_decrypt = text.contains(&[".decrypt", "("].concat());
        if names_private_key && calls_decrypt {
            violations.push(format!("{}: calls decrypt and names an RSA key", file.display()));
        }
    }
    assert!(files_read > 30, "only {files_read} source files found");
    assert_eq!(violations, Vec::<String>::new());
}

/// Returns every Rust source file of the workspace crates, and of `fuzz`.
fn sources(workspace: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders: Vec<PathBuf> = fs::read_dir(workspace)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.join("Cargo.toml").exists())
        .collect();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && !path.ends_with("target") {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    found
}
