//! The command line of a 0.130 client's own sandbox helper.
//!
//! That client sends no `sandbox` with a command. It puts its helper in front, by the path of a link on its own disk that
//! need not exist here: `…/codex-linux-sandbox --sandbox-policy-cwd D --command-cwd D --permission-profile JSON -- CMD…`.
//! The base name tells; what follows is read here, and confined by us.

use std::fmt;
use std::path::{Path, PathBuf};

use super::policy::{Context, Policy, PolicyError};
use crate::rpc::error::{ErrorKind, RpcError};

/// The base name of the helper.
pub const NAME: &str = "codex-linux-sandbox";

/// What the helper is asked to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HelperForm {
    /// The directory that the policy's words are relative to.
    policy_cwd: PathBuf,
    /// Where the command starts.
    pub command_cwd: PathBuf,
    /// The profile, still as JSON.
    pub profile: String,
    /// Whether the command must get no `/proc` of its own.
    no_proc: bool,
    /// The command and its arguments; not empty.
    pub command: Vec<String>,
}

/// Why a helper's command line is refused. Nothing runs then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HelperError {
    /// An option that nobody here knows, and that could have meant more confinement.
    Unknown(String),
    /// An option that we know and cannot do.
    Unsupported(&'static str),
    /// An option without its value.
    NoValue(String),
    /// An option is there twice.
    Twice(&'static str),
    /// An option, or the command, is missing.
    Missing(&'static str),
    /// A directory that is not absolute.
    Relative(&'static str, String),
}

impl fmt::Display for HelperError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{NAME}: ")?;
        match self {
            Self::Unknown(option) => {
                write!(f, "unknown option `{option}`; the command was not run")
            }
            Self::Unsupported(option) => write!(
                f,
                "this exec-server cannot enforce `{option}`; the command was not run"
            ),
            Self::NoValue(option) => write!(f, "`{option}` needs a value"),
            Self::Twice(option) => write!(f, "`{option}` is there twice"),
            Self::Missing(what) => write!(f, "{what} is missing"),
            Self::Relative(option, path) => {
                write!(f, "`{option}` must be an absolute path, not `{path}`")
            }
        }
    }
}

impl std::error::Error for HelperError {}

impl From<HelperError> for RpcError {
    fn from(error: HelperError) -> Self {
        Self::new(ErrorKind::InvalidParams, error.to_string())
    }
}

/// Whether a command is the helper's: its program, or the name that it is to see, has the helper's base name.
pub fn is_helper(program: &str, arg0: Option<&str>) -> bool {
    let is_named = |path: &str| path.rsplit('/').next() == Some(NAME);
    is_named(program) || arg0.is_some_and(is_named)
}

impl HelperForm {
    /// Reads what follows the program's name. Without `--command-cwd` the command starts where the policy is relative to.
    ///
    /// # Errors
    /// An option is unknown, or not as it should be. An unknown one may ask for more confinement, so it is never ignored.
    pub fn parse(arguments: &[String]) -> Result<Self, HelperError> {
        let mut policy_cwd = None;
        let mut command_cwd = None;
        let mut profile = None;
        let mut no_proc = false;
        let mut rest = arguments.iter();
        loop {
            let Some(word) = rest.next() else {
                return Err(HelperError::Missing("the command"));
            };
            let (option, inline) = match word.split_once('=') {
                Some((option, value)) if word.starts_with("--") => (option, Some(value)),
                _ => (word.as_str(), None),
            };
            let mut value = |name: &'static str, into: &mut Option<String>| {
                let value = inline
                    .map(str::to_owned)
                    .or_else(|| rest.next().cloned())
                    .ok_or_else(|| HelperError::NoValue(name.to_owned()))?;
                match into.replace(value) {
                    Some(_) => Err(HelperError::Twice(name)),
                    None => Ok(()),
                }
            };
            match option {
                "--sandbox-policy-cwd" => value("--sandbox-policy-cwd", &mut policy_cwd)?,
                "--command-cwd" => value("--command-cwd", &mut command_cwd)?,
                "--permission-profile" => value("--permission-profile", &mut profile)?,
                "--" if inline.is_none() => break,
                // Which launcher confines is our choice; none of them is weaker than what this asks for.
                "--use-legacy-landlock" if inline.is_none() => {}
                "--no-proc" if inline.is_none() => no_proc = true,
                "--allow-network-for-proxy" => {
                    return Err(HelperError::Unsupported("--allow-network-for-proxy"));
                }
                // The helper's own parser takes the first plain word as the command.
                plain if !plain.starts_with('-') => {
                    return Err(HelperError::Missing("`--` before the command"));
                }
                _ => return Err(HelperError::Unknown(option.to_owned())),
            }
        }
        let command: Vec<String> = rest.cloned().collect();
        if command.is_empty() {
            return Err(HelperError::Missing("the command"));
        }
        let policy_cwd = directory("--sandbox-policy-cwd", policy_cwd)?
            .ok_or(HelperError::Missing("`--sandbox-policy-cwd`"))?;
        Ok(Self {
            command_cwd: directory("--command-cwd", command_cwd)?
                .unwrap_or_else(|| policy_cwd.clone()),
            policy_cwd,
            profile: profile.ok_or(HelperError::Missing("`--permission-profile`"))?,
            no_proc,
            command,
        })
    }

    /// The policy that the profile stands for.
    ///
    /// # Errors
    /// As for [`Policy::parse`].
    pub fn policy(&self, context: &Context<'_>) -> Result<Policy, PolicyError> {
        Policy::parse_profile(&self.profile, &self.policy_cwd, context)
    }
}

