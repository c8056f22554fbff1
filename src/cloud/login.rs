//! `auth.json`, where a login is kept, and which others read and write too.

use std::fs::{self, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, Read};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Map, Value};

use crate::calendar;
use crate::env::local::files::{Links, replace};

/// The file is some KiB.
const MAX_BYTES: u64 = 1024 * 1024;
/// How long another process may hold the lock: its refresh takes 10 s at most.
const LOCK_TIME: Duration = Duration::from_secs(30);
/// Between looks at the lock, which cannot be waited for with a deadline.
const LOCK_POLL: Duration = Duration::from_millis(50);
/// So long before its end a token is renewed, in seconds.
const EARLY: i64 = 5 * 60;
/// The age from which a token is renewed that does not say when it ends, in seconds.
const OLD: i64 = 8 * 24 * 3600;

/// The claim that holds the service's own ones.
const SERVICE_CLAIM: &str = "https://api.openai.com/auth";

/// What kind of login it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum LoginKind {
    /// Tokens of an account, which end and are renewed.
    Account,
    /// A key.
    ApiKey(String),
    /// Something else, by its own name.
    Other(String),
}

/// A login. What it has beside the fields that are known here stays as it is.
#[derive(Clone, Debug, Default)]
pub(super) struct Login(Map<String, Value>);

impl Login {
    pub(super) fn kind(&self) -> LoginKind {
        let key = self.text("OPENAI_API_KEY");
        match (self.text("auth_mode"), key) {
            (Some("chatgpt"), _) | (None, None) => LoginKind::Account,
            (Some("apikey"), key) => LoginKind::ApiKey(key.unwrap_or_default().trim().to_owned()),
            (None, Some(key)) => LoginKind::ApiKey(key.trim().to_owned()),
            (Some(other), _) => LoginKind::Other(other.to_owned()),
        }
    }

    pub(super) fn has_tokens(&self) -> bool {
        self.0.get("tokens").is_some_and(Value::is_object)
    }

    /// What is sent to services; empty if there is none.
    pub(super) fn access_token(&self) -> &str {
        self.token("access_token").unwrap_or_default().trim()
    }

    /// What new tokens are got for.
    pub(super) fn refresh_token(&self) -> Option<&str> {
        self.token("refresh_token")
            .filter(|token| !token.is_empty())
    }

    /// The account's id, if the login tells it.
    pub(super) fn account(&self) -> Option<String> {
        let named = self.token("account_id").filter(|id| !id.is_empty());
        let claimed = || account_of(&claims(self.token("id_token")?)?).map(str::to_owned);
        named.map(str::to_owned).or_else(claimed)
    }

    /// Whether its token is about to end.
    pub(super) fn is_stale(&self, now: i64) -> bool {
        if let Some(expiry) = expiry_of(self.access_token()) {
            return expiry <= now + EARLY;
        }
        let refreshed = self.text("last_refresh").and_then(calendar::parse_rfc3339);
        refreshed.is_some_and(|at| at < now - OLD)
    }

    /// Takes the tokens over that an answer to a refresh has.
    pub(super) fn renew(&mut self, answer: &Map<String, Value>, now: i64) {
        let tokens = self.0.entry("tokens").or_insert_with(|| Map::new().into());
        for name in ["id_token", "access_token", "refresh_token"] {
            if let Some(token @ Value::String(_)) = answer.get(name) {
                tokens[name] = token.clone();
            }
        }
        self.0
            .insert("last_refresh".into(), calendar::rfc3339(now).into());
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name)?.as_str()
    }

    fn token(&self, name: &str) -> Option<&str> {
        self.0.get("tokens")?.get(name)?.as_str()
    }
}

/// Where a login is kept.
#[derive(Clone, Debug)]
pub(super) struct LoginFile(PathBuf);

impl LoginFile {
    /// The file in this directory.
    pub(super) fn in_home(home: &Path) -> Self {
        Self(home.join("auth.json"))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    /// The login, if there is one.
    ///
    /// # Errors
    /// The file is there and cannot be read, or is no JSON object.
    pub(super) fn read(&self) -> io::Result<Option<Login>> {
        let mut json = Vec::new();
        match File::open(&self.0) {
            Ok(file) => file.take(MAX_BYTES).read_to_end(&mut json)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        match serde_json::from_slice(&json) {
            Ok(map) => Ok(Some(Login(map))),
            // Where, not what: it is full of secrets.
            Err(error) => Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!(
                    "it is no JSON object (line {}, column {})",
                    error.line(),
                    error.column()
                ),
            )),
        }
    }

    /// Puts a login in the place of the one that is there: after a crash, it is one of the two.
    pub(super) fn write(&self, login: &Login) -> io::Result<()> {
        let mut json = serde_json::to_vec_pretty(&login.0)?;
        json.push(b'\n');
        // The new file gets the mode of the old one.
        fs::set_permissions(&self.0, Permissions::from_mode(0o600))?;
        replace(&self.0, &json, Links::Follow).map_err(|error| io::Error::other(error.to_string()))
    }

