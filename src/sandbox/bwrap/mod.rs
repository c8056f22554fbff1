//! A plan in the words of bubblewrap.
//!
//! Everything but the command goes through `--args`, from a sealed file in memory: no limit of a command line, nothing
//! for `ps` to show, and no text of a client where an option could be read. The command follows a `--`.
//!
//! bwrap gets descriptors from [`FIRST_DESCRIPTOR`] on, and uses up or closes each before the command starts.

use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::{fmt, io};

use super::mounts::{Action, Mount, MountPlan};
use super::policy::Network;
use crate::sys::memfd;
use crate::sys::process::user_id;

/// The number of the first descriptor of [`Arguments`] in the process that becomes bwrap; the others follow it.
const FIRST_DESCRIPTOR: usize = 3 + super::inside::DESCRIPTORS;

/// Where `/proc` comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proc {
    /// A new one, of the new pid namespace.
    Mount,
    /// What is in this directory of the host, read-only.
    Replacement(PathBuf),
    /// An empty directory.
    Empty,
}

/// What is run in the sandbox, and how.
#[derive(Debug)]
pub struct Run {
    /// The program and its arguments; not empty.
    pub argv: Vec<OsString>,
    /// A descriptor of bwrap's to be mounted, read-only, at a path.
    pub program: Option<(i32, &'static str)>,
    /// Where `/proc` comes from.
    pub proc: Proc,
}

/// The command line of bwrap, from its first argument on.
#[derive(Debug)]
pub struct Arguments {
    /// The arguments.
    pub args: Vec<OsString>,
    /// Become the descriptors [`FIRST_DESCRIPTOR`] and following, open across the exec.
    pub descriptors: Vec<OwnedFd>,
}

/// Why a plan cannot be said in the words of a bwrap.
#[derive(Debug)]
pub enum ArgumentsError {
    /// More words than any bwrap reads.
    TooLong {
        /// How many it would be.
        count: usize,
    },
    /// The option that this bwrap lacks.
    Lacks(&'static str),
    /// No descriptor, or no file in memory.
    Resources(io::Error),
}

impl fmt::Display for ArgumentsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong { count } => write!(
                f,
                "the sandbox needs {count} words for bwrap, which reads {} at most; \
                 deny directories instead of what is in them",
                MAX_WORDS
            ),
            Self::Lacks(option) => write!(f, "this bwrap has no `{option}`, which is needed here"),
            Self::Resources(error) => {
                write!(f, "cannot hand the sandbox's description over: {error}")
            }
        }
    }
}

impl std::error::Error for ArgumentsError {}

/// What the first process inside keeps until it has set up the rest: to mount, and to give up even the right to regain
/// these. Over the sandbox's own namespaces only.
const KEPT: [&str; 2] = ["CAP_SYS_ADMIN", "CAP_SETPCAP"];

/// Words that every version of bwrap reads, those of `--args` included.
const MAX_WORDS: usize = 9000;

/// The command line for a plan. The plan, with what it holds, must outlive the sandbox.
///
/// # Errors
/// The bwrap lacks what the plan needs, or a descriptor cannot be had.
pub fn arguments(
    plan: &MountPlan,
    capabilities: &Capabilities,
    run: Run,
) -> Result<Arguments, ArgumentsError> {
    if !capabilities.perms {
        return Err(ArgumentsError::Lacks("--perms"));
    }
    let mut words = Words {
        has_bind_fd: capabilities.bind_fd,
        bytes: Vec::new(),
        count: 0,
        descriptors: Vec::new(),
    };
    words.isolate(plan.network);
    for mount in &plan.mounts {
        words
            .mount(mount, &run.proc)
            .map_err(ArgumentsError::Resources)?;
    }
    if let Some((number, place)) = run.program {
        let number = number.to_string();
        words.add(&["--ro-bind-fd".as_ref(), number.as_ref(), place.as_ref()]);
    }
    // The first process enters the client's directory itself: bwrap would follow links of /proc to what it holds open.
    words.options(&["--chdir", "/"]);
    words.finish(run.argv)
}

/// Words for `--args`, each ended by a NUL.
struct Words {
    has_bind_fd: bool,
    bytes: Vec<u8>,
    count: usize,
    descriptors: Vec<OwnedFd>,
}

impl Words {
    fn add(&mut self, words: &[&OsStr]) {
        self.count += words.len();
        for word in words {
            self.bytes.extend_from_slice(word.as_bytes());
            self.bytes.push(0);
        }
    }

