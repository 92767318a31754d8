//! Benchmark of appending events to a store, without an engine: the cost of one transaction, and
//! how the events of a batch share it.

use std::sync::Arc;

use chat_benches::group;
use chat_benches::messages;
use chat_core::store::{MemoryStore, Store};
use chat_core::testkit::store::{NewEvent, append};
use chat_store_sqlite::{Options, SqliteStore};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

fn append_batches(c: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let directory = tempfile::tempdir().expect("a temporary directory");
    let sqlite = runtime.block_on(SqliteStore::open(directory.path().join("data"), Options::default()));
    let stores: [(&str, Arc<dyn Store>); 2] = [
        ("memory", Arc::new(MemoryStore::new())),
        ("sqlite", Arc::new(sqlite.expect("an empty directory"))),
    ];
    let body = messages::event(256).body;

    let mut benchmarks = c.benchmark_group("append");
    for (name, store) in &stores {
        let (conversation, members) = runtime.block_on(group::create(&**store, 2)).expect("an empty store");
        for batch in [1_usize, 16, 128] {
            benchmarks.throughput(Throughput::Elements(batch as u64));
            benchmarks.bench_function(BenchmarkId::new(*name, batch), |b| {
                b.to_async(&runtime).iter(|| {
                    let new_events = (0..batch).map(|_| NewEvent::message(body.clone())).collect();
                    async {
                        append(&**store, conversation, members[0], new_events)
                            .await
                            .expect("the store is open")
                    }
                });
            });
        }
    }
    benchmarks.finish();
    for (_, store) in stores {
        runtime.block_on(store.close());
    }
}

criterion_group!(benches, append_batches);
criterion_main!(benches);
