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
mod tests;
