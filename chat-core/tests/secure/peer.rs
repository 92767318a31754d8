//! A scripted peer built on `snow` and `rsa`. It shares no code with the implementation under test
//! except crates of cryptographic primitives, such as `rsa`. In these tests, “our” means the
//! implementation under test.

use std::{sync::LazyLock, time::Instant};

use bytes::BytesMut;
use chat_core::secure::{
    Channel, ClientHandshake, ClientProgress, OpenError, Opened, PinPolicy, ServerHandshake, ServerIdentity, ServerKeys,
};
use rsa::{
    RsaPrivateKey,
    pkcs8::{DecodePrivateKey as _, EncodePublicKey as _},
    pss::BlindedSigningKey,
    rand_core::OsRng,
    sha2::{Digest as _, Sha256},
    signature::{RandomizedSigner as _, SignatureEncoding as _},
};
use snow::{Builder, TransportState};

/// Noise protocol of SC1.
pub(crate) const NX: &str = "Noise_NX_25519_AESGCM_SHA256";
/// Time of the tests, in seconds since 1970.
pub(crate) const UNIX_NOW: u64 = 1_790_000_000;
/// Context string of the signature in a credential.
pub(crate) const LABEL: &[u8] = b"SC1 server credential v1\0";

static VECTORS: LazyLock<serde_json::Value> =
    LazyLock::new(|| serde_json::from_str(include_str!("../data/sc1_vectors.json")).unwrap());
static PEM: LazyLock<&str> = LazyLock::new(|| VECTORS["rsa_private_pkcs8_pem"].as_str().unwrap());

/// Identity key of the servers of these tests.
pub(crate) static RSA: LazyLock<RsaPrivateKey> = LazyLock::new(|| RsaPrivateKey::from_pkcs8_pem(&PEM).unwrap());
/// Identity key that no client of these tests pins.
pub(crate) static OTHER_RSA: LazyLock<RsaPrivateKey> = LazyLock::new(|| RsaPrivateKey::new(&mut OsRng, 2048).unwrap());
/// Keys of a server under test with the identity key [`RSA`].
pub(crate) static KEYS: LazyLock<ServerKeys> =
    LazyLock::new(|| ServerKeys::new(ServerIdentity::from_pem(&PEM).unwrap(), UNIX_NOW).unwrap());

/// Returns the public key in DER (SubjectPublicKeyInfo).
pub(crate) fn spki_of(key: &RsaPrivateKey) -> Vec<u8> {
    key.to_public_key().to_public_key_der().unwrap().into_vec()
}

/// Returns the policy of a client that accepts only the key of [`KEYS`].
pub(crate) fn pin() -> PinPolicy {
    PinPolicy::exactly(KEYS.fingerprint())
}

/// Fields of a credential. Tests change them before [`encode`](Self::encode).
#[derive(Clone)]
pub(crate) struct Credential {
    pub(crate) version: u8,
    pub(crate) profile: u16,
    /// Start of the validity, in seconds since 1970.
    pub(crate) not_before: u64,
    /// End of the validity, in seconds since 1970.
    pub(crate) not_after: u64,
    /// Public identity key of the server in DER (SubjectPublicKeyInfo).
    pub(crate) spki: Vec<u8>,
    /// Returns the signature for the credential and the static key of the server.
    pub(crate) sign: fn(&Self, &[u8; 32]) -> Vec<u8>,
    /// Length field of the key, if it should differ from the length of the key.
    pub(crate) spki_length: Option<u16>,
    /// Length field of the signature, if it should differ from the length of the signature.
    pub(crate) signature_length: Option<u16>,
    /// Bytes after the signature.
    pub(crate) tail: Vec<u8>,
}

impl Credential {
    /// Returns the credential of a correct server.
    pub(crate) fn honest() -> Self {
        Self {
            version: 1,
            profile: 1,
            not_before: UNIX_NOW,
            not_after: UNIX_NOW + 7 * 86_400,
            spki: spki_of(&RSA),
            sign: |credential, static_key| pss(&RSA, 32, &credential.message(static_key)),
            spki_length: None,
            signature_length: None,
            tail: Vec::new(),
        }
    }

