//! Lines for the operator, on standard error or in a file.
//!
//! Standard output belongs to the protocol. A line never holds the environment or contents, and
//! arguments only if the operator wants them; what it quotes from a peer is made harmless for the
//! terminal that shows it and for programs that read it. Logging holds nobody up: a line that is
//! not taken at once is lost and counted, and what happens too often is counted instead of written.
//!
//! A line for people and for grep: `TIME LEVEL EVENT key=value…`, with a value in quotation marks
//! unless it is one plain word. A line for programs is a JSON object with the same names.

use std::fmt::{self, Display, Write as _};
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::calendar;
use crate::sys::poll::{self, PollFd, WRITABLE, WakeEvent};
use crate::sys::sync::Mutex;
use crate::visible;

/// How much a line matters; a level includes those before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// The server cannot do what it is for.
    Error = 1,
    /// Something is wrong, and the server lives on.
    #[default]
    Warn,
    /// What happens: clients and processes that come and go.
    Info,
    /// What happens inside.
    Debug,
}

impl Level {
    const ALL: [Level; 4] = [Level::Error, Level::Warn, Level::Info, Level::Debug];

    const fn name(self) -> &'static str {
        match self {
            Level::Error => "error",
            Level::Warn => "warn",
            Level::Info => "info",
            Level::Debug => "debug",
        }
    }
}

impl FromStr for Level {
    type Err = UnknownLevel;

    fn from_str(text: &str) -> Result<Level, UnknownLevel> {
        let named = |level: &Level| level.name().eq_ignore_ascii_case(text);
        Level::ALL.into_iter().find(named).ok_or(UnknownLevel)
    }
}

/// A text that names no [`Level`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownLevel;

impl Display for UnknownLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("expected error, warn, info or debug")
    }
}

impl std::error::Error for UnknownLevel {}

/// What a line looks like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// As a command speaks to who has called it: `exec-server: warn: …`.
    #[default]
    Spoken,
    /// For people and for grep.
    Text,
    /// For programs.
    Json,
}

impl Format {
    /// The format of this name; the error says which there are.
    pub fn from_name(name: &str) -> Result<Self, String> {
        match name {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err("expected text or json".to_owned()),
        }
    }
}

/// What a line tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// Anything without a kind of its own, in words.
    Message,
    Listening,
    Ending,
    Reloaded,
    ConnectionOpened,
    ConnectionClosed,
    ConnectionRefused,
    RequestRefused,
    SessionBegan,
    SessionResumed,
    SessionTakenOver,
    SessionExpired,
    ProcessStarted,
    ProcessExited,
    /// Another event has happened more often than is written.
    Repeated,
    /// Lines were not taken.
    Lost,
}

impl Event {
    const ALL: [Event; 16] = [
        Self::Message,
        Self::Listening,
        Self::Ending,
        Self::Reloaded,
        Self::ConnectionOpened,
        Self::ConnectionClosed,
        Self::ConnectionRefused,
        Self::RequestRefused,
        Self::SessionBegan,
        Self::SessionResumed,
        Self::SessionTakenOver,
        Self::SessionExpired,
        Self::ProcessStarted,
        Self::ProcessExited,
        Self::Repeated,
        Self::Lost,
    ];

    /// The name in the log, which is stable.
    const fn name(self) -> &'static str {
        match self {
            Self::Message => "message",
            Self::Listening => "listening",
            Self::Ending => "ending",
            Self::Reloaded => "reloaded",
            Self::ConnectionOpened => "connectionOpened",
            Self::ConnectionClosed => "connectionClosed",
            Self::ConnectionRefused => "connectionRefused",
            Self::RequestRefused => "requestRefused",
            Self::SessionBegan => "sessionBegan",
            Self::SessionResumed => "sessionResumed",
            Self::SessionTakenOver => "sessionTakenOver",
            Self::SessionExpired => "sessionExpired",
            Self::ProcessStarted => "processStarted",
            Self::ProcessExited => "processExited",
            Self::Repeated => "repeated",
            Self::Lost => "linesLost",
        }
    }

    /// How often it is written in a [`WINDOW`]: rarely what strangers can bring about, often what
    /// those who were let in do.
    const fn limit(self) -> u32 {
        match self {
            Self::ConnectionRefused => 20,
            _ => 1000,
        }
    }
}

