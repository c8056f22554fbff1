//! The environment variables of a child.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::env::local::info::login_variables;
use crate::rpc::methods::process::{
    EnvPolicy, Inherit, NEVER_INHERITED, OF_THE_SERVICE, is_never_passed,
};

/// What `inherit: "core"` lets through.
const CORE: [&str; 10] = [
    "HOME", "LANG", "LC_ALL", "LOGNAME", "PATH", "SHELL", "TEMP", "TMP", "TMPDIR", "USER",
];

/// What every login sets.
const LOGIN: [&str; 4] = ["HOME", "PATH", "SHELL", "USER"];

/// Patterns of names that are credentials more often than not.
const DEFAULT_EXCLUDES: [&str; 3] = ["*KEY*", "*SECRET*", "*TOKEN*"];

/// The longest pattern, and the longest name that a client may hold against patterns, in bytes.
const LONGEST: usize = 4096;

/// Steps that holding all names against all patterns may take: a tenth of a second or so.
const MAX_STEPS: usize = 1 << 27;

/// Why a policy is not applied: it would take too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PolicyError {
    /// One of its patterns or names is too long.
    TooLong,
    /// It has too many patterns for as many names.
    TooMany,
}

impl fmt::Display for PolicyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong => write!(
                f,
                "envPolicy has a pattern or a name of more than {LONGEST} bytes"
            ),
            Self::TooMany => f.write_str("envPolicy has too many patterns for as many variables"),
        }
    }
}

impl std::error::Error for PolicyError {}

/// What children inherit from: the server's own environment, and where that has nothing that a login
/// sets, as after `env -i`, what a login of the server's user would set.
pub fn server_environment() -> Vec<(OsString, OsString)> {
    let mut server: Vec<_> = std::env::vars_os().collect();
    if !server.iter().any(|(name, _)| is_one_of(&LOGIN, name)) {
        server.extend(login_variables());
    }
    server
}

/// The environment of a child that starts in `cwd`, sorted by name.
///
/// `server` is the [`server_environment`], of which a child sees something only through a
/// `policy`; without one it gets `env` alone. The server's directories, `PWD` and `OLDPWD`, are not
/// the child's: it inherits its own in place of the first, and nothing for the second. `env` is laid
/// over the result of the policy and no filter applies to it, apart from the names that are never
/// passed.
pub fn child_environment(
    server: impl IntoIterator<Item = (OsString, OsString)>,
    policy: Option<&EnvPolicy>,
    env: &BTreeMap<String, String>,
    cwd: &Path,
) -> Result<Vec<(OsString, OsString)>, PolicyError> {
    let mut child = match policy {
        Some(policy) => apply(server, policy, cwd)?,
        None => BTreeMap::new(),
    };
    child.extend(owned(env));
    // Neither an empty name nor one of ours can be meant.
    child.retain(|name, _| !name.is_empty() && !is_never_passed(name));
    Ok(child.into_iter().collect())
}

/// Names the user's shell to a program on a terminal, unless the client has named one.
pub fn add_shell(env: &mut Vec<(OsString, OsString)>, shell: &str) {
    if !env.iter().any(|(name, _)| name == "SHELL") {
        env.push(("SHELL".into(), shell.into()));
    }
}

/// A variable of the server whose content a client may have sent somewhere. As with a child,
/// naming one is enough, apart from those that are never passed.
pub fn variable_for_client(name: &str) -> Option<OsString> {
    let is_name = !name.is_empty() && !name.contains(['=', '\0']);
    if !is_name || is_never_passed(name.as_ref()) {
        return None;
    }
    std::env::var_os(name)
}

fn apply(
    server: impl IntoIterator<Item = (OsString, OsString)>,
    policy: &EnvPolicy,
    cwd: &Path,
) -> Result<BTreeMap<OsString, OsString>, PolicyError> {
    let server = server
        .into_iter()
        .filter(|(name, _)| name != "PWD" && name != "OLDPWD");
    let server: Vec<_> = server.chain([("PWD".into(), cwd.into())]).collect();
    check_cost(&server, policy)?;
    let inherits = |name: &OsStr| {
        let wanted = match policy.inherit.unwrap_or_default() {
            Inherit::All => true,
            Inherit::Core => is_one_of(&CORE, name),
            Inherit::None => false,
        };
        wanted
            && !is_one_of(&NEVER_INHERITED, name)
            && !is_one_of(&OF_THE_SERVICE, name)
            && (policy.ignore_default_excludes || !matches_any(&DEFAULT_EXCLUDES, name))
            && !matches_any(&policy.exclude, name)
    };
    let mut child: BTreeMap<OsString, OsString> = server
        .into_iter()
        .filter(|(name, _)| inherits(name))
        .collect();
    child.extend(owned(&policy.set));
    if !policy.include_only.is_empty() {
        child.retain(|name, _| matches_any(&policy.include_only, name));
    }
    Ok(child)
}

