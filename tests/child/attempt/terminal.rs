//! Terminals, and the consoles of the machine.

use std::fs::File;
use std::os::fd::AsRawFd;

use super::{Tried, done};
use crate::kernel::{at, call};

pub fn attempt(arguments: &[&str]) -> Option<Tried> {
    Some(match *arguments {
        ["tiocsti"] => done(call(
            libc::SYS_ioctl,
            &[0, libc::TIOCSTI as usize, at(b"x")],
        )),
        // The kernel looks at the low half of the number only.
        ["tiocsti-high"] => done(call(
            libc::SYS_ioctl,
            &[0, libc::TIOCSTI as usize | 1 << 32, at(b"x")],
        )),
        ["tioclinux"] => done(call(
            libc::SYS_ioctl,
            &[0, libc::TIOCLINUX as usize, at(&[2_u8, 0])],
        )),
        ["tiocsetd", discipline] => done(call(
            libc::SYS_ioctl,
            &[
                0,
                libc::TIOCSETD as usize,
                at(&[discipline.parse::<i32>().unwrap()]),
            ],
        )),
        ["tiocsti-on", path] => {
            File::options()
                .read(true)
                .write(true)
                .open(path)
                .and_then(|terminal| {
                    done(call(
                        libc::SYS_ioctl,
                        &[
                            terminal.as_raw_fd() as usize,
                            libc::TIOCSTI as usize,
                            at(b"x"),
                        ],
                    ))
                })
        }
        ["steal-terminal"] => done(call(libc::SYS_ioctl, &[0, libc::TIOCSCTTY as usize, 1])),
        ["open-terminal"] => done(File::options().read(true).write(true).open("/dev/tty")),
        _ => return None,
    })
}
