use super::*;

fn executor() -> Form {
    Form::Executor {
        base: "https://plane.example".into(),
        id: "X".into(),
        name: "nm".into(),
    }
}

fn cloud(environment: Option<&str>) -> Form {
    Form::Cloud {
        base: "https://plane.example".into(),
        environment: environment.map(str::to_owned),
        name: "nm".into(),
    }
}

fn relay() -> Form {
    Form::Relay {
        base: "https://plane.example".into(),
        id: "env-1".into(),
    }
}

fn direct() -> Form {
    Form::Direct {
        base: "https://plane.example".into(),
        id: "env-1".into(),
    }
}

fn sha256(parts: &[&[u8]]) -> String {
    let digest = Sha256::digest(parts.concat());
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn the_idempotency_id_is_made_as_the_reference_makes_it() {
    let launch = Launch([7; 16]);
    let body = executor().body(&launch, "").unwrap();
    let hash = sha256(&[b"X\0nm\0codex-exec-server-v1\0", &[7; 16]]);
    assert_eq!(body["idempotency_id"], format!("codex-exec-server-{hash}"));
    // As long as the one that was seen on the wire.
    assert_eq!(body.to_string().len(), 159);
    let body = cloud(None).body(&launch, "acc").unwrap();
    let hash = sha256(&[b"acc\0auto\0nm\0codex-exec-server-v1\0", &[7; 16]]);
    assert_eq!(body["idempotency_id"], format!("codex-exec-server-{hash}"));
    assert_eq!(body.get("environment_id"), None);
    let body = cloud(Some("e")).body(&launch, "acc").unwrap();
    let hash = sha256(&[b"acc\0e\0nm\0codex-exec-server-v1\0", &[7; 16]]);
    assert_eq!(body["idempotency_id"], format!("codex-exec-server-{hash}"));
    assert_eq!(body["environment_id"], "e");
    let (one, other) = (Launch::new().unwrap(), Launch::new().unwrap());
    assert_ne!(executor().body(&one, ""), executor().body(&other, ""));
}

#[test]
fn each_form_has_its_endpoint_and_body() {
    let launch = Launch([7; 16]);
    assert_eq!(
        cloud(None).endpoint(),
        "https://plane.example/api/cloud/executor"
    );
    assert_eq!(
        executor().endpoint(),
        "https://plane.example/cloud/executor/X/register"
    );
    assert_eq!(
        relay().endpoint(),
        "https://plane.example/cloud/environment/env-1/register"
    );
    assert_eq!(relay().body(&launch, ""), None);
    assert_eq!(
        direct().endpoint(),
        "https://plane.example/cloud/environment/env-1/direct/register"
    );
    let body = direct().body(&launch, "").unwrap().to_string();
    assert_eq!(body, r#"{"transport":"direct_jsonrpc_v1"}"#);
}

#[test]
fn good_answers_are_taken() {
    for (form, answer, news) in [
        (
            cloud(None),
            r#"{"id":"ex","environment_id":"e","url":"wss://r/x?s=1","more":[]}"#,
            Some("codex exec-server cloud executor ex registered in environment e"),
        ),
        (
            executor(),
            r#"{"id":"ex\u001b","executor_id":"X","url":"wss://r/x?s=1"}"#,
            Some("codex exec-server remote executor ex\\u{1b} registered with executor_id X"),
        ),
        (
            relay(),
            r#"{"environment_id":"env-1","url":"wss://r/x?s=1"}"#,
            None,
        ),
        (
            direct(),
            r#"{"environment_id":"env-1","registration_id":"r","url":"wss://r/x?s=1","transport":"direct_jsonrpc_v1"}"#,
            None,
        ),
    ] {
        let registration = form.accept(answer.as_bytes()).unwrap();
        assert_eq!(
            registration.rendezvous,
            Target::parse("wss://r/x?s=1").unwrap()
        );
        assert!(!format!("{registration:?}").contains("s=1"));
        assert_eq!(registration.news.as_deref(), news);
    }
}

#[test]
fn other_answers_are_not() {
    for (form, answer, text) in [
        (
            executor(),
            "",
            "executor registry request failed: error decoding response body: ",
        ),
        (
            executor(),
            "[]",
            "executor registry request failed: error decoding response body: ",
        ),
        (
            executor(),
            r#"{"id":"e","executor_id":"X"}"#,
            "missing field `url`",
        ),
        (
            executor(),
            r#"{"executor_id":"X","url":"wss://r"}"#,
            "missing field `id`",
        ),
        (
            executor(),
            r#"{"id":"e","executor_id":"Y","url":"wss://r"}"#,
            "executor registry returned a different executor id",
        ),
        (
            cloud(Some("e")),
            r#"{"id":"x","environment_id":"f","url":"wss://r"}"#,
            "cloud environments returned a different environment id",
        ),
        (
            relay(),
            r#"{"environment_id":"env-2","url":"wss://r"}"#,
            "environment registry returned a different environment id",
        ),
        (
            relay(),
            r#"{"environment_id":"env-1","url":"wss://r","security_profile":"other"}"#,
            "environment registry returned unsupported security profile `other`",
        ),
        (
            relay(),
            r#"{"environment_id":"env-1","url":"ws://r"}"#,
            "environment registry returned a rendezvous URL that is not encrypted",
        ),
        (
            relay(),
            r#"{"environment_id":"env-1","url":"ws://127.0.0.1:5"}"#,
            "environment registry returned a rendezvous URL that is not encrypted",
        ),
        (
            direct(),
            r#"{"environment_id":"env-1","registration_id":"r","url":"wss://r","transport":"other"}"#,
            "environment registry returned unsupported direct transport `other`",
        ),
    ] {
        let error = form.accept(answer.as_bytes()).unwrap_err().to_string();
        assert!(error.contains(text), "{answer}: {error}");
    }
    let error = relay().accept(br#""wss://r/x?sig=secret""#).unwrap_err();
    assert!(!error.to_string().contains("secret"), "{error}");
}

#[test]
fn a_refusal_is_explained_by_what_it_says() {
    let words = |status, body: &str| {
        let answer = Response {
            status,
            retry_after: None,
            body: body.into(),
        };
        refusal(Service::EnvironmentRegistry, &answer).to_string()
    };
    for (status, body, text) in [
        (
            401,
            r#"{"error":{"message":"expired token"}}"#,
            "environment registry authentication error: environment registry authentication failed (401 Unauthorized): expired token",
        ),
        (
            403,
            "no",
            "environment registry authentication error: environment registry authentication failed (403 Forbidden): no",
        ),
        (
            409,
            r#"{"error":{"code":"c","message":"m"}}"#,
            "environment registry request failed (409 Conflict, c): m",
        ),
        (
            500,
            " ",
            "environment registry request failed (500 Internal Server Error): empty or malformed error body",
        ),
        (
            502,
            r#"{"error":{"message":" "}}"#,
            "environment registry request failed (502 Bad Gateway): empty error body",
        ),
        (
            307,
            "x\x1b",
            "environment registry request failed (307 Temporary Redirect): x\\u{1b}",
        ),
    ] {
        assert_eq!(words(status, body), text);
    }
    let long = "y".repeat(10_000);
    let told = format!(r#"{{"error":{{"message":"{long}"}}}}"#);
    for body in [long, told] {
        assert_eq!(
            words(500, &body).matches('y').count(),
            PREVIEW + "registry".matches('y').count()
        );
    }
}
