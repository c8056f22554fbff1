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
    words.isolate(plan.network, capabilities, run.new_session);
    for mount in &plan.mounts {
        words
            .mount(mount, &run.proc)
            .map_err(ArgumentsError::Resources)?;
    }
    words.add(&["--chdir".as_ref(), plan.cwd.as_os_str()]);
    if let Some(filter) = run.seccomp {
        let number = words.descriptor(filter);
        words.add(&["--seccomp".as_ref(), &number]);
    }
    let keep_alive = plan.claim.keep_alive();
    if let Some(held) = keep_alive.map_err(ArgumentsError::Resources)? {
        let number = words.descriptor(held);
        words.add(&["--sync-fd".as_ref(), &number]);
    }
    if let Some(argv0) = &run.argv0 {
        if !capabilities.argv0 {
            return Err(ArgumentsError::Lacks("--argv0"));
        }
        // A NUL would end the word, and what follows would be read as options.
        if argv0.as_bytes().contains(&0) {
            return Err(ArgumentsError::Nul);
        }
        words.add(&["--argv0".as_ref(), argv0]);
    }
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

    fn isolate(&mut self, network: Network, capabilities: &Capabilities, new_session: bool) {
        self.options(&["--die-with-parent"]);
        if new_session {
            self.options(&["--new-session"]);
        }
        // The user namespace is asked for by name: for root bwrap would leave it out.
        self.options(&["--unshare-user", "--unshare-pid", "--unshare-ipc"]);
        if network == Network::Restricted {
            self.options(&["--unshare-net"]);
        }
        if capabilities.disable_userns {
            self.options(&["--disable-userns"]);
        }
        self.options(&["--cap-drop", "ALL"]);
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
            // bwrap mounts without devices, so opening this one is refused.
            Action::Closed => self.add(&["--ro-bind".as_ref(), "/dev/null".as_ref(), target]),
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