/// A line goes out in one `write`, which a pipe keeps whole up to this many bytes, and which does
/// not wait when the pipe is writable at all.
const MAX_LINE: usize = 4096;
/// Bytes of a value that is no text of ours.
const MAX_VALUE: usize = 256;
/// Bytes of an argument.
const MAX_ARGUMENT: usize = 64;
/// Ends any line, after the last value.
const MAX_END: usize = "\"]}\n".len();
/// What marks a value that was cut.
const CUT: &str = "\u{2026}";
/// Repeats are counted for so long before they are told.
const WINDOW: Duration = Duration::from_secs(10);

/// Where lines go.
struct Destination {
    /// The last level that is written, by its number; 0 for none.
    threshold: AtomicU8,
    format: AtomicU8,
    state: Mutex<Output>,
}

struct Output {
    /// None for standard error.
    file: Option<(PathBuf, File)>,
    /// Lines that were not taken since the last that was.
    lost: u64,
    /// The last one was taken in part.
    is_torn: bool,
}

impl Destination {
    const fn new(threshold: u8) -> Self {
        Self {
            threshold: AtomicU8::new(threshold),
            format: AtomicU8::new(Format::Spoken as u8),
            state: Mutex::new(Output {
                file: None,
                lost: 0,
                is_torn: false,
            }),
        }
    }

    fn set(&self, level: Option<Level>, format: Format) {
        let threshold = level.map_or(0, |level| level as u8);
        self.threshold.store(threshold, Ordering::Relaxed);
        self.format.store(format as u8, Ordering::Relaxed);
    }

    fn is_enabled(&self, level: Level) -> bool {
        level as u8 <= self.threshold.load(Ordering::Relaxed)
    }

    fn format(&self) -> Format {
        let format = self.format.load(Ordering::Relaxed);
        let all = [Format::Text, Format::Json];
        let found = all.into_iter().find(|it| *it as u8 == format);
        found.unwrap_or_default()
    }

    fn write(&self, level: Level, event: Event, fields: &dyn Fn(&mut Line)) {
        if !self.is_enabled(level) {
            return;
        }
        let format = self.format();
        let mut output = self.state.lock();
        if output.lost > 0 {
            let lost = output.lost;
            let told = Line::new(format, Level::Warn, Event::Lost).with(&|line| {
                line.value("lines", lost);
            });
            if !output.send(&told) {
                return output.lose();
            }
            output.lost = 0;
        }
        if !output.send(&Line::new(format, level, event).with(fields)) {
            output.lose();
        }
    }
}

impl Output {
    fn lose(&mut self) {
        self.lost += 1;
        LOST.fetch_add(1, Ordering::Relaxed);
    }

    /// Sends a line if it is taken at once, whole.
    fn send(&mut self, line: &str) -> bool {
        let mut bytes = Vec::with_capacity(line.len() + 1);
        if self.is_torn {
            bytes.push(b'\n');
        }
        bytes.extend_from_slice(line.as_bytes());
        let written = match &mut self.file {
            Some((_, file)) => file.write(&bytes),
            None => {
                // Locked before the question, so that no other thread takes the room in between.
                let mut stderr = io::stderr().lock();
                let mut room = [PollFd::new(stderr.as_fd(), WRITABLE)];
                if poll::wait(&mut room, Some(Duration::ZERO)).is_err() || !room[0].is_ready() {
                    return false;
                }
                stderr.write(&bytes)
            }
        };
        match written {
            Ok(count) => {
                self.is_torn = count > 0 && count < bytes.len();
                count == bytes.len()
            }
            Err(_) => false,
        }
    }
}

/// Lines that were not taken since the program began.
static LOST: AtomicU64 = AtomicU64::new(0);

/// How many lines were not taken so far.
pub fn lost() -> u64 {
    LOST.load(Ordering::Relaxed)
}

static STDERR: Destination = Destination::new(Level::Warn as u8);
static FILE: Destination = Destination::new(0);

