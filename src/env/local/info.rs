//! What this machine tells a client about itself.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::cgroup;
use crate::rpc::methods::extensions;
use crate::rpc::methods::session::{Capabilities, EnvironmentInfo, ExecServer, Shell};
use crate::rpc::path_uri::{resolve_dots, to_uri};
use crate::sys::process;

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The shells that clients know how to address.
const KNOWN_SHELLS: [&str; 3] = ["bash", "zsh", "sh"];

/// Describes this machine, with all extensions. Reads one small file and asks for the metadata of a shell or two; the answer does not change while we run.
pub fn environment_info() -> EnvironmentInfo {
    // Without a list of users there is still $HOME and a default shell.
    let users = fs::read("/etc/passwd").unwrap_or_default();
    let entry = find_user(&users, process::user_id());
    let cwd = std::env::current_dir().ok();
    let variable = |name| std::env::var_os(name).and_then(|path| absolute(cwd.as_deref(), path));

    let temporary = variable("TMPDIR").map(|path| to_uri(&path));
    EnvironmentInfo {
        shell: shell(entry.map(|entry| entry.shell), is_program),
        executor_version: VERSION.into(),
        cwd: cwd.as_deref().map(to_uri),
        user_home_dir: HomeInfo::find().user,
        platform_os: std::env::consts::OS.into(),
        prepend_path_dirs: Vec::new(),
        temporary_directories: temporary.iter().cloned().collect(),
        temp_dir: temporary.unwrap_or_else(|| to_uri(Path::new("/tmp"))),
        capabilities: Capabilities {
            file_write_streaming: true,
            fs_watch_missing: true,
            sandboxed_file_streaming: true,
            exec_server: ExecServer {
                version: VERSION.into(),
                extensions: extensions().map(Into::into).collect(),
                sandbox: None,
            },
            ..Capabilities::default()
        },
        cgroup: cgroup::limits(),
    }
}

/// Whose machine this is; asked anew each time, for it is asked once a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HomeInfo {
    /// The user's home, as a URI; absent if there is none.
    pub user: Option<String>,
    /// Where the client's software keeps its own files here, as a URI.
    pub codex: Option<String>,
    /// The machine's name.
    pub hostname: Option<String>,
}

impl HomeInfo {
    /// Reads the environment, and a small file or two.
    pub fn find() -> Self {
        let user = user_home();
        let codex = std::env::var_os("CODEX_HOME").and_then(from_here);
        let codex = codex.or_else(|| Some(user.as_ref()?.join(".codex")));
        let hostname = fs::read_to_string("/proc/sys/kernel/hostname").ok();
        Self {
            user: user.map(|path| to_uri(&path)),
            codex: codex.map(|path| to_uri(&path)),
            hostname: hostname.map(|name| name.trim_end().to_owned()),
        }
    }
}

/// The user's home: `HOME`, else what the list of users says. Reads a small file at most.
pub fn user_home() -> Option<PathBuf> {
    let from_users = || {
        let users = fs::read("/etc/passwd").ok()?;
        from_here(find_user(&users, process::user_id())?.home.into())
    };
    std::env::var_os("HOME")
        .and_then(from_here)
        .or_else(from_users)
}

fn from_here(path: OsString) -> Option<PathBuf> {
    absolute(std::env::current_dir().ok().as_deref(), path)
}

/// The user's shell if a client can use it, as it cannot `nologin`, else the best there is.
fn shell(users: Option<&Path>, is_program: impl Fn(&Path) -> bool) -> Shell {
    let candidates = [users, Some(Path::new("/bin/bash"))];
    let usable = |path: &&Path| {
        let name = path.file_name().and_then(|name| name.to_str());
        name.is_some_and(|name| KNOWN_SHELLS.contains(&name))
            && path.to_str().is_some()
            && is_program(path)
    };
    let path = candidates.into_iter().flatten().find(usable);
    let path = path.unwrap_or(Path::new("/bin/sh"));
    let name = path.file_name().unwrap_or(path.as_os_str());
    Shell {
        name: name.to_string_lossy().into_owned(),
        path: path.to_string_lossy().into_owned(),
    }
}

