//! What this machine tells a client about itself, and the limits of its control group.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::rpc::methods::extensions;
use crate::rpc::methods::session::{
    Capabilities, CgroupLimits, EnvironmentInfo, ExecServer, Shell,
};
use crate::rpc::path_uri::{resolve_dots, to_uri};
use crate::sys::process;
use crate::sys::spawn::DEFAULT_PATH;

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The shells that clients know how to address.
const KNOWN_SHELLS: [&str; 3] = ["bash", "zsh", "sh"];

/// Where control groups are mounted on every distribution.
const MOUNT: &str = "/sys/fs/cgroup";
/// A version 1 limit from here on means none: the kernel rounds "unlimited" to pages.
const NO_LIMIT: u64 = 1 << 60;

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
            capability_discovery_sandbox: true,
            environment_config_read: true,
            sandboxed_file_streaming: true,
            exec_server: ExecServer {
                version: VERSION.into(),
                extensions: extensions().map(Into::into).collect(),
                sandbox: None,
            },
            ..Capabilities::default()
        },
        cgroup: cgroup_limits(),
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
        let hostname = fs::read_to_string("/proc/sys/kernel/hostname").ok();
        Self {
            user: user_home().map(|path| to_uri(&path)),
            codex: codex_home().map(|path| to_uri(&path)),
            hostname: hostname.map(|name| name.trim_end().to_owned()),
        }
    }
}

/// Where the client's software keeps its own files here: `CODEX_HOME`, else `.codex` in the home.
pub(crate) fn codex_home() -> Option<PathBuf> {
    let named = std::env::var_os("CODEX_HOME").and_then(from_here);
    named.or_else(|| Some(user_home()?.join(".codex")))
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

/// What a login of this user sets: `PATH`, and what the list of users says, if it knows the user.
/// Reads a small file.
pub(crate) fn login_variables() -> Vec<(OsString, OsString)> {
    let users = fs::read("/etc/passwd").unwrap_or_default();
    let mut variables = vec![("PATH", OsStr::new(DEFAULT_PATH))];
    if let Some(entry) = find_user(&users, process::user_id()) {
        variables.extend([
            ("HOME", entry.home.as_os_str()),
            ("SHELL", entry.shell.as_os_str()),
            ("USER", entry.name),
        ]);
    }
    let is_known = |(_, value): &(&str, &OsStr)| !value.is_empty();
    let known = variables.into_iter().filter(is_known);
    known
        .map(|(name, value)| (name.into(), value.into()))
        .collect()
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
    name: &'a OsStr,
    home: &'a Path,
    shell: &'a Path,
}

/// The first entry of that user id in the text of `/etc/passwd`.
fn find_user(passwd: &[u8], user_id: u32) -> Option<UserEntry<'_>> {
    let id = user_id.to_string();
    passwd.split(|byte| *byte == b'\n').find_map(|line| {
        // name:password:uid:gid:comment:home:shell
        let mut fields = line.split(|byte| *byte == b':');
        let name = fields.next().map(OsStr::from_bytes)?;
        if fields.nth(1) != Some(id.as_bytes()) {
            return None;
        }
        let mut path = |skip| fields.nth(skip).map(OsStr::from_bytes).map(Path::new);
        Some(UserEntry {
            name,
            home: path(2)?,
            shell: path(0)?,
        })
    })
}

/// How much memory our group, or one around it, lets all its programs have.
pub fn memory_limit() -> Option<u64> {
    cgroup_limits()?.memory_limit_bytes
}

/// The tightest limits of our group and the groups around it; `None` if there are none.
fn cgroup_limits() -> Option<CgroupLimits> {
    let membership = fs::read_to_string("/proc/self/cgroup").ok()?;
    read_limits(Path::new(MOUNT), &membership)
}

/// Reads `membership` (the text of `/proc/self/cgroup`) against the hierarchies below `mount`.
fn read_limits(mount: &Path, membership: &str) -> Option<CgroupLimits> {
    let mut limits = CgroupLimits::default();
    for line in membership.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(group)) = (parts.next(), parts.next()) else {
            continue;
        };
        if controllers.is_empty() {
            for root in [mount.to_owned(), mount.join("unified")] {
                for_each_group(&root, group, |dir| {
                    tighten_cpu(&mut limits, cpu_max(dir));
                    tighten_memory(&mut limits, number(dir, "memory.max"));
                });
            }
            continue;
        }
        for controller in controllers.split(',') {
            // Joined hierarchies have a link for each of their controllers.
            let root = mount.join(controller);
            for_each_group(&root, group, |dir| match controller {
                "cpu" => tighten_cpu(&mut limits, cfs_quota(dir)),
                "memory" => tighten_memory(&mut limits, number(dir, "memory.limit_in_bytes")),
                _ => {}
            });
        }
    }
    (limits != CgroupLimits::default()).then_some(limits)
}

