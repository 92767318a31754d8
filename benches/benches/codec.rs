//! Benchmark of the codec: the cost of decoding a message, and of encoding the reply to it and its
//! event.

use std::hint::black_box;

use bytes::BytesMut;
use chat_benches::messages;
use chat_core::codec::frame::{DEFAULT_MAX_PACKET_BYTES, FrameDecoder};
use chat_core::codec::{Answer, RequestId, client, server};
use chat_core::model::{Appended, Outcome, Push};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

/// Maximum length of a message text that the server accepts, in bytes.
const MAX_TEXT_BYTES: usize = 16 * 1024;

fn decode_send(c: &mut Criterion) {
    let mut group = c.benchmark_group("codec/decode_send");
    for size in [64, 256, 4096] {
        let mut wire = BytesMut::new();
        client::encode_command(RequestId(1), &messages::send_command(size), &mut wire);
        group.throughput(Throughput::Elements(1));
        group.bench_with_input(BenchmarkId::from_parameter(size), &wire, |b, wire| {
            b.iter_batched(
                || wire.clone(),
                |wire| {
                    let mut decoder = FrameDecoder::new(DEFAULT_MAX_PACKET_BYTES);
                    decoder.feed(wire);
                    let packet = decoder
                        .next_packet()
                        .expect("a small packet")
                        .expect("a complete packet");
                    black_box(server::decode_request(packet, MAX_TEXT_BYTES).expect("a valid packet"))
                },
                criterion::BatchSize::SmallInput,
            );
        });
    }
    group.finish();
}

fn encode_acknowledgement_and_event(c: &mut Criterion) {
    let mut group = c.benchmark_group("codec");
    group.throughput(Throughput::Elements(1));

    let event = messages::event(256);
    let appended = Appended::new(event.conversation, event.seq, event.id, event.time);
    let answer = Ok(Answer::Outcome(Outcome::Appended(appended)));
    let mut out = BytesMut::with_capacity(4096);
    group.bench_function("encode_acknowledgement", |b| {
        b.iter(|| {
            out.clear();
            server::encode_reply(RequestId(7), &answer, &mut out);
            black_box(out.len())
        });
    });

    let push = Push::Event(event);
    group.bench_function("encode_event/256", |b| b.iter(|| black_box(server::encode_push(&push))));
    group.finish();
}

criterion_group!(benches, decode_send, encode_acknowledgement_and_event);
criterion_main!(benches);
