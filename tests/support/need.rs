//! What a test needs of the machine, and a note of each test that is skipped for want of it.
//!
//! Whether it is there is asked of the kernel and of the file system, never of the program under test, and before the
//! test begins: a test that fails is not skipped. Where the environment is known to have what is needed, the test fails
//! instead: by name or all in EXEC_SERVER_TESTS_EXPECT, and for root in a CI run (the variable CI) whatever the kernel can.

use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::child;
use crate::sandbox::{Launcher, Who, is_root, lacking};

/// Something that not every machine has.
#[derive(Clone, Copy, Debug)]
pub enum Need {
    /// The tests run as root: to become another user, to give files away, to mount.
    Root,
    /// A loopback address of version 6.
    Ipv6,
    /// User namespaces with mount, pid and host name namespaces in them, as unshare makes them.
    Namespaces,
    /// Mount namespaces of root.
    MountNamespaces,
    /// File systems that a program serves, which python3 mounts.
    Fuse,
    /// A launcher of sandboxes that works for a user.
    Launcher(Launcher, Who),
    /// A kernel of this version or a newer one.
    Linux(u32, u32),
    /// The daemon of OpenSSH and its key generator.
    Sshd,
    /// The program strace, which the kernel lets trace.
    Strace,
    /// A python3 of this version or a newer one, with venv and pip.
    Python(u32, u32),
    /// A program in one of the system's directories.
    Program(&'static str),
    /// A file of this project that only some builds have.
    File(&'static str),
}

impl fmt::Display for Need {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => f.write_str("root"),
            Self::Ipv6 => f.write_str("ipv6"),
            Self::Namespaces => f.write_str("namespaces"),
            Self::MountNamespaces => f.write_str("mount-namespaces"),
            Self::Fuse => f.write_str("fuse"),
            Self::Launcher(launcher, Who::Myself) => write!(f, "{launcher}"),
            Self::Launcher(launcher, Who::Another) => write!(f, "{launcher}-as-another"),
            Self::Linux(major, minor) => write!(f, "linux-{major}.{minor}"),
            Self::Sshd => f.write_str("sshd"),
            Self::Strace => f.write_str("strace"),
            Self::Python(major, minor) => write!(f, "python-{major}.{minor}"),
            Self::Program(name) | Self::File(name) => f.write_str(name),
        }
    }
}

/// Why something is not there.
struct Lack {
    why: String,
    /// The kernel could; a program is missing or does not work.
    is_curable: bool,
}

impl Lack {
    fn of_the_kernel(why: impl Into<String>) -> Option<Self> {
        Some(Self {
            why: why.into(),
            is_curable: false,
        })
    }
}

