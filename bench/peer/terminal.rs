//! `cat` on a bare pseudo-terminal: the floor of an echo through one.
//!
//! Making a pseudo-terminal takes two ioctls, which safe Rust has no way to ask for, and the
//! product's own code must not be its floor. So a line of perl (in Debian's base system) makes it
//! and becomes this program, with our end as standard input and the other end's path as argument.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::failure::{During, Failure};
use crate::guard::Guarded;
use crate::sample::{Times, repeat};

/// TIOCSPTLCK and TIOCGPTN, as x86, Arm and RISC-V number them.
const MAKE: &str = r#"
    open(my $ours, "+<", "/dev/ptmx") or die "ptmx: $!\n";
    my $word = pack("i", 0);
    ioctl($ours, 0x40045431, $word) or die "unlocking: $!\n";
    ioctl($ours, 0x80045430, $word) or die "asking the number: $!\n";
    open(STDIN, "+<&", $ours) or die "dup: $!\n";
    exec(@ARGV, "/dev/pts/" . unpack("I", $word));
"#;

const LEAST: usize = 8;
const WARM_UP: usize = 3;

/// The command that measures so long with this line and prints its figures.
pub fn command(cat: &str, line: &str, budget: Duration) -> Result<Command, Failure> {
    let mut command = Command::new("perl");
    command
        .args(["-e", MAKE])
        .arg(std::env::current_exe().during("finding this program")?)
        .args(["peer", "terminal", cat, line])
        .arg(budget.as_millis().to_string());
    Ok(command)
}

/// What [`command`] ends up running.
pub fn measure(cat: &str, line: &str, budget: Duration, slave: &str) -> io::Result<()> {
    let mut ours = File::from(io::stdin().as_fd().try_clone_to_owned()?);
    let theirs = OpenOptions::new().read(true).write(true).open(slave)?;
    let mut command = Command::new(cat);
    command.stdin(Stdio::from(theirs.try_clone()?));
    command.stdout(Stdio::from(theirs));
    let _cat = Guarded::spawn(&mut command).map_err(io::Error::other)?;

    // The echo and cat's copy, each with a carriage return before the newline.
    let expected = 2 * (line.len() + 2);
    let line = format!("{line}\n");
    let mut whole = Times::default();
    let mut first = repeat(budget, LEAST, WARM_UP, || {
        let begun = Instant::now();
        ours.write_all(line.as_bytes())?;
        let (mut first, mut seen) = (None, 0);
        while seen < expected {
            seen += ours.read(&mut [0; 256])?;
            first = first.or_else(|| Some(begun.elapsed()));
        }
        whole.push(begun.elapsed());
        Ok::<_, io::Error>(first.unwrap_or_default())
    })?;
    println!("pty.p50\t{}", first.quantile(0.5));
    println!("pty.all\t{}", whole.quantile(0.5));
    Ok(())
}
