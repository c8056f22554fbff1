//! The keys of `environments.toml`, which are the reference's, and the types of their values; and what
//! one environment must not be, in the order in which it is told.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::de::{DeserializeOwned, Error, IgnoredAny};
use serde::{Deserialize, Deserializer};
use toml::Spanned;
use tungstenite::client::IntoClientRequest;

use super::{ConfigError, Definition, Origin, Position, Problem, Token, Transport, own};
use crate::deadline::FOREVER;
use crate::net::Trust;
use crate::net::redact::{redacted, redacted_in_place};
use crate::net::upgrade::is_header_value;
use crate::net::url::Url;

/// The longest id, in bytes.
const LONGEST_ID: usize = 64;

/// The whole file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Document {
    pub(super) default: Option<Spanned<String>>,
    pub(super) include_local: Option<bool>,
    #[serde(default)]
    pub(super) environments: Vec<Item>,
}

/// One `[[environments]]`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Item {
    pub(super) id: Spanned<String>,
    /// What an agent finds there; nothing to us.
    #[serde(rename = "skills")]
    pub(super) _skills: Option<Skills>,
    pub(super) url: Option<Spanned<String>>,
    pub(super) auth_bearer_token: Option<Spanned<String>>,
    pub(super) program: Option<Spanned<String>>,
    pub(super) args: Option<Spanned<Vec<String>>>,
    pub(super) env: Option<Spanned<BTreeMap<String, String>>>,
    pub(super) cwd: Option<Spanned<String>>,
    #[serde(default, deserialize_with = "seconds")]
    pub(super) connect_timeout_sec: Option<Spanned<Duration>>,
    #[serde(default, deserialize_with = "seconds")]
    pub(super) initialize_timeout_sec: Option<Spanned<Duration>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Skills {
    #[serde(default, rename = "required")]
    _required: Vec<String>,
}

/// What is in a document that is wrong: keys and values as they stand there.
#[derive(Deserialize)]
struct Loose {
    #[serde(default)]
    environments: Vec<BTreeMap<Spanned<String>, Spanned<IgnoredAny>>>,
}

/// What to write where, if it is one of our keys that `text` has at `offset`.
pub(super) fn misplaced(text: &str, offset: usize) -> Option<String> {
    let loose: Loose = toml::from_str(text).ok()?;
    let mut items = loose.environments.iter();
    let (item, key) = items.find_map(|item| {
        let key = item.keys().find(|key| key.span().start == offset)?;
        Some((item, key))
    })?;
    let (name, value) = (key.get_ref(), item.get(key)?.span());
    let id = item.get("id").and_then(|id| text.get(id.span()));
    let id = id.unwrap_or("ID").trim_matches(['"', '\'']);
    let value = text.get(value)?;
    own::KEYS
        .contains(&&**name)
        .then(|| format!("[environments.{id}]\n{name} = {value}"))
}

pub(super) fn seconds<'de, D: Deserializer<'de>>(
    value: D,
) -> Result<Option<Spanned<Duration>>, D::Error> {
    let seconds = Spanned::<f64>::deserialize(value)?;
    let duration = Duration::try_from_secs_f64(*seconds.get_ref()).map_err(D::Error::custom)?;
    Ok(Some(Spanned::new(seconds.span(), duration.min(FOREVER))))
}

/// What an item defines; a relative `cwd` starts at `directory`.
pub(super) fn validate(
    item: &Item,
    lines: &Lines<'_>,
    directory: Option<&Path>,
) -> Result<Definition, ConfigError> {
    let id = item.id.get_ref();
    let position = lines.position(item.id.span().start);
    check_id(id).map_err(|problem| problem.at(position.clone()))?;

    check_dependencies(item, lines)?;
    let transport = match (&item.url, &item.program) {
        (Some(url), None) => transport_to(url, item, lines)?,
        (None, Some(program)) => transport_by(program, item, lines, directory)?,
        _ => return Err(Problem::NotOne(id.clone()).at(position)),
    };
    let timeout = |key, value: &Option<Spanned<Duration>>| match value {
        None => Ok(Definition::DEFAULT_TIMEOUT),
        Some(value) if value.get_ref().is_zero() => {
            let id = id.clone();
            Err(Problem::NoTime { id, key }.at(lines.position(value.span().start)))
        }
        Some(value) => Ok(*value.get_ref()),
    };
    Ok(Definition {
        id: id.clone(),
        transport,
        connect_timeout: timeout("connect_timeout_sec", &item.connect_timeout_sec)?,
        initialize_timeout: timeout("initialize_timeout_sec", &item.initialize_timeout_sec)?,
        origin: Origin::File(position),
    })
}