/// Writes lines up to `level` to the file alone from now on, or on standard error.
///
/// # Errors
/// The file cannot be opened.
pub fn to(file: Option<&Path>, level: Level, format: Format) -> io::Result<()> {
    match file {
        Some(path) => {
            also_to(path, level, format)?;
            STDERR.set(None, format);
        }
        None => STDERR.set(Some(level), format),
    }
    Ok(())
}

/// Appends lines up to `level` to the file, too, which is made for its owner alone if it is not
/// there.
///
/// # Errors
/// It cannot be opened.
pub fn also_to(path: &Path, level: Level, format: Format) -> io::Result<()> {
    let file = open(path)?;
    FILE.state.lock().file = Some((path.to_owned(), file));
    FILE.set(Some(level), format);
    Ok(())
}

/// Opens the file anew, as another may have been put in its place; none if there is none. On an
/// error the one that is open stays.
pub fn reopen() -> Option<io::Result<()>> {
    let mut output = FILE.state.lock();
    let (path, file) = output.file.as_mut()?;
    Some(open(path).map(|opened| *file = opened))
}

fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.append(true).create(true).mode(0o600);
    // A named pipe that nobody reads must not hold us up.
    options.custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY);
    options.open(path)
}

/// Whether lines of that level are written anywhere.
pub fn is_enabled(level: Level) -> bool {
    STDERR.is_enabled(level) || FILE.is_enabled(level)
}

/// How often one kind of event happened lately.
struct Window {
    /// None while nothing has happened.
    began: Option<Instant>,
    written: u32,
    repeated: u64,
}

/// What becomes of a line.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    /// It is written, once it is told how often it was not before.
    Written { repeated: u64 },
    /// It is counted; whether it is the first.
    Counted { is_first: bool },
}

impl Window {
    const NEW: Self = Self {
        began: None,
        written: 0,
        repeated: 0,
    };

    fn judge(&mut self, now: Instant, limit: u32) -> Verdict {
        let repeated = self.close(now).unwrap_or_default();
        self.began.get_or_insert(now);
        if self.written == limit {
            self.repeated += 1;
            return Verdict::Counted {
                is_first: self.repeated == 1,
            };
        }
        self.written += 1;
        Verdict::Written { repeated }
    }

    /// Begins anew if the time is over; what was counted in it.
    fn close(&mut self, now: Instant) -> Option<u64> {
        let began = self.began?;
        let is_over = now.saturating_duration_since(began) >= WINDOW;
        is_over.then(|| std::mem::replace(self, Self::NEW).repeated)
    }
}

/// One for each kind of event and each level.
static WINDOWS: [Mutex<Window>; Event::ALL.len() * Level::ALL.len()] =
    [const { Mutex::new(Window::NEW) }; Event::ALL.len() * Level::ALL.len()];
/// Whether something was counted that is not told yet.
static HAS_REPEATS: AtomicBool = AtomicBool::new(false);
/// Wakes who calls [`tell_repeats`].
static REPEATS: OnceLock<Arc<WakeEvent>> = OnceLock::new();

/// Wakes the caller of [`tell_repeats`] by `wake` when there begins to be something to tell.
pub fn wake_on_repeats(wake: Arc<WakeEvent>) {
    // A second server in one program has the first one's main thread tell.
    let _ = REPEATS.set(wake);
}

/// Whether [`tell_repeats`] is to be called once a second.
pub fn has_repeats() -> bool {
    HAS_REPEATS.load(Ordering::Relaxed)
}

/// Tells what was counted in windows that are over; with `all` in the others, too.
pub fn tell_repeats(all: bool) {
    if !HAS_REPEATS.swap(false, Ordering::Relaxed) {
        return;
    }
    let now = Instant::now();
    for (index, window) in WINDOWS.iter().enumerate() {
        let mut window = window.lock();
        let repeated = match all {
            true => std::mem::take(&mut window.repeated),
            false => window.close(now).unwrap_or_default(),
        };
        if window.repeated > 0 {
            HAS_REPEATS.store(true, Ordering::Relaxed);
        }
        drop(window);
        let event = Event::ALL[index / Level::ALL.len()];
        tell(event, Level::ALL[index % Level::ALL.len()], repeated);
    }
}

fn tell(event: Event, level: Level, times: u64) {
    if times > 0 {
        write_line(level, Event::Repeated, &|line| {
            line.text("of", event.name());
            line.value("times", times);
            line.value("seconds", WINDOW.as_secs());
        });
    }
}

