//! The first process in a sandbox that bwrap has made: this program again, for a moment.
//!
//! bwrap runs it with nothing of the client's on its command line or in its environment, so that neither can change what
//! bwrap does: a variable like `LD_PRELOAD` would otherwise be read by a bwrap that is linked dynamically, outside. It
//!
//! 1. checks that no capability is left, that none can be gained, and that a filter is in force;
//! 2. leads a session of its own, with the terminal if there is one: a Ctrl-C reaches the program and not bwrap;
//! 3. says that it is ready, by which the server learns its number, and waits for the permission to go on;
//! 4. becomes the program; what kept it from that the server hears as it would of a child of its own.
//!
//! When the other end of its socket is gone it ends.

mod message;
mod request;

use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};

pub use message::{Message, SIZE};
pub use request::Request;

use crate::sys::spawn::Stage;
use crate::sys::{enter, file};

/// The argument by which this program knows that it is inside.
pub const ARGUMENT: &str = "inside-sandbox";

/// Where bwrap finds this program, as [`PROGRAM`] is passed on to what it runs.
pub const PATH: &str = "/proc/self/fd/3";

/// The descriptor of this program's own file.
pub const PROGRAM: i32 = 3;
/// The descriptor of the socket to the server.
const CONTROL: i32 = 4;
/// The descriptor of the [`Request`].
const REQUEST: i32 = 5;
/// The descriptors that become 0, 1 and 2.
const STANDARD: [i32; 3] = [6, 7, 8];
/// How many descriptors the process inside is given, from 3 on.
pub const DESCRIPTORS: usize = 6;

/// Room for a [`Request`] with the environment that most people have, in bytes.
const USUAL: usize = 8 * 1024;

/// The exit code when the program could not be run; the server hears the reason.
const FAILED: u8 = 125;

/// Whether `main` begins with [`take_over`].
static IS_EXPECTED: AtomicBool = AtomicBool::new(false);

/// For the beginning of `main`, with the first argument behind the program's name, in every
/// program that confines others by bwrap. Where the program was started to be inside, this is
/// its whole life, and it ends with the code that is returned if nothing else could be run.
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

/// The life inside. Returns an exit code if no program could be run, or none was wanted.
fn run() -> u8 {
    let Some(control) = enter::inherited(CONTROL) else {
        // Somebody typed the argument; there is nobody to tell.
        return FAILED;
    };
    match enter_and_become(&control) {
        Ok(()) => 0,
        Err((stage, errno)) => {
            let message = Message::Failed(stage, errno).encode();
            // A server that is gone need not know.
            let _ = File::from(control).write_all(&message);
            FAILED
        }
    }
}

fn enter_and_become(control: &OwnedFd) -> Result<(), (Stage, i32)> {
    let invalid = || {
        (
            Stage::Descriptors,
            file::invalid().raw_os_error().unwrap_or(0),
        )
    };
    let request = enter::inherited(REQUEST)
        .and_then(read)
        .ok_or_else(invalid)?;
    let [Some(stdin), Some(stdout), Some(stderr)] = STANDARD.map(enter::inherited) else {
        return Err(invalid());
    };
    enter::check_confined()?;
    enter::lead_session(request.has_terminal.then_some(&stdin))?;
    let mut pipe = File::from(control.try_clone().map_err(|_| invalid())?);
    let mut permission = [0];
    let is_permitted = pipe.write_all(&Message::Ready.encode()).is_ok()
        && matches!(pipe.read(&mut permission), Ok(1));
    drop(pipe);
    match request.image {
        Some(image) if is_permitted => Err(enter::become_program(
            &image,
            [stdin, stdout, stderr],
            control,
        )),
        _ => Ok(()),
    }
}

fn read(file: OwnedFd) -> Option<Request> {
    let mut bytes = Vec::with_capacity(USUAL);
    // As a stream of any length: a pipe that is asked for its size is read by a few bytes at first.
    let mut stream = File::from(file).take(u64::MAX);
    stream.read_to_end(&mut bytes).ok()?;
    Request::decode(&bytes)
}
