//! Fixture: a server in this process, and two clients connected to it over SC1 on loopback.

use std::error::Error;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use chat_core::auth::{PasswordCost, ThrottleOptions};
use chat_core::codec::{Answer, Incoming, RequestKind};
use chat_core::commands::Commands;
use chat_core::engine::{Engine, EngineConfig};
use chat_core::model::{Command, ConversationRef, Draft, EventId, MessageText, Note, Outcome, Push, UserName, UserRef};
use chat_core::rate::Rate;
use chat_core::secure::{ServerIdentity, ServerKeys};
use chat_core::server::{Server, ServerConfig};
use chat_core::store::Store;
use chat_core::testkit::Peer;

/// A server and two connected clients: Alice and Bob, who are friends.
#[derive(Debug)]
pub struct Testbed {
    server: Server,
    engine: Engine,
    alice: Peer,
    bob: Peer,
}

impl Testbed {
    /// Starts a server on `store`, connects both clients, and exchanges a first message. Lifts the
    /// limits on logins, registrations, messages and packets, which a benchmark would reach, and
    /// makes the hashing of passwords cheap.
    ///
    /// # Errors
    /// The server cannot be started, a client cannot connect, log in or become a friend of the
    /// other, or the first message does not arrive.
    pub async fn start(store: Arc<dyn Store>) -> Result<Self, Box<dyn Error>> {
        let mut engine = EngineConfig::default();
        engine.passwords.cost = PasswordCost::danger_cheap();
        engine.throttle = ThrottleOptions::danger_unlimited();
        engine.message_rate_per_user = Rate::UNLIMITED;
        let engine = Engine::builder(store).config(engine).build().await?;

        let unix_now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
        let keys = Arc::new(ServerKeys::new(ServerIdentity::generate(2048)?, unix_now)?);
        let fingerprint = keys.fingerprint();
        let mut config = ServerConfig::default();
        config.session.message_rate_per_connection = Rate::UNLIMITED;
        config.session.packet_rate = Rate::UNLIMITED;
        // Bob sends nothing during a benchmark. The server closes his session only after 2.5 times
        // this interval without a packet, which is longer than a benchmark. Set here although it is
        // the default, because the benchmark depends on it.
        config.session.heartbeat_interval = Duration::from_secs(30);
        let any_port = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let server = Server::builder(engine.clone())
            .config(config)
            .sc1(any_port, keys)
            .bind()
            .await?;
        let address = server.addresses()[0].1;

        let mut alice = Peer::connect(address, fingerprint).await?;
        let mut bob = Peer::connect(address, fingerprint).await?;
        for (peer, name) in [(&mut alice, "alice"), (&mut bob, "bob")] {
            peer.register(name).await?;
            peer.login(name).await?;
        }
        let note = Note::new("")?;
        alice.commands().request_friend(user("bob"), note).await?;
        bob.commands().answer_friend(user("alice"), true).await?;
        let mut testbed = Self {
            server,
            engine,
            alice,
            bob,
        };
        testbed.open_conversation().await?;
        Ok(testbed)
    }

    /// Sends a first message, which creates the conversation, and waits until Bob's session has
    /// heard of it. The session is not subscribed to the conversation yet, so it may receive
    /// [`Push::Behind`], which tells a client to read the log, instead of the event.
    async fn open_conversation(&mut self) -> Result<(), Box<dyn Error>> {
        let first = self.alice.commands().send_text(user("bob"), "hello").await?;
        loop {
            match self.bob.next_push().await? {
                Push::Event(event) if event.id == first.event_id => return Ok(()),
                Push::Behind { conversation, .. } if conversation == first.conversation => return Ok(()),
                _ => {}
            }
        }
    }

    /// Sends `texts` from Alice to Bob, without waiting for an acknowledgement before the next
    /// text. Returns once Alice has received every acknowledgement and Bob the last message.
    ///
    /// # Panics
    /// If a message is refused, or a connection breaks.
    pub async fn exchange(&mut self, texts: &[MessageText]) {
        for text in texts {
            let request = RequestKind::Command(send_command(text.clone()));
            self.alice.send(request).await.expect("a connection");
        }
        let mut last: Option<EventId> = None;
        let mut acked = 0;
        while acked < texts.len() {
            if let Incoming::Reply { result, .. } = self.alice.next().await.expect("a connection") {
                let Ok(Answer::Outcome(Outcome::Appended(appended))) = result else {
                    panic!("not an acknowledgement: {result:?}");
                };
                acked += 1;
                last = Some(appended.event_id);
            }
        }
        while let Some(last_event) = last {
            if let Push::Event(event) = self.bob.next_push().await.expect("a connection")
                && event.id == last_event
            {
                last = None;
            }
        }
    }

    /// Disconnects both clients, and stops the server and the engine. Does not close the store.
    pub async fn stop(self) {
        drop((self.alice, self.bob));
        self.server.drain(Duration::from_secs(5)).await;
        self.engine.shutdown().await;
    }
}

fn send_command(text: MessageText) -> Command {
    Command::Send {
        conversation: ConversationRef::Direct(user("bob")),
        draft: Draft::text(text),
    }
}

fn user(name: &str) -> UserRef {
    UserRef::Name(UserName::parse(name).expect("a name"))
}
