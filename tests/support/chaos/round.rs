//! One round: `run` and `cp`, both ways, through a bad network each.

use std::fs::{self, File};
use std::io::Read;
use std::process::{Child, Stdio};
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use super::dice::Dice;
use super::proxy::Proxy;
use crate::{Scratch, Server, child, comes_true, pattern, scratch};

/// No command may take longer, whatever the network does.
const LIMIT: Duration = Duration::from_secs(180);
/// What the command that runs exits with.
const CODE: i32 = 42;

/// How much is moved.
#[derive(Clone, Copy)]
pub struct Sizes {
    pub output: u64,
    pub file: u64,
}

/// A server and files, for many rounds.
pub struct Field {
    server: Server,
    scratch: Scratch,
    sizes: Sizes,
}

/// A program that does not outlive its round.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Field {
    /// Starts the server and makes what is copied.
    pub fn new(sizes: Sizes) -> Self {
        let field = Self {
            server: Server::websocket(&[]),
            scratch: scratch(),
            sizes,
        };
        let mut whole = vec![0; sizes.file as usize];
        pattern::fill(0, &mut whole);
        fs::write(field.scratch.path("whole"), whole).unwrap();
        for side in ["here", "there"] {
            fs::create_dir(field.scratch.path(side)).unwrap();
        }
        field
    }

    /// What the server has said on standard error.
    #[allow(dead_code, reason = "a test that fails shows it anyway")]
    pub fn server_words(&self) -> String {
        self.server.stderr()
    }

    /// Plays one round; how many faults there were. The error says all that is known.
    pub fn play(&self, seed: u64) -> Result<usize, String> {
        let mut dice = Dice::new(seed);
        let mut faults = 0;
        let whole = self.scratch.path("whole");
        let (here, there) = (self.scratch.path("here/f"), self.scratch.path("there/f"));
        let count = self.sizes.output.to_string();
        let program = child();
        let run = ["--", &program, "write", &count, "exit", "42"];
        faults += self.perform(&mut dice, "run", &run, |running| {
            same(running.0.stdout.take().unwrap(), self.sizes.output)
        })?;
        faults += self.perform(&mut dice, "cp", &[&whole, &format!(":{there}")], |_| Ok(()))?;
        self.check("there")?;
        faults += self.perform(&mut dice, "cp", &[&format!(":{whole}"), &here], |_| Ok(()))?;
        self.check("here")?;
        Ok(faults)
    }

    /// Runs one of our commands through a network of its own.
    fn perform(
        &self,
        dice: &mut Dice,
        command: &str,
        arguments: &[&str],
        check: impl FnOnce(&mut Running) -> Result<(), String> + Send,
    ) -> Result<usize, String> {
        let proxy = Proxy::before(self.server.address(), Dice::new(dice.roll()));
        let mut program = Server::command();
        program.args([command, "-e", &proxy.url()]).args(arguments);
        let program = program
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut running = Running(program.spawn().unwrap());
        let mut stderr = running.0.stderr.take().unwrap();
        let said = thread::spawn(move || {
            let mut text = Vec::new();
            let _ = stderr.read_to_end(&mut text);
            String::from_utf8_lossy(&text).into_owned()
        });
        let outcome = finish(&mut running, check);
        drop(running);
        let wanted = if command == "run" { CODE } else { 0 };
        let faults = proxy.done();
        let why = match outcome {
            Ok(Some(code)) if code == wanted => return Ok(faults.len()),
            Ok(code) => format!("exit code {code:?} and not {wanted}"),
            Err(why) => why,
        };
        Err(format!(
            "{command} {arguments:?}: {why}\nit said: {}\nwhat was done to it:\n  {}",
            said.join().unwrap_or_default(),
            faults.join("\n  ")
        ))
    }

    /// The only file of this side is whole; it goes, for the next round.
    fn check(&self, side: &str) -> Result<(), String> {
        let directory = self.scratch.path(side);
        let names: Vec<_> = fs::read_dir(&directory)
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        if names != ["f"] {
            return Err(format!("left in {side}: {names:?}"));
        }
        let path = format!("{directory}/f");
        same(File::open(&path).unwrap(), self.sizes.file)
            .map_err(|why| format!("the copy {side}: {why}"))?;
        fs::remove_file(path).unwrap();
        Ok(())
    }
}

/// Waits for the check and the exit, both within the limit.
fn finish(
    running: &mut Running,
    check: impl FnOnce(&mut Running) -> Result<(), String> + Send,
) -> Result<Option<i32>, String> {
    let pid = running.0.id().to_string();
    let begun = Instant::now();
    let (tell, over) = channel::<()>();
    thread::scope(|scope| {
        // The end of the program is the end of its output, and so of the check.
        let guard = scope.spawn(move || {
            if over.recv_timeout(LIMIT) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
                crate::signal(pid.parse().unwrap(), "KILL");
                return true;
            }
            false
        });
        let checked = check(running);
        let mut code = None;
        comes_true(LIMIT.saturating_sub(begun.elapsed()), || {
            code = running.0.try_wait().unwrap();
            code.is_some()
        });
        drop(tell);
        if guard.join().unwrap_or(true) || code.is_none() {
            return Err(format!("not done within {LIMIT:?}"));
        }
        checked?;
        Ok(code.and_then(|code| code.code()))
    })
}

/// Whether it is the pattern, exactly so long.
fn same(mut from: impl Read, size: u64) -> Result<(), String> {
    let (mut buffer, mut expected) = (vec![0; 256 << 10], vec![0; 256 << 10]);
    let mut seen = 0;
    loop {
        let count = from.read(&mut buffer).map_err(|error| error.to_string())?;
        if count == 0 {
            break;
        }
        pattern::fill(seen, &mut expected[..count]);
        if buffer[..count] != expected[..count] {
            return Err(format!("wrong bytes in the {count} from {seen}"));
        }
        seen += count as u64;
    }
    match seen == size {
        true => Ok(()),
        false => Err(format!("{seen} bytes and not {size}")),
    }
}
