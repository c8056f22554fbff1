//! The program that tests run as a child: one small behaviour a sub-command, and nothing of the host's.

mod attempt;
mod deny;
mod hold;
mod inventory;
mod kernel;
mod profile;
mod snapshot;
mod traced;
mod vandal;

use std::fs::File;
use std::io::{IsTerminal, Read, Write, stderr, stdin, stdout};
use std::net::{Shutdown, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use exec_server::sys::inotify::{ADDED, Inotify};
use exec_server::sys::poll::{self, PollFd, READABLE};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["true"] => {}
        ["exit", code] => std::process::exit(number(code) as i32),
        ["echo", ref words @ ..] => say(&words.join(" ")),
        ["complain", ref words @ ..] => stderr().write_all(words.join(" ").as_bytes()).unwrap(),
        ["cat"] => cat(),
        ["speak", address] => speak(address),
        ["drain"] => say(&drain().to_string()),
        ["write", count] => write(&mut stdout(), 0, number(count)),
        ["write", count, "stderr"] => write(&mut stderr(), 0, number(count)),
        ["write", count, "exit", code] => {
            write(&mut stdout(), 0, number(count));
            std::process::exit(number(code) as i32);
        }
        ["write", count, "both"] => write_both(number(count)),
        ["steps", count] => steps(number(count)),
        ["env"] => std::env::vars().for_each(|(name, value)| say(&format!("{name}={value}"))),
        ["fds"] => print_fds(),
        ["scheduling"] => println!("{:?}", scheduling()),
        ["status"] => say(&std::fs::read_to_string("/proc/self/status").unwrap()),
        ["stat"] => say(&std::fs::read_to_string("/proc/self/stat").unwrap()),
        ["limits"] => say(&std::fs::read_to_string("/proc/self/limits").unwrap()),
        ["oom"] => say(&std::fs::read_to_string("/proc/self/oom_score_adj").unwrap()),
        ["allocate", mebibytes] => {
            let bytes = vec![1_u8; number(mebibytes) as usize * 1024 * 1024];
            let pages = bytes.chunks(4096).filter(|page| page[0] == 1);
            say(&pages.count().to_string());
        }
        ["cwd"] => say(std::env::current_dir().unwrap().to_str().unwrap()),
        ["argv0"] => say(&std::env::args().next().unwrap()),
        ["terminal"] => say(&format!(
            "{} {} {}",
            stdin().is_terminal(),
            stdout().is_terminal(),
            stderr().is_terminal()
        )),
        ["sleep"] => sleep(),
        ["pid-then-sleep"] => {
            say(&std::process::id().to_string());
            sleep();
        }
        ["lock-then-sleep", kind, ref paths @ ..] => lock_then_sleep(kind, paths),
        ["background", ref grandchild @ ..] => background(grandchild, Stdio::inherit()),
        ["background-silent", ref grandchild @ ..] => background(grandchild, Stdio::null()),
        ["own-group", ref grandchild @ ..] => own_group(grandchild),
        ["first", ref command @ ..] => first(command),
        ["when", cue, count, done] => when(cue, number(count), done),
        ["attempt", ref what @ ..] if attempt::run(what) => {}
        ["deny", words, ref command @ ..] => deny::deny(words, command),
        ["hold", log, ref command @ ..] => hold::hold(log, command),
        ["with-descriptors", count, path, ref command @ ..] => {
            with_descriptors(number(count), path, command)
        }
        ["inventory", ref words @ ..] => inventory::inventory(words),
        ["snapshot", ref paths @ ..] => snapshot::snapshot(paths),
        ["traced", signal] => traced::traced(signal, None),
        ["traced", signal, parent] => traced::traced(signal, Some(number(parent) as u32)),
        ["vandal", trees, ref paths @ ..] => vandal::vandal(number(trees) as usize, paths),
        ["--help" | "--version"] => pose(),
        ["--args", ..] => work_once(&arguments),
        ["make", path] => std::fs::write(path, "made").unwrap(),
        _ => {
            eprintln!("child: no such behaviour: {arguments:?}");
            return ExitCode::from(64);
        }
    }
    ExitCode::SUCCESS
}

/// Passes for another program: says what the file `says` beside us has in it, or nothing for ever without it.
fn pose() {
    match std::fs::read_to_string(std::env::current_exe().unwrap().with_file_name("says")) {
        Ok(text) => say(&text),
        Err(_) => sleep(),
    }
}

/// Runs its arguments after `real`, closes what they had open, and hangs with its pid in `stuck`.
const LINGER: &str = r#""$0/real" "$@"; exec 3>&- 4>&- 5>&- 6>&- 7>&- 8>&- 9>&-
echo $$ >"$0/stuck.new"; mv "$0/stuck.new" "$0/stuck"; exec sleep 1000"#;

/// Is the program `real` beside us the first time; after that it leaves its pid in `stuck`, and hangs. Fails without.
/// With `lingers` beside us it hangs the first time too, when `real` has ended; with `works`, it never does.
fn work_once(arguments: &[&str]) -> ! {
    let beside = |name| std::env::current_exe().unwrap().with_file_name(name);
    if !beside("real").exists() {
        std::process::exit(64);
    }
    if beside("lingers").exists() {
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", LINGER]).arg(beside("")).args(arguments);
        panic!("{}", shell.exec());
    }
    if beside("works").exists() || std::fs::File::create_new(beside("tried")).is_ok() {
        let error = Command::new(beside("real")).args(arguments).exec();
        panic!("{error}");
    }
    let file = beside("stuck.new");
    std::fs::write(&file, std::process::id().to_string()).unwrap();
    std::fs::rename(file, beside("stuck")).unwrap();
    sleep()
}

