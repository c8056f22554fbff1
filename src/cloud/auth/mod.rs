//! Who we are to a control plane.
//!
//! A token is given outright, or is in `auth.json` ([`login`]), where it ends and is renewed
//! ([`refresh`]). The file is read again for every registration, since others log in and out.
//! A refused token leads to at most two more attempts: with what the file has by now, and with
//! what a refresh brings.

mod login;
mod refresh;
mod token;

use std::path::PathBuf;

use self::login::{Login, LoginFile, LoginKind};
use self::refresh::{OTHER_ACCOUNT, Occasion, RefreshError, Unsaved};
use super::calendar;
use super::error::{CloudError, Service};
use crate::log;
use crate::net::http::Network;

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
    Given(String),
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
            Self::Given(token) => Credential {
                token: token.clone(),
                account: None,
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
        refresh::load(&self.file, &mut self.unsaved).map_err(|error| {
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
        refresh::refresh(&self.file, held, occasion, network, &mut self.unsaved)
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
