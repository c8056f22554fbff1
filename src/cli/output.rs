//! What a command prints: on standard error what it has to say besides what it was asked for, on
//! standard output texts and tables.

use std::fmt;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use crate::env::local::info::HomeInfo;
use crate::log::{self, Format, Level};
use crate::rpc::client::introduce_as;
use crate::sys::{process, terminal};
use crate::version;
use crate::visible::Visible;

/// Bytes of one notice that are shown at most: a remote may have put more into it.
const LONGEST: usize = 8 * 1024;

/// Who speaks, such as `exec-server run`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Speaker(pub(crate) &'static str);

impl Speaker {
    /// Says it: the first line behind the speaker's name, others below it as hints. What a remote
    /// has put into it cannot steer the terminal, or pass for a line of ours.
    pub(crate) fn say(self, what: impl fmt::Display) {
        let mut what = what.to_string();
        if what.len() > LONGEST {
            what.truncate(what.floor_char_boundary(LONGEST));
            what.push('\u{2026}');
        }
        let end = if terminal::is_raw() { "\r\n" } else { "\n" };
        let mut lines = what.split('\n');
        let first = Visible(lines.next().unwrap_or_default());
        let mut text = format!("{}: {first}{end}", self.0);
        for line in lines.filter(|line| !line.trim().is_empty()) {
            text.push_str(&format!("  {}{end}", Visible(line.trim_start())));
        }
        // There is nobody to tell when standard error is gone.
        let _ = io::stderr().write_all(text.as_bytes());
    }
}

/// Begins the log of a command, with every step of its client, in the file of `--log` or with `-` on
/// standard error; and has servers log us as the command of this user.
pub(crate) fn begin_log(command: &str, file: Option<&Path>) -> io::Result<()> {
    let user = std::env::var("USER").unwrap_or_else(|_| process::user_id().to_string());
    let host = HomeInfo::find().hostname.unwrap_or_default();
    introduce_as(format!("exec-server {command} of {user}@{host}"));
    match file {
        None => Ok(()),
        Some(file) if file == Path::new("-") => log::to(None, Level::Debug, Format::Text),
        Some(file) => log::also_to(file, Level::Debug, Format::Text),
    }?;
    log::debug!("{} {command}", version::short());
    Ok(())
}

impl Speaker {
    /// Prints what came of a command, or says why nothing did; gives its exit code.
    pub(crate) fn done(self, result: Result<String, String>) -> ExitCode {
        let printed = result.and_then(|text| {
            let written = io::stdout().write_all(text.as_bytes());
            written.map_err(|error| format!("cannot write to standard output: {error}"))
        });
        match printed {
            Ok(()) => ExitCode::SUCCESS,
            Err(why) => {
                self.say(why);
                ExitCode::FAILURE
            }
        }
    }
}

/// Why a file was not made, and what to do.
pub(crate) fn not_made(path: &Path, error: &io::Error) -> String {
    let advice = match error.kind() {
        io::ErrorKind::AlreadyExists => "\n--force puts another in its place",
        _ => "",
    };
    format!("cannot make {}: {error}{advice}", path.display())
}

/// Prints a text that was asked for.
pub(crate) fn print(text: &str) {
    // A reader that has seen enough, as in `--help | head -1`, is no failure.
    let _ = io::stdout().write_all(text.as_bytes());
}

/// A table with its columns below one another; what steers a terminal is shown instead.
pub(crate) fn table<const N: usize>(rows: &[[String; N]]) -> String {
    let shown: Vec<[String; N]> = rows
        .iter()
        .map(|row| row.each_ref().map(|cell| Visible(cell).to_string()))
        .collect();
    let width = |column: usize| {
        let widths = shown.iter().map(|row| row[column].chars().count());
        widths.max().unwrap_or(0)
    };
    let widths: [usize; N] = std::array::from_fn(width);
    let mut text = String::new();
    for row in &shown {
        push_row(&mut text, row.each_ref().map(String::as_str), widths, "  ");
    }
    text
}

/// Adds a row of cells that are at least so wide, with `gap` between them.
pub(crate) fn push_row<const N: usize>(
    text: &mut String,
    cells: [&str; N],
    widths: [usize; N],
    gap: &str,
) {
    let start = text.len();
    for (cell, width) in cells.iter().zip(widths) {
        if text.len() > start {
            text.push_str(gap);
        }
        text.push_str(&format!("{cell:width$}"));
    }
    text.truncate(text.trim_end_matches(' ').len().max(start));
    text.push('\n');
}
