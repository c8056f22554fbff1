//! Which files are meant.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::{
    Config, ConfigError, DefaultSelection, Definition, Origin, Problem, Sources, Transport, own,
};

/// The name of the file that the reference reads too, in its directory.
pub(super) const NAME: &str = "environments.toml";

/// Variables that ask the reference for another transport, before it looks at any file.
const NOISE: [&str; 3] = [
    "CODEX_EXEC_SERVER_NOISE_REGISTRY_URL",
    "CODEX_EXEC_SERVER_NOISE_ENVIRONMENT_ID",
    "CODEX_EXEC_SERVER_NOISE_AUTH_TOKEN",
];

/// The variable for one environment, where there is no file.
const URL_VARIABLE: &str = "CODEX_EXEC_SERVER_URL";

/// The variable for the directory in which every program has its own.
const XDG: &str = "XDG_CONFIG_HOME";

/// The id of the environment that the variable defines.
const REMOTE: &str = "remote";

/// Whoever knows environment variables; [`std::env::var_os`] but in tests.
pub type Variables<'a> = &'a dyn Fn(&str) -> Option<OsString>;

/// The environments that the user has configured: in the file or directory `named`, which must be
/// there; else in `environments.toml` and `exec-server.toml` of the directory `EXEC_SERVER_HOME`,
/// else `CODEX_HOME`, else `~/.codex`, and if that has neither, `exec-server` in `XDG_CONFIG_HOME`,
/// which is `~/.config` unless set; and where there is neither file, in `CODEX_EXEC_SERVER_URL`.
/// `user_home` is what `~` means.
///
/// # Errors
/// A file is unreadable or wrong, or a variable names a directory that is none. Nothing else is
/// tried then: work must not run in another place because of a slip of the pen.
pub fn configured(
    named: Option<&Path>,
    variables: Variables<'_>,
    user_home: Option<&Path>,
) -> Result<Config, ConfigError> {
    match named {
        Some(path) if path.is_dir() => {
            let config = Config::read_directory(path)?;
            return config.ok_or_else(|| Problem::Empty(path.to_owned()).into());
        }
        Some(path) => return Config::read(path),
        None => {}
    }
    // Blank counts as unset for all of them.
    let is_set = |name: &&&str| variables(name).is_some_and(|value| !is_blank(&value));
    if let Some(variable) = NOISE.iter().find(is_set) {
        return Err(Problem::Noise(variable).into());
    }
    let directories = directories(variables, user_home)?;
    for directory in &directories {
        if let Some(config) = Config::read_directory(directory)? {
            return Ok(config);
        }
    }
    let config = match variables(URL_VARIABLE).map(OsString::into_string) {
        None => of_url(None),
        Some(Ok(value)) => of_url(Some(&value)),
        Some(Err(_)) => return Err(Problem::Variable(URL_VARIABLE).into()),
    };
    Ok(Config {
        sources: Sources {
            directories,
            files: Vec::new(),
        },
        ..config
    })
}

