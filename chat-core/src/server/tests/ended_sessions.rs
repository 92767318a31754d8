//! Tests of sessions that the engine has ended, while their peers leave output unread.

use std::sync::atomic::{AtomicBool, Ordering};

use tokio::io::DuplexStream;
use tokio::time::Instant;

use super::*;
use crate::async_trait;
use crate::auth::{AuthError, AuthVerdict, Authenticator, ExternalLogin, Subject};
use crate::clock::{Clock, SystemClock};
use crate::codec::{Answer, Failure, RequestId};
use crate::commands::Commands;
use crate::engine::operator::{CreateAccount, OperatorName};
use crate::model::{ConversationId, DeviceId, GroupName, Login, NewGroup, Page, Secret, Source};
use crate::transport::PeerAddr;

/// Number of bytes that the pipe between client and server holds. The server's output is much
/// larger, so that it waits in the server as long as the client does not read.
const PIPE_BYTES: usize = 2048;
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

/// Authenticator that accepts every token, and uses the token as the subject of the account. Logins
/// expire at `expires_at`, if that is given.
#[derive(Debug)]
struct AnyTokenAuthenticator {
    expires_at: Option<Timestamp>,
}

#[async_trait]
impl Authenticator for AnyTokenAuthenticator {
    async fn authenticate(&self, _: Source, login: &Login) -> Result<AuthVerdict, AuthError> {
        let token = std::str::from_utf8(login.secret.expose()).unwrap();
        let mut login = ExternalLogin::new(Subject::new(token).unwrap());
        login.expires_at = self.expires_at;
        Ok(AuthVerdict::External(login))
    }
}

/// A server without listeners, and a client that has logged in as Bob over a small pipe.
struct SiteWithBob {
    engine: Engine,
    server: Server,
    bob: Peer,
    /// Id of Bob's account.
    bob_id: UserId,
}

impl SiteWithBob {
    /// Bob's login expires at `expires_at`, if that is given. `pipe` returns the stream that the
    /// client uses in place of its end of the pipe.
    async fn new(
        link: EngineLink,
        expires_at: Option<Timestamp>,
        pipe: impl FnOnce(DuplexStream) -> DuplexStream,
    ) -> Self {
        let builder = link.builder(Arc::new(MemoryStore::new()));
        let tokens = Arc::new(AnyTokenAuthenticator { expires_at });
        let engine = builder.authenticator(tokens).build().await.unwrap();
        let config = ServerConfig {
            write_timeout: WRITE_TIMEOUT,
            ..ServerConfig::default()
        };
        let server = Server::builder(link.service(&engine)).config(config);
        let server = server.bind().await.unwrap();
        let (near, far) = tokio::io::duplex(PIPE_BYTES);
        tokio::spawn(server.serve_stream(far, PeerAddr::Local));
        let mut bob = Peer::plain(pipe(near)).await.unwrap();
        let login = Login::with_token(Secret::new("bob"), DeviceId::random());
        let Ok(Answer::LoggedIn(login)) = bob.ask(RequestKind::Login(login)).await.unwrap() else {
            panic!("the login was refused")
        };
        let bob_id = login.user.id;
        Self {
            engine,
            server,
            bob,
            bob_id,
        }
    }

    /// Makes Bob a member of a group, fills his pipe with messages, disables his account, and sends
    /// one more message to the group.
    async fn disable_with_unread_output(&mut self) -> ConversationId {
        let operator = self.engine.operator(OperatorName::new("carol").unwrap());
        let alice = operator.create_account(CreateAccount::new(UserName::parse("alice").unwrap()));
        let alice = self.engine.acting_as(alice.await.unwrap().id);
        let group = NewGroup::new(GroupName::parse("rust").unwrap());
        let group = alice.create_group(group).await.unwrap().id;
        let join = Command::JoinGroup {
            group: group.into(),
            note: Note::default(),
        };
        self.bob.run(join).await.unwrap();
        for _ in 0..3 {
            alice.send_text(group, &"x".repeat(8000)).await.unwrap();
        }
        // Tokio's time is paused, and advances only when no task can run. So after this, the
        // connection has written as much output as the pipe holds.
        tokio::time::sleep(Duration::from_millis(1)).await;
        operator.disable(self.bob_id).await.unwrap();
        alice.send_text(group, "secret").await.unwrap();
        group
    }
}

fn newest(conversation: impl Into<ConversationRef>) -> RequestKind {
    RequestKind::Command(Command::ReadHistory {
        conversation: conversation.into(),
        page: Page::newest(4),
    })
}

/// Reads to the end of a session. Returns its close code, and the answers to the requests in
/// `asked`.
async fn read_to_end(peer: &mut Peer, asked: &[RequestId]) -> (CloseCode, Vec<Result<Answer, Failure>>) {
    let mut answers = Vec::new();
    loop {
        match timeout(WAIT_TIMEOUT, peer.next())
            .await
            .expect("the session was not closed")
            .unwrap()
        {
            Incoming::Reply { request_id, result } if asked.contains(&request_id) => answers.push(result),
            Incoming::Push(Push::Closed(code)) => return (code, answers),
            _ => {}
        }
    }
}

