//! A server that confines by one launcher, as one user, and the ground that attacks happen on.

use std::fmt;
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

use super::{ORDINARY, Sandbox, is_root};
use crate::observed::Outcome;
use crate::{Client, Need, Scratch, Server, Start, child, has, scratch};

/// What confines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Launcher {
    /// The machine's own bwrap.
    System,
    /// The bwrap inside the program.
    Bundled,
    /// Landlock and seccomp, without namespaces.
    Landlock,
}

/// All of them, best first.
pub const LAUNCHERS: [Launcher; 3] = [Launcher::System, Launcher::Bundled, Launcher::Landlock];

impl fmt::Display for Launcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::System => "system",
            Self::Bundled => "bundled",
            Self::Landlock => "landlock",
        })
    }
}

impl Launcher {
    /// Why this machine cannot use it, found without the program under test.
    fn lacking(self, who: Who) -> Option<String> {
        match self {
            Self::System => {
                let mut bwrap = who.command("bwrap");
                bwrap.args([
                    "--unshare-user",
                    "--unshare-pid",
                    "--ro-bind",
                    "/",
                    "/",
                    "--proc",
                    "/proc",
                    "--perms",
                    "000",
                    "--tmpfs",
                    "/tmp",
                    "true",
                ]);
                fault(bwrap.output())
            }
            Self::Bundled if !is_bundled() => Some("built without bubblewrap".into()),
            Self::Bundled => {
                let mut probe = who.command(child());
                probe.args(["attempt", "in-userns", "mount-tmpfs", "/mnt"]);
                fault(probe.output())
            }
            Self::Landlock => {
                let mut probe = who.command(child());
                fault(probe.args(["attempt", "landlock"]).output())
            }
        }
    }
}

/// Whether the program under test has a bwrap inside.
fn is_bundled() -> bool {
    let version = crate::run(&["--version", "--verbose"]).stdout;
    let version = String::from_utf8(version).unwrap();
    let line = version
        .lines()
        .find_map(|line| line.strip_prefix("bubblewrap: "));
    line.is_some_and(|line| line.starts_with(|first: char| first.is_ascii_digit()))
}

/// What is wrong with a program that should have ended well and said no `failed`.
fn fault(ran: std::io::Result<Output>) -> Option<String> {
    match ran {
        Err(error) => Some(error.to_string()),
        Ok(ran) if !ran.status.success() || ran.stdout.starts_with(b"failed") => {
            let said = [ran.stdout, ran.stderr].concat();
            Some(String::from_utf8_lossy(&said).trim().to_string())
        }
        Ok(_) => None,
    }
}

/// Who the server runs as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// Whoever runs the tests.
    Myself,
    /// An ordinary user; only root can.
    Another,
}

impl Who {
    /// A command as this user.
    pub fn command(self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        self.apply(&mut command);
        command
    }

    /// Makes a command one of this user.
    pub fn apply(self, command: &mut Command) {
        command.env_remove("HOME");
        if self == Self::Another {
            command.uid(ORDINARY).gid(ORDINARY).current_dir("/");
        }
    }

    fn is_root(self) -> bool {
        self == Self::Myself && is_root()
    }
}

/// A server with its client, and a directory of the server's user that holds `workspace` and `outside`.
pub struct Stage {
    /// The client.
    pub client: Client,
    /// What confines.
    pub launcher: Launcher,
    /// Who the server runs as.
    pub who: Who,
    scratch: Scratch,
    starts: u32,
}

impl Stage {
    /// Sets it up; `None` if this machine cannot, and then says why.
    pub fn set(launcher: Launcher, who: Who) -> Option<Self> {
        Self::set_through(launcher, who, |command| command)
    }

    /// The same with a word in how the server is started.
    pub fn set_through(
        launcher: Launcher,
        who: Who,
        through: impl FnOnce(Command) -> Command,
    ) -> Option<Self> {
        if who == Who::Another && !has(Need::Root) || !has(Need::Launcher(launcher, who)) {
            return None;
        }
        let scratch = scratch();
        let mut server = Server::command();
        server.args([
            "--listen",
            "stdio",
            "--sandbox-launcher",
            &launcher.to_string(),
        ]);
        let mut server = through(server);
        who.apply(&mut server);
        let mut stage = Self {
            client: Client::stdio_command(server),
            launcher,
            who,
            scratch,
            starts: 0,
        };
        stage.own("");
        for name in ["workspace", "outside"] {
            stage.make_directory(name);
        }
        Some(stage)
    }

    /// The same with a copy of the program, which is made at this path for the server's user.
    pub fn set_with_own_program(
        launcher: Launcher,
        who: Who,
        copy: &str,
        through: impl FnOnce(&mut Command),
    ) -> Option<Self> {
        Self::set_through(launcher, who, |plain| {
            // By a process of its own: a descriptor of ours to write it would be in whatever another test starts meanwhile.
            let copied = Command::new("cp")
                .arg(plain.get_program())
                .arg(copy)
                .status();
            assert!(copied.unwrap().success());
            fs::set_permissions(copy, fs::Permissions::from_mode(0o755)).unwrap();
            if who == Who::Another {
                chown(copy, Some(ORDINARY), Some(ORDINARY)).unwrap();
            }
            let mut command = Command::new(copy);
            command.args(plain.get_args());
            through(&mut command);
            command
        })
    }

    /// Starts another server in the place of one that is gone.
    pub fn restart(&mut self) {
        let mut server = Server::command();
        server.args(["--listen", "stdio", "--sandbox-launcher"]);
        server.arg(self.launcher.to_string());
        self.who.apply(&mut server);
        self.client = Client::stdio_command(server);
    }

    /// Whether the server is root.
    pub fn is_root(&self) -> bool {
        self.who.is_root()
    }

