//! The connections to the admin socket.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::task::{AbortHandle, JoinSet};

/// Maximum number of connections. A further one ends the connection that has waited longest for a
/// request. If all connections execute commands, the further connection waits until one of them
/// ends.
pub(super) const MAX_CONNECTIONS: usize = 64;

/// State of a connection: whether it waits for a request, and which of the waiting connections
/// began to wait before it.
#[derive(Debug)]
pub(super) struct WaitState {
    /// Number that this connection drew when it began to wait, or [`BUSY`].
    wait_number: AtomicU64,
    /// Next number to draw, shared by all connections.
    next_number: Arc<AtomicU64>,
}

/// Value of [`WaitState::wait_number`] while a command is executed.
const BUSY: u64 = 0;

impl WaitState {
    fn new(next_number: Arc<AtomicU64>) -> Self {
        let wait_state = Self {
            wait_number: AtomicU64::new(BUSY),
            next_number,
        };
        wait_state.begin_wait();
        wait_state
    }

    /// Records that the connection waits for a request from now on.
    pub(super) fn begin_wait(&self) {
        let number = self.next_number.fetch_add(1, Ordering::Relaxed);
        self.wait_number.store(number, Ordering::Relaxed);
    }

    /// Records that the connection has a request.
    pub(super) fn end_wait(&self) {
        self.wait_number.store(BUSY, Ordering::Relaxed);
    }
}

/// Owner of the tasks of all connections. Dropping it ends them.
#[derive(Debug)]
pub(super) struct Connections {
    tasks: JoinSet<()>,
    open: Vec<(Arc<WaitState>, AbortHandle)>,
    next_number: Arc<AtomicU64>,
}

impl Connections {
    pub(super) fn new() -> Self {
        Self {
            tasks: JoinSet::new(),
            open: Vec::with_capacity(MAX_CONNECTIONS),
            next_number: Arc::new(AtomicU64::new(BUSY + 1)),
        }
    }

    /// Makes room for a connection, or waits for room, as [`MAX_CONNECTIONS`] describes, and runs
    /// `serve` in a task of its own.
    pub(super) async fn add<F>(&mut self, serve: impl FnOnce(Arc<WaitState>) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        while self.tasks.try_join_next().is_some() {}
        self.forget_ended();
        while self.open.len() >= MAX_CONNECTIONS {
            if let Some(longest) = self.longest_waiting() {
                self.open.swap_remove(longest).1.abort();
            } else {
                self.tasks.join_next().await;
                self.forget_ended();
            }
        }
        let wait_state = Arc::new(WaitState::new(Arc::clone(&self.next_number)));
        let task = self.tasks.spawn(serve(Arc::clone(&wait_state)));
        self.open.push((wait_state, task));
    }

    fn forget_ended(&mut self) {
        self.open.retain(|(_, task)| !task.is_finished());
    }

    fn longest_waiting(&self) -> Option<usize> {
        let number_and_index = |(index, (wait_state, _)): (usize, &(Arc<WaitState>, _))| {
            let number = wait_state.wait_number.load(Ordering::Relaxed);
            (number != BUSY).then_some((number, index))
        };
        let longest = self.open.iter().enumerate().filter_map(number_and_index).min();
        longest.map(|(_, index)| index)
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn further_connection_ends_the_one_that_has_waited_longest() {
        let (sender, mut ended) = mpsc::channel(2 * MAX_CONNECTIONS);
        let mut connections = Connections::new();
        let mut busy = None;
        for number in 0..MAX_CONNECTIONS + 2 {
            let ended = sender.clone();
            let serve = |wait_state: Arc<WaitState>| {
                if number == 0 {
                    wait_state.end_wait();
                    busy = Some(Arc::clone(&wait_state));
                }
                async move {
                    let _ended = EndNotice(number, ended);
                    std::future::pending::<()>().await;
                }
            };
            connections.add(serve).await;
            tokio::task::yield_now().await;
        }
        // The first connection executes a command.
        assert_eq!((ended.recv().await, ended.recv().await), (Some(1), Some(2)));
        assert!(ended.try_recv().is_err());

        for (wait_state, _) in &connections.open {
            wait_state.end_wait();
        }
        tokio::select! {
            biased;
            () = connections.add(|_| async {}) => panic!("a connection that executes a command was ended"),
            () = tokio::task::yield_now() => {}
        }
        // The first connection waits for its next request.
        busy.unwrap().begin_wait();
        connections.add(|_| async {}).await;
        assert_eq!(ended.recv().await, Some(0));
    }

    /// Tells which connection has ended.
    struct EndNotice(usize, mpsc::Sender<usize>);

    impl Drop for EndNotice {
        fn drop(&mut self) {
            let _ = self.1.try_send(self.0);
        }
    }
}
