//! Benchmark of one whole message over loopback: from Alice's socket through secure channel,
//! session, engine and store to her acknowledgement and to Bob's client. One at a time, and with 32
//! in flight, which share commits, records and writes.

use std::sync::Arc;

use chat_benches::{messages, site::Site};
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
        let mut site = runtime.block_on(Site::start(store)).expect("a server");
        for under_way in [1_usize, 32] {
            let texts = vec![messages::text(256); under_way];
            benchmarks.throughput(Throughput::Elements(under_way as u64));
            benchmarks.bench_function(BenchmarkId::new(name, under_way), |b| {
                b.iter(|| runtime.block_on(site.exchange(&texts)));
            });
        }
        runtime.block_on(site.stop());
    }
    benchmarks.finish();
}

criterion_group!(benches, message);
criterion_main!(benches);