    /// Returns the bytes that a correct server signs.
    pub(crate) fn message(&self, static_key: &[u8; 32]) -> Vec<u8> {
        let mut message = vec![b' '; 64];
        message.extend_from_slice(LABEL);
        message.extend_from_slice(&self.signed_fields(static_key));
        message
    }

    /// Returns the part of [`message`](Self::message) that differs between credentials.
    pub(crate) fn signed_fields(&self, static_key: &[u8; 32]) -> Vec<u8> {
        let mut message = static_key.to_vec();
        message.extend_from_slice(&self.not_before.to_be_bytes());
        message.extend_from_slice(&self.not_after.to_be_bytes());
        message.extend_from_slice(&Sha256::digest(&self.spki));
        message
    }

    /// Returns the signed credential as bytes.
    pub(crate) fn encode(&self, static_key: &[u8; 32]) -> Vec<u8> {
        let signature = (self.sign)(self, static_key);
        let mut out = vec![self.version];
        out.extend_from_slice(&self.profile.to_be_bytes());
        out.extend_from_slice(&self.not_before.to_be_bytes());
        out.extend_from_slice(&self.not_after.to_be_bytes());
        for (part, length) in [(&self.spki, self.spki_length), (&signature, self.signature_length)] {
            let length = length.unwrap_or(part.len() as u16);
            out.extend_from_slice(&length.to_be_bytes());
            out.extend_from_slice(part);
        }
        out.extend_from_slice(&self.tail);
        out
    }
}

/// Signs `message` with RSASSA-PSS, SHA-256 and a salt of `salt_bytes`.
pub(crate) fn pss(key: &RsaPrivateKey, salt_bytes: usize, message: &[u8]) -> Vec<u8> {
    BlindedSigningKey::<Sha256>::new_with_salt_len(key.clone(), salt_bytes)
        .sign_with_rng(&mut OsRng, message)
        .to_vec()
}

/// Reply of a scripted server, and the transport with which the server continues.
pub(crate) struct Reply {
    pub(crate) bytes: Vec<u8>,
    pub(crate) transport: TransportState,
    /// Channel binding: the hash of the handshake, which both ends share.
    pub(crate) binding: Vec<u8>,
}

/// Replies to `hello` in the Noise protocol `protocol`, with the credential that `credential`
/// returns for the static key of the server.
pub(crate) fn reply_with(protocol: &str, hello: &[u8], credential: impl FnOnce(&[u8; 32]) -> Vec<u8>) -> Reply {
    let (prologue, ephemeral) = hello.split_at(hello.len() - 32);
    let pair = Builder::new(protocol.parse().unwrap()).generate_keypair().unwrap();
    let mut noise = Builder::new(protocol.parse().unwrap())
        .local_private_key(&pair.private)
        .unwrap()
        .prologue(prologue)
        .unwrap()
        .build_responder()
        .unwrap();
    noise.read_message(ephemeral, &mut []).unwrap();
    let static_key = pair.public.as_slice().try_into().unwrap();
    let mut message = vec![0; 4096];
    let length = noise.write_message(&credential(static_key), &mut message).unwrap();
    let bytes = framed(&[&[0, 1], &message[..length]].concat());
    Reply {
        bytes,
        binding: noise.get_handshake_hash().to_vec(),
        transport: noise.into_transport_mode().unwrap(),
    }
}

/// Replies to `hello` as a correct server does.
pub(crate) fn honest_reply(hello: &[u8]) -> Reply {
    reply_with(NX, hello, |static_key| Credential::honest().encode(static_key))
}

/// A scripted client: its hello, and its handling of the reply of a correct server.
pub(crate) struct Client {
    pub(crate) hello: Vec<u8>,
    noise: snow::HandshakeState,
}

