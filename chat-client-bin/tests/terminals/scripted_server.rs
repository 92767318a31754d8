//! A server that speaks the protocol unencrypted and answers as a test says.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::thread;

use bytes::BytesMut;
use chat_core::codec::{Answer, Failure, LoggedIn, Request, RequestKind, Welcome, frame, server, version};
use chat_core::model::{
    Command, ConversationPage, MessageText, Outcome, Secret, StoreEpoch, Timestamp, UserId, UserInfo,
};

use super::support::TestDevice;

/// Reply to a request, or `None` if the server closes the connection instead.
pub(crate) type Reply = Option<Result<Answer, Failure>>;

/// Handles a connection until the client closes it or `reply_to` returns `None`. Replies to each
/// request that wants a reply with what `reply_to` returns.
pub(crate) fn handle(mut stream: TcpStream, mut reply_to: impl FnMut(&RequestKind) -> Reply) {
    let mut frames = frame::FrameDecoder::new(frame::DEFAULT_MAX_PACKET_BYTES);
    let mut buffer = [0; 4096];
    loop {
        while let Some(packet) = frames.next_packet().unwrap() {
            let Request { id, kind } = server::decode_request(packet, MessageText::MAX_BYTES).unwrap();
            let Some(answer) = reply_to(&kind) else { return };
            if id.wants_reply() {
                let mut reply = BytesMut::new();
                server::encode_reply(id, &answer, &mut reply);
                if stream.write_all(&reply).is_err() {
                    return;
                }
            }
        }
        match stream.read(&mut buffer) {
            Ok(read) if read > 0 => frames.feed(BytesMut::from(&buffer[..read])),
            _ => return,
        }
    }
}

/// Returns the answer with which a request succeeds. The user is alice, who has no conversations.
pub(crate) fn accept(kind: &RequestKind) -> Result<Answer, Failure> {
    Ok(match kind {
        RequestKind::Hello(_) => Answer::Welcome(Welcome {
            version: version::MAX,
            server: "test".to_owned(),
            server_time: Timestamp(1),
            max_packet_bytes: 1 << 20,
            max_text_bytes: 1 << 14,
            heartbeat_ms: 30_000,
            store_epoch: StoreEpoch([1; 16]),
        }),
        RequestKind::Register(_) => Answer::Registered(alice()),
        RequestKind::Login(_) | RequestKind::Resume(_) => Answer::LoggedIn(Box::new(LoggedIn {
            user: alice(),
            session_token: Some(Secret::new([7; 32])),
            device_token: None,
            store_epoch: StoreEpoch([1; 16]),
            conversations: Vec::new(),
            server_time: Timestamp(1),
            has_more: false,
        })),
        RequestKind::Command(Command::ListConversations(_)) => {
            Answer::Outcome(Outcome::Conversations(ConversationPage::new(Vec::new())))
        }
        _ => Answer::Outcome(Outcome::Done),
    })
}

fn alice() -> UserInfo {
    UserInfo::new(UserId(1), "alice")
}

/// Returns a device of alice that uses the server at this listener.
pub(crate) fn device_of(listener: &TcpListener, directory: &Path) -> TestDevice {
    TestDevice {
        name: "alice".to_owned(),
        profile: directory.join("profile"),
        server: listener.local_addr().unwrap(),
    }
}

/// Starts a server that handles its connections one after the other, with the same `reply_to`.
/// Returns a device that uses it. The server runs until the test process ends.
pub(crate) fn serve(directory: &Path, mut reply_to: impl FnMut(&RequestKind) -> Reply + Send + 'static) -> TestDevice {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let device = device_of(&listener, directory);
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            handle(stream, &mut reply_to);
        }
    });
    device
}