/// Whether a text can name an environment.
///
/// # Errors
/// What is wrong with it.
fn check_id(id: &str) -> Result<(), Problem> {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    if id.trim().is_empty() {
        Err(Problem::EmptyId)
    } else if id.trim() != id {
        Err(Problem::SurroundedId(id.to_owned()))
    } else if id == crate::env::LOCAL || id.eq_ignore_ascii_case("none") {
        Err(Problem::ReservedId(id.to_owned()))
    } else if id.len() > LONGEST_ID {
        Err(Problem::LongId(id.to_owned()))
    } else if !id.bytes().all(is_allowed) {
        Err(Problem::IdCharacters(id.to_owned()))
    } else {
        Ok(())
    }
}

/// Keys that make no sense without another.
fn check_dependencies(item: &Item, lines: &Lines<'_>) -> Result<(), ConfigError> {
    let id = item.id.get_ref();
    if item.program.is_none() {
        let spans = [
            item.args.as_ref().map(Spanned::span),
            item.env.as_ref().map(Spanned::span),
            item.cwd.as_ref().map(Spanned::span),
        ];
        if let Some(span) = spans.into_iter().flatten().next() {
            return Err(Problem::NeedsProgram(id.clone()).at(lines.position(span.start)));
        }
    }
    if item.url.is_none() {
        let timeout = item.connect_timeout_sec.as_ref().map(Spanned::span);
        let token = item.auth_bearer_token.as_ref().map(Spanned::span);
        for (key, span) in [
            ("auth_bearer_token", token),
            ("connect_timeout_sec", timeout),
        ] {
            if let Some(span) = span {
                let id = id.clone();
                return Err(Problem::NeedsUrl { id, key }.at(lines.position(span.start)));
            }
        }
    }
    Ok(())
}

fn transport_to(
    url: &Spanned<String>,
    item: &Item,
    lines: &Lines<'_>,
) -> Result<Transport, ConfigError> {
    let place = lines.position(url.span().start);
    let url = url.get_ref().trim();
    let invalid = |why: String| Problem::InvalidUrl {
        url: redacted(url),
        why,
    };
    if let (Some(path), true) = (url.strip_prefix("unix://"), lines.is_own()) {
        if !path.starts_with('/') || path.ends_with('/') || path.contains('\0') {
            let why = "expected unix:// and the absolute path of a socket".to_owned();
            return Err(invalid(why).at(place));
        }
        return Ok(Transport::Unix {
            path: PathBuf::from(path),
            token: None,
            allows_local_users: false,
        });
    }
    if url.is_empty() {
        return Err(Problem::EmptyUrl.at(place));
    }
    if !url.starts_with("ws://") && !url.starts_with("wss://") {
        let error = Problem::UrlScheme(redacted(url)).at(place);
        return Err(match url.starts_with("unix://") && !lines.is_own() {
            true => {
                let table = format!("[environments.{}]\nurl = {url:?}", item.id.get_ref());
                error.for_own_file(lines.path, &table)
            }
            false => error,
        });
    }
    let uri = match url.into_client_request() {
        Ok(request) => request.into_parts().0.uri,
        Err(error) => return Err(invalid(error.to_string()).at(place)),
    };
    // The parser of URIs lets any text stand for a port.
    let location = uri.authority().map_or("", |authority| authority.as_str());
    let location = location.rsplit('@').next().unwrap_or(location);
    let port = location.strip_prefix(uri.host().unwrap_or_default());
    if uri.port().is_none() && port.is_some_and(|port| port.len() > 1) {
        let why = "the port is no number from 0 to 65535".to_owned();
        return Err(invalid(why).at(place));
    }
    Ok(Transport::WebSocket {
        url: url.to_owned(),
        token: token_for(url, item, lines)?,
        trust: Trust::Usual,
    })
}

/// The token in the file, if it can be sent, and not in clear text to another machine.
fn token_for(url: &str, item: &Item, lines: &Lines<'_>) -> Result<Option<Token>, ConfigError> {
    let Some(token) = &item.auth_bearer_token else {
        return Ok(None);
    };
    let is_safe = url.starts_with("wss://")
        || Url::parse_websocket(url).is_ok_and(|url| url.is_this_machine());
    let problem = if !is_safe {
        Problem::Plaintext
    } else if !is_header_value(token.get_ref()) {
        Problem::HeaderValue
    } else {
        return Ok(Some(Token::Text(token.get_ref().clone())));
    };
    Err(problem.at(lines.position(token.span().start)))
}

