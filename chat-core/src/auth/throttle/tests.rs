use super::*;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

fn source(last: u8) -> Source {
    Source::Ip([192, 0, 2, last].into())
}

fn attempt(account: &str) -> LoginAttempt<'_> {
    LoginAttempt {
        source: source(1),
        account,
        known_device: None,
    }
}

/// Returns a throttle with the default limits on accounts, and without the other limits.
fn accounts_only() -> LoginThrottle {
    LoginThrottle::new(ThrottleOptions {
        account_attempts: 5,
        ..ThrottleOptions::danger_unlimited()
    })
}

/// Returns the limit that refused an attempt, and the wait in whole seconds; `None` if it was
/// allowed.
fn limit<T>(result: Result<T, Throttled>) -> Option<(ThrottleLimit, u64)> {
    result
        .err()
        .map(|throttled| (throttled.limit, throttled.retry_after.as_secs()))
}

#[test]
fn account_waits_double_up_to_fifteen_minutes() {
    let throttle = accounts_only();
    let mut now = Instant::now();
    for _ in 0..5 {
        assert_eq!(limit(throttle.charge(now, &attempt("alice"))), None);
    }
    for minutes in [1, 2, 4, 8, 15, 15, 15] {
        assert_eq!(
            limit(throttle.charge(now, &attempt("alice"))),
            Some((ThrottleLimit::Account, minutes * 60))
        );
        let just_before = now + minutes as u32 * MINUTE - SECOND;
        assert_eq!(
            limit(throttle.charge(just_before, &attempt("alice"))),
            Some((ThrottleLimit::Account, 1))
        );
        now += minutes as u32 * MINUTE;
        assert_eq!(
            limit(throttle.charge(now, &attempt("alice"))),
            None,
            "one attempt is allowed after the wait"
        );
    }
    assert_eq!(
        limit(throttle.charge(now, &attempt("bob"))),
        None,
        "other accounts are not affected"
    );
    now += 30 * MINUTE;
    for _ in 0..5 {
        assert_eq!(
            limit(throttle.charge(now, &attempt("alice"))),
            None,
            "earlier attempts are forgotten after 30 minutes"
        );
    }
}

#[test]
fn few_attempts_are_forgotten_after_the_window() {
    let throttle = accounts_only();
    let now = Instant::now();
    for minute in 0..20 {
        for _ in 0..4 {
            assert_eq!(limit(throttle.charge(now + minute * MINUTE, &attempt("alice"))), None);
        }
    }
}

#[test]
fn right_password_clears_the_history() {
    let throttle = accounts_only();
    let now = Instant::now();
    for _ in 0..100 {
        let charged = throttle.charge(now, &attempt("alice")).unwrap();
        throttle.succeeded(now, charged);
    }
}

#[test]
fn refunded_attempts_do_not_count() {
    let throttle = LoginThrottle::new(ThrottleOptions::default());
    let now = Instant::now();
    for step in 0..100 {
        let charged = throttle.charge(now + step * SECOND, &attempt("alice")).unwrap();
        throttle.refund(now + step * SECOND, charged);
    }
    for _ in 0..5 {
        assert_eq!(limit(throttle.charge(now + 100 * SECOND, &attempt("alice"))), None);
    }
    assert!(throttle.charge(now + 100 * SECOND, &attempt("alice")).is_err());
}

