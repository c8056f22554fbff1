//! Who we are to a control plane.
//!
//! A token is given outright, or is in `auth.json` ([`login`](super::login)), where it ends and is
//! renewed. The file is read again for every registration, since others log in and out. A refused
//! token leads to at most two more attempts: with what the file has by now, and with what a refresh
//! brings. Each refresh token works once, so only one process may send it.

use std::fmt;
use std::io;
use std::path::PathBuf;

use serde_json::{Map, Value, json};

use super::error::{CloudError, Service};
use super::login::{Login, LoginFile, LoginKind};
use super::{exchange, target};
use crate::calendar;
use crate::net::http::Network;
use crate::{log, version};

/// Where tokens are renewed.
const ENDPOINT: &str = "https://auth.openai.com/oauth/token";
/// Names another place, for tests and proxies.
const OVERRIDE: &str = "CODEX_REFRESH_TOKEN_URL_OVERRIDE";
/// Whom the login was made for.
const CLIENT: &str = "app_EMoamEEZ73f0CkXaXp7hrann";

/// What a request is sent with.
#[derive(Clone)]
pub(super) struct Credential {
    token: String,
    account: Option<String>,
    /// What it was made of, if it can be renewed.
    login: Option<Login>,
}

impl Credential {
    /// The value of `Authorization`.
    pub(super) fn bearer(&self) -> String {
        format!("Bearer {}", self.token)
    }

    /// The account's id, if it is an account's.
    pub(super) fn account(&self) -> Option<&str> {
        self.account.as_deref()
    }

    /// The same, if headers can have it: what cannot be sent once cannot be sent later either.
    fn checked(self, service: Service) -> Result<Self, CloudError> {
        let is_fit = |text: &str| text.bytes().all(|byte| matches!(byte, b' '..=b'~'));
        let unfit = match (is_fit(&self.token), self.account().is_none_or(is_fit)) {
            (true, true) => return Ok(self),
            (false, _) => "token",
            (true, false) => "account id",
        };
        let why = format!("the {unfit} is not made of printable ASCII, so it cannot be sent");
        Err(CloudError::Authentication(service, why))
    }
}

/// Where credentials come from.
pub(super) enum Authority {
    /// A token that was given, and is all there is.
    Given {
        token: String,
        /// The account's id, if it is an account's.
        account: Option<String>,
    },
    /// The login in this directory.
    Login(Box<StoredLogin>),
}

/// A login in a file.
pub(super) struct StoredLogin {
    file: LoginFile,
    unsaved: Option<Unsaved>,
}

/// How far the recovery of a registration has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Recovery {
    /// The file may have another token by now.
    Reload,
    /// A refresh may help.
    Refresh,
    /// Nothing will.
    Over,
}

impl Authority {
    /// A token that is no account's.
    pub(super) fn token(token: String) -> Self {
        Self::Given {
            token,
            account: None,
        }
    }

    /// The login in `home`, which is `CODEX_HOME`.
    pub(super) fn login(home: PathBuf) -> Self {
        Self::Login(Box::new(StoredLogin {
            file: LoginFile::in_home(&home),
            unsaved: None,
        }))
    }

    /// The credential for a registration with `service`.
    pub(super) fn credential(
        &mut self,
        service: Service,
        network: &Network,
    ) -> Result<Credential, CloudError> {
        match self {
            Self::Given { token, account } => Credential {
                token: token.clone(),
                account: account.clone(),
                login: None,
            }
            .checked(service),
            Self::Login(stored) => stored.credential(service, network),
        }
    }

    /// Another credential after `refused` was, if there may be one.
    pub(super) fn recover(
        &mut self,
        recovery: &mut Recovery,
        refused: &Credential,
        service: Service,
        network: &Network,
    ) -> Result<Option<Credential>, CloudError> {
        match (self, &refused.login) {
            (Self::Login(stored), Some(held)) => stored.recover(recovery, held, service, network),
            _ => Ok(None),
        }
    }
}

impl StoredLogin {
    fn load(&mut self, service: Service) -> Result<Option<Login>, CloudError> {
        load(&self.file, &mut self.unsaved).map_err(|error| {
            let path = self.file.path().display();
            CloudError::Unreadable(service, format!("cannot read {path}: {error}"))
        })
    }

