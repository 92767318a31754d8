//! Errors for certificates that a client refuses.

use rustls::CertificateError as Problem;

use crate::client::connect::{ConnectError, requires_authority};
use crate::client::{ClientError, ClientOptions, Endpoint};

/// Returns the error for a certificate that was refused. The error is temporary if the certificate
/// has expired or is not valid yet: the server may get another one, or the clock of this machine
/// may be corrected. Otherwise the error says that the client must not use this server.
pub(super) fn refused(endpoint: &Endpoint, options: &ClientOptions, problem: &Problem) -> ConnectError {
    let is_outside_validity = matches!(
        problem,
        Problem::Expired | Problem::ExpiredContext { .. } | Problem::NotValidYet | Problem::NotValidYetContext { .. }
    );
    let reason = describe(problem);
    if is_outside_validity {
        let text =
            format!("the server's certificate is not valid at this time: {reason}; check this machine's clock too");
        return ConnectError::temporary(endpoint, text);
    }
    let advice = if !is_of_an_authority(problem) {
        "give the server one that an authority issued for its name; if that authority is your own, give the client the \
         authority's certificate (--ca)"
    } else if requires_authority(options) {
        "give the server one that the authority issued for its name, or leave out --ca to pin the server's key"
    } else {
        "give the server one that the authority issued for its name"
    };
    ConnectError::forbidden(ClientError::Trust(format!(
        "{}: the server's certificate is not valid: {reason}; {advice}",
        endpoint.address
    )))
}

/// Returns whether the server presented the certificate of an authority as its own, for example one
/// that `openssl req -x509` made.
fn is_of_an_authority(problem: &Problem) -> bool {
    matches!(problem, Problem::Other(other) if other.to_string() == "CaUsedAsEndEntity")
}

/// Describes a problem in words: rustls prints only the name of many of them.
fn describe(problem: &Problem) -> String {
    match problem {
        Problem::UnknownIssuer => "no authority that this client trusts issued it".to_owned(),
        problem if is_of_an_authority(problem) => {
            "it is the certificate of an authority (CA:TRUE), which cannot be that of a server".to_owned()
        }
        Problem::Other(other) => in_words(&other.to_string()),
        problem => in_words(&problem.to_string()),
    }
}

/// Splits a name such as `InvalidPurpose` into words. Returns other texts as they are.
fn in_words(text: &str) -> String {
    let is_name = text.starts_with(char::is_uppercase) && text.chars().all(char::is_alphanumeric);
    if !is_name {
        return text.to_owned();
    }
    let mut words = String::new();
    for c in text.chars() {
        if c.is_uppercase() && !words.is_empty() {
            words.push(' ');
        }
        words.extend(c.to_lowercase());
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn problem_is_described_in_words() {
        assert_eq!(describe(&Problem::InvalidPurpose), "invalid purpose");
        assert_eq!(describe(&Problem::BadSignature), "bad signature");
        assert!(describe(&Problem::UnknownIssuer).starts_with("no authority"));
        let named = Problem::NotValidForNameContext {
            expected: "chat.example".try_into().unwrap(),
            presented: vec!["DnsName(\"other.example\")".to_owned()],
        };
        assert!(describe(&named).contains("chat.example"), "{}", describe(&named));
    }
}
