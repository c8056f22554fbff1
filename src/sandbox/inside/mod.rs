//! The first process in a sandbox that bwrap has made: this program again.
//!
//! bwrap runs it with nothing of the client's on its command line or in its environment, so that neither can change what
//! bwrap does: a variable like `LD_PRELOAD` would otherwise be read by a bwrap that is linked dynamically, outside. bwrap
//! knows no path of the client's but those of the mounts, which the server has opened. The first process
//!
//! 1. makes itself not dumpable, so that no program inside reads or changes it;
//! 2. sets up what is left: covers on what the policy denies, devices whose modes cannot be changed;
//! 3. gives up every capability, and enters a Landlock domain and a filter of system calls, which the program inherits;
//! 4. starts the program as its child, in a session of its own and with the terminal if there is one. The child says that
//!    it is ready, by which the server learns its number, waits for the permission to go on, closes all that is not the
//!    program's, and only then enters the directory that the client has named;
//! 5. closes everything but the lock on its mount points, reaps whatever ends, and ends with the program and its exit
//!    code. The kernel then ends what the program has left.
//!
//! What keeps a program from running the server hears from the process where it happened; the end of the socket, at the
//! exec, says that the program runs.
//!
//! Covers and devices are left to it because bwrap reads the whole list of mounts again for each mount that it makes read-only, so a thousand covers would take it
//! seconds; and it knows no device that is read-only and yet a device.

mod message;

use std::ffi::{CString, OsStr};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};

use super::domain::{Domain, locate};
use super::mounts::{Mask, MaskKind};
use super::seccomp;
use crate::sys::enter::{self, Forked};
use crate::sys::file::{self, Access, ROOTED};
use crate::sys::mount::{self, Devices};
use crate::sys::process::{self, user_id};
use crate::sys::retry;
use crate::sys::spawn::Stage;

pub use self::message::{Message, SIZE};
pub use self::message::{Request, Rest};

/// The argument by which this program knows that it is inside.
pub const ARGUMENT: &str = "inside-sandbox";

/// Where bwrap finds this program, as [`PROGRAM`] is passed on to what it runs.
pub const PATH: &str = "/proc/self/fd/3";

/// Where it is mounted, read-only, if there is no `/proc` to find it in.
pub const WITHOUT_PROC: &str = "/dev/exec-server";

/// The descriptor of this program's own file.
pub const PROGRAM: i32 = 3;
/// The descriptor of the socket to the server.
const CONTROL: i32 = 4;
/// The descriptor of the [`Request`].
const REQUEST: i32 = 5;
/// The descriptors that become 0, 1 and 2.
const STANDARD: [i32; 3] = [6, 7, 8];
/// The descriptor of the lock on the mount points, if the request says that there is one.
const LOCK: i32 = 9;
/// How many descriptors the process inside is given, from 3 on.
pub const DESCRIPTORS: usize = 7;

/// Room for a [`Request`] with the environment that most people have, in bytes.
const USUAL: usize = 8 * 1024;

/// The exit code when the program could not be run; the server hears the reason.
const FAILED: u8 = 125;

/// Whether `main` begins with [`take_over`].
static IS_EXPECTED: AtomicBool = AtomicBool::new(false);

/// For the beginning of `main`, with the first argument behind the program's name, in every
/// program that confines others by bwrap. Where the program was started to be inside, this is
/// its whole life, and it ends with the code that is returned.
pub fn take_over(argument: Option<&OsStr>) -> Option<u8> {
    IS_EXPECTED.store(true, Ordering::Relaxed);
    argument
        .is_some_and(|argument| argument == ARGUMENT)
        .then(run)
}

/// Whether this program, started to be inside, would know it. If not, whatever else it does would
/// happen instead.
pub fn is_expected() -> bool {
    IS_EXPECTED.load(Ordering::Relaxed)
}

/// The life inside. Returns the exit code of the sandbox.
fn run() -> u8 {
    let hidden = process::forbid_inspection();
    let Some(control) = enter::inherited(CONTROL) else {
        // Somebody typed the argument; there is nobody to tell.
        return FAILED;
    };
    let started = hidden
        .map_err(|error| (Stage::Descriptors, number(&error)))
        .and_then(|()| start(&control));
    match started {
        // The program's process has the socket now: its end, at the exec, says that the program runs.
        Ok(Some(Program { pid, lock })) => {
            drop(control);
            enter::reap_until(pid, lock)
        }
        Ok(None) => 0,
        Err((stage, errno)) => {
            let message = Message::Failed(stage, errno).encode();
            // A server that is gone need not know.
            let _ = File::from(control).write_all(&message);
            FAILED
        }
    }
}

/// The process that becomes the program, for the first process.
struct Program {
    pid: i32,
    /// To be held until it has ended.
    lock: Option<OwnedFd>,
}