/// Visits a group and all above it. In a container the group's own directory
/// may be invisible, and the container's is the root.
fn for_each_group(root: &Path, group: &str, mut visit: impl FnMut(&Path)) {
    let group = Path::new(group.trim_start_matches('/'));
    if group.components().any(|part| part.as_os_str() == "..") {
        return visit(root);
    }
    for ancestor in group.ancestors() {
        visit(&root.join(ancestor));
    }
}

fn tighten_cpu(limits: &mut CgroupLimits, found: Option<f64>) {
    if let Some(found) = found.filter(|found| found.is_finite()) {
        limits.cpu_limit = Some(limits.cpu_limit.map_or(found, |known| known.min(found)));
    }
}

fn tighten_memory(limits: &mut CgroupLimits, found: Option<u64>) {
    if let Some(found) = found.filter(|found| *found < NO_LIMIT) {
        let known = limits.memory_limit_bytes;
        limits.memory_limit_bytes = Some(known.map_or(found, |known| known.min(found)));
    }
}

/// Version 2: quota and period in one file; the quota may be `max`.
fn cpu_max(dir: &Path) -> Option<f64> {
    let text = fs::read_to_string(dir.join("cpu.max")).ok()?;
    let (quota, period) = text.trim().split_once(' ')?;
    share(quota.parse().ok()?, period.parse().ok()?)
}

/// Version 1: a quota of -1 is none.
fn cfs_quota(dir: &Path) -> Option<f64> {
    let quota = number(dir, "cpu.cfs_quota_us")?;
    share(quota, number(dir, "cpu.cfs_period_us")?)
}

fn share(quota: u64, period: u64) -> Option<f64> {
    (period > 0).then(|| quota as f64 / period as f64)
}

fn number(dir: &Path, file: &str) -> Option<u64> {
    fs::read_to_string(dir.join(file)).ok()?.trim().parse().ok()
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
        let entry = |name: &'static str, home: &'static [u8], shell: &'static str| {
            Some(UserEntry {
                name: OsStr::new(name),
                home: Path::new(OsStr::from_bytes(home)),
                shell: Path::new(shell),
            })
        };
        assert_eq!(find_user(passwd, 0), entry("root", b"/root", "/bin/bash"));
        assert_eq!(find_user(passwd, 70), entry("a", b"/home/a", ""));
        assert_eq!(find_user(passwd, 7), entry("b", b"/home/\xff", "/bin/sh"));
        assert_eq!(find_user(passwd, 1), None);
    }

    /// A made-up hierarchy of control groups; removed when dropped.
    struct Tree(std::path::PathBuf);

    impl Tree {
        fn new(name: &str, files: &[(&str, &str)]) -> Self {
            let root = std::env::temp_dir().join(format!("cgroup-{name}-{}", std::process::id()));
            for (path, text) in files {
                let path = root.join(path);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, text).unwrap();
            }
            Self(root)
        }
    }

    impl Drop for Tree {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn limits(cpu: Option<f64>, memory: Option<u64>) -> Option<CgroupLimits> {
        Some(CgroupLimits {
            cpu_limit: cpu,
            memory_limit_bytes: memory,
        })
    }

    #[test]
    fn the_tightest_limit_on_the_way_up_counts() {
        let tree = Tree::new(
            "v2",
            &[
                ("a/cpu.max", "150000 100000\n"),
                ("a/memory.max", "max\n"),
                ("a/b/cpu.max", "max 100000\n"),
                ("a/b/memory.max", "1073741824\n"),
                ("a/b/c/memory.max", "4294967296\n"),
            ],
        );
        assert_eq!(
            read_limits(&tree.0, "0::/a/b/c\n"),
            limits(Some(1.5), Some(1 << 30))
        );
        assert_eq!(read_limits(&tree.0, "0::/a\n"), limits(Some(1.5), None));
        assert_eq!(read_limits(&tree.0, "0::/\n"), None);
        assert_eq!(read_limits(&tree.0, "0::/../../a\n"), None);
    }

    #[test]
    fn version_1_is_read_too() {
        let tree = Tree::new(
            "v1",
            &[
                ("cpu/cpu.cfs_quota_us", "50000\n"),
                ("cpu/cpu.cfs_period_us", "100000\n"),
                ("memory/memory.limit_in_bytes", "9223372036854771712\n"),
                ("memory/docker/x/memory.limit_in_bytes", "536870912\n"),
            ],
        );
        let membership = "4:memory:/docker/x\n3:cpu,cpuacct:/docker/x\n1:name=systemd:/docker/x\n";
        assert_eq!(
            read_limits(&tree.0, membership),
            limits(Some(0.5), Some(512 << 20))
        );
        let unlimited = Tree::new("v1-none", &[("cpu/cpu.cfs_quota_us", "-1\n")]);
        assert_eq!(read_limits(&unlimited.0, membership), None);
        assert_eq!(read_limits(&unlimited.0, "nonsense\n"), None);
    }
}
