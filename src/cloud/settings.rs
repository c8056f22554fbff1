//! What the command line and the environment ask for, looked at as a whole.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::auth::Authority;
use super::error::{CloudError, Service};
use super::login;
use super::registration::Form;
use super::target::{self, Unfit};
use crate::net::{Dial, Target};
use crate::sys::poll::{self, PollFd, READABLE};

const BASE_URL: &str = "CODEX_CLOUD_ENVIRONMENTS_BASE_URL";
const REMOTE_BEARER: &str = "CODEX_EXEC_SERVER_REMOTE_BEARER_TOKEN";
const API_KEY: &str = "CODEX_API_KEY";
/// The token of the server that `forward` connects to.
const SERVER_TOKEN: &str = "EXEC_SERVER_TOKEN";
/// The variables that are credentials of ours, and nobody else's.
pub(super) const CREDENTIALS: [&str; 3] = [REMOTE_BEARER, API_KEY, SERVER_TOKEN];
const ENABLE_NOISE: &str = "CODEX_EXEC_SERVER_ENABLE_NOISE";
const EXIT_ON_STDIN_CLOSE: &str = "CODEX_EXEC_SERVER_EXIT_ON_STDIN_CLOSE";
/// What a machine is called that was given no name.
const DEFAULT_NAME: &str = "codex-exec-server";
/// The longest token on standard input; the reference's limit.
const MAX_BEARER: usize = 16 * 1024;
/// How long a token on standard input is waited for.
const TOKEN_TIME: Duration = Duration::from_secs(30);

/// The flags, as given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// `--cloud`.
    pub cloud: bool,
    /// `--cloud-base-url`.
    pub cloud_base_url: Option<String>,
    /// `--cloud-environment-id`.
    pub cloud_environment_id: Option<String>,
    /// `--cloud-name`.
    pub cloud_name: Option<String>,
    /// `--remote`.
    pub remote: Option<String>,
    /// `--executor-id`.
    pub executor_id: Option<String>,
    /// `--environment-id`.
    pub environment_id: Option<String>,
    /// `--name`.
    pub name: Option<String>,
    /// `--remote-transport`.
    pub transport: Option<Transport>,
    /// `--registration-bearer-stdin`.
    pub bearer_on_stdin: bool,
    /// `--chatgpt-token-stdin`.
    pub account_token_on_stdin: bool,
    /// `--chatgpt-account-id`.
    pub account_id: Option<String>,
    /// `--connect` of `forward`: the server behind the rendezvous, in place of this one.
    pub connect: Option<Target>,
    /// `--exit-on-stdin-close`.
    pub exit_on_stdin_close: bool,
    /// `--reconnect-max-delay`.
    pub reconnect_max_delay: Duration,
}

/// How clients come through the rendezvous of an environment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// Many clients, in relay frames.
    Relay,
    /// One client at a time.
    Direct,
}

/// Why nothing is encrypted from end to end.
pub const NO_NOISE: &str = "the Noise transport is not spoken here; --remote-transport relay has the \
                            same streams without it, and direct has none";

impl Transport {
    /// Reads what `--remote-transport` names.
    ///
    /// # Errors
    /// No such transport.
    pub fn from_name(name: &str) -> Result<Self, String> {
        match name {
            "relay" => Ok(Self::Relay),
            "direct" => Ok(Self::Direct),
            "noise" => Err(NO_NOISE.to_owned()),
            _ => Err("expected relay or direct".to_owned()),
        }
    }
}

/// What is to be done.
pub(super) struct Plan {
    pub(super) form: Form,
    pub(super) authority: Authority,
    pub(super) max_delay: Duration,
    /// The server behind the rendezvous, if it is not this one.
    pub(super) connect: Option<Dial>,
    /// Whether the end of standard input is ours.
    pub(super) exits_on_stdin_close: bool,
}

impl Settings {
    /// Whether this machine is to be offered through a control plane.
    pub fn is_wanted(&self) -> bool {
        self.cloud || self.remote.is_some()
    }