    fn credential(
        &mut self,
        service: Service,
        network: &Network,
    ) -> Result<Credential, CloudError> {
        let refused = |text: String| Err(CloudError::Authentication(service, text));
        let Some(mut login) = self.load(service)? else {
            return refused(no_login(service));
        };
        match login.kind() {
            LoginKind::ApiKey(_) if service == Service::CloudEnvironments => refused(
                "cloud environments require ChatGPT authentication; API key auth is not supported"
                    .into(),
            ),
            LoginKind::ApiKey(key) if !key.is_empty() => Credential {
                token: key,
                account: None,
                login: None,
            }
            .checked(service),
            LoginKind::Account if login.has_tokens() => {
                if login.is_stale(calendar::now()) {
                    match self.refresh(&login, Occasion::Expiry, network) {
                        Ok(renewed) => login = renewed,
                        // It may be good for a while; if not, it will be refused.
                        Err(error) => log::warn!("the access token stays as it is: {error}"),
                    }
                }
                account_credential(login, service)
            }
            LoginKind::Other(mode) => refused(format!(
                "{} is a login of the kind {mode:?}, which is not supported here; run `codex login`",
                self.file.path().display()
            )),
            _ => refused(no_login(service)),
        }
    }

    fn recover(
        &mut self,
        recovery: &mut Recovery,
        held: &Login,
        service: Service,
        network: &Network,
    ) -> Result<Option<Credential>, CloudError> {
        if *recovery == Recovery::Reload {
            *recovery = Recovery::Refresh;
            let found = self.load(service)?;
            let found = found.filter(|found| found.account() == held.account());
            let Some(found) = found else {
                return Err(CloudError::Authentication(service, OTHER_ACCOUNT.into()));
            };
            if found.access_token() != held.access_token() {
                return account_credential(found, service).map(Some);
            }
        }
        if *recovery == Recovery::Over {
            return Ok(None);
        }
        *recovery = Recovery::Over;
        match self.refresh(held, Occasion::Refusal, network) {
            Ok(renewed) => account_credential(renewed, service).map(Some),
            Err(RefreshError::Permanent(text)) => {
                Err(CloudError::Authentication(service, text.into()))
            }
            Err(error @ RefreshError::Transient(_)) => {
                Err(CloudError::Unreachable(service, error.to_string()))
            }
        }
    }

    fn refresh(
        &mut self,
        held: &Login,
        occasion: Occasion,
        network: &Network,
    ) -> Result<Login, RefreshError> {
        refresh(&self.file, held, occasion, network, &mut self.unsaved)
    }
}

fn account_credential(login: Login, service: Service) -> Result<Credential, CloudError> {
    let refused = |text: &str| Err(CloudError::Authentication(service, text.into()));
    let account = login.account();
    if account.is_none() && service == Service::CloudEnvironments {
        return refused("cloud environments are waiting for a ChatGPT account id");
    }
    if login.access_token().is_empty() {
        return refused(match service {
            Service::CloudEnvironments => {
                "cloud environments require a non-empty ChatGPT bearer token"
            }
            _ => "the login has no access token; run `codex login`",
        });
    }
    Credential {
        token: login.access_token().to_owned(),
        account,
        login: Some(login),
    }
    .checked(service)
}

fn no_login(service: Service) -> String {
    match service {
        Service::CloudEnvironments => "cloud environments require ChatGPT authentication",
        _ => {
            "remote exec-server registration requires ChatGPT authentication or API key \
             authentication; run `codex login` or set CODEX_API_KEY"
        }
    }
    .into()
}

/// Why there are no new tokens.
#[derive(Debug)]
enum RefreshError {
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
const OTHER_ACCOUNT: &str = "Your access token could not be refreshed because you have since logged out or signed in to another account. Please sign in again.";

/// Why tokens are renewed, in the words of the endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Occasion {
    /// The token is about to end.
    Expiry,
    /// The token was refused.
    Refusal,
}

/// Tokens that are valid and could not be written to the file.
#[derive(Debug)]
struct Unsaved {
    /// What they were got for, and is in the file still.
    spent: String,
    login: Login,
}

/// Reads the login. If the file lacks tokens that were got since, puts them there.
fn load(file: &LoginFile, unsaved: &mut Option<Unsaved>) -> io::Result<Option<Login>> {
    if unsaved.is_none() {
        return file.read();
    }
    let _lock = file.lock()?;
    load_locked(file, unsaved)
}

/// The same for the holder of the lock.
fn load_locked(file: &LoginFile, unsaved: &mut Option<Unsaved>) -> io::Result<Option<Login>> {
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
fn refresh(
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
