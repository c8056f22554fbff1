//! New tokens for old ones. Each refresh token works once, so only one process may send it.

use std::fmt;

use serde_json::{Map, Value, json};

use super::login::{Login, LoginFile};
use crate::cloud::{calendar, exchange, target};
use crate::net::http::Network;
use crate::{log, version};

/// Where tokens are renewed.
const ENDPOINT: &str = "https://auth.openai.com/oauth/token";
/// Names another place, for tests and proxies.
const OVERRIDE: &str = "CODEX_REFRESH_TOKEN_URL_OVERRIDE";
/// Whom the login was made for.
const CLIENT: &str = "app_EMoamEEZ73f0CkXaXp7hrann";

/// Why there are no new tokens.
#[derive(Debug)]
pub(super) enum RefreshError {
    /// A person has to log in again; the field says it in the reference's words.
    Permanent(&'static str),
    /// It may go well later.
    Transient(String),
}

impl fmt::Display for RefreshError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Permanent(text) => f.write_str(text),
            Self::Transient(why) => write!(f, "cannot refresh the access token: {why}"),
        }
    }
}

/// That the file is now another account's.
pub(super) const OTHER_ACCOUNT: &str = "Your access token could not be refreshed because you have since logged out or signed in to another account. Please sign in again.";

/// Why tokens are renewed, in the words of the endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Occasion {
    /// The token is about to end.
    Expiry,
    /// The token was refused.
    Refusal,
}

/// Tokens that are valid and could not be written to the file.
#[derive(Debug)]
pub(super) struct Unsaved {
    /// What they were got for, and is in the file still.
    spent: String,
    login: Login,
}

/// Reads the login. If the file lacks tokens that were got since, puts them there.
pub(super) fn load(
    file: &LoginFile,
    unsaved: &mut Option<Unsaved>,
) -> std::io::Result<Option<Login>> {
    if unsaved.is_none() {
        return file.read();
    }
    let _lock = file.lock()?;
    load_locked(file, unsaved)
}

/// The same for the holder of the lock.
fn load_locked(file: &LoginFile, unsaved: &mut Option<Unsaved>) -> std::io::Result<Option<Login>> {
    let found = file.read()?;
    let Some(pending) = unsaved.take() else {
        return Ok(found);
    };
    let lacks = found
        .as_ref()
        .is_some_and(|it| it.refresh_token() == Some(&pending.spent));
    if !lacks {
        return Ok(found);
    }
    let login = pending.login.clone();
    if let Err(error) = file.write(&login) {
        log::warn!(
            "new tokens are still not in {}: {error}",
            file.path().display()
        );
        *unsaved = Some(pending);
    }
    Ok(Some(login))
}

/// Renews the tokens of `held`, or takes those that another process has got meanwhile.
pub(super) fn refresh(
    file: &LoginFile,
    held: &Login,
    occasion: Occasion,
    network: &Network,
    unsaved: &mut Option<Unsaved>,
) -> Result<Login, RefreshError> {
    let transient = |what: &str, error: &dyn fmt::Display| {
        RefreshError::Transient(format!("{what} {}: {error}", file.path().display()))
    };
    let _lock = file
        .lock()
        .map_err(|error| transient("no lock beside", &error))?;
    let current = load_locked(file, unsaved).map_err(|error| transient("cannot read", &error))?;
    let mut login = current.ok_or(RefreshError::Permanent(OTHER_ACCOUNT))?;
    if login.account() != held.account() {
        return Err(RefreshError::Permanent(OTHER_ACCOUNT));
    }
    if login.access_token() != held.access_token() {
        return Ok(login);
    }
    let Some(spent) = login.refresh_token().map(str::to_owned) else {
        return Err(RefreshError::Permanent(
            "Your access token could not be refreshed. Please log out and sign in again.",
        ));
    };
    login.renew(&ask(&spent, occasion, network)?, calendar::now());
    if let Err(error) = file.write(&login) {
        // The old ones are used up; the new ones must not get lost.
        log::warn!("new tokens are not in {}: {error}", file.path().display());
        *unsaved = Some(Unsaved {
            spent: unsaved.take().map_or(spent, |pending| pending.spent),
            login: login.clone(),
        });
    } else {
        *unsaved = None;
    }
    Ok(login)
}

fn ask(
    refresh_token: &str,
    occasion: Occasion,
    network: &Network,
) -> Result<Map<String, Value>, RefreshError> {
    let transient = |why: String| RefreshError::Transient(why);
    let url = match std::env::var(OVERRIDE) {
        Ok(url) if !url.trim().is_empty() => {
            target::base_url(&url).map_err(|error| transient(format!("{OVERRIDE} {error}")))?
        }
        _ => ENDPOINT.to_owned(),
    };
    let body = json!({
        "client_id": CLIENT,
        "grant_type": "refresh_token",
        "refresh_token": refresh_token,
        "refresh_reason": match occasion {
            Occasion::Expiry => "proactive_expiry",
            Occasion::Refusal => "forced",
        },
    });
    let agent = format!("exec-server/{}", version::NUMBER);
    let headers = [
        ("content-type", "application/json"),
        // The client that the id belongs to.
        ("originator", "codex_cli_rs"),
        ("user-agent", &agent),
    ];
    let answer = exchange::post(network, &url, &headers, body.to_string().into_bytes())
        .map_err(transient)?;
    if answer.status == 401 {
        return Err(RefreshError::Permanent(permanent(&answer.body)));
    }
    if !answer.is_success() {
        return Err(transient(format!(
            "the server says {}",
            answer.status_line()
        )));
    }
    let tokens: Map<String, Value> = serde_json::from_slice(&answer.body)
        .map_err(|_| transient("the answer is no JSON object".into()))?;
    Ok(tokens)
}

/// The text for a person, by the code in the answer.
fn permanent(body: &[u8]) -> &'static str {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let error = &body["error"];
    let code = [&error["code"], error, &body["code"]];
    match code.into_iter().find_map(Value::as_str) {
        Some("refresh_token_expired") => {
            "Your access token could not be refreshed because your refresh token has expired. Please log out and sign in again."
        }
        Some("refresh_token_reused") => {
            "Your access token could not be refreshed because your refresh token was already used. Please log out and sign in again."
        }
        Some("refresh_token_invalidated") => {
            "Your access token could not be refreshed because your refresh token was revoked. Please log out and sign in again."
        }
        _ => "Your access token could not be refreshed. Please log out and sign in again.",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_picks_the_text() {
        for (body, part) in [
            (
                r#"{"error":{"code":"refresh_token_expired"}}"#,
                "has expired",
            ),
            (r#"{"error":"refresh_token_reused"}"#, "already used"),
            (r#"{"code":"refresh_token_invalidated"}"#, "was revoked"),
            ("<html>", "refreshed. Please"),
            ("[]", "refreshed. Please"),
        ] {
            let text = permanent(body.as_bytes());
            assert!(text.contains(part), "{body}: {text}");
        }
    }

    #[test]
    fn new_tokens_outlive_a_file_that_cannot_be_read() {
        let file = LoginFile::in_home(std::path::Path::new("/nonexistent"));
        let mut unsaved = Some(Unsaved {
            spent: "r1".into(),
            login: Login::default(),
        });
        assert!(load(&file, &mut unsaved).is_err());
        assert!(unsaved.is_some());
    }
}