/// Where the files are looked for, the first place first.
fn directories(
    variables: Variables<'_>,
    user_home: Option<&Path>,
) -> Result<Vec<PathBuf>, ConfigError> {
    let path_in = |name: &str| {
        let value = variables(name).filter(|value| !value.is_empty());
        value.map(PathBuf::from)
    };
    for (variable, owner) in [("EXEC_SERVER_HOME", "exec-server"), ("CODEX_HOME", "codex")] {
        let Some(path) = path_in(variable) else {
            continue;
        };
        if path.is_dir() {
            return Ok(vec![path]);
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
    // A relative one is to be ignored, as the specification of these directories has it. But who has
    // files of ours there means them.
    let (xdg, relative) = match path_in(XDG) {
        Some(path) if path.is_relative() => (None, Some(path)),
        path => (path, None),
    };
    let unread = relative.into_iter().flat_map(|path| {
        let ours = path.join("exec-server");
        [NAME, own::NAME].map(|name| ours.join(name))
    });
    if let Some(file) = unread
        .into_iter()
        .find(|file| file.symlink_metadata().is_ok())
    {
        return Err(Problem::RelativeHome(XDG, file).into());
    }
    let xdg = xdg.or_else(|| user_home.map(|home| home.join(".config")));
    let codex = user_home.map(|home| home.join(".codex"));
    let ours = xdg.map(|path| path.join("exec-server"));
    Ok(codex.into_iter().chain(ours).collect())
}

/// What the variable says, which is taken as it is: a wrong URL is an error when it is used. Unset
/// or blank it means this machine, `none` no environment at all.
pub(crate) fn of_url(value: Option<&str>) -> Config {
    let value = value.map(str::trim).unwrap_or_default();
    let mut config = Config::local_only();
    if value.is_empty() {
        return config;
    }
    config.include_local = false;
    if value.eq_ignore_ascii_case("none") {
        config.default = DefaultSelection::Disabled;
        return config;
    }
    config.default = DefaultSelection::Id(REMOTE.to_owned());
    config.environments.push(Definition {
        id: REMOTE.to_owned(),
        transport: Transport::from_url(value, None),
        connect_timeout: Definition::DEFAULT_TIMEOUT,
        initialize_timeout: Definition::DEFAULT_TIMEOUT,
        origin: Origin::Variable(URL_VARIABLE),
    });
    config
}

fn is_blank(value: &OsString) -> bool {
    value.to_str().is_some_and(|value| value.trim().is_empty())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    /// A directory with all those in it that are looked into.
    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("home-{name}-{}", std::process::id()));
            let _ = fs::remove_dir_all(&path);
            for directory in [
                "exec",
                "codex",
                "home/.codex",
                "home/.config/exec-server",
                "xdg/exec-server",
            ] {
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

        fn shown(&self, text: impl std::fmt::Display) -> String {
            let directory = self.0.to_str().expect("UTF-8");
            text.to_string().replace(directory, "DIR")
        }

        fn configured(
            &self,
            named: Option<&str>,
            variables: &[(&str, &str)],
        ) -> Result<Config, String> {
            let variables = |name: &str| {
                let (_, value) = variables.iter().find(|(known, _)| *known == name)?;
                Some(OsString::from(value.replace("DIR", self.0.to_str()?)))
            };
            let named = named.map(|name| self.0.join(name));
            configured(named.as_deref(), &variables, Some(&self.0.join("home")))
                .map_err(|error| self.shown(error))
        }

        /// The id of the default, or the error.
        fn default(
            &self,
            named: Option<&str>,
            variables: &[(&str, &str)],
        ) -> Result<String, String> {
            match self.configured(named, variables)?.default {
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
    const XDG: (&str, &str) = (super::XDG, "DIR/xdg");
    const URL: (&str, &str) = ("CODEX_EXEC_SERVER_URL", "ws://h");

    #[test]
    fn the_first_place_in_order_is_read() {
        let scratch = Scratch::new("order");
        scratch.write("named.toml", "named");
        scratch.write("exec/environments.toml", "exec");
        scratch.write("codex/environments.toml", "codex");
        scratch.write("home/.codex/environments.toml", "user");
        scratch.write("home/.config/exec-server/environments.toml", "config");
        scratch.write("xdg/exec-server/environments.toml", "xdg");
        for (named, variables, expected) in [
            (Some("named.toml"), &[EXEC, CODEX, URL][..], "named"),
            (Some("codex"), &[EXEC, URL], "codex"),
            (None, &[EXEC, CODEX, URL], "exec"),
            (None, &[("EXEC_SERVER_HOME", ""), CODEX, URL], "codex"),
            (None, &[CODEX, URL, XDG], "codex"),
            (None, &[URL, XDG], "user"),
            (None, &[("CODEX_HOME", "")], "user"),
        ] {
            let found = scratch.default(named, variables);
            assert_eq!(found.as_deref(), Ok(expected), "{named:?} {variables:?}");
        }
        // Either file keeps the directory of those without Codex from being read.
        let codex = scratch.0.join("home/.codex");
        fs::write(codex.join("exec-server.toml"), "default = \"none\"").expect("a file");
        fs::remove_file(codex.join("environments.toml")).expect("removed");
        assert_eq!(scratch.default(None, &[URL, XDG]).as_deref(), Ok("none"));
        fs::remove_file(codex.join("exec-server.toml")).expect("removed");
        for (variables, expected) in [
            (&[URL, XDG][..], "xdg"),
            (&[URL], "config"),
            (&[URL, ("XDG_CONFIG_HOME", "")], "config"),
            (&[URL, ("XDG_CONFIG_HOME", "relative")], "config"),
            (&[CODEX, XDG], "codex"),
        ] {
            let found = scratch.default(None, variables);
            assert_eq!(found.as_deref(), Ok(expected), "{variables:?}");
        }
    }

    #[test]
    fn our_file_alone_is_enough_and_both_are_told() {
        let scratch = Scratch::new("sources");
        let own = "default = \"near\"\n[environments.near]\nurl = \"unix:///run/x\"\n";
        fs::write(scratch.0.join("exec/exec-server.toml"), own).expect("a file");
        assert_eq!(scratch.default(None, &[EXEC, URL]).as_deref(), Ok("near"));
        let named = scratch.default(Some("exec/exec-server.toml"), &[]);
        assert_eq!(named.as_deref(), Ok("near"));
        let read = || {
            let config = scratch.configured(None, &[EXEC]).expect("good files");
            scratch.shown(&config.sources)
        };
        assert_eq!(read(), "DIR/exec/exec-server.toml");
        scratch.write("exec/environments.toml", "far");
        assert_eq!(
            read(),
            "DIR/exec/environments.toml and DIR/exec/exec-server.toml"
        );
        assert_eq!(scratch.default(None, &[EXEC]).as_deref(), Ok("near"));
        let nothing = scratch.configured(None, &[XDG]).expect("nothing");
        assert_eq!(
            scratch.shown(&nothing.sources),
            "neither environments.toml nor exec-server.toml is in DIR/home/.codex or \
             DIR/xdg/exec-server"
        );
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
    fn what_is_named_must_be_there() {
        let scratch = Scratch::new("named");
        for (named, words) in [
            (
                "no.toml",
                "failed to read environment config `DIR/no.toml`: no such file",
            ),
            (
                "exec",
                "neither environments.toml nor exec-server.toml is in `DIR/exec`",
            ),
        ] {
            assert_eq!(scratch.default(Some(named), &[]), Err(words.into()));
        }
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

        fs::remove_file(&file).expect("removed");
        let made = std::process::Command::new("mkfifo").arg(&file).status();
        assert!(made.is_ok_and(|status| status.success()));
        assert_eq!(
            scratch.default(None, &[CODEX, URL]),
            Err(format!("{read}it is not a regular file"))
        );
        fs::remove_file(&file).expect("removed");

        let own = scratch.0.join("codex/exec-server.toml");
        symlink("nowhere", &own).expect("a link");
        let error = scratch
            .default(None, &[CODEX, URL])
            .expect_err("unreadable");
        assert!(error.starts_with("failed to read"), "{error}");
        fs::remove_file(&own).expect("removed");

        fs::write(&file, "unknown = 1").expect("a file");
        let error = scratch.default(None, &[CODEX, URL]).expect_err("wrong");
        assert!(error.contains("unknown field `unknown`"), "{error}");
    }

    #[test]
    fn a_directory_that_is_a_link_to_nowhere_is_an_error() {
        let scratch = Scratch::new("dangling");
        for link in ["home/.codex", "home/.config/exec-server", "home/.config"] {
            let place = scratch.0.join(link);
            fs::remove_dir_all(&place).expect("removed");
            symlink("nowhere", &place).expect("a link");
            let error = scratch.default(None, &[URL]).expect_err("no directory");
            let words = format!("`DIR/{link}` is a link that leads nowhere");
            assert!(error.ends_with(&words), "{error}");
            fs::remove_file(&place).expect("removed");
        }
        // Where there is nothing at all, nothing is meant.
        assert_eq!(scratch.default(None, &[URL]).as_deref(), Ok("remote"));
    }

    #[test]
    fn a_file_that_somebody_else_can_write_is_not_read() {
        use std::os::unix::fs::PermissionsExt;
        let scratch = Scratch::new("writable");
        scratch.write("exec/environments.toml", "exec");
        let set = |name: &str, mode| {
            let mode = fs::Permissions::from_mode(mode);
            fs::set_permissions(scratch.0.join(name), mode).expect("a mode");
        };
        let file = "exec/environments.toml";
        for (name, mode, usual) in [(file, 0o666, 0o644), ("exec", 0o777, 0o755)] {
            set(name, mode);
            for named in [None, Some(file), Some("exec")] {
                let error = scratch.default(named, &[EXEC]).expect_err("not ours alone");
                let words = format!(
                    "another user can have written it: every user of this machine can write to \
                     DIR/{name}; chmod o-w DIR/{name}"
                );
                assert!(error.ends_with(&words), "{error}");
            }
            set(name, usual);
        }
        // As of /tmp.
        set("exec", 0o1777);
        assert_eq!(scratch.default(None, &[EXEC]).as_deref(), Ok("exec"));
    }

    #[test]
    fn whether_a_file_is_there_must_be_known() {
        let scratch = Scratch::new("inspect");
        for directory in ["home/.config/exec-server", "home/.codex"] {
            fs::remove_dir_all(scratch.0.join(directory)).expect("removed");
            fs::write(scratch.0.join(directory), "").expect("a file");
            assert_eq!(
                scratch.default(None, &[]),
                Err(format!(
                    "exec-server protocol error: failed to inspect environment config \
                     `DIR/{directory}/environments.toml`: Not a directory (os error 20)"
                ))
            );
        }
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
