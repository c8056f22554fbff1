//! Which file is meant.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::{Config, ConfigError, DefaultSelection, Definition, Origin, Problem, Transport};
use crate::env::LOCAL;

/// The file's name in its directory.
const NAME: &str = "environments.toml";

/// Variables that ask the reference for another transport, before it looks at any file.
const NOISE: [&str; 3] = [
    "CODEX_EXEC_SERVER_NOISE_REGISTRY_URL",
    "CODEX_EXEC_SERVER_NOISE_ENVIRONMENT_ID",
    "CODEX_EXEC_SERVER_NOISE_AUTH_TOKEN",
];

/// The variable for one environment, where there is no file.
const URL_VARIABLE: &str = "CODEX_EXEC_SERVER_URL";

/// The id of the environment that the variable defines.
const REMOTE: &str = "remote";

/// Whoever knows environment variables; [`std::env::var_os`] but in tests.
pub type Variables<'a> = &'a dyn Fn(&str) -> Option<OsString>;

/// The environments that the user has configured: in the file `named`, which must be there; else
/// in `environments.toml` of the directory `EXEC_SERVER_HOME`, else `CODEX_HOME`, else `~/.codex`;
/// and where that does not exist, in `CODEX_EXEC_SERVER_URL`. `user_home` is what `~` means.
///
/// # Errors
/// A file is unreadable or wrong, or a variable names a directory that is none. Nothing else is
/// tried then: work must not run in another place because of a slip of the pen.
pub fn configured(
    named: Option<&Path>,
    variables: Variables<'_>,
    user_home: Option<&Path>,
) -> Result<Config, ConfigError> {
    if let Some(path) = named {
        let config = Config::read(path)?;
        return config.ok_or_else(|| Problem::Missing(path.to_owned()).into());
    }
    // Blank counts as unset for all of them.
    let is_set = |name: &&&str| variables(name).is_some_and(|value| !is_blank(&value));
    if let Some(variable) = NOISE.iter().find(is_set) {
        return Err(Problem::Noise(variable).into());
    }
    if let Some(directory) = directory(variables, user_home)?
        && let Some(config) = Config::read(&directory.join(NAME))?
    {
        return Ok(config);
    }
    match variables(URL_VARIABLE).map(OsString::into_string) {
        None => Ok(of_url(None)),
        Some(Ok(value)) => Ok(of_url(Some(&value))),
        Some(Err(_)) => Err(Problem::Variable(URL_VARIABLE).into()),
    }
}

/// Where the file is looked for.
fn directory(
    variables: Variables<'_>,
    user_home: Option<&Path>,
) -> Result<Option<PathBuf>, ConfigError> {
    for (variable, owner) in [("EXEC_SERVER_HOME", "exec-server"), ("CODEX_HOME", "codex")] {
        let Some(value) = variables(variable).filter(|value| !value.is_empty()) else {
            continue;
        };
        let path = PathBuf::from(value);
        if path.is_dir() {
            return Ok(Some(path));
        }
        let exists = path.symlink_metadata().is_ok();
        return Err(Problem::Home {
            owner,
            variable,
            path,
            exists,
        }
        .into());
    }
    Ok(user_home.map(|home| home.join(".codex")))
}

/// What the variable says, which is taken as it is: a wrong URL is an error when it is used. Unset
/// or blank it means this machine, `none` no environment at all.
pub(crate) fn of_url(value: Option<&str>) -> Config {
    let value = value.map(str::trim).unwrap_or_default();
    let (default, environments) = if value.is_empty() {
        (DefaultSelection::Id(LOCAL.to_owned()), Vec::new())
    } else if value.eq_ignore_ascii_case("none") {
        (DefaultSelection::Disabled, Vec::new())
    } else {
        let definition = Definition {
            id: REMOTE.to_owned(),
            transport: Transport::from_url(value),
            connect_timeout: Definition::DEFAULT_TIMEOUT,
            initialize_timeout: Definition::DEFAULT_TIMEOUT,
            origin: Origin::Variable(URL_VARIABLE),
        };
        (DefaultSelection::Id(REMOTE.to_owned()), vec![definition])
    };
    Config {
        environments,
        default,
        include_local: value.is_empty(),
    }
}

