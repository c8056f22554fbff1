//! What processes share without a file: keys, and the kernel's memory segments and queues.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

use super::{Tried, done};
use crate::kernel::{at, at_mut, call, signed, text};
use crate::number;

const SESSION_KEYRING: i32 = -3;
const JOIN: usize = 1;
const SEARCH: usize = 10;
const READ: usize = 11;
/// Everything for who has the key or owns it.
const SETPERM: usize = 5;

pub fn attempt(arguments: &[&str]) -> Option<Tried> {
    Some(match *arguments {
        ["with-key", name, secret, program, ref rest @ ..] => with_key(name, secret, program, rest),
        ["read-key", name] => read_key(name),
        ["add-key", name, secret] => add_key(name, secret).map(|serial| serial.to_string()),
        ["shm-create", key] => done(segment(key, libc::IPC_CREAT | 0o666)),
        ["shm-find", key] => done(segment(key, 0)),
        ["shm-remove", key] => done(
            segment(key, 0)
                .and_then(|id| call(libc::SYS_shmctl, &[id, libc::IPC_RMID as usize, 0])),
        ),
        ["queue-create", name] => queue(name, libc::O_CREAT | libc::O_RDWR),
        ["queue-open", name] => queue(name, libc::O_RDWR),
        ["queue-remove", name] => done(call(libc::SYS_mq_unlink, &[at(&*text(name))])),
        _ => return None,
    })
}

/// Runs a program in a new session of keys that holds this one.
fn with_key(name: &str, secret: &str, program: &str, arguments: &[&str]) -> Tried {
    call(libc::SYS_keyctl, &[JOIN, 0])?;
    let serial = add_key(name, secret)?;
    call(libc::SYS_keyctl, &[SETPERM, serial, 0x3f3f_0000])?;
    Err(Command::new(program)
        .args(arguments)
        .env("TEST_KEY", serial.to_string())
        .exec())
}

fn add_key(name: &str, secret: &str) -> io::Result<usize> {
    let name = text(name);
    call(
        libc::SYS_add_key,
        &[
            at(c"user"),
            at(&*name),
            at(secret),
            secret.len(),
            signed(SESSION_KEYRING),
        ],
    )
}

fn read_key(name: &str) -> Tried {
    let name = text(name);
    let serial = call(
        libc::SYS_keyctl,
        &[SEARCH, signed(SESSION_KEYRING), at(c"user"), at(&*name), 0],
    )?;
    read_serial(serial)
}

fn read_serial(serial: usize) -> Tried {
    let mut secret = [0_u8; 64];
    let length = call(
        libc::SYS_keyctl,
        &[READ, serial, at_mut(&mut secret), secret.len()],
    )?;
    Ok(String::from_utf8_lossy(&secret[..length.min(64)]).into_owned())
}

fn segment(key: &str, flags: i32) -> io::Result<usize> {
    let size = if flags == 0 { 0 } else { 4096 };
    call(
        libc::SYS_shmget,
        &[number(key) as usize, size, flags as usize],
    )
}

fn queue(name: &str, flags: i32) -> Tried {
    let name = text(name);
    done(call(
        libc::SYS_mq_open,
        &[at(&*name), flags as usize, 0o666, 0],
    ))
}