    /// What cannot be meant together, as a message for the person who typed it.
    pub fn conflict(&self) -> Option<String> {
        let without = |flag: &str, needed: &str| Some(format!("'{flag}' goes with '{needed}'"));
        let remote = "--remote <URL>";
        if self.cloud && self.remote.is_some() {
            return Some(format!(
                "the argument '--cloud' cannot be used with '{remote}'"
            ));
        }
        let given = [
            ("--executor-id <ID>", self.executor_id.is_some()),
            ("--environment-id <ID>", self.environment_id.is_some()),
            ("--name <NAME>", self.name.is_some()),
            ("--remote-transport <NAME>", self.transport.is_some()),
            ("--registration-bearer-stdin", self.bearer_on_stdin),
            ("--chatgpt-token-stdin", self.account_token_on_stdin),
            ("--chatgpt-account-id <ID>", self.account_id.is_some()),
        ];
        if self.remote.is_none()
            && let Some((flag, _)) = given.iter().find(|(_, is_given)| *is_given)
        {
            return without(flag, remote);
        }
        let given = [
            ("--cloud-base-url <URL>", self.cloud_base_url.is_some()),
            (
                "--cloud-environment-id <ID>",
                self.cloud_environment_id.is_some(),
            ),
            ("--cloud-name <NAME>", self.cloud_name.is_some()),
        ];
        if !self.cloud
            && let Some((flag, _)) = given.iter().find(|(_, is_given)| *is_given)
        {
            return without(flag, "--cloud");
        }
        if self.exit_on_stdin_close && !self.is_wanted() {
            return without("--exit-on-stdin-close", "--remote <URL>' or '--cloud");
        }
        match (&self.remote, &self.executor_id, &self.environment_id) {
            (Some(_), None, None) => {
                return without(remote, "--executor-id <ID>' or '--environment-id <ID>");
            }
            (_, Some(_), Some(_)) => {
                return Some(
                    "the argument '--executor-id <ID>' cannot be used with '--environment-id <ID>'"
                        .to_owned(),
                );
            }
            _ => {}
        }
        let given = [
            ("--remote-transport <NAME>", self.transport.is_some()),
            ("--chatgpt-token-stdin", self.account_token_on_stdin),
        ];
        if self.executor_id.is_some()
            && let Some((flag, _)) = given.iter().find(|(_, is_given)| *is_given)
        {
            return without(flag, "--environment-id <ID>");
        }
        if self.account_token_on_stdin && self.bearer_on_stdin {
            return Some(
                "the argument '--chatgpt-token-stdin' cannot be used with \
                 '--registration-bearer-stdin'"
                    .to_owned(),
            );
        }
        if self.account_id.is_some() && !self.account_token_on_stdin {
            return without("--chatgpt-account-id <ID>", "--chatgpt-token-stdin");
        }
        None
    }