fn write_line(level: Level, event: Event, fields: &dyn Fn(&mut Line)) {
    STDERR.write(level, event, fields);
    FILE.write(level, event, fields);
}

/// Writes a line about `event`, unless its level is not enabled or it has happened too often.
pub fn event(level: Level, event: Event, fields: &dyn Fn(&mut Line)) {
    if !is_enabled(level) {
        return;
    }
    let window = event as usize * Level::ALL.len() + (level as usize - 1);
    let verdict = WINDOWS[window].lock().judge(Instant::now(), event.limit());
    match verdict {
        Verdict::Written { repeated } => {
            tell(event, level, repeated);
            write_line(level, event, fields);
        }
        Verdict::Counted { is_first } => {
            if is_first {
                HAS_REPEATS.store(true, Ordering::Relaxed);
                if let Some(wake) = REPEATS.get() {
                    wake.set();
                }
            }
        }
    }
}

/// Writes a line in words if its level is enabled. Call it through the macros of this module.
pub fn write(level: Level, message: fmt::Arguments<'_>) {
    event(level, Event::Message, &|line| line.text("text", message));
}

/// A line that is being made.
pub struct Line {
    text: String,
    format: Format,
    is_message: bool,
}

impl Line {
    fn new(format: Format, level: Level, event: Event) -> Self {
        let (level, name) = (level.name(), event.name());
        let is_message = event == Event::Message;
        let text = match format {
            Format::Spoken if is_message => format!("exec-server: {level}:"),
            Format::Spoken => format!("exec-server: {level}: {name}"),
            Format::Text => format!("{} {level} {name}", now()),
            Format::Json => format!(r#"{{"time":"{}","level":"{level}","event":"{name}""#, now()),
        };
        Self {
            text,
            format,
            is_message,
        }
    }

    /// The whole line.
    fn with(mut self, fields: &dyn Fn(&mut Line)) -> String {
        fields(&mut self);
        if self.format == Format::Json {
            self.text.push('}');
        }
        self.text.push('\n');
        self.text
    }

    /// Begins a field; false if there is no room for any.
    fn key(&mut self, key: &str) -> bool {
        // A name, its marks, and a number.
        if self.text.len() + key.len() + 32 > MAX_LINE {
            return false;
        }
        match self.format {
            Format::Json => self.text.extend([",\"", key, "\":"]),
            Format::Spoken if self.is_message => self.text.push(' '),
            Format::Spoken | Format::Text => self.text.extend([" ", key, "="]),
        }
        true
    }

    /// Adds a number or a truth value.
    pub fn value(&mut self, key: &str, value: impl Display) {
        self.put_value(key, &value);
    }

    fn put_value(&mut self, key: &str, value: &dyn Display) {
        if self.key(key) {
            // A String takes everything.
            let _ = write!(self.text, "{value}");
        }
    }

    /// Adds a text, which may be anybody's.
    pub fn text(&mut self, key: &str, value: impl Display) {
        self.put_text(key, &value);
    }

    fn put_text(&mut self, key: &str, value: &dyn Display) {
        if !self.key(key) {
            return;
        }
        if self.format == Format::Spoken && self.is_message {
            // It stands alone, so no quotation mark can end it.
            let most = MAX_LINE - 1;
            let mut shown = Escaped::new(&mut self.text, Escapes::Terminal, most);
            return shown.take(value);
        }
        let most = match key {
            "text" | "why" => MAX_LINE,
            _ => MAX_VALUE,
        };
        self.quoted(value, most);
    }

    /// Adds a list of texts, which may be anybody's, each shortened.
    pub fn list<'t>(&mut self, key: &str, values: impl Iterator<Item = &'t str>) {
        if !self.key(key) {
            return;
        }
        self.text.push('[');
        let mut is_first = true;
        for value in values {
            if !std::mem::take(&mut is_first) {
                self.text.push(',');
            }
            if self.text.len() + 2 * MAX_ARGUMENT > MAX_LINE {
                self.text.extend(["\"", CUT, "\""]);
                break;
            }
            let start = self.text.len();
            self.quoted(&value, MAX_ARGUMENT);
            if !self.text[start..].starts_with('"') {
                self.text.insert(start, '"');
                self.text.push('"');
            }
        }
        self.text.push(']');
    }