#[test]
fn attackers_cannot_lock_a_known_device_out() {
    let throttle = LoginThrottle::new(ThrottleOptions::default());
    let device = TokenHash::from_bytes([7; 32]);
    let mut now = Instant::now();
    // The attack lasts ten minutes, from many sources and from the owner's address, at the limit of
    // the node.
    for step in 0..18_000_u32 {
        now += SECOND / 30;
        let guess = LoginAttempt {
            source: source(step as u8),
            account: "alice",
            known_device: None,
        };
        let _ = throttle.charge(now, &guess);
        let other = format!("user{step}");
        let _ = throttle.charge(
            now,
            &LoginAttempt {
                source: source((step % 199) as u8),
                account: &other,
                known_device: None,
            },
        );
    }
    assert!(
        throttle.charge(now, &attempt("alice")).is_err(),
        "an unknown device waits"
    );
    let owner = LoginAttempt {
        known_device: Some(&device),
        ..attempt("alice")
    };
    assert_eq!(limit(throttle.charge(now, &owner)), None, "the owner does not wait");

    // Each known device has separate limits.
    for _ in 0..4 {
        assert_eq!(limit(throttle.charge(now, &owner)), None);
    }
    assert_eq!(limit(throttle.charge(now, &owner)), Some((ThrottleLimit::Device, 60)));
    let other_device = TokenHash::from_bytes([8; 32]);
    let tablet = LoginAttempt {
        known_device: Some(&other_device),
        ..owner
    };
    let charged = throttle.charge(now, &tablet).unwrap();
    throttle.succeeded(now, charged);
    assert!(
        throttle.charge(now, &attempt("alice")).is_err(),
        "the owner's success does not end the wait of unknown devices"
    );
}

#[test]
fn source_is_limited_over_all_accounts() {
    let throttle = LoginThrottle::new(ThrottleOptions::default());
    let now = Instant::now();
    for n in 0..20 {
        assert_eq!(limit(throttle.charge(now, &attempt(&format!("user{n}")))), None);
    }
    assert_eq!(
        limit(throttle.charge(now, &attempt("user20"))),
        Some((ThrottleLimit::Source, 3))
    );
    let elsewhere = LoginAttempt {
        source: source(2),
        ..attempt("user20")
    };
    assert_eq!(limit(throttle.charge(now, &elsewhere)), None);
    assert_eq!(limit(throttle.charge(now + 3 * SECOND, &attempt("user21"))), None);
}

#[test]
fn node_is_limited_over_all_sources() {
    let throttle = LoginThrottle::new(ThrottleOptions::default());
    let now = Instant::now();
    for n in 0..30 {
        let name = format!("user{n}");
        assert_eq!(
            limit(throttle.charge(
                now,
                &LoginAttempt {
                    source: source(n),
                    account: &name,
                    known_device: None
                }
            )),
            None
        );
    }
    let one_more = LoginAttempt {
        source: source(99),
        account: "zoe",
        known_device: None,
    };
    assert_eq!(limit(throttle.charge(now, &one_more)), Some((ThrottleLimit::Node, 0)));
    // The limit allows another attempt after a thirtieth of a second.
    assert_eq!(limit(throttle.charge(now + SECOND / 29, &one_more)), None);
}

/// Charges an attempt under a name or id, which is then found to be that of the account `#7`.
fn charge_found(throttle: &LoginThrottle, now: Instant, presented: &str) -> Result<ChargedAttempt, Throttled> {
    let charged = throttle.charge(now, &attempt(presented))?;
    throttle.identify(now, charged, presented, "#7")
}

#[test]
fn attempts_by_name_and_by_id_share_one_history() {
    let throttle = accounts_only();
    let now = Instant::now();
    let mut last = None;
    for presented in ["alice", "alice", "alice", "#7", "#7"] {
        last = Some(charge_found(&throttle, now, presented).unwrap());
        if presented == "alice" {
            assert_eq!(
                limit(throttle.charge(now, &attempt("stranger"))),
                None,
                "another name has its own history"
            );
        }
    }
    for name in ["alice", "#7"] {
        assert_eq!(
            limit(throttle.charge(now, &attempt(name))),
            Some((ThrottleLimit::Account, 60)),
            "{name}"
        );
    }
    // An attempt under a name that is not known yet is refused when its account is found.
    assert_eq!(
        limit(charge_found(&throttle, now, "renamed")),
        Some((ThrottleLimit::Account, 60))
    );
    throttle.succeeded(now, last.unwrap());
    assert_eq!(limit(throttle.charge(now, &attempt("#7"))), None);
    assert_eq!(limit(throttle.charge(now, &attempt("renamed"))), None);
}