fn is_blank(value: &OsString) -> bool {
    value.to_str().is_some_and(|value| value.trim().is_empty())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    /// A directory with `exec`, `codex` and `home/.codex` in it.
    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("home-{name}-{}", std::process::id()));
            let _ = fs::remove_dir_all(&path);
            for directory in ["exec", "codex", "home/.codex"] {
                fs::create_dir_all(path.join(directory)).expect("a directory");
            }
            Self(path)
        }

        /// A file with one environment of this id, which is also the default.
        fn write(&self, file: &str, id: &str) {
            let text =
                format!("default = \"{id}\"\n[[environments]]\nid = \"{id}\"\nurl = \"ws://h\"");
            fs::write(self.0.join(file), text).expect("a file");
        }

        /// The id of the default, or the error.
        fn default(
            &self,
            named: Option<&str>,
            variables: &[(&str, &str)],
        ) -> Result<String, String> {
            let variables = |name: &str| {
                let (_, value) = variables.iter().find(|(known, _)| *known == name)?;
                Some(OsString::from(value.replace("DIR", self.0.to_str()?)))
            };
            let named = named.map(|name| self.0.join(name));
            let config = configured(named.as_deref(), &variables, Some(&self.0.join("home")))
                .map_err(|error| {
                    error
                        .to_string()
                        .replace(self.0.to_str().expect("UTF-8"), "DIR")
                })?;
            match config.default {
                DefaultSelection::Id(id) => Ok(id),
                DefaultSelection::Disabled => Ok("none".into()),
            }
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    const EXEC: (&str, &str) = ("EXEC_SERVER_HOME", "DIR/exec");
    const CODEX: (&str, &str) = ("CODEX_HOME", "DIR/codex");
    const URL: (&str, &str) = ("CODEX_EXEC_SERVER_URL", "ws://h");

    #[test]
    fn the_first_place_in_order_is_read() {
        let scratch = Scratch::new("order");
        scratch.write("named.toml", "named");
        scratch.write("exec/environments.toml", "exec");
        scratch.write("codex/environments.toml", "codex");
        scratch.write("home/.codex/environments.toml", "user");
        for (named, variables, expected) in [
            (Some("named.toml"), &[EXEC, CODEX, URL][..], "named"),
            (None, &[EXEC, CODEX, URL], "exec"),
            (None, &[("EXEC_SERVER_HOME", ""), CODEX, URL], "codex"),
            (None, &[CODEX, URL], "codex"),
            (None, &[URL], "user"),
            (None, &[("CODEX_HOME", "")], "user"),
        ] {
            let found = scratch.default(named, variables);
            assert_eq!(found.as_deref(), Ok(expected), "{named:?} {variables:?}");
        }
    }

    #[test]
    fn a_missing_file_leaves_it_to_the_variable() {
        let scratch = Scratch::new("missing");
        for (variables, expected) in [
            (&[CODEX][..], "local"),
            (&[EXEC, URL], "remote"),
            (&[("CODEX_EXEC_SERVER_URL", "none")], "none"),
            (&[], "local"),
        ] {
            let found = scratch.default(None, variables);
            assert_eq!(found.as_deref(), Ok(expected), "{variables:?}");
        }
    }

    #[test]
    fn a_named_file_must_be_there() {
        let scratch = Scratch::new("named");
        assert_eq!(
            scratch.default(Some("no.toml"), &[]),
            Err(
                "exec-server protocol error: failed to read environment config `DIR/no.toml`: \
                 no such file"
                    .into()
            )
        );
    }

    #[test]
    fn a_home_that_is_no_directory_is_an_error() {
        let scratch = Scratch::new("home");
        fs::write(scratch.0.join("file"), "").expect("a file");
        for (variable, value, words) in [
            (
                "CODEX_HOME",
                "DIR/file",
                "Error finding codex home: CODEX_HOME points to \"DIR/file\", \
                 but that path is not a directory",
            ),
            (
                "EXEC_SERVER_HOME",
                "DIR/no",
                "Error finding exec-server home: EXEC_SERVER_HOME points to \"DIR/no\", \
                 but that path does not exist",
            ),
        ] {
            let found = scratch.default(None, &[(variable, value), URL]);
            assert_eq!(found, Err(words.into()));
        }
    }

    #[test]
    fn an_unreadable_file_is_an_error_and_nothing_else_is_tried() {
        let scratch = Scratch::new("unreadable");
        let file = scratch.0.join("codex/environments.toml");
        let read = "exec-server protocol error: failed to read environment config \
                    `DIR/codex/environments.toml`: ";

        fs::create_dir(&file).expect("a directory");
        assert_eq!(
            scratch.default(None, &[CODEX, URL]),
            Err(format!("{read}Is a directory (os error 21)"))
        );
        fs::remove_dir(&file).expect("removed");

        symlink("nowhere", &file).expect("a link");
        assert_eq!(
            scratch.default(None, &[CODEX, URL]),
            Err(format!("{read}No such file or directory (os error 2)"))
        );
        fs::remove_file(&file).expect("removed");

        fs::write(&file, vec![b'\n'; 1024 * 1024 + 1]).expect("a file");
        assert_eq!(
            scratch.default(None, &[CODEX, URL]),
            Err(format!("{read}it is larger than 1048576 bytes"))
        );

        fs::write(&file, "unknown = 1").expect("a file");
        let error = scratch.default(None, &[CODEX, URL]).expect_err("wrong");
        assert!(error.contains("unknown field `unknown`"), "{error}");
    }

    #[test]
    fn whether_a_file_is_there_must_be_known() {
        let scratch = Scratch::new("inspect");
        fs::remove_dir_all(scratch.0.join("home/.codex")).expect("removed");
        fs::write(scratch.0.join("home/.codex"), "").expect("a file");
        assert_eq!(
            scratch.default(None, &[]),
            Err(
                "exec-server protocol error: failed to inspect environment config \
                 `DIR/home/.codex/environments.toml`: Not a directory (os error 20)"
                    .into()
            )
        );
    }

    #[test]
    fn asking_for_another_transport_is_an_error_unless_a_file_is_named() {
        let scratch = Scratch::new("noise");
        scratch.write("named.toml", "named");
        let noise = ("CODEX_EXEC_SERVER_NOISE_AUTH_TOKEN", "t");
        let error = scratch.default(None, &[noise]).expect_err("not supported");
        assert!(
            error.starts_with(
                "environment registry configuration error: CODEX_EXEC_SERVER_NOISE_AUTH_TOKEN is set"
            ),
            "{error}"
        );
        assert_eq!(
            scratch.default(Some("named.toml"), &[noise]).as_deref(),
            Ok("named")
        );
        let blank = ("CODEX_EXEC_SERVER_NOISE_AUTH_TOKEN", " ");
        assert_eq!(scratch.default(None, &[blank]).as_deref(), Ok("local"));
    }
}
