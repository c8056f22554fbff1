//! Who may connect: bearer tokens in the upgrade request.
//!
//! A capability token is a word that both sides know, a signed bearer token a JSON web token whose
//! secret both sides know. Rules and texts are the reference's, so that its users' scripts work.

use std::ffi::OsString;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::jwt::{self, Claims};
use super::upgrade::MAX_HEAD;
use super::{Moment, read_secret};
use crate::hex::digest_from_hex;
use crate::net::upgrade::is_header_value;
use crate::sys::secret_file::warn_if_exposed;
use crate::sys::sync::Mutex;

/// A signing secret shorter than its hash could be guessed.
const MIN_SECRET: usize = 32;
/// A longer token leaves no room for the rest of a client's request.
const LONGEST_TOKEN: usize = MAX_HEAD / 2;
/// By how many seconds clocks may differ, unless told.
const DEFAULT_SKEW: u64 = 30;

/// What the flags and the environment say about authentication; [`Settings::rules`] makes sense of
/// it.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Settings {
    /// How clients prove who they are.
    pub mode: Option<Mode>,
    /// The file with the capability token.
    pub token_file: Option<PathBuf>,
    /// The SHA-256 of the capability token, in hex.
    pub token_sha256: Option<String>,
    /// The file with the secret that signs tokens.
    pub shared_secret_file: Option<PathBuf>,
    /// The issuer that signed tokens must name.
    pub issuer: Option<String>,
    /// The audience that signed tokens must name.
    pub audience: Option<String>,
    /// By how many seconds the clock of whoever signs may differ.
    pub max_clock_skew: Option<u64>,
    /// The capability token itself, from the environment; alone, it chooses the mode.
    pub token: Option<OsString>,
}

/// How clients prove who they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// With a word that we know.
    CapabilityToken,
    /// With a token signed by a secret that we know.
    SignedBearerToken,
}

impl Mode {
    /// The mode of this name; the error says which there are.
    pub fn from_name(name: &str) -> Result<Self, String> {
        match name {
            "capability-token" => Ok(Self::CapabilityToken),
            "signed-bearer-token" => Ok(Self::SignedBearerToken),
            _ => Err("expected capability-token or signed-bearer-token".to_owned()),
        }
    }
}

// A token must not get into a log by way of a debug print.
impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("mode", &self.mode)
            .finish_non_exhaustive()
    }
}

impl Settings {
    /// The rules that follow, none if everyone may connect.
    ///
    /// # Errors
    /// Something is missing, or does not go together. No file is read yet.
    pub fn rules(self) -> Result<Option<Rules>, AuthError> {
        let for_capability = self.token_file.is_some() || self.token_sha256.is_some();
        let for_signed = self.shared_secret_file.is_some()
            || self.issuer.is_some()
            || self.audience.is_some()
            || self.max_clock_skew.is_some();
        let token = self
            .token
            .map(|token| token.into_string().map_err(|_| AuthError::Variable))
            .transpose()?;
        let is_blank = token.as_ref().is_some_and(|token| token.trim().is_empty());
        let token = named(token);
        let mode = match self.mode {
            None if for_capability || for_signed => return Err(AuthError::NoMode),
            // Who sets a token wants it asked for: to ignore it would be the dangerous mistake.
            None if token.is_some() => Mode::CapabilityToken,
            // So does who sets it to what a command prints that has failed.
            None if is_blank => return Err(AuthError::Blank),
            None => return Ok(None),
            Some(mode) => mode,
        };
        match mode {
            Mode::CapabilityToken if for_signed => Err(AuthError::SignedOnly),
            Mode::CapabilityToken => match (self.token_file, self.token_sha256, token) {
                (Some(_), Some(_), _) => Err(AuthError::TwoTokens),
                (Some(file), None, _) => Ok(Rule::TokenFile(file)),
                (None, Some(hex), _) => digest_from_hex(&hex)
                    .map(Rule::TokenDigest)
                    .ok_or(AuthError::NoDigest),
                (None, None, Some(token)) => match can_be_shown(token.as_bytes()) {
                    true => Ok(Rule::TokenDigest(digest(token.as_bytes()))),
                    false => Err(AuthError::UnusableVariable),
                },
                (None, None, None) => Err(AuthError::NoToken),
            },
            Mode::SignedBearerToken if for_capability => Err(AuthError::CapabilityOnly),
            Mode::SignedBearerToken => Ok(Rule::Signed {
                secret_file: self.shared_secret_file.ok_or(AuthError::NoSecret)?,
                claims: Claims {
                    issuer: named(self.issuer),
                    audience: named(self.audience),
                    skew: self.max_clock_skew.unwrap_or(DEFAULT_SKEW),
                },
            }),
        }
        .map(|rule| Some(Rules(rule)))
    }
}

