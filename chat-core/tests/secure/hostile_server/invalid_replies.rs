//! Table of invalid replies of a server, and the client's reaction to each.

use super::*;

/// Returns the DER encoding of an RSA public key with this exponent and a modulus of this many
/// bits.
fn spki(modulus_bits: usize, exponent: u32) -> Vec<u8> {
    let top = BigUint::from(1u8) << (modulus_bits - 1);
    let key = RsaPublicKey::new_unchecked(top + 1u8, BigUint::from(exponent));
    key.to_public_key_der().unwrap().into_vec()
}

/// Corrects the length field of a message after its length has changed.
fn set_length(bytes: &mut [u8]) {
    let length = (bytes.len() - 2) as u16;
    bytes[..2].copy_from_slice(&length.to_be_bytes());
}

fn rows() -> Vec<Row> {
    [
        lengths(),
        transcripts(),
        encodings(),
        keys(),
        signatures(),
        validity(),
        check_order(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Returns replies with a wrong length, type or profile, and replies with further bytes.
fn lengths() -> Vec<Row> {
    vec![
        row("length 0", E::LengthOutOfRange(0), |_| vec![0, 0]),
        row("length below every message", E::LengthOutOfRange(6), |_| vec![0, 6]),
        row("length between Reject and Hello2", E::LengthOutOfRange(8), |_| {
            vec![0, 8]
        }),
        row("length one below the shortest Hello2", E::LengthOutOfRange(97), |_| {
            vec![0, 97]
        }),
        row("length one above the longest", E::LengthOutOfRange(1279), |_| {
            vec![4, 255]
        }),
        row("length 65535", E::LengthOutOfRange(65535), |_| vec![255, 255]),
        row("Hello2 as short as a Reject", E::LengthOutOfRange(7), |_| {
            vec![0, 7, 0, 1]
        }),
        changed("Reject as long as a Hello2", E::MalformedReject, |b| b[3] = 0),
        changed("profile 2", E::ProfileNotOffered(2), |b| b[3] = 2),
        changed("profile 0x0101", E::ProfileNotOffered(0x0101), |b| b[2] = 1),
        row("client's hello sent back", E::LengthOutOfRange(40), |hello| {
            hello.to_vec()
        }),
        row("TLS alert", E::LengthOutOfRange(0x1503), |_| {
            b"\x15\x03\x01\x00\x02\x02\x46".to_vec()
        }),
        changed("byte after the reply", E::UnexpectedData, |b| b.push(0)),
        changed("reply twice", E::UnexpectedData, |b| b.extend_from_within(..)),
        row("reject and then the reply", E::UnexpectedData, |hello| {
            let mut bytes = reject(RejectCode::Busy, Duration::ZERO).to_vec();
            bytes.extend_from_slice(&honest_reply(hello).bytes);
            bytes
        }),
        row("record before the client's first", E::UnexpectedData, |hello| {
            let mut reply = honest_reply(hello);
            let record = crate::peer::record(&mut reply.transport, 0, b"early");
            [reply.bytes, record].concat()
        }),
    ]
}

/// Returns replies for which client and server disagree about the bytes or keys of the handshake.
fn transcripts() -> Vec<Row> {
    vec![
        changed("all-zero ephemeral", E::WeakPublicKey, |b| b[4..36].fill(0)),
        changed(
            "ephemeral with u-coordinate 1, a point of order 4",
            E::WeakPublicKey,
            |b| {
                b[4..36].fill(0);
                b[4] = 1;
            },
        ),
        changed("changed ephemeral", E::BadTag, |b| b[4] ^= 1),
        changed("ephemeral's ignored bit", E::BadTag, |b| b[35] ^= 0x80),
        changed("changed static key", E::BadTag, |b| b[36] ^= 1),
        changed("changed tag of the static key", E::BadTag, |b| b[83] ^= 1),
        changed("changed credential", E::BadTag, |b| b[84] ^= 1),
        changed("changed tag of the credential", E::BadTag, |b| {
            *b.last_mut().unwrap() ^= 1
        }),
        changed("one byte too short", E::BadTag, |b| {
            b.pop();
            set_length(b);
        }),
        changed("one byte too long", E::BadTag, |b| {
            b.push(0);
            set_length(b);
        }),
        changed("credential left out", E::BadTag, |b| {
            b.truncate(100);
            set_length(b);
        }),
        row("reply to another hello", E::BadTag, |_| {
            honest_reply(&Client::new("").hello).bytes
        }),
        row("our own server's reply to another hello", E::BadTag, |_| {
            let hello = ServerHandshake::new().feed(&Client::new("").hello).unwrap().unwrap();
            hello.accept(&KEYS, Instant::now()).unwrap().reply.to_vec()
        }),
        row("server received another name", E::BadTag, |hello| {
            let mut received = hello[..10].to_vec();
            received[9] = 1;
            received.push(b'x');
            received.extend_from_slice(&hello[10..]);
            set_length(&mut received);
            honest_reply(&received).bytes
        }),
        row("server received other profiles", E::BadTag, |hello| {
            let mut received = hello.to_vec();
            received[8] = 2;
            honest_reply(&received).bytes
        }),
        row("another hash", E::BadTag, |hello| {
            other_protocol("Noise_NX_25519_AESGCM_SHA512", hello)
        }),
        row("another cipher", E::BadTag, |hello| {
            other_protocol("Noise_NX_25519_ChaChaPoly_SHA256", hello)
        }),
    ]
}

/// Returns the reply of a server that uses another Noise protocol.
fn other_protocol(protocol: &str, hello: &[u8]) -> Vec<u8> {
    reply_with(protocol, hello, |key| Credential::honest().encode(key)).bytes
}

/// Returns replies whose credential is malformed.
fn encodings() -> Vec<Row> {
    vec![
        row("empty credential", E::MalformedCredential, |hello| {
            reply_with(NX, hello, |_| Vec::new()).bytes
        }),
        credential("version 0", E::CredentialVersion(0), |c| c.version = 0),
        credential("version 2", E::CredentialVersion(2), |c| c.version = 2),
        credential("byte after the signature", E::MalformedCredential, |c| c.tail = vec![0]),
        credential("key longer than the credential", E::MalformedCredential, |c| {
            c.spki_length = Some(9999)
        }),
        credential("signature longer than the credential", E::MalformedCredential, |c| {
            c.signature_length = Some(257)
        }),
        credential(
            "signature length shorter than the signature",
            E::MalformedCredential,
            |c| c.signature_length = Some(255),
        ),
        credential("validity ends before it begins", E::MalformedCredential, |c| {
            c.not_after = c.not_before - 1
        }),
    ]
}

/// Returns replies with a key that is malformed, not allowed, or not pinned.
fn keys() -> Vec<Row> {
    let keyed = |name, expected, change| without_pin(credential(name, expected, change));
    vec![
        keyed("no key", E::MalformedKey, |c| c.spki = Vec::new()),
        keyed("key of arbitrary bytes", E::MalformedKey, |c| c.spki = vec![0x5a; 294]),
        keyed("byte after the key", E::MalformedKey, |c| c.spki.push(0)),
        keyed("key cut short", E::MalformedKey, |c| c.spki.truncate(293)),
        keyed("Ed25519 key", E::MalformedKey, |c| {
            c.spki = [&b"\x30\x2a\x30\x05\x06\x03\x2b\x65\x70\x03\x21\x00"[..], &[7; 32]].concat();
        }),
        keyed("RSA key marked for PSS only", E::MalformedKey, |c| c.spki[16] = 0x0a),
        keyed("bare PKCS#1 key", E::MalformedKey, |c| drop(c.spki.drain(..24))),
        keyed("1024 bits", E::KeySize(1024), |c| c.spki = spki(1024, 65537)),
        keyed("2047 bits", E::KeySize(2047), |c| c.spki = spki(2047, 65537)),
        keyed("4097 bits", E::KeySize(4097), |c| c.spki = spki(4097, 65537)),
        keyed("8192 bits", E::KeySize(8192), |c| {
            c.spki = spki(8192, 65537);
            // With a signature, the reply would exceed its maximum length.
            c.sign = |_, _| Vec::new();
        }),
        keyed("exponent 3", E::KeyExponent, |c| c.spki = spki(2048, 3)),
        keyed("exponent 1", E::KeyExponent, |c| c.spki = spki(2048, 1)),
        keyed("exponent 65539", E::KeyExponent, |c| c.spki = spki(2048, 65539)),
        credential(
            "another key, everything else right",
            E::PinMismatch {
                presented: Fingerprint::sha256_of(&spki_of(&OTHER_RSA)),
            },
            |c| {
                c.spki = spki_of(&OTHER_RSA);
                c.sign = |c, key| pss(&OTHER_RSA, 32, &c.message(key));
            },
        ),
    ]
}

/// Returns replies with a wrong signature in the credential.
fn signatures() -> Vec<Row> {
    let signed = |name, sign: fn(&Credential, &[u8; 32]) -> Vec<u8>| {
        row(name, E::BadSignature, move |hello| {
            let mut credential = Credential::honest();
            credential.sign = sign;
            reply_with(NX, hello, |key| credential.encode(key)).bytes
        })
    };
    vec![
        signed("no signature", |_, _| Vec::new()),
        signed("signature one byte short", |c, k| {
            pss(&RSA, 32, &c.message(k))[..255].to_vec()
        }),
        signed("one zero byte before the signature", |c, k| {
            [&[0][..], &pss(&RSA, 32, &c.message(k))].concat()
        }),
        signed("one bit of the signature changed", |c, k| {
            let mut signature = pss(&RSA, 32, &c.message(k));
            signature[200] ^= 4;
            signature
        }),
        signed("signature 0", |_, _| vec![0; 256]),
        signed("signature 1", |_, _| [vec![0; 255], vec![1]].concat()),
        signed("signature n", |_, _| RSA.n().to_bytes_be()),
        signed("signature above n", |_, _| vec![0xff; 256]),
        signed("salt of 0 bytes", |c, k| pss(&RSA, 0, &c.message(k))),
        signed("salt of 20 bytes", |c, k| pss(&RSA, 20, &c.message(k))),
        signed("salt of 31 bytes", |c, k| pss(&RSA, 31, &c.message(k))),
        signed("salt of 33 bytes", |c, k| pss(&RSA, 33, &c.message(k))),
        signed("longest salt", |c, k| pss(&RSA, 222, &c.message(k))),
        signed("SHA-512", |c, k| {
            let key = rsa::pss::BlindedSigningKey::<Sha512>::new_with_salt_len(RSA.clone(), 32);
            key.sign_with_rng(&mut OsRng, &c.message(k)).to_vec()
        }),
        signed("PKCS#1 v1.5", |c, k| {
            rsa::pkcs1v15::SigningKey::<Sha256>::new(RSA.clone())
                .sign(&c.message(k))
                .to_vec()
        }),
        signed("by another key", |c, k| pss(&OTHER_RSA, 32, &c.message(k))),
        signed("for another static key", |c, _| pss(&RSA, 32, &c.message(&[9; 32]))),
        signed("without spaces and label", |c, k| pss(&RSA, 32, &c.signed_fields(k))),
        signed("without the spaces", |c, k| {
            pss(&RSA, 32, &[LABEL, &c.signed_fields(k)].concat())
        }),
        signed("as TLS 1.3 signs", |c, k| {
            let context = b"TLS 1.3, server CertificateVerify\0";
            pss(&RSA, 32, &[&[b' '; 64][..], context, &c.signed_fields(k)].concat())
        }),
        signed("for an earlier time", |c, k| {
            let mut signed = c.clone();
            signed.not_before -= 1;
            pss(&RSA, 32, &signed.message(k))
        }),
        signed("for a shorter time", |c, k| {
            let mut signed = c.clone();
            signed.not_after -= 1;
            pss(&RSA, 32, &signed.message(k))
        }),
        signed("for another RSA key", |c, k| {
            let mut signed = c.clone();
            signed.spki = spki_of(&OTHER_RSA);
            pss(&RSA, 32, &signed.message(k))
        }),
        row(
            "credential of the real server, presented with another static key",
            E::BadSignature,
            |hello| {
                let client = Client::new("");
                let hello_read = ServerHandshake::new().feed(&client.hello).unwrap().unwrap();
                let stolen = client
                    .finish(&hello_read.accept(&KEYS, Instant::now()).unwrap().reply)
                    .0;
                reply_with(NX, hello, |_| stolen).bytes
            },
        ),
    ]
}

/// Returns replies whose credential is not valid at [`UNIX_NOW`], or is for another profile.
fn validity() -> Vec<Row> {
    vec![
        credential(
            "expired a second more than a day ago",
            E::Expired {
                not_after: UNIX_NOW - DAY - 1,
                now: UNIX_NOW,
            },
            |c| {
                c.not_before = UNIX_NOW - 8 * DAY;
                c.not_after = UNIX_NOW - DAY - 1;
            },
        ),
        credential(
            "expired in 1970",
            E::Expired {
                not_after: 0,
                now: UNIX_NOW,
            },
            |c| {
                c.not_before = 0;
                c.not_after = 0;
            },
        ),
        credential(
            "valid in a day and a second",
            E::NotYetValid {
                not_before: UNIX_NOW + DAY + 1,
                now: UNIX_NOW,
            },
            |c| {
                c.not_before = UNIX_NOW + DAY + 1;
                c.not_after = UNIX_NOW + 8 * DAY;
            },
        ),
        credential(
            "valid at the end of time",
            E::NotYetValid {
                not_before: u64::MAX,
                now: UNIX_NOW,
            },
            |c| {
                c.not_before = u64::MAX;
                c.not_after = u64::MAX;
            },
        ),
        credential("credential for profile 2", E::ProfileMismatch(2), |c| c.profile = 2),
        credential("credential for profile 0", E::ProfileMismatch(0), |c| c.profile = 0),
    ]
}

/// Returns replies with two faults. The fault that the client has to check first determines the
/// error.
fn check_order() -> Vec<Row> {
    let other = Fingerprint::sha256_of(&spki_of(&OTHER_RSA));
    vec![
        credential("wrong size before wrong pin", E::KeySize(1024), |c| {
            c.spki = spki(1024, 65537)
        }),
        credential("wrong exponent before wrong pin", E::KeyExponent, |c| {
            c.spki = spki(2048, 3)
        }),
        credential(
            "wrong pin before wrong signature",
            E::PinMismatch { presented: other },
            |c| {
                c.spki = spki_of(&OTHER_RSA);
                c.sign = |_, _| vec![0; 256];
            },
        ),
        credential("wrong signature before expiry", E::BadSignature, |c| {
            c.not_before = 0;
            c.not_after = 0;
            c.sign = |_, _| vec![0; 256];
        }),
        credential(
            "expiry before wrong profile",
            E::Expired {
                not_after: 0,
                now: UNIX_NOW,
            },
            |c| {
                c.not_before = 0;
                c.not_after = 0;
                c.profile = 2;
            },
        ),
    ]
}

#[test]
fn client_reacts_to_invalid_replies_as_documented() {
    let now = Instant::now();
    let rows = rows();
    assert!(rows.len() >= 60, "{}", rows.len());
    for row in rows {
        let mut client = ClientHandshake::new("", row.pin.clone()).unwrap();
        let reply = (row.reply)(client.hello());
        let reaction = client.feed(now, UNIX_NOW, &reply);
        assert_eq!(reaction.unwrap_err(), row.expected, "{}", row.name);
        let afterwards = client.feed(now, UNIX_NOW, &[]);
        assert_eq!(afterwards.unwrap_err(), E::AlreadyEnded, "{}", row.name);
    }
}
