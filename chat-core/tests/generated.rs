//! Checks that the checked-in protobuf code matches the `.proto` files.
//! `UPDATE_GENERATED=1 cargo test -p chat-core --test generated` regenerates it.

use std::path::Path;

#[test]
fn generated_code_matches_the_proto_files() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let out = tempfile::tempdir().unwrap();
    let files = ["chat/v1/client.proto", "chat/v1/node.proto"];
    let descriptors = protox::compile(files, [root.join("proto")]).unwrap();
    prost_build::Config::new()
        .bytes(["."])
        .out_dir(out.path())
        .compile_fds(descriptors)
        .unwrap();

    for (name, folder) in [
        ("chat.v1.rs", "src/codec/generated"),
        ("chat.node.v1.rs", "src/router/generated"),
    ] {
        let generated = std::fs::read_to_string(out.path().join(name)).unwrap();
        let checked_in = root.join(folder).join(name);
        if std::env::var_os("UPDATE_GENERATED").is_some() {
            std::fs::write(&checked_in, &generated).unwrap();
        }
        let current = std::fs::read_to_string(&checked_in).unwrap();
        assert!(
            current == generated,
            "{} does not match its .proto file; run `UPDATE_GENERATED=1 cargo test -p chat-core --test generated`",
            checked_in.display()
        );
    }
}