impl Client {
    /// Creates a client that asks for the server `name`.
    pub(crate) fn new(name: &str) -> Self {
        let mut body = b"SC1\0\x01\x00\x01".to_vec();
        body.push(name.len() as u8);
        body.extend_from_slice(name.as_bytes());
        let mut hello = ((body.len() + 32) as u16).to_be_bytes().to_vec();
        hello.extend_from_slice(&body);
        let builder = Builder::new(NX.parse().unwrap()).prologue(&hello).unwrap();
        let mut noise = builder.build_initiator().unwrap();
        let mut message = [0; 64];
        assert_eq!(noise.write_message(&[], &mut message).unwrap(), 32);
        hello.extend_from_slice(&message[..32]);
        Self { hello, noise }
    }

    /// Returns the credential of the reply, the channel binding, and the transport.
    pub(crate) fn finish(mut self, reply: &[u8]) -> (Vec<u8>, Vec<u8>, TransportState) {
        assert_eq!(usize::from(u16::from_be_bytes([reply[0], reply[1]])), reply.len() - 2);
        assert_eq!(reply[2..4], [0, 1]);
        let mut credential = vec![0; 2048];
        let length = self.noise.read_message(&reply[4..], &mut credential).unwrap();
        credential.truncate(length);
        let binding = self.noise.get_handshake_hash().to_vec();
        (credential, binding, self.noise.into_transport_mode().unwrap())
    }
}

/// Performs a handshake. Returns the channel of our server and the transport of a scripted client.
pub(crate) fn our_server(now: Instant) -> (Channel, TransportState) {
    let client = Client::new("chat.example");
    let hello = ServerHandshake::new().feed(&client.hello).unwrap().unwrap();
    let accepted = hello.accept(&KEYS, now).unwrap();
    let (_, _, transport) = client.finish(&accepted.reply);
    (accepted.channel, transport)
}

/// Performs a handshake. Returns the channel of our client and the transport of a scripted server.
pub(crate) fn our_client(now: Instant) -> (Channel, TransportState) {
    let mut client = ClientHandshake::new("chat.example", pin()).unwrap();
    let reply = honest_reply(client.hello());
    match client.feed(now, UNIX_NOW, &reply.bytes).unwrap() {
        ClientProgress::Done(connected) => (connected.channel, reply.transport),
        other => panic!("{other:?}"),
    }
}

/// Returns `body` after its length in two bytes.
pub(crate) fn framed(body: &[u8]) -> Vec<u8> {
    let mut message = (body.len() as u16).to_be_bytes().to_vec();
    message.extend_from_slice(body);
    message
}

/// Returns one record, sealed by `transport`. Its type `kind` is 0 for data, 1 for REKEY, 2 for
/// CLOSE.
pub(crate) fn record(transport: &mut TransportState, kind: u8, content: &[u8]) -> Vec<u8> {
    sealed(transport, &[&[kind], content].concat())
}

/// Returns one record with this plaintext (type and content), sealed by `transport`.
pub(crate) fn sealed(transport: &mut TransportState, plaintext: &[u8]) -> Vec<u8> {
    let mut body = vec![0; plaintext.len() + 16];
    let length = transport.write_message(plaintext, &mut body).unwrap();
    framed(&body[..length])
}

/// Feeds `bytes` and the end of the stream to `channel`. Returns the records that it opened, and
/// its result.
pub(crate) fn receive(channel: &mut Channel, now: Instant, bytes: &[u8]) -> (Vec<Opened>, Result<(), OpenError>) {
    let mut input = BytesMut::from(bytes);
    let mut received = Vec::new();
    loop {
        match channel.opener().feed(now, &mut input) {
            Ok(Opened::NeedMore) => return (received, channel.opener().end_of_stream(&input)),
            Ok(opened) => received.push(opened),
            Err(error) => return (received, Err(error)),
        }
    }
}
