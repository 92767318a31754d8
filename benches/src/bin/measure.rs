//! Measures a real `chat-server` process over SC1 on loopback: the memory of idle sessions and the
//! rate of logins, or the CPU time, rate and latency of durable direct messages.
//!
//! `cargo run --release -p chat-benches --bin measure -- target/release/chat-server idle 5000`
//! `cargo run --release -p chat-benches --bin measure -- target/release/chat-server direct 10000`

use std::error::Error;
use std::time::Duration;

use chat_benches::messages;
use chat_core::codec::RequestKind;
use chat_core::commands::Commands;
use chat_core::model::{ContactState, Draft, Push, UserName, UserRef};
use chat_core::testkit::Peer;
use chat_harness::ServerProcess;
use tokio::time::Instant;

/// Settings of the server. They lift the limits on logins and messages and make heartbeats rare,
/// because both would distort the measurement.
const SERVER_SETTINGS: &[(&str, &str)] = &[
    ("CHAT_ACCOUNTS__LOGIN_RATE", "100000/1s"),
    ("CHAT_LIMITS__MESSAGE_RATE_PER_CONNECTION", "1000000/1s"),
    ("CHAT_LIMITS__MESSAGE_RATE_PER_USER", "1000000/1s"),
    ("CHAT_CONNECTION__HEARTBEAT_INTERVAL", "1h"),
];

type Result<T> = std::result::Result<T, Box<dyn Error>>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [server, measurement, count] = &arguments[..] else {
        return Err("usage: measure CHAT_SERVER (idle SESSIONS | direct MESSAGES)".into());
    };
    let count: usize = count
        .parse()
        .map_err(|_| format!("{count:?} is not a number of sessions or messages"))?;
    let directory = tempfile::tempdir()?;
    let server = ServerProcess::start(server.as_ref(), &directory.path().join("data"), SERVER_SETTINGS)?;
    match measurement.as_str() {
        "idle" => idle(&server, count).await,
        "direct" => direct(&server, count).await,
        other => Err(format!("unknown measurement {other}; write idle or direct").into()),
    }
}

/// Measures the resident memory of an idle session, which is the growth of the server process
/// divided by the number of sessions, and the rate of logins that follow one another, each with its
/// connection and handshake.
async fn idle(server: &ServerProcess, sessions: usize) -> Result<()> {
    /// Maximum number of devices, and so of sessions, that the server allows a user.
    const MAX_DEVICES: usize = 20;
    let users = sessions.div_ceil(MAX_DEVICES);
    for user in 0..users {
        let mut guest = Peer::connect(server.address(), server.fingerprint()).await?;
        guest.register(&format!("idle-{user}")).await?;
    }
    let before = server.resident_bytes()?;
    let mut peers = Vec::with_capacity(sessions);
    let started = Instant::now();
    for n in 0..sessions {
        let mut peer = Peer::connect(server.address(), server.fingerprint()).await?;
        peer.login(&format!("idle-{}", n % users)).await?;
        peers.push(peer);
    }
    let login_time = started.elapsed();
    // After a round trip on each session, every login has completed, and the memory that only the
    // login needed is freed.
    for peer in &mut peers {
        peer.ask(RequestKind::Ping)
            .await?
            .map_err(|failure| failure.to_string())?;
    }
    let after = server.resident_bytes()?;
    println!("sessions             {sessions}");
    println!("resident before      {before} B");
    println!("resident after       {after} B");
    println!(
        "resident per session {} B",
        after.saturating_sub(before) / sessions as u64
    );
    println!(
        "logins               {:.0} /s",
        sessions as f64 / login_time.as_secs_f64()
    );
    Ok(())
}

/// Measures CPU time, rate and latency of durable messages from one sender to one reader, with one
/// message in flight. The reader looks for a message once the sender has the acknowledgement, so no
/// delivery counts as faster than the acknowledgement.
async fn direct(server: &ServerProcess, messages: usize) -> Result<()> {
    let mut alice = Peer::connect(server.address(), server.fingerprint()).await?;
    let mut bob = Peer::connect(server.address(), server.fingerprint()).await?;
    for (peer, name) in [(&mut alice, "alice"), (&mut bob, "bob")] {
        peer.register(name).await?;
        peer.login(name).await?;
    }
    let to = |name| Ok::<_, Box<dyn Error>>(UserRef::Name(UserName::parse_any(name)?));
    let note = chat_core::model::Note::new("")?;
    alice.commands().request_friend(to("bob")?, note).await?;
    bob.commands().answer_friend(to("alice")?, true).await?;
    let contacts = alice.commands().contacts().await?;
    assert!(
        contacts.iter().any(|contact| contact.state == ContactState::Friend),
        "alice and bob are friends"
    );

    let text = messages::text(256);
    let mut ack_latencies = Vec::with_capacity(messages);
    let mut delivery_latencies = Vec::with_capacity(messages);
    let cpu_time_before = server.cpu_time()?;
    let started = Instant::now();
    for _ in 0..messages {
        let sent = Instant::now();
        let appended = alice.commands().send(to("bob")?, Draft::text(text.clone())).await?;
        ack_latencies.push(sent.elapsed());
        loop {
            match bob.next_push().await? {
                Push::Event(event) if event.id == appended.event_id => break,
                // The first message creates the conversation. The session of the reader is not
                // subscribed to it yet, so it may receive `Behind`, which tells a client to read
                // the log, instead of the event.
                Push::Behind { conversation, last_seq }
                    if conversation == appended.conversation && last_seq >= appended.seq =>
                {
                    break;
                }
                _ => {}
            }
        }
        delivery_latencies.push(sent.elapsed());
    }
    let wall = started.elapsed();
    let cpu = server.cpu_time()? - cpu_time_before;
    println!("messages             {messages}, 256 B, one in flight");
    println!("rate                 {:.0} /s", messages as f64 / wall.as_secs_f64());
    println!(
        "server CPU           {:.1} us per message",
        cpu.as_secs_f64() * 1e6 / messages as f64
    );
    print_latency("acknowledged", &mut ack_latencies);
    print_latency("delivered", &mut delivery_latencies);
    Ok(())
}

/// Sorts `times`, which must not be empty, and prints their median, 99th percentile and maximum.
fn print_latency(label: &str, times: &mut [Duration]) {
    times.sort_unstable();
    let percentile = |share: f64| times[((times.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
    println!(
        "{label:<20} p50 {:.3} ms, p99 {:.3} ms, max {:.3} ms",
        percentile(0.50),
        percentile(0.99),
        percentile(1.0)
    );
}