    /// Adds a text of at most so many bytes, in quotation marks if it needs them.
    fn quoted(&mut self, value: &dyn Display, most: usize) {
        let start = self.text.len();
        let escapes = match self.format {
            Format::Json => Escapes::Json,
            Format::Spoken | Format::Text => Escapes::Text,
        };
        let end = (start + most).min(MAX_LINE - MAX_END - 1);
        let mut shown = Escaped::new(&mut self.text, escapes, end);
        shown.take(value);
        if self.format == Format::Json || !is_word(&self.text[start..]) {
            self.text.insert(start, '"');
            self.text.push('"');
        }
    }
}

/// Whether a text can stand without quotation marks.
fn is_word(text: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:@%+,*~".contains(c);
    !text.is_empty() && text.chars().all(is_plain)
}

/// What is escaped besides what could steer a terminal, forge a line or reorder it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Escapes {
    Terminal,
    Text,
    Json,
}

/// Takes text up to an end.
struct Escaped<'a> {
    into: &'a mut String,
    escapes: Escapes,
    /// The length that the text is not to exceed.
    end: usize,
}

impl<'a> Escaped<'a> {
    fn new(into: &'a mut String, escapes: Escapes, end: usize) -> Self {
        Self { into, escapes, end }
    }

    fn take(&mut self, value: &dyn Display) {
        // Fails where there is no room for more, and the beginning is still worth reading.
        if write!(self, "{value}").is_err() {
            self.into.push_str(CUT);
        }
    }
}

impl fmt::Write for Escaped<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        const LONGEST_ESCAPE: usize = "\\u{10ffff}".len();
        for c in text.chars() {
            if self.into.len() + LONGEST_ESCAPE + CUT.len() > self.end {
                return Err(fmt::Error);
            }
            match (c, self.escapes) {
                ('"' | '\\', Escapes::Text | Escapes::Json) => self.into.extend(['\\', c]),
                // All that steers is within 16 bits.
                (c, Escapes::Json) if visible::steers(c) => {
                    write!(self.into, "\\u{:04x}", u32::from(c))?;
                }
                (c, _) if visible::steers(c) => self.into.extend(c.escape_unicode()),
                (c, _) => self.into.push(c),
            }
        }
        Ok(())
    }
}

/// The time as RFC 3339 has it, in UTC, to the millisecond.
fn now() -> String {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    // A clock before 1970 is as good as none.
    let since = since.unwrap_or_default();
    let mut text = calendar::rfc3339(since.as_secs() as i64);
    text.pop();
    let _ = write!(text, ".{:03}Z", since.subsec_millis());
    text
}

/// Logs at [`Level::Error`], with the arguments of `format!`.
#[doc(hidden)]
#[macro_export]
macro_rules! __log_error {
    ($($arguments:tt)*) => {
        $crate::log::write($crate::log::Level::Error, ::std::format_args!($($arguments)*))
    };
}

/// Logs at [`Level::Warn`], with the arguments of `format!`.
#[doc(hidden)]
#[macro_export]
macro_rules! __log_warn {
    ($($arguments:tt)*) => {
        $crate::log::write($crate::log::Level::Warn, ::std::format_args!($($arguments)*))
    };
}

/// Logs at [`Level::Info`], with the arguments of `format!`.
#[doc(hidden)]
#[macro_export]
macro_rules! __log_info {
    ($($arguments:tt)*) => {
        $crate::log::write($crate::log::Level::Info, ::std::format_args!($($arguments)*))
    };
}

/// Logs at [`Level::Debug`], with the arguments of `format!`.
#[doc(hidden)]
#[macro_export]
macro_rules! __log_debug {
    ($($arguments:tt)*) => {
        $crate::log::write($crate::log::Level::Debug, ::std::format_args!($($arguments)*))
    };
}

#[doc(inline)]
pub use crate::{
    __log_debug as debug, __log_error as error, __log_info as info, __log_warn as warn,
};

#[cfg(test)]
mod tests {
    use super::*;

    fn line(format: Format, fields: &dyn Fn(&mut Line)) -> String {
        Line::new(format, Level::Warn, Event::ProcessStarted).with(fields)
    }