impl Need {
    fn lacking(self) -> Option<Lack> {
        match self {
            Self::Root if is_root() => None,
            Self::Root => Lack::of_the_kernel("the tests run as another user"),
            Self::Ipv6 => match TcpListener::bind("[::1]:0") {
                Ok(_) => None,
                Err(error) => Lack::of_the_kernel(error.to_string()),
            },
            Self::Namespaces => {
                let kinds = [
                    "--user",
                    "--map-root-user",
                    "--mount",
                    "--uts",
                    "--pid",
                    "--fork",
                ];
                unshare(&kinds, can_unshare)
            }
            Self::MountNamespaces => unshare(&["--mount"], has_sys_admin),
            Self::Fuse => match fs::File::options().read(true).write(true).open("/dev/fuse") {
                Ok(_) => Self::Program("python3").lacking(),
                Err(error) => Lack::of_the_kernel(format!("/dev/fuse: {error}")),
            },
            Self::Launcher(launcher, who) => lacking(launcher, who).map(|why| Lack {
                why,
                is_curable: launcher == Launcher::System && can_unshare(),
            }),
            Self::Linux(major, minor) => {
                let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
                let mut numbers = release.split('.').map_while(|part| part.parse().ok());
                let found = (numbers.next(), numbers.next());
                match found >= (Some(major), Some(minor)) {
                    true => None,
                    false => Lack::of_the_kernel(format!("this is Linux {}", release.trim())),
                }
            }
            Self::Sshd => ["sshd", "ssh-keygen", "ssh"]
                .into_iter()
                .find_map(|name| Self::Program(name).lacking()),
            Self::Strace => Self::Program("strace").lacking().or_else(|| {
                let tried = Command::new("strace")
                    .args(["-f", "-o", "/dev/null", "true"])
                    .output();
                let why = match tried {
                    Ok(output) if output.status.success() => return None,
                    Ok(output) => String::from_utf8_lossy(&output.stderr).trim().to_owned(),
                    Err(error) => error.to_string(),
                };
                Lack::of_the_kernel(why)
            }),
            Self::Python(major, minor) => {
                let script = format!(
                    "import ensurepip, sys; sys.exit(sys.version_info < ({major}, {minor}))"
                );
                let tried = Command::new("python3").args(["-c", &script]).output();
                match tried {
                    Ok(output) if output.status.success() => None,
                    Ok(output) => Some(Lack {
                        why: format!(
                            "python3 is older or has no venv: {}",
                            String::from_utf8_lossy(&output.stderr).trim()
                        ),
                        is_curable: true,
                    }),
                    Err(error) => Some(Lack {
                        why: format!("python3: {error}"),
                        is_curable: true,
                    }),
                }
            }
            Self::Program(name) => {
                let places = ["/usr/sbin", "/usr/bin", "/sbin", "/bin"];
                match places
                    .iter()
                    .any(|place| Path::new(place).join(name).exists())
                {
                    true => None,
                    false => {
                        Lack::of_the_kernel(format!("there is no {name} in {}", places.join(":")))
                    }
                }
            }
            Self::File(name) => match Path::new(env!("CARGO_MANIFEST_DIR"))
                .join("../..")
                .join(name)
                .exists()
            {
                true => None,
                false => Lack::of_the_kernel(format!("there is no {name}")),
            },
        }
    }
}

/// What is wrong with unshare; `can` tells whether the kernel would do it.
fn unshare(kinds: &[&str], can: impl FnOnce() -> bool) -> Option<Lack> {
    let tried = Command::new("unshare")
        .args(kinds)
        .arg("true")
        .stdin(Stdio::null())
        .output();
    let why = match tried {
        Ok(output) if output.status.success() => return None,
        Ok(output) => String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        Err(error) => format!("unshare: {error}"),
    };
    Some(Lack {
        why,
        is_curable: can(),
    })
}

/// Whether the kernel makes user namespaces for us with mounts inside.
fn can_unshare() -> bool {
    let attempt = ["attempt", "in-userns", "mount-tmpfs", "/mnt"];
    let tried = Command::new(child()).args(attempt).output();
    tried.is_ok_and(|tried| tried.status.success() && !tried.stdout.starts_with(b"failed"))
}

fn has_sys_admin() -> bool {
    const CAP_SYS_ADMIN: u64 = 1 << 21;
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let set = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let set = set.and_then(|set| u64::from_str_radix(set.trim(), 16).ok());
    set.is_some_and(|set| set & CAP_SYS_ADMIN != 0)
}

/// Whether the machine has this. If not, the test of this thread is noted as skipped, and has to end.
#[must_use]
#[track_caller]
pub fn has(need: Need) -> bool {
    let Some(lack) = need.lacking() else {
        return true;
    };
    let expected = std::env::var("EXEC_SERVER_TESTS_EXPECT").unwrap_or_default();
    let name = need.to_string();
    let is_expected = expected
        .split(',')
        .any(|word| word == "all" || word == name)
        || lack.is_curable && is_root() && std::env::var_os("CI").is_some();
    assert!(
        !is_expected,
        "this machine should have {name}: {}",
        lack.why
    );
    let thread = std::thread::current();
    let test = thread.name().unwrap_or("a test");
    note(&format!(
        "skipped: {test}: needs {name}: {}\n",
        lack.why.replace('\n', " ")
    ));
    false
}

/// Adds a line to the file in EXEC_SERVER_TESTS_SKIPPED, which `make test` shows at its end; else shows it at once, past
/// the harness, which keeps what a good test says to itself.
fn note(line: &str) {
    let written = match std::env::var_os("EXEC_SERVER_TESTS_SKIPPED") {
        Some(path) => {
            let file = OpenOptions::new().create(true).append(true).open(path);
            file.and_then(|mut file| file.write_all(line.as_bytes()))
        }
        None => io::stderr().write_all(line.as_bytes()),
    };
    written.expect("a test that is skipped has to be noted");
}