fn is_program(path: &Path) -> bool {
    path.is_absolute()
        && fs::metadata(path)
            .is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

/// A path from the environment as clients understand it; none if it is empty, which means unset.
fn absolute(cwd: Option<&Path>, path: OsString) -> Option<PathBuf> {
    let path = PathBuf::from(path);
    if path.as_os_str().is_empty() {
        return None;
    }
    let joined = if path.is_absolute() {
        path
    } else {
        cwd?.join(path)
    };
    Some(resolve_dots(joined.as_os_str().as_bytes()))
}

/// What the system's list of users says about one. It is read by hand: a static binary has no name
/// service to ask, and a directory service that the machine asks for users must not delay our start. Either path may be empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct UserEntry<'a> {
    home: &'a Path,
    shell: &'a Path,
}

/// The first entry of that user id in the text of `/etc/passwd`.
fn find_user(passwd: &[u8], user_id: u32) -> Option<UserEntry<'_>> {
    let id = user_id.to_string();
    passwd.split(|byte| *byte == b'\n').find_map(|line| {
        // name:password:uid:gid:comment:home:shell
        let mut fields = line.split(|byte| *byte == b':').skip(2);
        if fields.next() != Some(id.as_bytes()) {
            return None;
        }
        let mut path = |skip| fields.nth(skip).map(OsStr::from_bytes).map(Path::new);
        Some(UserEntry {
            home: path(2)?,
            shell: path(0)?,
        })
    })
}

#[cfg(test)]
mod tests {

    use super::*;

    #[test]
    fn the_users_shell_is_taken_if_a_client_can_use_it() {
        let all = |_: &Path| true;
        let none = |_: &Path| false;
        let no_bash = |path: &Path| !path.ends_with("bash");
        let chosen = |users: Option<&str>, exists: &dyn Fn(&Path) -> bool| {
            let shell = shell(users.map(Path::new), exists);
            format!("{} {}", shell.name, shell.path)
        };
        assert_eq!(chosen(Some("/usr/bin/zsh"), &all), "zsh /usr/bin/zsh");
        assert_eq!(chosen(Some("/bin/sh"), &all), "sh /bin/sh");
        for odd in ["/usr/sbin/nologin", "/bin/false", "/usr/bin/fish", ""] {
            assert_eq!(chosen(Some(odd), &all), "bash /bin/bash");
            assert_eq!(chosen(Some(odd), &no_bash), "sh /bin/sh");
        }
        assert_eq!(chosen(None, &all), "bash /bin/bash");
        assert_eq!(chosen(Some("/opt/bash"), &none), "sh /bin/sh");
    }

    #[test]
    fn paths_of_the_environment_are_made_absolute_and_clean() {
        let cwd = Some(Path::new("/w"));
        for (path, expected) in [
            ("/var/tmp/../x", Some("/var/x")),
            ("rel/./y", Some("/w/rel/y")),
            ("", None),
        ] {
            assert_eq!(absolute(cwd, path.into()), expected.map(PathBuf::from));
        }
        assert_eq!(absolute(None, "rel".into()), None);
    }

    #[test]
    fn this_machine_has_a_shell_and_says_only_uris() {
        let info = environment_info();
        assert!(Path::new(&info.shell.path).is_absolute());
        assert!(KNOWN_SHELLS.contains(&info.shell.name.as_str()));
        assert_eq!(info.platform_os, "linux");
        let uris = [info.cwd, info.user_home_dir, Some(info.temp_dir)];
        assert!(
            uris.into_iter()
                .flatten()
                .all(|uri| uri.starts_with("file:///"))
        );
    }

    #[test]
    fn entries_are_found_by_user_id() {
        let passwd = b"root:x:0:0:root:/root:/bin/bash\n\n# odd\nshort:x:7:7\n\
            a:x:70:0::/home/a:\na2:x:70:0:second:/no:/no\nb:x:7:7:x,y:/home/\xff:/bin/sh";
        let entry = |home: &'static [u8], shell: &'static str| {
            Some(UserEntry {
                home: Path::new(OsStr::from_bytes(home)),
                shell: Path::new(shell),
            })
        };
        assert_eq!(find_user(passwd, 0), entry(b"/root", "/bin/bash"));
        assert_eq!(find_user(passwd, 70), entry(b"/home/a", ""));
        assert_eq!(find_user(passwd, 7), entry(b"/home/\xff", "/bin/sh"));
        assert_eq!(find_user(passwd, 1), None);
    }
}
