//! Which environment a command line means, and where in it.

use std::fmt;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use super::grammar::{Category, Flag, Store, Value};
use crate::env::config::{Definition, Origin, Token, Transport};
use crate::env::{Environment, EnvironmentError, EnvironmentFacts, configured};
use crate::net::redact::redacted;
use crate::net::{Fingerprint, Trust};
use crate::serve::local_environment;

/// What holds the token for a URL of the command line: never an argument, which every user of
/// this machine could read.
const TOKEN: &str = "EXEC_SERVER_TOKEN";

/// The one of that name or URL, or the default.
///
/// # Errors
/// The configuration is wrong, or there is no such environment.
pub(crate) fn select(
    config: Option<&Path>,
    name: Option<&str>,
    pin: Option<Fingerprint>,
) -> Result<Arc<Environment>, EnvironmentError> {
    match name.and_then(|name| at_url(name, pin)) {
        Some(environment) => Ok(environment),
        None => configured(config, local_environment())?.select(name),
    }
}

/// Whether there is one of that name; not where the configuration is wrong.
pub(crate) fn is_configured(config: Option<&Path>, name: &str) -> bool {
    let all = configured(config, local_environment());
    all.is_ok_and(|all| all.get(name).is_ok())
}

/// The flag that pins a certificate.
pub(crate) const fn pin_flag<T>(category: Category, store: Store<T>) -> Flag<T> {
    Flag::value(
        category,
        "pin",
        "With a URL of wss://: believe the server's certificate of this fingerprint \
         (sha256:HEX), and no other",
        Value::optional("FINGERPRINT", store),
    )
}

/// Why a pin cannot be meant with what is named.
pub(crate) fn pin_conflict(pin: Option<Fingerprint>, name: Option<&str>) -> Option<String> {
    let is_encrypted = name.is_some_and(|name| name.starts_with("wss://"));
    let is_wrong = pin.is_some() && !is_encrypted;
    is_wrong.then(|| {
        "'--pin <FINGERPRINT>' goes with a URL of wss://; for an environment it stands in \
         exec-server.toml"
            .to_owned()
    })
}

/// The one that a URL leads to; none for what is no URL.
pub(crate) fn at_url(url: &str, pin: Option<Fingerprint>) -> Option<Arc<Environment>> {
    let (scheme, _) = url.split_once("://")?;
    if !matches!(scheme, "unix" | "ws" | "wss") {
        return None;
    }
    // A blank one is an error where it is used: whoever sets it means to send a token.
    let is_set = std::env::var_os(TOKEN).is_some();
    let token = is_set.then(|| Token::Variable(TOKEN.to_owned()));
    let mut transport = Transport::from_url(url, token);
    if let (Transport::WebSocket { trust, .. }, Some(pin)) = (&mut transport, pin) {
        *trust = Trust::Pin(pin);
    }
    Some(Arc::new(Environment::new(Definition {
        id: redacted(url),
        transport,
        connect_timeout: Definition::DEFAULT_TIMEOUT,
        initialize_timeout: Definition::DEFAULT_TIMEOUT,
        origin: Origin::BuiltIn,
    })))
}

/// A path for which the environment has no beginning.
#[derive(Debug)]
pub(crate) struct NoDirectory {
    path: String,
    environment: String,
}

impl fmt::Display for NoDirectory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, environment } = self;
        write!(
            f,
            "`{path}` is relative, and `{environment}` does not tell where it starts\n\
             use an absolute path"
        )
    }
}

/// The directory that commands start in, where there is one to be named: the given one, or on
/// this machine the current one.
///
/// # Errors
/// It is relative to what the environment does not tell.
pub(crate) fn directory(
    environment: &Environment,
    facts: &EnvironmentFacts,
    given: Option<&str>,
) -> Result<Option<String>, NoDirectory> {
    match given {
        None if environment.is_remote() => Ok(None),
        given => absolute(environment, facts, given.unwrap_or(".")).map(Some),
    }
}

/// A path as the environment means it: a relative one starts where its commands do, `~/` at its
/// user's home.
///
/// # Errors
/// It does not tell where that is.
pub(crate) fn absolute(
    environment: &Environment,
    facts: &EnvironmentFacts,
    path: &str,
) -> Result<String, NoDirectory> {
    let home = facts.home.as_deref();
    let (base, rest) = match path.strip_prefix('~') {
        Some(rest) if rest.is_empty() || rest.starts_with('/') => (home.map(str::to_owned), rest),
        _ if path.starts_with('/') => return Ok(path.to_owned()),
        _ => (start(environment, facts), path),
    };
    match base {
        Some(base) => Ok(joined(&base, rest.trim_start_matches('/'))),
        None => Err(NoDirectory {
            path: path.to_owned(),
            environment: environment.id().to_owned(),
        }),
    }
}

fn start(environment: &Environment, facts: &EnvironmentFacts) -> Option<String> {
    if !environment.is_remote() {
        let here = std::env::current_dir().ok()?;
        return here.into_os_string().into_string().ok();
    }
    facts.cwd.clone().or_else(|| facts.home.clone())
}

/// Without the dots that mean nothing; `..` stays, as there may be a link before it.
fn joined(base: &str, rest: &str) -> String {
    let mut path = PathBuf::from(base);
    for component in Path::new(rest).components() {
        if component != Component::CurDir {
            path.push(component);
        }
    }
    let mut path = path.to_string_lossy().into_owned();
    if rest.ends_with('/') && !path.ends_with('/') {
        path.push('/');
    }
    path
}