async fn disabled_user_who_leaves_output_unread_gets_no_answers(link: EngineLink) {
    let mut site = SiteWithBob::new(link, None, |pipe| pipe).await;
    let group = site.disable_with_unread_output().await;
    let mut asked = Vec::new();
    for _ in 0..10 {
        asked.push(site.bob.send(newest(group)).await.unwrap());
    }
    let (code, answers) = read_to_end(&mut site.bob, &asked).await;
    assert_eq!(code, CloseCode::AccountDisabled);
    assert!(answers.is_empty(), "{answers:?}");
}

/// Returns a stream that forwards to and from `server`. Once `slow` is set, it carries only 16
/// bytes a second from the server.
fn throttled(server: DuplexStream, slow: Arc<AtomicBool>) -> DuplexStream {
    let (near, middle) = tokio::io::duplex(PIPE_BYTES);
    let (mut from_server, mut to_server) = tokio::io::split(server);
    let (mut from_peer, mut to_peer) = tokio::io::split(middle);
    tokio::spawn(async move { tokio::io::copy(&mut from_peer, &mut to_server).await });
    tokio::spawn(async move {
        let mut buffer = [0; PIPE_BYTES];
        loop {
            let is_slow = slow.load(Ordering::Relaxed);
            let size = if is_slow { 16 } else { PIPE_BYTES };
            match from_server.read(&mut buffer[..size]).await {
                Ok(read @ 1..) => to_peer.write_all(&buffer[..read]).await.unwrap(),
                _ => return,
            }
            if is_slow {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
    });
    near
}

/// The peer continuously reads a little, so the stall detector would close the session only after
/// ten write timeouts. One write timeout after the engine has ended the session, it is closed
/// anyway.
async fn disabled_user_who_reads_slowly_is_closed_after_the_write_timeout(link: EngineLink) {
    let slow = Arc::new(AtomicBool::new(false));
    let pipe = |server| throttled(server, Arc::clone(&slow));
    let mut site = SiteWithBob::new(link, None, pipe).await;
    site.disable_with_unread_output().await;
    slow.store(true, Ordering::Relaxed);
    let SiteWithBob { server, mut bob, .. } = site;
    let started = Instant::now();
    tokio::spawn(async move { while bob.next().await.is_ok() {} });
    while server.stats().connections > 0 {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let open = started.elapsed();
    assert!(
        (WRITE_TIMEOUT..WRITE_TIMEOUT + Duration::from_secs(10)).contains(&open),
        "{open:?}"
    );
}

async fn login_that_leaves_output_unread_cannot_send_after_its_expiry(link: EngineLink) {
    let soon = SystemClock.now().plus_millis(1500);
    let SiteWithBob {
        server,
        mut bob,
        bob_id,
        ..
    } = SiteWithBob::new(link, Some(soon), |pipe| pipe).await;
    let me = ConversationRef::direct(bob_id);
    let send = |text: &str| {
        RequestKind::Command(Command::Send {
            conversation: me.clone(),
            draft: Draft::text(MessageText::new(text.to_owned()).unwrap()),
        })
    };
    for _ in 0..3 {
        bob.ask(send(&"x".repeat(8000))).await.unwrap().unwrap();
    }
    bob.send(newest(me.clone())).await.unwrap();
    while SystemClock.now() <= soon {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let late = bob.send(send("sent after the expiry")).await.unwrap();
    let (code, answers) = read_to_end(&mut bob, &[late]).await;
    assert!(!answers.iter().any(Result::is_ok), "{answers:?}");
    assert_eq!(code, CloseCode::Revoked);
    drop(server);
}

async fn disabled_user_gets_the_reason_although_the_server_drains(link: EngineLink) {
    let mut site = SiteWithBob::new(link, None, |pipe| pipe).await;
    site.disable_with_unread_output().await;
    let SiteWithBob { server, mut bob, .. } = site;
    let read = async {
        // The connection learns of the drain before Bob reads.
        tokio::time::sleep(Duration::from_millis(1)).await;
        read_to_end(&mut bob, &[]).await
    };
    let (_, (code, _)) = tokio::join!(server.drain(WRITE_TIMEOUT), read);
    assert_eq!(code, CloseCode::AccountDisabled);
}

on_each_engine_link! {
    #[tokio::test(start_paused = true)]
    disabled_user_who_leaves_output_unread_gets_no_answers,
    #[tokio::test(start_paused = true)]
    disabled_user_gets_the_reason_although_the_server_drains,
    #[tokio::test(start_paused = true)]
    disabled_user_who_reads_slowly_is_closed_after_the_write_timeout,
    #[tokio::test]
    login_that_leaves_output_unread_cannot_send_after_its_expiry,
}
