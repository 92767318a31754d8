//! Benchmark of the fan-out: the router puts one committed message into the outbox of each session
//! of a group on one node, and the outboxes are drained.

use std::hint::black_box;
use std::sync::Arc;

use chat_benches::group::{self, Audience};
use chat_benches::messages;
use chat_core::model::Seq;
use chat_core::store::MemoryStore;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

fn fanout(c: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let mut benchmarks = c.benchmark_group("routing/fanout");
    for sessions in [1_usize, 100, 10_000] {
        let (group, audience) = runtime.block_on(async {
            let store = Arc::new(MemoryStore::new());
            let (group, members) = group::create(&*store, sessions).await.expect("an empty store");
            (group, Audience::attach(store, &members).await)
        });
        let mut event = messages::event(256);
        event.conversation = group;
        event.seq = Seq::ZERO;
        let mut drained = Vec::new();

        benchmarks.throughput(Throughput::Elements(sessions as u64));
        benchmarks.bench_function(BenchmarkId::from_parameter(sessions), |b| {
            b.iter(|| {
                event.seq = event.seq.next();
                audience.router.committed(std::slice::from_ref(&event));
                // The measurement includes draining, so that no cost remains hidden in a queue.
                for outbox in &audience.outboxes {
                    outbox.drain(usize::MAX, &mut drained);
                    for delivery in drained.drain(..) {
                        black_box(delivery.frame());
                    }
                }
            });
        });
        assert!(
            audience.outboxes.iter().all(|outbox| !outbox.is_ready()),
            "everything that was delivered is drained"
        );
    }
    benchmarks.finish();
}

criterion_group!(benches, fanout);
criterion_main!(benches);