    /// Checks everything that can be checked without a network. `env` looks a variable up.
    pub(super) fn plan(&self, env: impl Fn(&str) -> Option<OsString>) -> Result<Plan, CloudError> {
        let variable = |name: &str| {
            let text = env(name)?.into_string().ok()?;
            Some(text.trim().to_owned())
        };
        let filled = |name: &str| variable(name).filter(|text| !text.is_empty());
        let (form, authority) = match (&self.remote, &self.executor_id) {
            (Some(remote), Some(id)) => {
                let form = executor(remote, id, self.name.as_deref())?;
                let token = self.executor_bearer(variable(REMOTE_BEARER))?;
                (form, Authority::token(token))
            }
            (Some(remote), None) => {
                if is_on(filled(ENABLE_NOISE)) {
                    let service = Service::EnvironmentRegistry;
                    return Err(CloudError::Configuration(service, NO_NOISE.to_owned()));
                }
                let form = self.environment(remote)?;
                let authority = match filled(API_KEY) {
                    _ if self.bearer_on_stdin => Authority::token(bearer(form.service())?),
                    _ if self.account_token_on_stdin => {
                        stdin_account(remote, self.account_id.as_deref())?
                    }
                    Some(key) => Authority::token(key),
                    None => Authority::login(home(form.service(), &env)?),
                };
                (form, authority)
            }
            (None, _) => {
                let form = self.cloud(filled(BASE_URL))?;
                (
                    form,
                    Authority::login(home(Service::CloudEnvironments, &env)?),
                )
            }
        };
        let connect = match &self.connect {
            None => None,
            Some(target) => {
                // Read once: with that it is a variable no more.
                let bearer = variable(SERVER_TOKEN);
                if bearer.as_deref() == Some("") {
                    let text = format!(
                        "{SERVER_TOKEN} is set, and empty; put the token there, or unset it"
                    );
                    return Err(CloudError::Configuration(form.service(), text));
                }
                Some(Dial {
                    bearer,
                    ..Dial::new(target.clone())
                })
            }
        };
        if connect.as_ref().is_some_and(Dial::would_tell_token) {
            let text = format!(
                "--connect leads to another machine in clear text, where the token in {SERVER_TOKEN} \
                 could be read; connect by wss://, or unset {SERVER_TOKEN}"
            );
            return Err(CloudError::Configuration(form.service(), text));
        }
        Ok(Plan {
            form,
            authority,
            max_delay: self.reconnect_max_delay,
            connect,
            exits_on_stdin_close: self.exit_on_stdin_close || is_on(filled(EXIT_ON_STDIN_CLOSE)),
        })
    }

    fn cloud(&self, variable: Option<String>) -> Result<Form, CloudError> {
        let service = Service::CloudEnvironments;
        let given = self.cloud_base_url.clone().or(variable).unwrap_or_default();
        Ok(Form::Cloud {
            base: base(service, &given, "cloud environments base URL")?,
            environment: self
                .cloud_environment_id
                .as_deref()
                .map(|id| checked(service, "--cloud-environment-id", target::id(id)))
                .transpose()?,
            name: name(self.cloud_name.as_deref()),
        })
    }

    fn environment(&self, remote: &str) -> Result<Form, CloudError> {
        let service = Service::EnvironmentRegistry;
        let id = self.environment_id.as_deref().unwrap_or_default();
        if id.trim().is_empty() {
            let text = "environment id is required for remote exec-server registration";
            return Err(CloudError::Configuration(service, text.to_owned()));
        }
        let base = base(service, remote, "environment registry base URL")?;
        let id = checked(service, "--environment-id", target::id(id))?;
        Ok(match self.transport {
            Some(Transport::Direct) => Form::Direct { base, id },
            _ => Form::Relay { base, id },
        })
    }

    fn executor_bearer(&self, variable: Option<String>) -> Result<String, CloudError> {
        let service = Service::ExecutorRegistry;
        if self.bearer_on_stdin {
            return bearer(service);
        }
        let fault = match variable {
            Some(token) if !token.is_empty() => return Ok(token),
            Some(_) => "is empty",
            None => "is not set",
        };
        Err(CloudError::Authentication(
            service,
            format!(
                "executor registry bearer token environment variable `{REMOTE_BEARER}` {fault}"
            ),
        ))
    }
}

fn executor(remote: &str, id: &str, given_name: Option<&str>) -> Result<Form, CloudError> {
    let service = Service::ExecutorRegistry;
    if id.trim().is_empty() {
        return Err(CloudError::Configuration(
            service,
            "executor id is required for remote exec-server registration".to_owned(),
        ));
    }
    Ok(Form::Executor {
        base: base(service, remote, "executor registry base URL")?,
        id: checked(service, "--executor-id", target::id(id))?,
        name: name(given_name),
    })
}

fn base(service: Service, text: &str, what: &str) -> Result<String, CloudError> {
    if text.trim().trim_matches('/').is_empty() {
        return Err(CloudError::Configuration(
            service,
            format!("{what} is required"),
        ));
    }
    checked(service, what, target::base_url(text))
}