    /// Keeps other processes from renewing the login, until it is dropped. The lock has a file of
    /// its own, since the login's is replaced.
    pub(super) fn lock(&self) -> io::Result<File> {
        let path = self.0.with_extension("json.lock");
        let file = OpenOptions::new()
            .create(true)
            .append(true)
            .mode(0o600)
            .open(path)?;
        let deadline = Instant::now() + LOCK_TIME;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(file),
                Err(TryLockError::Error(error)) => return Err(error),
                Err(TryLockError::WouldBlock) if Instant::now() >= deadline => {
                    let why = format!("another process holds it for {LOCK_TIME:?}");
                    return Err(io::Error::new(io::ErrorKind::TimedOut, why));
                }
                Err(TryLockError::WouldBlock) => thread::sleep(LOCK_POLL),
            }
        }
    }
}

/// When a token ends, in seconds since 1970.
fn expiry_of(token: &str) -> Option<i64> {
    claims(token)?.get("exp")?.as_i64()
}

/// The account that a token with these claims is for.
pub(super) fn account_of(claims: &Value) -> Option<&str> {
    claims
        .get(SERVICE_CLAIM)?
        .get("chatgpt_account_id")?
        .as_str()
}

/// What a token says; none if it is no JWT.
pub(super) fn claims(token: &str) -> Option<Value> {
    let body = token.split('.').nth(1)?;
    let json = base64_simd::URL_SAFE_NO_PAD
        .decode_to_vec(body.trim_end_matches('='))
        .ok()?;
    serde_json::from_slice(&json).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn login(value: Value) -> Login {
        match value {
            Value::Object(map) => Login(map),
            other => panic!("{other}"),
        }
    }

    #[test]
    fn the_kind_follows_the_mode_and_else_the_contents() {
        let key = |key: &str| LoginKind::ApiKey(key.into());
        for (value, kind) in [
            (json!({}), LoginKind::Account),
            (
                json!({"OPENAI_API_KEY": null, "tokens": {}}),
                LoginKind::Account,
            ),
            (
                json!({"auth_mode": "chatgpt", "OPENAI_API_KEY": "k"}),
                LoginKind::Account,
            ),
            (json!({"OPENAI_API_KEY": " k "}), key("k")),
            (
                json!({"auth_mode": "apikey", "OPENAI_API_KEY": "k", "tokens": {}}),
                key("k"),
            ),
            (json!({"auth_mode": "apikey"}), key("")),
            (
                json!({"auth_mode": "agent"}),
                LoginKind::Other("agent".into()),
            ),
        ] {
            assert_eq!(login(value.clone()).kind(), kind, "{value}");
        }
    }

    fn signed(claims: &str) -> String {
        format!(
            "h.{}.s",
            base64_simd::URL_SAFE_NO_PAD.encode_to_string(claims)
        )
    }

    #[test]
    fn claims_are_read_and_nonsense_has_none() {
        let full = signed(
            r#"{"exp":1795615315,"https://api.openai.com/auth":{"chatgpt_account_id":"acc"}}"#,
        );
        assert_eq!(expiry_of(&full), Some(1_795_615_315));
        let account = |token: &str| account_of(&claims(token)?).map(str::to_owned);
        assert_eq!(account(&full).as_deref(), Some("acc"));
        for nonsense in [
            "",
            "a",
            "a.b",
            "a.!.c",
            &signed("[]"),
            &signed(r#"{"exp":"x"}"#),
        ] {
            assert_eq!(expiry_of(nonsense), None, "{nonsense}");
            assert_eq!(account(nonsense), None, "{nonsense}");
        }
    }

    #[test]
    fn a_token_is_stale_by_its_own_word_or_else_by_age() {
        let token = |exp: i64| signed(&format!("{{\"exp\":{exp}}}"));
        let now = 1_795_615_315;
        for (access, refreshed, stale) in [
            (token(now + EARLY + 1), "2020-01-01T00:00:00Z", false),
            (token(now + EARLY), "2026-11-25T00:00:00Z", true),
            (token(now - 1), "2026-11-25T00:00:00Z", true),
            ("opaque".into(), "2026-11-24T00:00:00Z", false),
            ("opaque".into(), "2026-11-17T00:00:00Z", true),
            ("opaque".into(), "never", false),
        ] {
            let value = json!({"tokens": {"access_token": access}, "last_refresh": refreshed});
            assert_eq!(login(value.clone()).is_stale(now), stale, "{value}");
        }
    }

    #[test]
    fn what_is_unknown_survives_a_renewal() {
        let mut kept = login(json!({
            "OPENAI_API_KEY": null,
            "agent_identity": {"x": [1]},
            "tokens": {"access_token": "a1", "refresh_token": "r1", "id_token": "i1", "more": 7},
        }));
        let answer = json!({"access_token": "a2", "refresh_token": "r2", "id_token": null});
        kept.renew(answer.as_object().unwrap(), 0);
        assert_eq!(
            Value::from(kept.0),
            json!({
                "OPENAI_API_KEY": null,
                "agent_identity": {"x": [1]},
                "tokens": {"access_token": "a2", "refresh_token": "r2", "id_token": "i1", "more": 7},
                "last_refresh": "1970-01-01T00:00:00Z",
            })
        );
    }
}
