//! Tests that a refused command names what it did not find, by kind and value.

use super::support::TestServer;

#[test]
fn command_names_what_it_did_not_find() {
    let server = TestServer::new();
    let [alice, bob] = server.friends(["alice", "bob"]);
    server.register("carol");
    alice.ok(&["group", "create", "team"]);
    alice.ok(&["send", "bob", "hello"]);
    alice.ok(&["send", "-g", "team", "hello"]);
    let device = "0123456789abcdef0123456789abcdef";
    let cases: &[(&[&str], &str)] = &[
        // Users.
        (&["send", "caorl", "hi"], "there is no user “caorl”"),
        (&["history", "caorl"], "there is no user “caorl”"),
        (&["send", "999", "hi"], "there is no user 999"),
        (&["send", "bob", "hi", "--mention", "caorl"], "there is no user “caorl”"),
        (&["listen", "caorl"], "there is no user “caorl”"),
        (&["friend", "add", "caorl"], "there is no user “caorl”"),
        (&["friend", "remove", "caorl"], "there is no user “caorl”"),
        (&["friend", "block", "caorl"], "there is no user “caorl”"),
        (&["friend", "unblock", "caorl"], "there is no user “caorl”"),
        (&["friend", "accept", "caorl"], "there is no user “caorl”"),
        (&["group", "invite", "team", "caorl"], "there is no user “caorl”"),
        (&["group", "kick", "team", "caorl"], "there is no user “caorl”"),
        // Groups.
        (
            &["send", "-g", "taem", "hi"],
            "there is no group “taem” that you can see",
        ),
        (&["history", "-g", "taem"], "there is no group “taem” that you can see"),
        (&["listen", "-g", "taem"], "there is no group “taem” that you can see"),
        (&["read", "-g", "#999"], "there is no conversation 999 that you can see"),
        (&["group", "join", "taem"], "there is no group “taem” that you can see"),
        (
            &["group", "members", "taem"],
            "there is no group “taem” that you can see",
        ),
        (
            &["group", "delete", "taem"],
            "there is no group “taem” that you can see",
        ),
        (
            &["group", "rename", "taem", "other"],
            "there is no group “taem” that you can see",
        ),
        (
            &["group", "kick", "taem", "carol"],
            "there is no group “taem” that you can see",
        ),
        (
            &["group", "leave", "taem"],
            "there is no group “taem” that you are in, are invited to or have asked to join",
        ),
        // Members.
        (&["group", "kick", "team", "carol"], "carol is no member of #team"),
        (
            &["group", "mute", "team", "carol", "10m"],
            "carol is no member of #team",
        ),
        (
            &["group", "role", "team", "carol", "admin"],
            "carol is no member of #team",
        ),
        (&["group", "transfer", "team", "carol"], "carol is no member of #team"),
        (&["group", "unban", "team", "carol"], "carol is not banned from #team"),
        // Messages, also as the target of a reaction.
        (&["edit", "bob", "17", "x"], "there is no message #17 in bob"),
        (&["recall", "-g", "team", "17"], "there is no message #17 in #team"),
        (&["react", "-g", "team", "17", "👍"], "there is no message #17 in #team"),
        (
            &["react", "-g", "team", "17", "👍", "--remove"],
            "there is no message #17 in #team",
        ),
        (
            &["send", "bob", "hi", "--reply-to", "17"],
            "there is no message #17 in bob",
        ),
        (&["edit", "carol", "1", "x"], "there is no message #1 in carol"),
        // Conversations, requests, invitations and devices.
        (&["history", "carol"], "there is no conversation with carol yet"),
        (&["friend", "accept", "carol"], "there is no friend request from carol"),
        (
            &["group", "approve", "team", "carol"],
            "there is no request of carol to join #team",
        ),
        (
            &["group", "decline", "taem"],
            "there is no invitation to the group “taem” for you",
        ),
        (
            &["devices", "revoke", device],
            "there is no device 01234567-89ab-cdef-0123-456789abcdef;",
        ),
    ];
    for (command, text) in cases {
        let errors = alice.fails(1, command);
        assert!(errors.contains(text), "{command:?}: {errors}");
        // The server's text for `NotFound`, which does not say what is missing.
        assert!(!errors.contains("not visible to you"), "{command:?}: {errors}");
    }
    // The error for a hidden group is that for a group that does not exist.
    alice.ok(&["group", "create", "secret", "--unlisted"]);
    let errors = bob.fails(1, &["group", "kick", "secret", "alice"]);
    assert!(
        errors.contains("there is no group “secret” that you can see"),
        "{errors}"
    );
}

#[test]
fn line_of_a_script_names_what_it_did_not_find() {
    let server = TestServer::new();
    let [alice, _bob] = server.friends(["alice", "bob"]);
    server.register("carol");
    let mut client = alice.start(&[]);
    for (line, answer) in [("/create team", "-- #team --"), ("hello", "✓ #2 #team")] {
        client.type_line(line);
        client.until(answer);
    }
    for (line, error) in [
        ("/kick carol", "carol is no member of #team"),
        ("/kick caorl", "there is no user “caorl”"),
        ("/approve carol", "there is no request of carol to join #team"),
        ("/reply 17 hi", "not sent to #team: there is no message #17 in #team"),
        ("/react 17 👍", "there is no message #17 in #team"),
        ("/leave taem", "there is no group “taem” that you are in"),
        ("/join taem", "there is no group “taem” that you can see"),
        ("/accept carol", "there is no friend request from carol"),
        ("/dm caorl hi", "there is no user “caorl”"),
        ("/dm caorl", "there is no user “caorl”"),
    ] {
        client.type_line(line);
        let printed = client.until_error(error);
        assert!(printed.contains("chat-client: line "), "{printed}");
    }
    assert_eq!(client.finish().0, Some(1));
}
