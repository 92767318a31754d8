//! Locks without poisoning.

use std::sync::PoisonError;
pub use std::sync::{MutexGuard, RwLockReadGuard, RwLockWriteGuard};

/// A [`std::sync::Mutex`] whose [`lock`](Mutex::lock) ignores poisoning: a thread that panicked
/// while it held the lock does not make every later caller panic too. Use it for state that each
/// critical section leaves consistent even if it panics.
#[derive(Debug, Default)]
pub struct Mutex<T: ?Sized>(std::sync::Mutex<T>);

impl<T> Mutex<T> {
    /// Creates an unlocked mutex that protects `value`.
    pub const fn new(value: T) -> Self {
        Self(std::sync::Mutex::new(value))
    }

    /// Consumes the mutex and returns the value.
    pub fn into_inner(self) -> T {
        self.0.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: ?Sized> Mutex<T> {
    /// Locks the mutex. Blocks the thread until the mutex is free.
    pub fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the value without locking, because `&mut self` proves that no other thread holds the
    /// lock.
    pub fn get_mut(&mut self) -> &mut T {
        self.0.get_mut().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A [`std::sync::RwLock`] whose [`read`](RwLock::read) and [`write`](RwLock::write) ignore
/// poisoning, as [`Mutex::lock`] does.
#[derive(Debug, Default)]
pub struct RwLock<T: ?Sized>(std::sync::RwLock<T>);

impl<T> RwLock<T> {
    /// Creates a lock that protects `value` and is not held.
    pub const fn new(value: T) -> Self {
        Self(std::sync::RwLock::new(value))
    }
}

impl<T: ?Sized> RwLock<T> {
    /// Locks for reading. Blocks the thread while a writer holds the lock, and perhaps while one
    /// waits for it.
    pub fn read(&self) -> RwLockReadGuard<'_, T> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Locks for writing. Blocks the thread until the lock is free.
    pub fn write(&self) -> RwLockWriteGuard<'_, T> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::Mutex;

    #[test]
    fn mutex_locks_after_a_panic_of_its_holder() {
        let mutex = Arc::new(Mutex::new(1));
        let held = Arc::clone(&mutex);
        let holder = std::thread::spawn(move || {
            let mut value = held.lock();
            *value = 2;
            panic!("holder panics");
        });
        assert!(holder.join().is_err());
        assert_eq!(*mutex.lock(), 2);
    }
}
