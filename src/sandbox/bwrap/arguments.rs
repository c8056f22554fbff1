//! The words for each step of a plan.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::{Arguments, ArgumentsError, Capabilities, FIRST_DESCRIPTOR, Proc, Run};
use crate::sandbox::mounts::{Action, Mount, MountPlan};
use crate::sandbox::policy::Network;
use crate::sys::identity::user_id;
use crate::sys::memfd;

/// What the first process inside keeps until it has set up the rest: to mount, and to give up even the right to regain
/// these. Over the sandbox's own namespaces only.
const KEPT: [&str; 2] = ["CAP_SYS_ADMIN", "CAP_SETPCAP"];

/// Words that every version of bwrap reads, those of `--args` included.
pub(super) const MAX_WORDS: usize = 9000;

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
