//! Benchmark of the whole path of a message over loopback: from Alice's client through the server
//! and its store until Alice has the acknowledgement and Bob the message. It measures one message
//! at a time, and 32 in flight, which share transactions, encrypted records and socket writes.

use std::sync::Arc;

use chat_benches::{messages, testbed::Testbed};
use chat_core::store::{MemoryStore, Store};
use chat_store_sqlite::{Options, SqliteStore};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

fn message(c: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    let directory = tempfile::tempdir().expect("a temporary directory");
    let sqlite = runtime.block_on(SqliteStore::open(directory.path().join("data"), Options::default()));
    let stores: [(&str, Arc<dyn Store>); 2] = [
        ("memory", Arc::new(MemoryStore::new())),
        ("sqlite", Arc::new(sqlite.expect("an empty directory"))),
    ];

    let mut benchmarks = c.benchmark_group("message");
    for (name, store) in stores {
        let mut testbed = runtime.block_on(Testbed::start(store)).expect("a server");
        for in_flight in [1_usize, 32] {
            let texts = vec![messages::text(256); in_flight];
            benchmarks.throughput(Throughput::Elements(in_flight as u64));
            benchmarks.bench_function(BenchmarkId::new(name, in_flight), |b| {
                b.iter(|| runtime.block_on(testbed.exchange(&texts)));
            });
        }
        runtime.block_on(testbed.stop());
    }
    benchmarks.finish();
}

criterion_group!(benches, message);
criterion_main!(benches);
