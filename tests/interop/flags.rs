//! The command line of `codex exec-server` 0.171 and ours: the same words, and what either comes to.
//!
//! A server on standard input and output ends with its input, so whoever takes a command line ends with 0, and who does
//! not with another code and a reason.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::binaries::Binaries;
use crate::children::Guarded;
use crate::isolation::Place;
use crate::options::Options;
use crate::outcome::Tally;
use crate::subject::{Generation, Whose};
use support::PATIENCE;

/// A command line, what is on its standard input, and why ours comes to something else, if it does.
struct Line {
    words: &'static str,
    stdin: &'static str,
    intended: Option<&'static str>,
}

const fn line(words: &'static str) -> Line {
    Line {
        words,
        stdin: "",
        intended: None,
    }
}

const fn with_stdin(words: &'static str, stdin: &'static str) -> Line {
    Line {
        words,
        stdin,
        intended: None,
    }
}

const fn intended(words: &'static str, why: &'static str) -> Line {
    Line {
        words,
        stdin: "",
        intended: Some(why),
    }
}

const OFFER: &str = "an option that is refused is a wrong command line here";

const LINES: &[Line] = &[
    line("--listen stdio"),
    line("--listen stdio -c model=\"o3\" -c a.b=1"),
    line("--listen stdio --enable web_search --disable apps"),
    line("--listen stdio --strict-config"),
    line("--listen stdio --linux-sandbox-pid-namespace isolate"),
    line("--listen stdio --linux-sandbox-pid-namespace other"),
    intended(
        "--listen stdio --linux-sandbox-pid-namespace inherit",
        "a confined command could end the server",
    ),
    line("--listen stdio --linux-sandbox-transparent-tcp"),
    line("--listen stdio --proxy-private-ips-via-upstream"),
    line("--listen stdio --tcp-upstream-proxy proxy.example:3128"),
    line("--listen stdio --tcp-upstream-proxy proxy.example"),
    line("--listen stdio --tcp-upstream-proxy proxy.example:99999"),
    line("--listen stdio --tcp-upstream-proxy http://proxy.example:80"),
    line("--listen stdio --concurrent-requests 4"),
    line("--listen stdio --concurrent-requests 0"),
    line("--listen stdio --concurrent-requests many"),
    line("--listen stdio --concurrent-requests 2 --concurrent-requests 2"),
    line("--listen stdio --aws-profile x"),
    line("--listen stdio --use-agent-identity-auth"),
    line("--listen stdio --chatgpt-token-stdin"),
    line("--remote https://127.0.0.1:9 --environment-id e --chatgpt-account-id x"),
    line(
        "--remote https://127.0.0.1:9 --environment-id e --chatgpt-token-stdin --registration-bearer-stdin",
    ),
    with_stdin(
        "--remote http://127.0.0.1:9 --environment-id e --chatgpt-token-stdin",
        "x.e30.z\n",
    ),
    with_stdin(
        "--remote https://127.0.0.1:9 --environment-id e --chatgpt-token-stdin",
        "x.e30.z",
    ),
    with_stdin(
        "--remote https://127.0.0.1:9 --environment-id e --chatgpt-token-stdin",
        "token\n",
    ),
    with_stdin(
        "--remote https://127.0.0.1:9 --environment-id e --chatgpt-token-stdin",
        "x.e30.z\n",
    ),
    with_stdin(
        "--remote http://127.0.0.1:9 --environment-id e --registration-bearer-stdin",
        "token",
    ),
    intended(
        "--remote http://127.0.0.1:9 --environment-id e --executor-credential-stdin",
        OFFER,
    ),
    intended(
        "--remote http://127.0.0.1:9 --environment-id e --use-agent-identity-auth",
        OFFER,
    ),
    line("forward --remote http://127.0.0.1:9 --environment-id e"),
    line("forward --environment-id e --connect ws://127.0.0.1:9"),
    intended(
        "forward --remote http://127.0.0.1:9 --environment-id e --connect http://127.0.0.1:9",
        "a value of the wrong form is a wrong command line here",
    ),
];

/// Compares every line that is wanted.
pub fn run(options: &Options, place: &Place, binaries: &Binaries, tally: &mut Tally) {
    println!("\nThe command line");
    let both =
        [Whose::Reference, Whose::Ours].map(|whose| binaries.server(whose, Generation::V171));
    let [Some(theirs), Some(ours)] = both else {
        println!("  skipped: the reference 0.171 is missing");
        tally.skipped += LINES.len();
        return;
    };
    for line in LINES {
        let name = format!("flags {}", line.words);
        if !options.wants(&name) {
            continue;
        }
        let [(their_code, their_words), (our_code, our_words)] =
            [theirs, ours].map(|program| outcome(program, line, &place.scratch));
        // The reference's own reason is the first line; ours has it somewhere, or is clap's in other words.
        let reason = their_words.strip_prefix("Error: ");
        let is_same = their_code == our_code
            && (our_code != Some(1) || reason.is_some_and(|reason| our_words.contains(reason)));
        match line.intended {
            None if is_same => {
                println!("  same: {}", line.words);
                tally.same += 1;
            }
            Some(why) if !is_same => {
                println!("  intended difference: {}: {why}", line.words);
                tally.intended += 1;
            }
            _ => {
                println!(
                    "  WRONG: {}\n    theirs {their_code:?} {their_words}\n    ours   {our_code:?} {our_words}",
                    line.words
                );
                tally.wrong += 1;
            }
        }
    }
}

/// The exit code, and the first line on standard error that is no warning.
fn outcome(program: &Path, line: &Line, scratch: &Path) -> (Option<i32>, String) {
    let mut command = Command::new(program);
    command
        .arg("exec-server")
        .args(line.words.split(' '))
        .env("CODEX_HOME", scratch)
        .env("RUST_BACKTRACE", "0")
        .env("NO_PROXY", "*")
        .env_remove("CODEX_API_KEY")
        .env_remove("CODEX_ACCESS_TOKEN")
        .env_remove("RUST_LOG")
        .env_remove("EXEC_SERVER_LOG")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let child = Guarded::spawn(&mut command);
    let (stdin, stderr) = child.with(|child| (child.stdin.take(), child.stderr.take()));
    if let Some(mut stdin) = stdin {
        // Who has ended already reads nothing.
        let _ = stdin.write_all(line.stdin.as_bytes());
    }
    let code = child.ended(PATIENCE).and_then(|status| status.code());
    drop(child);
    let words = stderr.and_then(|pipe| std::io::read_to_string(pipe).ok());
    let words = words.unwrap_or_default();
    let mut reasons = words.lines().filter(|line| !line.starts_with("WARNING"));
    (code, reasons.next().unwrap_or_default().to_owned())
}