#[test]
fn each_of_several_parallel_attempts_counts_for_the_account() {
    let throttle = accounts_only();
    let now = Instant::now();
    let charge = |_| throttle.charge(now, &attempt("alice")).unwrap();
    let charged: Vec<_> = (0..5).map(charge).collect();
    let identify = |charged| throttle.identify(now, charged, "alice", "#7").unwrap();
    let identified: Vec<_> = charged.into_iter().map(identify).collect();
    for name in ["alice", "#7"] {
        assert_eq!(
            limit(throttle.charge(now, &attempt(name))),
            Some((ThrottleLimit::Account, 60)),
            "{name}"
        );
    }
    // A refund concerns the history to which the attempt was moved.
    throttle.refund(now, identified[0]);
    assert_eq!(limit(throttle.charge(now, &attempt("#7"))), None);
    assert!(throttle.charge(now, &attempt("alice")).is_err());
}

#[test]
fn registrations_of_a_source_are_limited() {
    let throttle = LoginThrottle::new(ThrottleOptions::default());
    let now = Instant::now();
    for _ in 0..3 {
        assert_eq!(limit(throttle.charge_registration(now, source(1))), None);
    }
    assert_eq!(
        limit(throttle.charge_registration(now, source(1))),
        Some((ThrottleLimit::Registration, 1200))
    );
    assert_eq!(limit(throttle.charge_registration(now, source(2))), None);
    throttle.refund_registration(now, source(1));
    assert_eq!(limit(throttle.charge_registration(now, source(1))), None);
    assert_eq!(limit(throttle.charge_registration(now + 20 * MINUTE, source(1))), None);

    // A registration that only probes for a taken name still counts as a login attempt.
    let (mut probes, later) = (0, now + 20 * MINUTE);
    while throttle.charge_registration(later, source(3)).is_ok() {
        throttle.refund_registration(later, source(3));
        probes += 1;
    }
    assert_eq!(probes, 20);
}

#[test]
fn table_of_accounts_stays_bounded_and_keeps_blocked_accounts() {
    let throttle = LoginThrottle::new(ThrottleOptions {
        account_attempts: 5,
        max_table_entries: 100,
        ..ThrottleOptions::danger_unlimited()
    });
    let now = Instant::now();
    for _ in 0..5 {
        throttle.charge(now, &attempt("alice")).unwrap();
    }
    for n in 0..10_000 {
        throttle.charge(now, &attempt(&format!("user{n}"))).unwrap();
    }
    assert_eq!(throttle.state().accounts.len(), 100);
    assert!(
        throttle.charge(now, &attempt("alice")).is_err(),
        "a flood of names does not free a blocked account"
    );
}

#[test]
fn throttle_error_says_when_to_retry() {
    let throttled = Throttled {
        limit: ThrottleLimit::Account,
        retry_after: Duration::from_millis(1500),
    };
    assert_eq!(throttled.to_string(), "too many attempts; try again in 2 s");
}

#[test]
fn exempt_loopback_may_create_accounts_but_not_guess_passwords() {
    let now = Instant::now();
    for (exempt_loopback, allowed) in [(true, 25), (false, 3)] {
        let throttle = LoginThrottle::new(ThrottleOptions {
            exempt_loopback,
            ..ThrottleOptions::default()
        });
        let local = Source::Ip([127, 0, 0, 1].into());
        let count = (0..25)
            .filter(|_| throttle.charge_registration(now, local).is_ok())
            .count();
        assert_eq!(count, allowed, "exempt_loopback = {exempt_loopback}");
        let guess = LoginAttempt {
            source: local,
            account: "alice",
            known_device: None,
        };
        let guesses = (0..9).filter(|_| throttle.charge(now + SECOND, &guess).is_ok()).count();
        assert_eq!(guesses, 5, "the limit per account also applies to loopback");
    }
}