    fn options(&mut self, options: &[&str]) {
        for option in options {
            self.add(&[option.as_ref()]);
        }
    }

    fn isolate(&mut self, network: Network) {
        // bwrap's own first process would hold what it has open of the host for a moment, where a program could see it.
        self.options(&["--die-with-parent", "--as-pid-1"]);
        // The user namespace is asked for by name: for root bwrap would leave it out.
        self.options(&["--unshare-user", "--unshare-pid", "--unshare-ipc"]);
        if network == Network::Restricted {
            self.options(&["--unshare-net"]);
        }
        self.options(&["--cap-drop", "ALL"]);
        for capability in KEPT {
            self.options(&["--cap-add", capability]);
        }
    }

    fn mount(&mut self, mount: &Mount, proc: &Proc) -> io::Result<()> {
        let target = mount.target.as_os_str();
        match &mount.action {
            Action::Bind { source, writable } => {
                let option = if *writable { "--bind" } else { "--ro-bind" };
                let number = self.borrowed(source.fd.as_fd())?;
                if self.has_bind_fd {
                    let option = format!("{option}-fd");
                    self.add(&[option.as_ref(), &number, target]);
                } else {
                    // By its path it could have become a link to something else meanwhile.
                    let source = Path::new("/proc/self/fd").join(number);
                    self.add(&[option.as_ref(), source.as_os_str(), target]);
                }
            }
            Action::Empty { mode } => self.empty(*mode, target),
            Action::Link { target: says } => {
                self.add(&["--symlink".as_ref(), says.as_os_str(), target]);
            }
            Action::Devices => self.add(&["--dev".as_ref(), target]),
            Action::Seal => self.seal(target),
            Action::Proc => match proc {
                Proc::Mount => {
                    self.add(&["--proc".as_ref(), target]);
                    // Root stays the owner of what governs the whole machine, such as the program that a core dump
                    // starts on the host, and needs no capability to write it.
                    if user_id() == 0 {
                        self.seal(target);
                    }
                }
                Proc::Replacement(path) => {
                    self.add(&["--ro-bind".as_ref(), path.as_os_str(), target]);
                }
                Proc::Empty => {
                    self.empty(0o555, target);
                    self.seal(target);
                }
            },
        }
        Ok(())
    }

    fn empty(&mut self, mode: u32, target: &OsStr) {
        let mode = format!("{mode:03o}");
        self.add(&["--perms".as_ref(), mode.as_ref()]);
        self.add(&["--tmpfs".as_ref(), target]);
    }

    fn seal(&mut self, target: &OsStr) {
        self.add(&["--remount-ro".as_ref(), target]);
    }

    fn borrowed(&mut self, fd: BorrowedFd<'_>) -> io::Result<OsString> {
        Ok(self.descriptor(fd.try_clone_to_owned()?))
    }

    /// The number that a descriptor will have.
    fn descriptor(&mut self, fd: OwnedFd) -> OsString {
        let number = FIRST_DESCRIPTOR + self.descriptors.len();
        self.descriptors.push(fd);
        number.to_string().into()
    }

    fn finish(mut self, command: Vec<OsString>) -> Result<Arguments, ArgumentsError> {
        // `--args`, its number, and `--`.
        let count = self.count + 3 + command.len();
        if count > MAX_WORDS {
            return Err(ArgumentsError::TooLong { count });
        }
        let file = memfd::once(c"bwrap-args", &self.bytes).map_err(ArgumentsError::Resources)?;
        let number = self.descriptor(file);
        let mut args = vec!["--args".into(), number, "--".into()];
        args.extend(command);
        Ok(Arguments {
            args,
            descriptors: self.descriptors,
        })
    }
}

/// What a bwrap can do beyond what every one can.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// `--perms`, without which a bwrap is of no use here.
    pub perms: bool,
    /// `--bind-fd` and `--ro-bind-fd`
    pub bind_fd: bool,
}

impl Capabilities {
    /// Reads them off what `--help` prints.
    pub fn from_help(text: &str) -> Self {
        let has = |option: &str| text.split_whitespace().any(|word| word == option);
        Self {
            perms: has("--perms"),
            bind_fd: has("--bind-fd") && has("--ro-bind-fd"),
        }
    }
}

#[cfg(test)]
mod tests;