    /// The path of a name in the stage's directory.
    pub fn path(&self, name: &str) -> String {
        self.scratch.path(name)
    }

    /// The directory that policies let programs change.
    pub fn workspace(&self) -> String {
        self.path("workspace")
    }

    /// The policy of a workspace that this launcher can enforce.
    ///
    /// Landlock cannot take anything out of a tree again, so there the protected names are permitted.
    pub fn policy(&self) -> Sandbox {
        let root = self.workspace();
        let policy = Sandbox::workspace(&root);
        if self.launcher != Launcher::Landlock {
            return policy;
        }
        [".git", ".codex", ".agents", ".aws"]
            .iter()
            .fold(policy, |policy, name| {
                policy.write(&format!("{root}/{name}"))
            })
    }

    /// Makes a directory that the server's user owns; gives its path.
    pub fn make_directory(&mut self, name: &str) -> String {
        let path = self.path(name);
        fs::create_dir_all(&path).unwrap();
        self.own(name);
        path
    }

    /// Makes a file that the server's user owns; gives its path.
    pub fn make_file(&mut self, name: &str, content: &str) -> String {
        let path = self.path(name);
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        self.own(name);
        path
    }

    fn own(&mut self, name: &str) {
        if self.who == Who::Another {
            let path = if name.is_empty() {
                self.scratch.dir()
            } else {
                self.path(name)
            };
            chown(path, Some(ORDINARY), Some(ORDINARY)).unwrap();
        }
    }

    /// Makes attempts under a policy.
    #[track_caller]
    pub fn confined(&mut self, policy: &Sandbox, attempts: &[&str]) -> Outcome {
        let start = self.attempt(attempts).with("sandbox", policy.json());
        self.client.run(start)
    }

    /// Makes the same attempts without one, to see that they work.
    #[track_caller]
    pub fn free(&mut self, attempts: &[&str]) -> Outcome {
        let start = self.attempt(attempts);
        self.client.run(start)
    }

    /// Fails unless the attempts work without a policy; the last counts.
    #[track_caller]
    pub fn works_free(&mut self, attempts: &[&str]) -> String {
        let outcome = self.free(attempts);
        let last = outcome.stdout.lines().last().unwrap_or_default();
        assert!(
            last.starts_with("did"),
            "without a sandbox, {attempts:?} should work: {outcome:?}"
        );
        last.trim_start_matches("did").trim().to_string()
    }

    /// Fails if the last of the attempts succeeds under a policy; gives what was said.
    #[track_caller]
    pub fn refuses(&mut self, policy: &Sandbox, attempts: &[&str]) -> Outcome {
        let outcome = self.confined(policy, attempts);
        let last = outcome.stdout.lines().last().unwrap_or_default();
        let killed = outcome.signal.is_some() || outcome.code >= 128;
        assert!(
            last.starts_with("failed") || killed,
            "{} as {:?}: {attempts:?} should be refused: {outcome:?}",
            self.launcher,
            self.who
        );
        outcome
    }

    /// Fails unless the last of the attempts succeeds under a policy; gives what it got.
    #[track_caller]
    pub fn allows(&mut self, policy: &Sandbox, attempts: &[&str]) -> String {
        let outcome = self.confined(policy, attempts);
        let last = outcome.stdout.lines().last().unwrap_or_default();
        assert!(
            last.starts_with("did"),
            "{} as {:?}: {attempts:?} should work: {outcome:?}",
            self.launcher,
            self.who
        );
        last.trim_start_matches("did").trim().to_string()
    }

    /// The start of a process that makes attempts.
    pub fn attempt(&mut self, attempts: &[&str]) -> Start {
        self.child(&[&["attempt"], attempts].concat())
    }

    /// The start of the child program, under an id of its own.
    pub fn child(&mut self, arguments: &[&str]) -> Start {
        self.starts += 1;
        Start::child(&format!("start-{}", self.starts), arguments)
    }

    /// A process of the same user that no sandbox has to do with.
    pub fn outsider(&self, arguments: &[&str]) -> Outsider {
        let mut command = self.who.command(child());
        command
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        Outsider(command.env("TEST_SECRET", SECRET).spawn().unwrap())
    }
}

/// What must stay unknown inside.
pub const SECRET: &str = "the-secret-of-the-host";

/// A process outside; ended with its test.
pub struct Outsider(std::process::Child);

impl Outsider {
    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Outsider {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Why this machine cannot use a launcher, looked up once each.
pub fn lacking(launcher: Launcher, who: Who) -> Option<String> {
    static FOUND: [OnceLock<Option<String>>; 6] = [const { OnceLock::new() }; 6];
    let index = launcher as usize * 2 + usize::from(who == Who::Another);
    FOUND[index].get_or_init(|| launcher.lacking(who)).clone()
}

/// Everything about the files below a directory that a program could change.
pub fn snapshot(root: &str) -> Vec<String> {
    let mut found = Vec::new();
    look(Path::new(root), &mut found);
    found.sort();
    found
}

fn look(path: &Path, found: &mut Vec<String>) {
    use std::os::unix::fs::MetadataExt;
    let status = fs::symlink_metadata(path).unwrap();
    let content = if status.is_file() {
        fs::read_to_string(path).unwrap()
    } else if status.is_symlink() {
        fs::read_link(path).unwrap().display().to_string()
    } else {
        String::new()
    };
    found.push(format!(
        "{} {:o} {}:{} links {} modified {}.{} {content:?}",
        path.display(),
        status.mode(),
        status.uid(),
        status.gid(),
        status.nlink(),
        status.mtime(),
        status.mtime_nsec(),
    ));
    if status.is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            look(&entry.unwrap().path(), found);
        }
    }
}