fn directory(option: &'static str, value: Option<String>) -> Result<Option<PathBuf>, HelperError> {
    match value {
        Some(path) if !Path::new(&path).is_absolute() => Err(HelperError::Relative(option, path)),
        value => Ok(value.map(PathBuf::from)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &[&str]) -> Result<HelperForm, HelperError> {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        HelperForm::parse(&words)
    }

    #[test]
    fn the_helper_is_known_by_its_base_name() {
        let path = "/home/u/.codex/tmp/arg0/codex-arg0AbC/codex-linux-sandbox";
        assert!(is_helper(path, None) && is_helper(NAME, None));
        assert!(is_helper("/bin/x", Some(path)));
        assert!(!is_helper("/bin/sh", Some("sh")));
        assert!(!is_helper("/codex-linux-sandbox/x", None));
        assert!(!is_helper("my-codex-linux-sandbox", None));
    }

    #[test]
    fn the_form_of_the_real_client_is_read() {
        let form = parse(&[
            "--sandbox-policy-cwd",
            "/w",
            "--command-cwd",
            "/w/sub",
            "--permission-profile",
            r#"{"type":"disabled"}"#,
            "--",
            "/bin/bash",
            "-lc",
            "echo --",
        ])
        .unwrap();
        assert_eq!(form.policy_cwd, Path::new("/w"));
        assert_eq!(form.command_cwd, Path::new("/w/sub"));
        assert_eq!(form.command, ["/bin/bash", "-lc", "echo --"]);
        assert!(!form.no_proc);
        let context = Context {
            process_cwd: None,
            tmpdir: None,
            style: crate::rpc::path_uri::PathStyle::Native,
        };
        assert!(form.policy(&context).unwrap().has_full_write());
    }

    #[test]
    fn what_may_be_left_out_is() {
        let form = parse(&[
            "--no-proc",
            "--use-legacy-landlock",
            "--sandbox-policy-cwd=/w",
            "--permission-profile={}",
            "--",
            "--bind",
        ])
        .unwrap();
        assert!(form.no_proc);
        assert_eq!(form.command_cwd, Path::new("/w"));
        assert_eq!(form.command, ["--bind"]);
    }

    #[test]
    fn anything_else_refuses_and_names_it() {
        let start = ["--sandbox-policy-cwd", "/w", "--permission-profile", "{}"];
        let with = |more: &[&str]| {
            let words = [&start[..], more].concat();
            parse(&words).unwrap_err().to_string()
        };
        let cases = [
            (
                with(&["--more-confined", "--", "x"]),
                "unknown option `--more-confined`",
            ),
            (
                with(&["--stricter=1", "--", "x"]),
                "unknown option `--stricter`",
            ),
            (with(&["-x", "--", "x"]), "unknown option `-x`"),
            (
                with(&["--no-proc=1", "--", "x"]),
                "unknown option `--no-proc`",
            ),
            (
                with(&["--allow-network-for-proxy", "--", "x"]),
                "cannot enforce `--allow-network",
            ),
            (with(&["--command-cwd"]), "`--command-cwd` needs a value"),
            (
                with(&["--command-cwd", "w", "--", "x"]),
                "must be an absolute path, not `w`",
            ),
            (
                with(&["--permission-profile", "{}", "--", "x"]),
                "is there twice",
            ),
            (with(&["x"]), "`--` before the command is missing"),
            (with(&["--"]), "the command is missing"),
            (with(&[]), "the command is missing"),
            (
                parse(&["--permission-profile", "{}", "--", "x"])
                    .unwrap_err()
                    .to_string(),
                "`--sandbox-policy-cwd` is missing",
            ),
            (
                parse(&["--sandbox-policy-cwd", "/w", "--", "x"])
                    .unwrap_err()
                    .to_string(),
                "`--permission-profile` is missing",
            ),
        ];
        for (message, part) in cases {
            assert!(message.contains(part), "{message}, not {part}");
        }
    }
}
