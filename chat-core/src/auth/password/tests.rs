use super::*;

fn password(text: &str) -> Password {
    Password::new(Secret::new(text)).unwrap()
}

#[test]
fn password_length_is_limited() {
    assert_eq!(
        Password::new(Secret::new("1234567")).unwrap_err(),
        PasswordError::TooShort { min: 8 }
    );
    assert!(Password::new(Secret::new("12345678")).is_ok());
    assert!(Password::new(Secret::new("x".repeat(1024))).is_ok());
    assert_eq!(
        Password::new(Secret::new("x".repeat(1025))).unwrap_err(),
        PasswordError::TooLong { max: 1024 }
    );
}

#[test]
fn password_and_hash_do_not_show_in_debug() {
    assert_eq!(format!("{:?}", password("correct horse")), "Password(***)");
    let hash = PasswordHash::compute(&password("correct horse"), PasswordCost::danger_cheap()).unwrap();
    let shown = format!("{hash:?}");
    assert!(!shown.contains('$') && shown.contains("memory_kib: 8"), "{shown}");
}

#[test]
fn default_cost_is_the_recommended_one() {
    let hash = PasswordHash::compute(&password("correct horse"), PasswordCost::default()).unwrap();
    assert!(
        hash.as_str().starts_with("$argon2id$v=19$m=19456,t=2,p=1$"),
        "{}",
        hash.as_str()
    );
    assert!(hash.matches(&password("correct horse")).unwrap());
}

#[test]
fn hash_of_another_implementation_is_verified() {
    // Output of the reference implementation:
    // echo -n password | argon2 somesalt -id -t 2 -m 16 -p 1
    let phc = "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc";
    let hash = PasswordHash::parse(phc).unwrap();
    assert!(hash.matches(&password("password")).unwrap());
    assert!(!hash.matches(&password("Password")).unwrap());
    assert!(!hash.needs_rehash(&PasswordCost::default()));
}

#[test]
fn malformed_or_too_expensive_hash_and_one_of_another_algorithm_are_refused() {
    let good = PasswordHash::compute(&password("correct horse"), PasswordCost::danger_cheap()).unwrap();
    assert_eq!(PasswordHash::parse(good.as_str()), Ok(good.clone()));
    for bad in [
        "",
        "plain",
        "5f4dcc3b5aa765d61d8327deb882cf99",
        "$argon2id$v=19$m=8,t=1,p=1$c29tZXNhbHQ",
        "$argon2i$v=19$m=8,t=1,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
        "$argon2id$v=16$m=8,t=1,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
        "$argon2id$v=19$m=x,t=1,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
    ] {
        assert_eq!(PasswordHash::parse(bad), Err(PasswordHashError::Malformed), "{bad}");
    }
    let too_expensive = "$argon2id$v=19$m=4000000,t=1,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc";
    assert_eq!(PasswordHash::parse(too_expensive), Err(PasswordHashError::Cost));
}

#[test]
fn weaker_hash_needs_a_rehash() {
    let cost = |memory_kib, iterations| PasswordCost {
        memory_kib,
        iterations,
        parallelism: 1,
    };
    let hash = PasswordHash::compute(&password("correct horse"), cost(16, 2)).unwrap();
    for (wanted, needs_rehash) in [
        (cost(16, 2), false),
        (cost(32, 2), true),
        (cost(16, 3), true),
        (cost(8, 1), false),
    ] {
        assert_eq!(hash.needs_rehash(&wanted), needs_rehash, "{wanted:?}");
    }
}