/// Sets up the rest of the sandbox, and makes the process that becomes the program. None in that process itself, if there
/// is no program to become.
fn start(control: &OwnedFd) -> Result<Option<Program>, (Stage, i32)> {
    let invalid = (Stage::Descriptors, number(&file::invalid()));
    if process::own_pid() != 1 {
        return Err(invalid);
    }
    let request = enter::inherited(REQUEST).and_then(read).ok_or(invalid)?;
    let [Some(stdin), Some(stdout), Some(stderr)] = STANDARD.map(enter::inherited) else {
        return Err(invalid);
    };
    let lock = enter::inherited(LOCK).filter(|_| request.rest.has_lock);
    let rules = set_up(&request.rest)?;
    enter::confine(rules, seccomp::filter(request.rest.network()))?;
    let failed = |error: io::Error| (Stage::Descriptors, number(&error));
    let program = own_program(&request).map_err(failed)?;
    let mut standard = [stdin, stdout, stderr];
    for (fd, is_null) in standard.iter_mut().zip(request.null) {
        if is_null {
            *fd = null().map_err(failed)?;
        }
    }
    match enter::fork()? {
        Forked::Parent(pid) => Ok(Some(Program { pid, lock })),
        Forked::Child => {
            drop(lock);
            enter::keep_descriptors(standard, [Some(control), program.as_ref()])?;
            enter::lead_session(request.has_terminal)?;
            let is_permitted = is_permitted(control).map_err(failed)?;
            match request.image {
                Some(image) if is_permitted => Err(enter::become_program(&image, program.as_ref())),
                _ => Ok(None),
            }
        }
    }
}

/// Says that the program's process is ready, and waits. False if nobody wants the program any more.
fn is_permitted(control: &OwnedFd) -> io::Result<bool> {
    let mut socket = File::from(control.try_clone()?);
    let mut permission = [0];
    let is_told = socket.write_all(&Message::Ready.encode()).is_ok();
    Ok(is_told && matches!(retry(|| socket.read(&mut permission)), Ok(1)))
}

/// This program's own file, if that is to be run.
fn own_program(request: &Request) -> io::Result<Option<OwnedFd>> {
    if !request.is_own_program {
        return Ok(None);
    }
    match enter::inherited(PROGRAM) {
        Some(program) => Ok(Some(program)),
        // bwrap has used it up for the mount.
        None => {
            let path = CString::new(WITHOUT_PROC)?;
            file::open_at(ROOTED, &path, Access::READ, 0).map(Some)
        }
    }
}

/// The sandbox's own `/dev/null`, whose mode cannot be changed; where there is none, a pipe that is at its end.
fn null() -> io::Result<OwnedFd> {
    let opened = file::open_at(ROOTED, c"/dev/null", Access::READ_WRITE, 0);
    match opened {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(io::pipe()?.0.into()),
        opened => opened,
    }
}

fn number(error: &io::Error) -> i32 {
    error.raw_os_error().unwrap_or(0)
}

fn read(file: OwnedFd) -> Option<Request> {
    let mut bytes = Vec::with_capacity(USUAL);
    // As a stream of any length: a pipe that is asked for its size is read by a few bytes at first.
    let mut stream = File::from(file).take(u64::MAX);
    stream.read_to_end(&mut bytes).ok()?;
    Request::decode(&bytes)
}

/// Does all that is left; the rules of the domain to enter.
fn set_up(rest: &Rest) -> Result<Option<OwnedFd>, (Stage, i32)> {
    if user_id() != 0 {
        // bwrap has mounted as the root of a user namespace around this one.
        mount::leave_namespace().map_err(|error| at(Stage::Device, &error))?;
    }
    for device in &rest.sealed_devices {
        match mount::seal(device, Devices::Kept) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(at(Stage::Device, &error));
            }
            _ => {}
        }
    }
    let mut covers = Covers::default();
    for (place, mask) in rest.masks.iter().enumerate() {
        covers
            .add(mask)
            .map_err(|error| at(Stage::Mount(place), &error))?;
    }
    let rules = rest.domain.as_ref().map(Domain::rules).transpose();
    rules.map_err(|error| at(Stage::Landlock, &error))
}

/// What covers files and directories: the first cover of each kind is made, and the others are copies of it.
#[derive(Default)]
struct Covers {
    file: Option<OwnedFd>,
    directory: Option<OwnedFd>,
    empty: Option<OwnedFd>,
}

impl Covers {
    fn add(&mut self, mask: &Mask) -> io::Result<()> {
        let path = mask.path.as_c_str();
        // What has gone since the plan was made needs no cover, unless it is what nobody may make anew. A link in its
        // place is an error.
        let target = match locate(path)? {
            Some(target) => target,
            None if mask.kind == MaskKind::EmptyDirectory => {
                return Err(io::ErrorKind::NotFound.into());
            }
            None => return Ok(()),
        };
        let known = match mask.kind {
            MaskKind::Itself => return mount::cover(target.as_fd(), target.as_fd()),
            MaskKind::File => &mut self.file,
            MaskKind::Directory => &mut self.directory,
            MaskKind::EmptyDirectory => &mut self.empty,
        };
        if let Some(cover) = known {
            return mount::cover(cover.as_fd(), target.as_fd());
        }
        match mask.kind {
            MaskKind::Directory => mount::cover_with_nothing(path, 0o000)?,
            MaskKind::EmptyDirectory => mount::cover_with_nothing(path, 0o555)?,
            MaskKind::File | MaskKind::Itself => {
                let Some(null) = locate(c"/dev/null")? else {
                    return Err(io::ErrorKind::NotFound.into());
                };
                mount::cover(null.as_fd(), target.as_fd())?;
                mount::seal(path, Devices::Closed)?;
            }
        }
        *known = locate(path)?;
        Ok(())
    }
}

fn at(stage: Stage, error: &io::Error) -> (Stage, i32) {
    (stage, error.raw_os_error().unwrap_or(0))
}