    fn message(text: &str) -> String {
        Line::new(Format::Spoken, Level::Warn, Event::Message).with(&|line| line.text("text", text))
    }

    #[test]
    fn remote_text_cannot_steer_the_terminal() {
        let remote = "a\x1b[2J\n\u{9b}\u{202e}\u{fc}";
        assert_eq!(
            message(&format!("peer says {remote}")),
            "exec-server: warn: peer says a\\u{1b}[2J\\u{a}\\u{9b}\\u{202e}\u{fc}\n"
        );
    }

    #[test]
    fn a_value_forges_no_other_and_no_line() {
        let forged = "sh\" pid=1\nx\\ \u{2028}";
        let text = line(Format::Text, &|line| {
            line.text("program", forged);
            line.text("plain", "/bin/sh");
            line.text("empty", "");
            line.value("pid", 7);
        });
        let (time, rest) = text.split_once(' ').unwrap();
        assert!(
            calendar::parse_rfc3339(time).is_some() && time.len() == 24,
            "{time}"
        );
        assert_eq!(
            rest,
            "warn processStarted program=\"sh\\\" pid=1\\u{a}x\\\\ \\u{2028}\" plain=/bin/sh \
             empty=\"\" pid=7\n"
        );
        let json = line(Format::Json, &|line| {
            line.text("program", forged);
            line.value("pid", 7);
            line.list("argv", ["a b", "c"].into_iter());
        });
        assert_eq!(json.lines().count(), 1);
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(json["program"], forged);
        assert_eq!(json["pid"], 7);
        assert_eq!(json["argv"], serde_json::json!(["a b", "c"]));
        assert_eq!(json["event"], "processStarted");
    }

    #[test]
    fn a_line_is_short_enough_to_stay_whole() {
        for text in ["x", "\u{fc}", "\x1b", "\"", "\u{10ffff}"] {
            let long = text.repeat(5000);
            let spoken = message(&long);
            assert!(spoken.len() <= MAX_LINE && spoken.len() > MAX_LINE - 24);
            assert!(spoken.ends_with("\u{2026}\n"));
            for format in [Format::Text, Format::Json] {
                let many = line(format, &|line| {
                    line.list("argv", std::iter::repeat_n(&*long, 100));
                    for _ in 0..40 {
                        line.text("name", &long);
                        line.value("number", u64::MAX);
                    }
                    line.text("why", &long);
                });
                assert!(many.len() <= MAX_LINE, "{}", many.len());
                assert!(many.len() > MAX_LINE - 300, "{}", many.len());
                assert!(many.ends_with('\n'));
                if format == Format::Json {
                    serde_json::from_str::<serde_json::Value>(&many).expect(&many);
                }
            }
        }
    }

    #[test]
    fn a_window_counts_what_is_not_written() {
        let mut window = Window::NEW;
        let now = Instant::now();
        for _ in 0..3 {
            assert_eq!(window.judge(now, 3), Verdict::Written { repeated: 0 });
        }
        for is_first in [true, false, false] {
            assert_eq!(
                window.judge(now + WINDOW / 2, 3),
                Verdict::Counted { is_first }
            );
        }
        assert_eq!(window.close(now + WINDOW / 2), None);
        assert_eq!(
            window.judge(now + WINDOW, 3),
            Verdict::Written { repeated: 3 }
        );
        assert_eq!(
            window.judge(now + WINDOW, 3),
            Verdict::Written { repeated: 0 }
        );
        assert_eq!(window.close(now + 2 * WINDOW), Some(0));
    }

    #[test]
    fn events_have_numbers_in_their_order() {
        for (number, event) in Event::ALL.into_iter().enumerate() {
            assert_eq!(event as usize, number);
        }
    }

    #[test]
    fn levels_have_names_and_an_order() {
        for level in Level::ALL {
            assert_eq!(level.name().to_uppercase().parse(), Ok(level));
        }
        assert_eq!("trace".parse::<Level>(), Err(UnknownLevel));
        assert!(is_enabled(Level::Warn) && !is_enabled(Level::Info));
        warn!("a test wrote this line: {}", 1);
        debug!("a test must not write this line");
    }
}