fn number(text: &str) -> u64 {
    text.parse().unwrap()
}

fn say(line: &str) {
    let mut out = stdout().lock();
    out.write_all(format!("{line}\n").as_bytes()).unwrap();
    out.flush().unwrap();
}

/// Copies stdin to stdout as it comes.
fn cat() {
    let mut buffer = vec![0; 64 << 10];
    loop {
        let count = stdin().read(&mut buffer).unwrap();
        if count == 0 {
            return;
        }
        stdout().write_all(&buffer[..count]).unwrap();
        stdout().flush().unwrap();
    }
}

/// Sends stdin over a connection, and what comes back to stdout.
fn speak(address: &str) {
    let mut socket = TcpStream::connect(address).unwrap();
    let mut sending = socket.try_clone().unwrap();
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut stdin(), &mut sending);
        let _ = sending.shutdown(Shutdown::Write);
    });
    // A connection that is reset has ended too.
    let _ = std::io::copy(&mut socket, &mut stdout());
}

/// Reads stdin to its end, holding it against the pattern; the count of bytes, all of them right.
fn drain() -> u64 {
    let mut buffer = vec![0; 64 << 10];
    let mut expected = vec![0; 64 << 10];
    let mut total = 0;
    loop {
        let count = stdin().read(&mut buffer).unwrap();
        if count == 0 {
            return total;
        }
        support::pattern::fill(total, &mut expected[..count]);
        assert!(
            buffer[..count] == expected[..count],
            "wrong bytes in the {count} from {total}"
        );
        total += count as u64;
    }
}

/// Writes so many bytes of the pattern, from `offset` of it.
fn write(to: &mut dyn Write, offset: u64, count: u64) {
    let mut buffer = vec![0; 64 << 10];
    let mut written = 0;
    while written < count {
        let now = (count - written).min(buffer.len() as u64) as usize;
        support::pattern::fill(offset + written, &mut buffer[..now]);
        to.write_all(&buffer[..now]).unwrap();
        written += now as u64;
    }
    to.flush().unwrap();
}

/// The pattern on both streams at once.
fn write_both(count: u64) {
    let errors = std::thread::spawn(move || write(&mut stderr(), 0, count));
    write(&mut stdout(), 0, count);
    errors.join().unwrap();
}

/// One line of the pattern's offset for each line on stdin: output at the reader's pace.
fn steps(count: u64) {
    for (number, line) in stdin().lines().enumerate() {
        let line = line.unwrap();
        if line == "end" {
            return;
        }
        write(&mut stdout(), number as u64 * count, count);
    }
}

/// Our policy, flags, nice value and slice as the kernel has them, in `struct sched_attr`.
fn scheduling() -> [u64; 6] {
    let attributes = [0_u64; 6];
    let size = size_of_val(&attributes);
    kernel::call(
        libc::SYS_sched_getattr,
        &[0, kernel::at(&attributes), size, 0],
    )
    .unwrap();
    attributes
}

fn print_fds() {
    for entry in std::fs::read_dir("/proc/self/fd").unwrap() {
        let entry = entry.unwrap();
        let target = std::fs::read_link(entry.path()).unwrap();
        // The directory that is being read has a descriptor too.
        if !target.ends_with("fd") {
            say(&format!(
                "{} {}",
                entry.file_name().display(),
                target.display()
            ));
        }
    }
}

fn sleep() -> ! {
    loop {
        std::thread::sleep(Duration::from_secs(3600));
    }
}

/// Locks whatever of these can be opened, says how many could be locked, and stays.
fn lock_then_sleep(kind: &str, paths: &[&str]) -> ! {
    let lock = |file: &File| match kind {
        "shared" => file.try_lock_shared(),
        _ => file.try_lock(),
    };
    let opened = paths.iter().filter_map(|path| File::open(path).ok());
    let locked: Vec<File> = opened.filter(|file| lock(file).is_ok()).collect();
    say(&locked.len().to_string());
    sleep()
}

/// Runs a command to its end, and lives on without reaping anything else: a process 1 as many a container has it.
fn first(command: &[&str]) -> ! {
    Command::new(command[0])
        .args(&command[1..])
        .status()
        .unwrap();
    sleep()
}

/// Starts another of us that lives on, says its pid, and ends.
fn background(grandchild: &[&str], out: Stdio) {
    leave(another(grandchild).stdout(out).stderr(Stdio::null()));
}

/// The same in a group of its own, beyond the reach of a group signal.
fn own_group(grandchild: &[&str]) {
    leave(another(grandchild).process_group(0));
}

/// Opens a path so many times, and becomes a program that inherits that.
fn with_descriptors(count: u64, path: &str, command: &[&str]) -> ! {
    let path = kernel::text(path);
    for _ in 0..count {
        let opened = kernel::call(libc::SYS_openat, &[0, kernel::at(&*path)]);
        opened.unwrap();
    }
    panic!("{}", Command::new(command[0]).args(&command[1..]).exec());
}

fn another(arguments: &[&str]) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(arguments).stdin(Stdio::null());
    command
}

fn leave(command: &mut Command) {
    say(&command.spawn().unwrap().id().to_string());
}

/// Waits for the file `cue`, writes so many bytes, and leaves the file `done` behind.
fn when(cue: &str, count: u64, done: &str) {
    let cue = Path::new(cue);
    let changes = Inotify::new().unwrap();
    changes.watch(cue.parent().unwrap(), ADDED).unwrap();
    while !cue.exists() {
        poll::wait(&mut [PollFd::new(changes.as_fd(), READABLE)], None).unwrap();
        changes.take(|_| ()).unwrap();
    }
    write(&mut stdout(), 0, count);
    std::fs::write(done, "done").unwrap();
}
