//! Bounded queue between tasks, which add items without waiting, and threads, which wait for items.

use std::collections::VecDeque;
use std::fmt::{self, Debug};
use std::sync::{Condvar, PoisonError};

use chat_core::store::StoreError;
use chat_core::sync::{Mutex, MutexGuard};

/// Bounded queue. [`Queue::push`] fails while the queue is full.
pub(crate) struct Queue<T> {
    state: Mutex<State<T>>,
    filled: Condvar,
    capacity: usize,
}

struct State<T> {
    items: VecDeque<T>,
    waiting_threads: usize,
    is_closed: bool,
}

impl<T> Debug for Queue<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (items, is_closed) = {
            let state = self.lock();
            (state.items.len(), state.is_closed)
        };
        f.debug_struct("Queue")
            .field("items", &items)
            .field("capacity", &self.capacity)
            .field("closed", &is_closed)
            .finish()
    }
}

impl<T> Queue<T> {
    /// Creates a queue of at most `capacity` items. 0 counts as 1.
    pub(crate) fn new(capacity: usize) -> Self {
        let state = State {
            items: VecDeque::new(),
            waiting_threads: 0,
            is_closed: false,
        };
        Self {
            state: Mutex::new(state),
            filled: Condvar::new(),
            capacity: capacity.max(1),
        }
    }

    /// Adds an item without waiting.
    ///
    /// # Errors
    /// [`StoreError::Overloaded`]: the queue is full. [`StoreError::Unavailable`]: the queue was
    /// closed.
    pub(crate) fn push(&self, item: T) -> Result<(), StoreError> {
        let mut state = self.lock();
        if state.is_closed {
            return Err(StoreError::unavailable("the store was closed"));
        }
        if state.items.len() >= self.capacity {
            return Err(StoreError::Overloaded);
        }
        state.items.push_back(item);
        if state.waiting_threads > 0 {
            self.filled.notify_one();
        }
        Ok(())
    }

    /// Waits for an item. Returns `None` once the queue is closed and empty.
    pub(crate) fn pop(&self) -> Option<T> {
        self.wait().items.pop_front()
    }

    /// Waits for items and returns up to `max` of them; none once the queue is closed and empty.
    pub(crate) fn pop_many(&self, max: usize) -> Vec<T> {
        let mut state = self.wait();
        let count = state.items.len().min(max);
        state.items.drain(..count).collect()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.lock().items.is_empty()
    }

    /// Rejects new items from now on. Threads still receive the queued items.
    pub(crate) fn close(&self) {
        self.lock().is_closed = true;
        self.filled.notify_all();
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.lock().is_closed
    }

    /// Waits until the queue has an item or is closed.
    fn wait(&self) -> MutexGuard<'_, State<T>> {
        let mut state = self.lock();
        while state.items.is_empty() && !state.is_closed {
            state.waiting_threads += 1;
            state = self.filled.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.waiting_threads -= 1;
        }
        state
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock()
    }
}
