use super::*;
use crate::model::Secret;

fn password(text: &str) -> Password {
    Password::new(Secret::new(text)).unwrap()
}

fn options() -> PasswordPoolOptions {
    PasswordPoolOptions {
        cost: PasswordCost::danger_cheap(),
        ..PasswordPoolOptions::default()
    }
}

#[tokio::test]
async fn pool_distinguishes_right_from_wrong_passwords() {
    let pool = PasswordHasherPool::new(options()).unwrap();
    let hash = pool.hash(password("correct horse")).await.unwrap();
    let check = |typed: &str| pool.verify(password(typed), Some(hash.clone()));
    assert_eq!(
        check("correct horse").await,
        Ok(PasswordCheck::Right { needs_rehash: false })
    );
    assert_eq!(check("correct horsf").await, Ok(PasswordCheck::Wrong));
    assert_eq!(check("correct horse ").await, Ok(PasswordCheck::Wrong));
    assert_ne!(
        pool.hash(password("correct horse")).await.unwrap().as_str(),
        hash.as_str(),
        "each hash has its own salt"
    );

    let mut stronger = options();
    stronger.cost.iterations = 2;
    let pool = PasswordHasherPool::new(stronger).unwrap();
    let check = pool.verify(password("correct horse"), Some(hash)).await;
    assert_eq!(check, Ok(PasswordCheck::Right { needs_rehash: true }));
}

#[tokio::test]
async fn check_of_unknown_user_computes_a_hash_of_the_same_cost() {
    let pool = PasswordHasherPool::new(options()).unwrap();
    let hash = pool.hash(password("correct horse")).await.unwrap();
    assert_eq!(pool.dummy.cost, hash.cost);
    assert_eq!(
        pool.dummy.as_str().len(),
        hash.as_str().len(),
        "the dummy is as long as a real hash"
    );
    assert_eq!(PasswordHash::parse(pool.dummy.as_str()), Ok(pool.dummy.clone()));

    let before = pool.stats().computed;
    assert_eq!(
        pool.verify(password("correct horse"), None).await,
        Ok(PasswordCheck::Wrong)
    );
    assert_eq!(pool.stats().computed, before + 1);
    assert_eq!(
        pool.verify(password("wrong horse"), Some(hash)).await,
        Ok(PasswordCheck::Wrong)
    );
    assert_eq!(pool.stats().computed, before + 2, "each check computes one hash");
}

/// Guard that occupies the only worker of a pool until it is dropped.
struct Occupied {
    _release: std::sync::mpsc::Sender<()>,
}

/// Occupies the only worker of `pool` with a request. Returns the guard, and the task of the
/// request, once the request is running.
async fn occupy(pool: &Arc<PasswordHasherPool>) -> (Occupied, tokio::task::JoinHandle<Result<(), PasswordPoolError>>) {
    let (release, released) = std::sync::mpsc::channel();
    let (started, has_started) = tokio::sync::oneshot::channel();
    let pool = Arc::clone(pool);
    let running = tokio::spawn(async move {
        pool.run(move || {
            started.send(()).ok();
            released.recv().ok();
            Ok(())
        })
        .await
    });
    has_started.await.unwrap();
    (Occupied { _release: release }, running)
}

/// Returns a pool with one worker.
fn single_worker(max_queued: usize, queue_timeout: Duration) -> Arc<PasswordHasherPool> {
    let mut options = options();
    options.workers = 1;
    options.max_queued = max_queued;
    options.queue_timeout = queue_timeout;
    Arc::new(PasswordHasherPool::new(options).unwrap())
}

#[tokio::test]
async fn request_is_refused_at_once_if_the_queue_is_full() {
    let pool = single_worker(1, Duration::from_secs(3600));
    let (worker, running) = occupy(&pool).await;
    let waiting = tokio::spawn({
        let pool = Arc::clone(&pool);
        async move { pool.hash(password("correct horse")).await }
    });
    while pool.stats().pending < 2 {
        tokio::task::yield_now().await;
    }
    assert_eq!(pool.hash(password("correct horse")).await, Err(PasswordPoolError::Busy));
    assert_eq!(pool.stats().refused, 1);
    drop(worker);
    assert_eq!(running.await.unwrap(), Ok(()));
    assert!(waiting.await.unwrap().is_ok(), "the waiting request is served");
    assert!(
        pool.hash(password("correct horse")).await.is_ok(),
        "a place in the queue is free again"
    );
}

#[tokio::test]
async fn request_is_refused_after_the_queue_timeout() {
    let pool = single_worker(64, Duration::from_millis(1));
    let (worker, running) = occupy(&pool).await;
    assert_eq!(pool.hash(password("correct horse")).await, Err(PasswordPoolError::Busy));
    drop(worker);
    running.await.unwrap().unwrap();
}

#[tokio::test]
async fn cancelled_request_frees_its_place_in_the_queue_but_not_its_worker() {
    let pool = single_worker(1, Duration::from_secs(3600));
    let (worker, running) = occupy(&pool).await;
    running.abort();
    assert!(running.await.unwrap_err().is_cancelled());
    assert_eq!(
        pool.workers.available_permits(),
        0,
        "the hash is still running, so no other hash may start"
    );
    let waiting = tokio::spawn({
        let pool = Arc::clone(&pool);
        async move { pool.hash(password("correct horse")).await }
    });
    while pool.stats().pending < 2 {
        tokio::task::yield_now().await;
    }
    waiting.abort();
    waiting.await.unwrap_err();
    assert_eq!(pool.stats().pending, 1);
    drop(worker);
    assert!(pool.hash(password("correct horse")).await.is_ok());
}

#[tokio::test]
async fn shutdown_refuses_waiting_requests_and_completes_running_ones() {
    let pool = single_worker(8, Duration::from_secs(3600));
    let (worker, running) = occupy(&pool).await;
    let waiting = tokio::spawn({
        let pool = Arc::clone(&pool);
        async move { pool.hash(password("correct horse")).await }
    });
    while pool.stats().pending < 2 {
        tokio::task::yield_now().await;
    }
    pool.close();
    assert_eq!(waiting.await.unwrap(), Err(PasswordPoolError::Closed));
    assert_eq!(
        pool.hash(password("correct horse")).await,
        Err(PasswordPoolError::Closed)
    );
    drop(worker);
    pool.shutdown().await;
    assert_eq!(pool.stats().pending, 0);
    assert_eq!(running.await.unwrap(), Ok(()), "the running request gets its result");
}

#[tokio::test]
async fn panic_affects_one_request() {
    let pool = single_worker(1, Duration::from_secs(3600));
    let failed = pool.run::<()>(|| panic!("inside a hash")).await;
    assert_eq!(failed, Err(PasswordHashError::Failed("panicked").into()));
    assert!(pool.hash(password("correct horse")).await.is_ok());
}