fn checked(
    service: Service,
    what: &str,
    outcome: Result<String, Unfit>,
) -> Result<String, CloudError> {
    outcome.map_err(|error| CloudError::Configuration(service, format!("{what} {error}")))
}

fn name(given: Option<&str>) -> String {
    let given = given.map(str::trim).filter(|name| !name.is_empty());
    given.unwrap_or(DEFAULT_NAME).to_owned()
}

/// Where the login is.
fn home(service: Service, env: &impl Fn(&str) -> Option<OsString>) -> Result<PathBuf, CloudError> {
    let named = |name: &str| env(name).filter(|path| !path.is_empty()).map(PathBuf::from);
    if let Some(home) = named("CODEX_HOME") {
        if home.is_dir() {
            return Ok(home);
        }
        let text = format!("CODEX_HOME points to {home:?}, but that path is not a directory");
        return Err(CloudError::Configuration(service, text));
    }
    named("HOME")
        .map(|home| home.join(".codex"))
        .ok_or_else(|| {
            let text = "neither CODEX_HOME nor HOME says where the login is".to_owned();
            CloudError::Configuration(service, text)
        })
}

/// Whether a variable turns something on.
fn is_on(variable: Option<String>) -> bool {
    variable.is_some_and(|text| text != "0" && text != "false")
}

/// The registration token on standard input.
fn bearer(service: Service) -> Result<String, CloudError> {
    line_of_stdin().ok_or_else(|| {
        CloudError::Authentication(
            service,
            "expected a newline-terminated registration bearer of at most 16 KiB".to_owned(),
        )
    })
}

/// An account whose access token is on standard input. Whose it is, the token says itself, or the
/// flag if it does not.
fn stdin_account(remote: &str, account: Option<&str>) -> Result<Authority, CloudError> {
    let refused =
        |text: &str| CloudError::Authentication(Service::EnvironmentRegistry, text.to_owned());
    if !remote.trim().starts_with("https://") {
        let text = "ChatGPT token registry URLs must use HTTPS without userinfo or fragments";
        return Err(refused(text));
    }
    let token = line_of_stdin()
        .ok_or_else(|| refused("expected a bounded, newline-terminated ChatGPT access token"))?;
    let claims = login::claims(&token).ok_or_else(|| refused("invalid ChatGPT access token"))?;
    let account = match (login::account_of(&claims), account) {
        (Some(claimed), Some(given)) if claimed != given => {
            return Err(refused("--chatgpt-account-id does not match the token"));
        }
        (None, None) => {
            let text = "token has no ChatGPT account ID; supply --chatgpt-account-id";
            return Err(refused(text));
        }
        (claimed, given) => claimed.or(given).map(str::to_owned),
    };
    Ok(Authority::Given { token, account })
}

/// What is on the first line of standard input. Not a byte more is read: what follows belongs to
/// nobody, but its end may mean something.
fn line_of_stdin() -> Option<String> {
    let stdin = io::stdin().as_fd().try_clone_to_owned().ok()?;
    let deadline = Instant::now() + TOKEN_TIME;
    first_line(Hurried {
        file: stdin.into(),
        deadline,
    })
}

/// Reads until a deadline.
struct Hurried {
    file: File,
    deadline: Instant,
}

impl Read for Hurried {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        let mut fds = [PollFd::new(self.file.as_fd(), READABLE)];
        poll::wait(&mut fds, Some(left))?;
        match fds[0].is_ready() {
            true => self.file.read(buffer),
            false => Err(io::ErrorKind::TimedOut.into()),
        }
    }
}

fn first_line(mut input: impl Read) -> Option<String> {
    let mut line = Vec::new();
    let mut byte = [0];
    while line.len() <= MAX_BEARER && input.read_exact(&mut byte).is_ok() {
        if byte[0] == b'\n' {
            let token = String::from_utf8(line).ok()?;
            let token = token.trim();
            let is_token = !token.is_empty() && !token.contains(|c: char| c.is_control());
            return is_token.then(|| token.to_owned());
        }
        line.push(byte[0]);
    }
    None
}

#[cfg(test)]
mod tests;