fn transport_by(
    program: &Spanned<String>,
    item: &Item,
    lines: &Lines<'_>,
    directory: Option<&Path>,
) -> Result<Transport, ConfigError> {
    let id = item.id.get_ref();
    let unusable = |key, span: std::ops::Range<usize>| {
        let id = id.clone();
        Problem::Unusable { id, key }.at(lines.position(span.start))
    };
    let name = program.get_ref().trim();
    if name.is_empty() {
        let place = lines.position(program.span().start);
        return Err(Problem::EmptyProgram(id.clone()).at(place));
    }
    if name.contains('\0') {
        return Err(unusable("program", program.span()));
    }
    let args = item.args.as_ref();
    if let Some(args) = args.filter(|args| args.get_ref().iter().any(|arg| arg.contains('\0'))) {
        return Err(unusable("args", args.span()));
    }
    let is_wrong = |(name, value): (&String, &String)| {
        name.is_empty() || name.contains(['=', '\0']) || value.contains('\0')
    };
    let env = item.env.as_ref();
    if let Some(env) = env.filter(|env| env.get_ref().iter().any(is_wrong)) {
        return Err(unusable("env", env.span()));
    }
    let cwd = match &item.cwd {
        None => None,
        Some(cwd) if cwd.get_ref().contains('\0') => return Err(unusable("cwd", cwd.span())),
        Some(cwd) => match (Path::new(cwd.get_ref()), directory) {
            (path, _) if path.is_absolute() => Some(path.to_owned()),
            (path, Some(directory)) => Some(directory.join(path)),
            (_, None) => {
                let place = lines.position(cwd.span().start);
                return Err(Problem::RelativeCwd(id.clone()).at(place));
            }
        },
    };
    Ok(Transport::Program {
        program: name.to_owned(),
        args: args.map_or(Vec::new(), |args| args.get_ref().clone()),
        env: env.map_or(BTreeMap::new(), |env| env.get_ref().clone()),
        cwd,
    })
}

/// Keys whose values may hold secrets.
const SECRET: [&str; 3] = ["auth_bearer_token", "args", "env"];

/// The parser's words, and where in the tables, without secrets: no line of the file is shown.
fn explain(mut error: toml::de::Error) -> String {
    let mut words = redacted_in_place(error.message());
    error.set_input(None);
    let tables = error.to_string();
    let tables = tables.strip_prefix(error.message()).unwrap_or_default();
    let is_secret = |key: &&str| tables.contains(&format!(".{key}"));
    // Such as: invalid type: integer `12345678`, expected a string.
    if SECRET.iter().any(is_secret)
        && let Some((start, rest)) = words.split_once(['`', '"'])
        && let Some((_, expected)) = rest.rsplit_once(", expected ")
    {
        words = format!("{}, expected {expected}", start.trim_end());
    }
    format!("{}{}", words.trim_end(), tables.trim_end())
}

/// A file whose bytes are known by their offsets.
pub(super) struct Lines<'a> {
    path: &'a Path,
    bytes: &'a [u8],
    /// Where each line begins, but the first.
    starts: Vec<usize>,
}

impl<'a> Lines<'a> {
    pub(super) fn new(path: &'a Path, bytes: &'a [u8]) -> Self {
        let starts = memchr::memchr_iter(b'\n', bytes).map(|end| end + 1);
        Self {
            path,
            bytes,
            starts: starts.collect(),
        }
    }

    /// What stands in the file.
    pub(super) fn document<T: DeserializeOwned>(&self) -> Result<T, ConfigError> {
        let path = || self.path.to_owned();
        let text = str::from_utf8(self.bytes).map_err(|error| {
            let problem = Problem::Read(path(), error.to_string());
            problem.at(self.position(error.valid_up_to()))
        })?;
        toml::from_str(text).map_err(|error| {
            let place = error.span().unwrap_or_default().start;
            let error = Problem::Parse(path(), explain(error)).at(self.position(place));
            match misplaced(text, place).filter(|_| !self.is_own()) {
                Some(table) => error.for_own_file(self.path, &table),
                None => error,
            }
        })
    }

    /// Whether keys and addresses of ours alone may stand there.
    fn is_own(&self) -> bool {
        own::is_own(self.path)
    }

    pub(super) fn position(&self, offset: usize) -> Position {
        let offset = offset.min(self.bytes.len());
        let lines_before = self.starts.partition_point(|start| *start <= offset);
        let begun = lines_before.checked_sub(1).map_or(0, |at| self.starts[at]);
        let before = String::from_utf8_lossy(&self.bytes[begun..offset]);
        Position {
            path: self.path.to_owned(),
            line: 1 + lines_before,
            column: 1 + before.chars().count(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_columns_count_from_one_and_in_characters() {
        let lines = Lines::new(Path::new("/p"), "a\nüb\n\nc".as_bytes());
        let place = |offset| lines.position(offset).to_string();
        assert_eq!(place(0), "/p:1:1");
        assert_eq!(place(1), "/p:1:2");
        assert_eq!(place(2), "/p:2:1");
        assert_eq!(place(4), "/p:2:2");
        assert_eq!(place(6), "/p:3:1");
        assert_eq!(place(7), "/p:4:1");
        assert_eq!(place(99), "/p:4:2");
    }
}
