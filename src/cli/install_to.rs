//! `exec-server install-to`: this program as a file elsewhere, for images that have no shell and no `cp`.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::description::Candidates;
use super::grammar::{Grammar, Operands};
use super::output::Speaker;
use super::{Command, UsageError, Words, with_flags};
use crate::sys::random;

/// The row in the table of commands.
pub(crate) static INSTALL_TO: Command = Command {
    name: "install-to",
    summary: "Copy this program into a directory",
    perform: |args| with_flags(&GRAMMAR, args, |words: Words| install(&words)),
    describe: || GRAMMAR.describe(),
};

static GRAMMAR: Grammar<Words> = Grammar {
    about: "Copies this program into a directory, as the file exec-server there, such as from an\n\
            init container into a volume that other containers have, too.\n",
    usage: "exec-server install-to DIR",
    flags: Words::FLAGS,
    candidates: Candidates::Directories,
    operands: Operands::Anywhere(Words::push),
    notes: "The directory is made if it is missing. The file takes the place of another one by\n\
            a rename, so nobody sees half of it. Exit code: 0, or 1 if it cannot be written, 2\n\
            for a wrong command line.\n",
};

const SPEAKER: Speaker = Speaker("exec-server install-to");

fn install(words: &Words) -> Result<ExitCode, UsageError> {
    let [directory] = &words.0[..] else {
        return Err(GRAMMAR.error("one directory is needed".to_owned()));
    };
    let directory = Path::new(directory);
    let copied = copy_into(directory).map(|path| format!("{}\n", path.display()));
    let fault = |error| format!("cannot install into {}: {error}", directory.display());
    Ok(SPEAKER.done(copied.map_err(fault)))
}

fn copy_into(directory: &Path) -> io::Result<PathBuf> {
    // As the kernel has it, also where this file has been replaced or removed since.
    let mut program = File::open("/proc/self/exe")?;
    fs::create_dir_all(directory)?;
    let mut number = [0; 8];
    random::fill(&mut number)?;
    let part = format!(".exec-server-{:016x}", u64::from_ne_bytes(number));
    let (part, path) = (directory.join(part), directory.join("exec-server"));
    let mut written = || {
        let mut open = OpenOptions::new();
        let mut file = open.write(true).create_new(true).mode(0o755).open(&part)?;
        io::copy(&mut program, &mut file)?;
        // The umask does not decide who may run it.
        file.set_permissions(PermissionsExt::from_mode(0o755))?;
        file.sync_all()?;
        fs::rename(&part, &path)
    };
    written().inspect_err(|_| {
        // It may not have been made at all.
        let _ = fs::remove_file(&part);
    })?;
    Ok(path)
}