/// A name takes as many steps as it and the pattern have bytes, multiplied.
fn check_cost(server: &[(OsString, OsString)], policy: &EnvPolicy) -> Result<(), PolicyError> {
    let patterns = policy.exclude.iter().chain(&policy.include_only);
    if patterns
        .clone()
        .chain(policy.set.keys())
        .any(|text| text.len() > LONGEST)
    {
        return Err(PolicyError::TooLong);
    }
    // One more for each, since the empty ones are looked at too.
    let patterns: usize = patterns.map(|pattern| pattern.len() + 1).sum();
    let inherited: usize = server.iter().map(|(name, _)| name.len() + 1).sum();
    let set: usize = policy.set.keys().map(|name| name.len() + 1).sum();
    if patterns.saturating_mul(inherited + set) > MAX_STEPS {
        return Err(PolicyError::TooMany);
    }
    Ok(())
}

fn owned(variables: &BTreeMap<String, String>) -> impl Iterator<Item = (OsString, OsString)> {
    variables
        .iter()
        .map(|(name, value)| (name.into(), value.into()))
}

fn is_one_of(names: &[&str], name: &OsStr) -> bool {
    names.iter().any(|known| name.eq_ignore_ascii_case(known))
}

fn matches_any<P: AsRef<str>>(patterns: &[P], name: &OsStr) -> bool {
    patterns
        .iter()
        .any(|pattern| glob_matches(pattern.as_ref().as_bytes(), name.as_bytes()))
}

