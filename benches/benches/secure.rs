//! Benchmark of the secure channel (SC1): the server's halves of handshakes per second, and bytes
//! per second through encryption and decryption.

use std::hint::black_box;
use std::time::Instant;

use bytes::BytesMut;
use chat_benches::secure::{channels, server_keys};
use chat_core::secure::{ClientHandshake, Opened, PinPolicy, ServerHandshake};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

fn handshake(c: &mut Criterion) {
    let keys = server_keys();
    let mut group = c.benchmark_group("secure/handshake");
    group.throughput(Throughput::Elements(1));
    // Measures the server's half of a handshake; the client's half, with its RSA verification, is
    // excluded.
    group.bench_function("server", |b| {
        b.iter_batched(
            || ClientHandshake::new("bench", PinPolicy::exactly(keys.fingerprint())).expect("a valid name"),
            |client| {
                let hello = ServerHandshake::new()
                    .feed(client.hello())
                    .expect("a valid hello")
                    .expect("a complete hello");
                black_box(hello.accept(&keys, Instant::now()).expect("a valid client hello"))
            },
            criterion::BatchSize::SmallInput,
        );
    });
    group.finish();
}

fn records(c: &mut Criterion) {
    let mut group = c.benchmark_group("secure/record");
    for size in [64_usize, 256, 1024, 16 * 1024] {
        let content = vec![7; size];
        group.throughput(Throughput::Bytes(size as u64));
        group.bench_with_input(BenchmarkId::new("seal_and_open", size), &content, |b, content| {
            let (client, server) = channels();
            let (mut sealer, _) = client.split();
            let (_, mut opener) = server.split();
            let mut wire = BytesMut::with_capacity(size + 64);
            b.iter(|| {
                let now = Instant::now();
                wire.clear();
                wire.reserve(size + 64);
                sealer.seal(now, content, &mut wire).expect("an open channel");
                match opener.feed(now, &mut wire).expect("a valid record") {
                    Opened::Data(plain) => black_box(plain.len()),
                    other => panic!("expected data, got {other:?}"),
                }
            });
        });
    }
    group.finish();
}

criterion_group!(benches, handshake, records);
criterion_main!(benches);