/// A text without the blanks around it, none if nothing is left.
fn named(text: Option<String>) -> Option<String> {
    text.map(|text| text.trim().to_owned())
        .filter(|text| !text.is_empty())
}

/// What is asked of a client, and where the secret is.
#[derive(Clone, Debug)]
pub struct Rules(Rule);

#[derive(Clone, Debug)]
enum Rule {
    TokenFile(PathBuf),
    TokenDigest([u8; 32]),
    Signed {
        secret_file: PathBuf,
        claims: Claims,
    },
}

impl Rule {
    fn file(&self) -> Option<&Path> {
        match self {
            Self::TokenFile(file) => Some(file),
            Self::TokenDigest(_) => None,
            Self::Signed { secret_file, .. } => Some(secret_file),
        }
    }

    /// What clients are checked against; reads the file.
    fn key(&self, moment: Moment) -> Result<Key, AuthError> {
        match self {
            Self::TokenFile(file) => match read(file, moment)? {
                token if can_be_shown(&token) => Ok(Key::Token(digest(&token))),
                _ => Err(AuthError::Unusable(file.clone())),
            },
            Self::TokenDigest(digest) => Ok(Key::Token(*digest)),
            Self::Signed {
                secret_file,
                claims,
            } => {
                let secret = read(secret_file, moment)?;
                if secret.len() < MIN_SECRET {
                    return Err(AuthError::Short(secret_file.clone()));
                }
                Ok(Key::Signed(secret, claims.clone()))
            }
        }
    }
}

/// The secret in a file, without the blanks around it.
fn read(file: &Path, moment: Moment) -> Result<Vec<u8>, AuthError> {
    let bytes = read_secret(file, moment).map_err(|error| AuthError::Read(file.into(), error))?;
    let secret = bytes.trim_ascii();
    if secret.is_empty() {
        return Err(AuthError::Empty(file.into()));
    }
    Ok(secret.to_vec())
}

/// Whether any client could send this token: it has to fit into the value of a header.
fn can_be_shown(token: &[u8]) -> bool {
    token.len() <= LONGEST_TOKEN && str::from_utf8(token).is_ok_and(is_header_value)
}

enum Key {
    /// The digest only, so that the comparison tells nothing of the token.
    Token([u8; 32]),
    Signed(Vec<u8>, Claims),
}

/// Asks every client who it is.
pub(crate) struct Authenticator {
    rule: Rule,
    key: Mutex<Key>,
}

impl fmt::Debug for Authenticator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authenticator").finish_non_exhaustive()
    }
}

impl Authenticator {
    /// Reads the secret, and warns if others can.
    pub(crate) fn open(rules: Rules) -> Result<Self, AuthError> {
        let key = Mutex::new(rules.0.key(Moment::Start)?);
        if let Some(file) = rules.0.file() {
            warn_if_exposed(file);
        }
        Ok(Self { rule: rules.0, key })
    }

    /// Reads the secret again, if it is in a file. On an error the one that was read before stays.
    pub(crate) fn reload(&self) -> Option<Result<(), AuthError>> {
        self.rule.file()?;
        let key = self.rule.key(Moment::Reload);
        Some(key.map(|key| *self.key.lock() = key))
    }

    /// Checks the value of an `Authorization` header; the error is the text for the client.
    pub(crate) fn check(&self, authorization: Option<&[u8]>) -> Result<(), &'static str> {
        let token = bearer(authorization.ok_or("missing websocket bearer token")?)
            .ok_or("invalid authorization header")?;
        match &*self.key.lock() {
            Key::Token(wanted) if wanted.ct_eq(&digest(token.as_bytes())).into() => Ok(()),
            Key::Token(_) => Err("invalid websocket bearer token"),
            Key::Signed(secret, claims) => jwt::check(token, secret, claims, now()),
        }
    }
}

