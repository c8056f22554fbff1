//! Which flags go together, and which tokens are good.

use super::*;

fn capability() -> Settings {
    Settings {
        mode: Some(Mode::CapabilityToken),
        ..Settings::default()
    }
}

fn signed() -> Settings {
    Settings {
        mode: Some(Mode::SignedBearerToken),
        ..Settings::default()
    }
}

fn asks(token: &str) -> Authenticator {
    let settings = Settings {
        token: Some(token.into()),
        ..Settings::default()
    };
    Authenticator::open(settings.rules().unwrap().unwrap()).unwrap()
}

#[test]
fn flags_that_do_not_go_together_are_told_so() {
    let path = || Some(PathBuf::from("x"));
    for (settings, expected) in [
        (
            Settings {
                token_file: path(),
                ..Settings::default()
            },
            "websocket auth flags require `--ws-auth capability-token` or `--ws-auth signed-bearer-token`",
        ),
        (
            Settings {
                max_clock_skew: Some(3),
                token: Some("t".into()),
                ..Settings::default()
            },
            "websocket auth flags require `--ws-auth capability-token` or `--ws-auth signed-bearer-token`",
        ),
        (
            capability(),
            "`--ws-token-file` or `--ws-token-sha256` is required when `--ws-auth capability-token` is set\n",
        ),
        (
            Settings {
                token_file: path(),
                token_sha256: Some("b".into()),
                ..capability()
            },
            "`--ws-token-file` and `--ws-token-sha256` are mutually exclusive",
        ),
        (
            Settings {
                token_sha256: Some("b".into()),
                ..capability()
            },
            "--ws-token-sha256 must be a 64-character hex SHA-256 digest",
        ),
        (
            Settings {
                token_sha256: Some("+1".repeat(32)),
                ..capability()
            },
            "--ws-token-sha256 must be a 64-character hex SHA-256 digest",
        ),
        (
            Settings {
                token_file: path(),
                issuer: Some("i".into()),
                ..capability()
            },
            "`--ws-shared-secret-file`, `--ws-issuer`, `--ws-audience`, and `--ws-max-clock-skew-seconds` \
             require `--ws-auth signed-bearer-token`",
        ),
        (
            signed(),
            "`--ws-shared-secret-file` is required when `--ws-auth signed-bearer-token` is set",
        ),
        (
            Settings {
                token: Some("t".into()),
                ..signed()
            },
            "`--ws-shared-secret-file` is required when `--ws-auth signed-bearer-token` is set",
        ),
        (
            Settings {
                token_sha256: Some("b".into()),
                ..signed()
            },
            "`--ws-token-file` and `--ws-token-sha256` require `--ws-auth capability-token`, not `signed-bearer-token`",
        ),
    ] {
        let error = settings.rules().expect_err(expected).to_string();
        assert!(error.starts_with(expected), "{error}");
    }
    assert!(Settings::default().rules().unwrap().is_none());
}

#[test]
fn a_bearer_header_is_read_as_the_reference_reads_it() {
    let authenticator = asks("my-token");
    const OTHER: &str = "invalid websocket bearer token";
    const HEADER: &str = "invalid authorization header";
    for (value, expected) in [
        (&b"Bearer my-token"[..], ""),
        (b"bEaReR   my-token  ", ""),
        (b"Bearer my-tokenx", OTHER),
        (b"Bearer my-toke", OTHER),
        (b"Bearer MY-TOKEN", OTHER),
        (b"Bearer my-token x", OTHER),
        (b"Bearer\tmy-token", HEADER),
        (b"Bearer", HEADER),
        (b"Bearer ", HEADER),
        (b"Bearermy-token", HEADER),
        (b"my-token", HEADER),
        (b"Basic my-token", HEADER),
        (b" Bearer my-token", HEADER),
        (b"", HEADER),
        (b"Bearer \xff", HEADER),
    ] {
        let text = authenticator.check(Some(value)).err().unwrap_or_default();
        assert_eq!(text, expected, "{}", value.escape_ascii());
    }
    assert_eq!(
        authenticator.check(None),
        Err("missing websocket bearer token")
    );
}

#[test]
fn a_digest_stands_for_its_token_in_either_case() {
    let hex = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    for hex in [hex.to_owned(), hex.to_uppercase()] {
        let settings = Settings {
            token_sha256: Some(hex),
            token: Some("not this".into()),
            ..capability()
        };
        let authenticator = Authenticator::open(settings.rules().unwrap().unwrap()).unwrap();
        assert_eq!(authenticator.check(Some(b"Bearer abc")), Ok(()));
        assert!(authenticator.check(Some(b"Bearer not this")).is_err());
    }
}

#[test]
fn debug_prints_hold_no_token() {
    let settings = Settings {
        token: Some("canary".into()),
        ..Settings::default()
    };
    assert!(!format!("{settings:?} {:?}", asks("canary")).contains("canary"));
}