/// Whether `name` as a whole matches `pattern`: `*` is any text, `?` one character, ASCII case is
/// ignored.
///
/// Only the last `*` is ever tried again, which is enough, since a longer match of an earlier one
/// could not help the rest: at most `pattern * name` steps.
fn glob_matches(pattern: &[u8], name: &[u8]) -> bool {
    let (mut at, mut next) = (0, 0);
    let mut last_star = None;
    while next < name.len() {
        match pattern.get(at) {
            Some(b'*') => {
                last_star = Some((at, next));
                at += 1;
            }
            Some(b'?') => {
                at += 1;
                next += 1;
                while name.get(next).is_some_and(|byte| byte & 0xc0 == 0x80) {
                    next += 1;
                }
            }
            Some(byte) if byte.eq_ignore_ascii_case(&name[next]) => {
                at += 1;
                next += 1;
            }
            _ => {
                let Some((star, tried)) = last_star else {
                    return false;
                };
                last_star = Some((star, tried + 1));
                at = star + 1;
                next = tried + 1;
            }
        }
    }
    pattern[at..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    const SERVER: &[&str] = &[
        "PATH=/bin",
        "PWD=/srv/server",
        "OLDPWD=/srv/before",
        "Path=odd",
        "HOME=/root",
        "LC_CTYPE=C",
        "USERNAME=u",
        "TERM=xterm",
        "MONKEY=1",
        "KEYBOARD=us",
        "my_secret=2",
        "OPENAI_API_KEY=k",
        "CODEX_API_KEY=k",
        "CODEX_ACCESS_TOKEN=k",
        "EXEC_SERVER_TOKEN=k",
        "NOTIFY_SOCKET=/run/notify",
        "LISTEN_PID=7",
        "node_repl_auth_token=k",
        "FOO_ABC=1",
        "BR[a]=1",
    ];

    fn policy(inherit: Inherit) -> EnvPolicy {
        EnvPolicy {
            inherit: Some(inherit),
            ignore_default_excludes: true,
            exclude: Vec::new(),
            set: BTreeMap::new(),
            include_only: Vec::new(),
        }
    }

    fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs
            .iter()
            .map(|(name, value)| (name.to_string(), value.to_string()))
            .collect()
    }

    fn child(policy: Option<&EnvPolicy>, env: &[(&str, &str)]) -> String {
        let server = SERVER
            .iter()
            .map(|entry| entry.split_once('=').unwrap())
            .map(|(name, value)| (name.into(), value.into()));
        let entries: Vec<String> =
            child_environment(server, policy, &map(env), Path::new("/start"))
                .unwrap()
                .into_iter()
                .map(|(name, value)| format!("{}={}", name.display(), value.display()))
                .collect();
        entries.join(" ")
    }

    #[test]
    fn without_a_policy_the_child_gets_env_alone() {
        assert_eq!(child(None, &[]), "");
        assert_eq!(
            child(None, &[("Z", "1"), ("A_KEY", "2"), ("", "3")]),
            "A_KEY=2 Z=1"
        );
    }

    #[test]
    fn all_is_everything_but_the_servers_own_keys() {
        assert_eq!(
            child(Some(&policy(Inherit::All)), &[]),
            "BR[a]=1 FOO_ABC=1 HOME=/root KEYBOARD=us LC_CTYPE=C MONKEY=1 PATH=/bin PWD=/start \
             Path=odd TERM=xterm USERNAME=u my_secret=2"
        );
    }

    #[test]
    fn a_directory_that_the_client_names_stays() {
        assert_eq!(
            child(
                Some(&policy(Inherit::None)),
                &[("PWD", "/link"), ("OLDPWD", "/o")]
            ),
            "OLDPWD=/o PWD=/link"
        );
    }

    #[test]
    fn core_ignores_case_and_knows_ten_names() {
        assert_eq!(
            child(Some(&policy(Inherit::Core)), &[]),
            "HOME=/root PATH=/bin Path=odd"
        );
        assert_eq!(child(Some(&policy(Inherit::None)), &[]), "");
    }

    #[test]
    fn default_excludes_take_inherited_names_only() {
        let policy = EnvPolicy {
            ignore_default_excludes: false,
            set: map(&[("S_KEY", "1")]),
            ..policy(Inherit::All)
        };
        assert_eq!(
            child(Some(&policy), &[("E_TOKEN", "2")]),
            "BR[a]=1 E_TOKEN=2 FOO_ABC=1 HOME=/root LC_CTYPE=C PATH=/bin PWD=/start \
             Path=odd S_KEY=1 TERM=xterm USERNAME=u"
        );
    }

    #[test]
    fn exclude_acts_before_set_and_include_only_after() {
        let policy = EnvPolicy {
            exclude: vec![
                "foo*".into(),
                "br[A]".into(),
                "*_secret".into(),
                "?????y".into(),
            ],
            set: map(&[("FOO_ABC", "set"), ("ZED", "1"), ("ZZ", "2")]),
            include_only: vec!["foo_*".into(), "path".into(), "z?".into(), "m*".into()],
            ..policy(Inherit::All)
        };
        assert_eq!(
            child(Some(&policy), &[("Q", "3"), ("PATH", "/env")]),
            "FOO_ABC=set PATH=/env Path=odd Q=3 ZZ=2"
        );
    }

    #[test]
    fn keys_spelled_out_are_kept_unless_they_are_never_passed() {
        let policy = EnvPolicy {
            set: map(&[("OPENAI_API_KEY", "s"), ("NODE_REPL_AUTH_TOKEN", "s")]),
            ..policy(Inherit::None)
        };
        assert_eq!(
            child(
                Some(&policy),
                &[("CODEX_API_KEY", "e"), ("exec_server_token", "e")]
            ),
            "CODEX_API_KEY=e OPENAI_API_KEY=s"
        );
    }

    #[test]
    fn globs() {
        let cases: &[(&str, &str, bool)] = &[
            ("", "", true),
            ("", "a", false),
            ("*", "", true),
            ("**", "anything", true),
            ("?", "", false),
            ("?", "\u{fc}", true),
            ("a?c", "A\u{fc}C", true),
            ("a*c", "abcbc", true),
            ("a*c", "abcb", false),
            ("*b*d", "abcbd", true),
            ("a*?", "a", false),
            ("[ab]", "a", false),
            ("\\*", "*", false),
            ("path", "PATHS", false),
            ("spath", "path", false),
        ];
        for (pattern, name, expected) in cases {
            assert_eq!(
                glob_matches(pattern.as_bytes(), name.as_bytes()),
                *expected,
                "{pattern} {name}"
            );
        }
    }

    #[test]
    fn what_would_take_long_is_refused() {
        let of = |exclude: Vec<String>, set: Vec<String>| {
            let policy = EnvPolicy {
                exclude,
                set: set.into_iter().map(|name| (name, String::new())).collect(),
                ..policy(Inherit::None)
            };
            child_environment([], Some(&policy), &map(&[]), Path::new("/")).map(drop)
        };
        let names = |count: usize| (0..count).map(|number| number.to_string()).collect();
        assert_eq!(
            of(vec!["*".repeat(LONGEST)], vec!["n".repeat(LONGEST)]),
            Ok(())
        );
        assert_eq!(
            of(vec!["*".repeat(LONGEST + 1)], Vec::new()),
            Err(PolicyError::TooLong)
        );
        assert_eq!(
            of(Vec::new(), vec!["n".repeat(LONGEST + 1)]),
            Err(PolicyError::TooLong)
        );
        assert_eq!(of(names(1000), names(1000)), Ok(()));
        assert_eq!(of(names(10_000), names(10_000)), Err(PolicyError::TooMany));
    }

    #[test]
    fn a_hostile_glob_is_not_exponential() {
        let name = "a".repeat(10_000);
        assert!(!glob_matches(
            format!("{}b", "a*".repeat(200)).as_bytes(),
            name.as_bytes()
        ));
    }
}
