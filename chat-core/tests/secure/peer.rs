//! A scripted peer built on `snow` and `rsa`, which shares no code with the implementation under
//! test.

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

pub(crate) const NX: &str = "Noise_NX_25519_AESGCM_SHA256";
pub(crate) const UNIX_NOW: u64 = 1_790_000_000;
pub(crate) const LABEL: &[u8] = b"SC1 server credential v1\0";

static VECTORS: LazyLock<serde_json::Value> =
    LazyLock::new(|| serde_json::from_str(include_str!("../data/sc1_vectors.json")).unwrap());
static PEM: LazyLock<&str> = LazyLock::new(|| VECTORS["rsa_private_pkcs8_pem"].as_str().unwrap());

pub(crate) static RSA: LazyLock<RsaPrivateKey> = LazyLock::new(|| RsaPrivateKey::from_pkcs8_pem(&PEM).unwrap());
pub(crate) static OTHER_RSA: LazyLock<RsaPrivateKey> = LazyLock::new(|| RsaPrivateKey::new(&mut OsRng, 2048).unwrap());
pub(crate) static KEYS: LazyLock<ServerKeys> =
    LazyLock::new(|| ServerKeys::new(ServerIdentity::from_pem(&PEM).unwrap(), UNIX_NOW).unwrap());

pub(crate) fn spki_of(key: &RsaPrivateKey) -> Vec<u8> {
    key.to_public_key().to_public_key_der().unwrap().into_vec()
}

pub(crate) fn pin() -> PinPolicy {
    PinPolicy::exactly(KEYS.fingerprint())
}

/// Builder of a credential. `sign` receives the encoded fields; its result is used unchanged.
#[derive(Clone)]
pub(crate) struct Credential {
    pub(crate) version: u8,
    pub(crate) profile: u16,
    pub(crate) not_before: u64,
    pub(crate) not_after: u64,
    pub(crate) spki: Vec<u8>,
    pub(crate) sign: fn(&Self, &[u8; 32]) -> Vec<u8>,
    /// Length field of the key, if it should differ from the length of the key.
    pub(crate) spki_length: Option<u16>,
    /// Length field of the signature, if it should differ from the length of the signature.
    pub(crate) signature_length: Option<u16>,
    /// Bytes after the signature.
    pub(crate) tail: Vec<u8>,
}

impl Credential {
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

    pub(crate) fn signed_fields(&self, static_key: &[u8; 32]) -> Vec<u8> {
        let mut message = static_key.to_vec();
        message.extend_from_slice(&self.not_before.to_be_bytes());
        message.extend_from_slice(&self.not_after.to_be_bytes());
        message.extend_from_slice(&Sha256::digest(&self.spki));
        message
    }

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

pub(crate) fn pss(key: &RsaPrivateKey, salt: usize, message: &[u8]) -> Vec<u8> {
    BlindedSigningKey::<Sha256>::new_with_salt_len(key.clone(), salt)
        .sign_with_rng(&mut OsRng, message)
        .to_vec()
}

/// Reply of a scripted server, and the transport with which the server continues.
pub(crate) struct Answer {
    pub(crate) bytes: Vec<u8>,
    pub(crate) transport: TransportState,
    pub(crate) binding: Vec<u8>,
}

/// Replies to `hello` with the credential that `credential` returns for the static key.
pub(crate) fn answer_with(protocol: &str, hello: &[u8], credential: impl FnOnce(&[u8; 32]) -> Vec<u8>) -> Answer {
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
    let mut bytes = framed(&[&[0, 1], &message[..length]].concat());
    bytes.shrink_to_fit();
    Answer {
        bytes,
        binding: noise.get_handshake_hash().to_vec(),
        transport: noise.into_transport_mode().unwrap(),
    }
}

pub(crate) fn honest_answer(hello: &[u8]) -> Answer {
    answer_with(NX, hello, |static_key| Credential::honest().encode(static_key))
}

/// A scripted client: its hello, and its handling of the reply of a correct server.
pub(crate) struct Client {
    pub(crate) hello: Vec<u8>,
    noise: snow::HandshakeState,
}

impl Client {
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
    pub(crate) fn finish(mut self, answer: &[u8]) -> (Vec<u8>, Vec<u8>, TransportState) {
        assert_eq!(
            usize::from(u16::from_be_bytes([answer[0], answer[1]])),
            answer.len() - 2
        );
        assert_eq!(answer[2..4], [0, 1]);
        let mut credential = vec![0; 2048];
        let length = self.noise.read_message(&answer[4..], &mut credential).unwrap();
        credential.truncate(length);
        let binding = self.noise.get_handshake_hash().to_vec();
        (credential, binding, self.noise.into_transport_mode().unwrap())
    }
}

/// Returns the channel of our server and the transport of a scripted client.
pub(crate) fn our_server(now: Instant) -> (Channel, TransportState) {
    let client = Client::new("chat.example");
    let hello = ServerHandshake::new().feed(&client.hello).unwrap().unwrap();
    let accepted = hello.accept(&KEYS, now).unwrap();
    let (_, _, transport) = client.finish(&accepted.reply);
    (accepted.channel, transport)
}

/// Returns the channel of our client and the transport of a scripted server.
pub(crate) fn our_client(now: Instant) -> (Channel, TransportState) {
    let mut client = ClientHandshake::new("chat.example", pin()).unwrap();
    let answer = honest_answer(client.hello());
    match client.feed(now, UNIX_NOW, &answer.bytes).unwrap() {
        ClientProgress::Done(connected) => (connected.channel, answer.transport),
        other => panic!("{other:?}"),
    }
}

pub(crate) fn framed(body: &[u8]) -> Vec<u8> {
    let mut record = (body.len() as u16).to_be_bytes().to_vec();
    record.extend_from_slice(body);
    record
}

/// Returns one record, sealed by `transport`.
pub(crate) fn record(transport: &mut TransportState, kind: u8, content: &[u8]) -> Vec<u8> {
    sealed(transport, &[&[kind], content].concat())
}

pub(crate) fn sealed(transport: &mut TransportState, plaintext: &[u8]) -> Vec<u8> {
    let mut body = vec![0; plaintext.len() + 16];
    let length = transport.write_message(plaintext, &mut body).unwrap();
    framed(&body[..length])
}

/// Feeds `bytes` and the end of the stream to `channel`; returns its events and its result.
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
