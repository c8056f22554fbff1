//! Which file is meant.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::{Config, ConfigError, Problem};
use crate::env::provider::{EnvironmentProvider, FileProvider, UrlProvider};

/// The file's name in its directory.
const NAME: &str = "environments.toml";

/// Variables that ask the reference for another transport, before it looks at any file.
const NOISE: [&str; 3] = [
    "CODEX_EXEC_SERVER_NOISE_REGISTRY_URL",
    "CODEX_EXEC_SERVER_NOISE_ENVIRONMENT_ID",
    "CODEX_EXEC_SERVER_NOISE_AUTH_TOKEN",
];

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
) -> Result<Box<dyn EnvironmentProvider>, ConfigError> {
    if let Some(path) = named {
        let config = Config::read(path)?;
        let config = config.ok_or_else(|| Problem::Missing(path.to_owned()))?;
        return Ok(Box::new(FileProvider::new(config)));
    }
    // Blank counts as unset for all of them.
    let is_set = |name: &&&str| variables(name).is_some_and(|value| !is_blank(&value));
    if let Some(variable) = NOISE.iter().find(is_set) {
        return Err(Problem::Noise(variable).into());
    }
    if let Some(directory) = directory(variables, user_home)?
        && let Some(config) = Config::read(&directory.join(NAME))?
    {
        return Ok(Box::new(FileProvider::new(config)));
    }
    Ok(Box::new(UrlProvider::from_variables(variables)?))
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

fn is_blank(value: &OsString) -> bool {
    value.to_str().is_some_and(|value| value.trim().is_empty())
}

#[cfg(test)]
mod tests;