/// The token in `Bearer TOKEN`.
fn bearer(value: &[u8]) -> Option<&str> {
    let (scheme, token) = str::from_utf8(value).ok()?.split_once(' ')?;
    let token = token.trim_matches([' ', '\t']);
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

/// Seconds since 1970; a clock before that is at 0, where every token is too young.
fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

fn digest(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// What a token has to be.
const TOKEN_FORM: &str =
    "a token is one line of UTF-8, without control characters, and has at most 8192 bytes";

/// Why nobody could be let in. The texts are the reference's.
#[derive(Debug)]
pub enum AuthError {
    /// Flags without the mode that they belong to.
    NoMode,
    /// Flags of signed tokens in the other mode.
    SignedOnly,
    /// Flags of capability tokens in the other mode.
    CapabilityOnly,
    /// A capability token is wanted, and none is known.
    NoToken,
    /// A capability token is given in two ways.
    TwoTokens,
    /// The digest is none.
    NoDigest,
    /// The token in the environment is no text.
    Variable,
    /// The token in the environment is blank.
    Blank,
    /// No client could send the token in the environment.
    UnusableVariable,
    /// No client could send the token in the file.
    Unusable(PathBuf),
    /// Signed tokens are wanted, and no secret is known.
    NoSecret,
    /// Whoever is on standard input has started us already.
    Stdio,
    /// The file cannot be read.
    Read(PathBuf, io::Error),
    /// The file holds nothing but blanks.
    Empty(PathBuf),
    /// The secret is shorter than 32 bytes.
    Short(PathBuf),
}

impl fmt::Display for AuthError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoMode => f.write_str(
                "websocket auth flags require `--ws-auth capability-token` or \
                 `--ws-auth signed-bearer-token`",
            ),
            Self::SignedOnly => f.write_str(
                "`--ws-shared-secret-file`, `--ws-issuer`, `--ws-audience`, and \
                 `--ws-max-clock-skew-seconds` require `--ws-auth signed-bearer-token`",
            ),
            Self::CapabilityOnly => f.write_str(
                "`--ws-token-file` and `--ws-token-sha256` require `--ws-auth capability-token`, \
                 not `signed-bearer-token`",
            ),
            Self::NoToken => f.write_str(
                "`--ws-token-file` or `--ws-token-sha256` is required when \
                 `--ws-auth capability-token` is set\nor put the token into the variable \
                 EXEC_SERVER_TOKEN",
            ),
            Self::TwoTokens => {
                f.write_str("`--ws-token-file` and `--ws-token-sha256` are mutually exclusive")
            }
            Self::NoDigest => {
                f.write_str("--ws-token-sha256 must be a 64-character hex SHA-256 digest")
            }
            Self::Variable => f.write_str("the token in EXEC_SERVER_TOKEN is not UTF-8"),
            Self::Blank => f.write_str(
                "the variable EXEC_SERVER_TOKEN is set, and empty; put the token there, or unset it to \
                 ask nobody for one",
            ),
            Self::UnusableVariable => write!(f, "no client could send EXEC_SERVER_TOKEN: {TOKEN_FORM}"),
            Self::Unusable(path) => write!(
                f,
                "no client could send the token in {}: {TOKEN_FORM}",
                path.display()
            ),
            Self::NoSecret => f.write_str(
                "`--ws-shared-secret-file` is required when `--ws-auth signed-bearer-token` is set",
            ),
            Self::Stdio => f.write_str("WebSocket auth requires a WebSocket listener, not stdio"),
            Self::Read(path, error) => write!(
                f,
                "failed to read websocket auth secret {}: {error}",
                path.display()
            ),
            Self::Empty(path) => write!(
                f,
                "websocket auth secret {} must not be empty",
                path.display()
            ),
            Self::Short(path) => write!(
                f,
                "signed websocket bearer secret {} must be at least 32 bytes",
                path.display()
            ),
        }
    }
}

impl std::error::Error for AuthError {}

#[cfg(test)]
mod tests;
