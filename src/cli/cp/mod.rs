//! `exec-server cp`: files from, to and between environments.
//!
//! A copy has two sides ([`side`]): this machine by system calls ([`local_fs`]), an environment by
//! its client ([`remote_fs`]). [`plan`] turns the command line into jobs, and [`WORKERS`] threads
//! take them from the [`queue`] and do them ([`copy`]): so many requests are under way at once, and
//! latency does not set the speed. A large file is a [`transfer`], whose blocks all of them take.
//! The main thread draws the bar and waits; the thread `signals` stops the queue, and `silence`
//! tells when an environment does not answer ([`OutageWatch`]).

mod copy;
mod hard_links;
mod local_fs;
mod plan;
mod progress;
mod queue;
mod remote_fs;
mod side;
mod transfer;

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::thread;
use std::time::Duration;

use super::description::Candidates;
use super::environments::NoDirectory;
use super::grammar::{Category, Flag, FlagKind, Grammar, Operands, Value, parsed, path};
use super::outage::OutageWatch;
use super::output::{Speaker, begin_log};
use super::{Command, environments, with_flags};
use crate::env::{Environment, EnvironmentError, EnvironmentFacts};
use crate::log;
use crate::net::Fingerprint;
use crate::sys::poll::{self, PollFd, READABLE};
use crate::sys::signal::{Signal, SignalEvents};
use crate::sys::sync::Mutex;

use copy::Copy;
use local_fs::LocalFs;
use plan::{End, Rules};
use progress::Progress;
use queue::{Job, Queue, Stop};
use remote_fs::RemoteFs;
use side::{CopyError, Side};

/// The row in the table of commands.
pub(crate) static CP: Command = Command {
    name: "cp",
    summary: "Copy files from, to and between environments",
    perform: |args| {
        with_flags(&GRAMMAR, args, |flags| match flags.places.len() {
            0 | 1 => Err(GRAMMAR.error("a source and a destination are needed".to_owned())),
            _ => match environments::pin_conflict(flags.pin, flags.environment.as_deref()) {
                Some(message) => Err(GRAMMAR.error(message)),
                None => Ok(copy_all(&flags)),
            },
        })
    },
    describe: || GRAMMAR.describe(),
};

static GRAMMAR: Grammar<CopyFlags> = Grammar {
    about: "Copies files from, to and between environments, as scp does with hosts.\n",
    usage: "exec-server cp [OPTIONS] SOURCE... DESTINATION",
    flags: &[
        Flag::value(
            Category::Where,
            "environment",
            "The one that :PATH is in: a name or a URL (ws://, wss://, unix:///PATH); the \
             default environment unless given",
            Value::optional("ENV", |flags: &mut CopyFlags, text| {
                flags.environment = Some(text.to_owned());
                Ok(())
            }),
        )
        .short('e'),
        Flag::value(
            Category::Where,
            "config",
            "Read this file of environments, or those of this directory",
            Value::optional("PATH", |flags: &mut CopyFlags, text| {
                flags.config = Some(path(text)?);
                Ok(())
            }),
        ),
        environments::pin_flag(Category::Where, |flags: &mut CopyFlags, text| {
            flags.pin = Some(parsed(text)?);
            Ok(())
        }),
        Flag::switch(
            Category::Copying,
            Some('r'),
            "recursive",
            "Copy directories with all below them; links stay links",
            FlagKind::Switch(|flags| flags.is_recursive = true),
        ),
        Flag::switch(
            Category::Copying,
            Some('a'),
            "archive",
            "As -r, and keep extended attributes and access rules (ACLs)",
            FlagKind::Switch(|flags| {
                flags.is_recursive = true;
                flags.is_archive = true;
            }),
        ),
        Flag::switch(
            Category::Copying,
            None,
            "continue",
            "Go on where an interrupted copy of the same files stopped",
            FlagKind::Switch(|flags| flags.continues = true),
        ),
        Flag::switch(
            Category::General,
            Some('q'),
            "quiet",
            "Show no progress",
            FlagKind::Switch(|flags| flags.is_quiet = true),
        ),
        Flag::switch(
            Category::General,
            Some('v'),
            "verbose",
            "Name every file that was copied",
            FlagKind::Switch(|flags| flags.is_verbose = true),
        ),
        Flag::value(
            Category::General,
            "log",
            "Append what our side does to this file, for a bug report; - is standard error",
            Value::optional("FILE", |flags: &mut CopyFlags, text| {
                flags.log = Some(path(text)?);
                Ok(())
            }),
        ),
        Flag::help(),
    ],
    candidates: Candidates::Places,
    operands: Operands::Anywhere(|flags, word| {
        flags.places.push(word);
        Ok(())
    }),
    notes: "A place is a path of this machine, or ENV:PATH; :PATH is in the default\n\
            environment, and ./a:b is a file here. A relative PATH starts where the\n\
            commands of the environment do, ~/ at its user's home.\n\n\
            A file appears under its name when it is complete; until then it is beside\n\
            it as .NAME.PART-xxxxxxxx-yyyyyyyyyyyyyyyy, from which --continue goes on if\n\
            nobody else can have written to it. Below the destination no link is\n\
            followed. Files and directories keep their permissions and the time of\n\
            modification, files their holes; several names of one file stay that. A new\n\
            directory gets setgid and the access rules that the one above it gives. A file\n\
            that is replaced keeps its owner, group and permissions. Where none can take\n\
            its place, since its directory may not be written, its owner is another or it\n\
            is a mount point, it is written over, and is incomplete until that is done. A\n\
            directory that was there before stays as it is. A file that is changed while\n\
            it is copied is an error, and not copied; so is a path of 4096 bytes or more.\n\
            No room at the destination ends the copy.\n\
            Servers that are not exec-server keep less: neither times nor holes.\n\n\
            Exit code: 0 if all was copied, 1 if something was not, 255 if an\n\
            environment was not reached or lost, 2 for a wrong command line.\n",
};

/// The flags of `cp`, as given or by default.
#[derive(Debug, Default)]
struct CopyFlags {
    config: Option<PathBuf>,
    environment: Option<String>,
    pin: Option<Fingerprint>,
    is_recursive: bool,
    is_archive: bool,
    continues: bool,
    is_quiet: bool,
    is_verbose: bool,
    log: Option<PathBuf>,
    /// The sources, and the destination last.
    places: Vec<OsString>,
}

const SPEAKER: Speaker = Speaker("exec-server cp");

/// Blocks of 1 MiB, or small files, under way at once at most: 16 MiB hide 160 ms at 100 MB/s.
const WORKERS: usize = 16;
/// Between two states of the bar.
const TICK: Duration = Duration::from_millis(100);
/// How long threads that were stopped may take to finish what they are at.
const LAST_PIECE: Duration = Duration::from_secs(2);

/// Something was not copied.
const NOT_ALL: u8 = 1;
/// An environment was not reached, or lost.
const LOST: u8 = 255;

/// Why nothing at all was copied.
enum StartError {
    Environment(EnvironmentError),
    NoDirectory(NoDirectory),
    NotText(String),
    System(io::Error),
    Log(io::Error),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Environment(error) => error.fmt(f),
            Self::NoDirectory(error) => error.fmt(f),
            Self::NotText(word) => write!(f, "`{word}` is not UTF-8, which an environment needs"),
            Self::System(error) => write!(f, "the system gives no more: {error}"),
            Self::Log(error) => write!(f, "cannot open the file of --log: {error}"),
        }
    }
}

impl From<EnvironmentError> for StartError {
    fn from(error: EnvironmentError) -> Self {
        Self::Environment(error)
    }
}

impl From<NoDirectory> for StartError {
    fn from(error: NoDirectory) -> Self {
        Self::NoDirectory(error)
    }
}

fn copy_all(flags: &CopyFlags) -> ExitCode {
    let code = start(flags).unwrap_or_else(|error| {
        log::debug!("nothing was copied: {error}");
        SPEAKER.say(error);
        LOST
    });
    log::debug!("exit code {code}");
    ExitCode::from(code)
}

fn start(flags: &CopyFlags) -> Result<u8, StartError> {
    begin_log("cp", flags.log.as_deref()).map_err(StartError::Log)?;
    let stopping = Arc::new(Stopping::default());
    // Before anything starts a thread.
    stopping.collect().map_err(StartError::System)?;
    let progress = Arc::new(Progress::new(SPEAKER, flags.is_quiet));
    let mut ends = Vec::with_capacity(flags.places.len());
    let mut open = Environments {
        open: Vec::new(),
        progress: Arc::clone(&progress),
    };
    for word in &flags.places {
        ends.push(open.located(flags, word)?);
    }
    let Some(target) = ends.pop() else {
        return Ok(0);
    };
    let rules = |source: &Located| Rules {
        is_recursive: flags.is_recursive,
        is_one_of_many: flags.places.len() > 2,
        is_one_side: source.id == target.id,
    };
    for source in ends {
        let rules = rules(&source);
        if let Some(code) = one(&stopping, &progress, flags, (&source, &target), rules)? {
            return Ok(code);
        }
    }
    progress.finish();
    Ok(match progress.failures() {
        0 => 0,
        _ => NOT_ALL,
    })
}

/// Copies one source; a code if nothing more is to be done.
fn one(
    stopping: &Stopping,
    progress: &Arc<Progress>,
    flags: &CopyFlags,
    (source, target): (&Located, &Located),
    rules: Rules,
) -> Result<Option<u8>, StartError> {
    let (copy, job) = match begin(progress, flags, (source, target), rules) {
        Ok(begun) => begun,
        Err(CopyError::File(why) | CopyError::Irreplaceable(why)) => {
            progress.fail(why);
            return Ok(None);
        }
        Err(CopyError::Full(why)) => {
            progress.fail(why);
            return Ok(Some(NOT_ALL));
        }
        Err(CopyError::Lost(error)) => return Err(error.into()),
    };
    stopping.watch(&copy);
    copy.queue.begin(job);
    for _ in 0..WORKERS {
        let worker = Arc::clone(&copy);
        copy.queue.thread_begins();
        let started = thread::Builder::new()
            .name("copy".to_owned())
            .spawn(move || {
                worker.work();
                worker.queue.thread_ends();
            });
        if let Err(error) = started {
            copy.queue.thread_ends();
            copy.queue.stop(Stop::Lost);
            return Err(StartError::System(error));
        }
    }
    while !copy.queue.wait_for_threads(TICK) {
        copy.progress.set_listed(copy.queue.is_listed());
        copy.progress.draw();
        if copy.queue.stopped().is_some() && !copy.queue.wait_for_threads(LAST_PIECE) {
            break;
        }
    }
    copy.progress.set_listed(copy.queue.is_listed());
    match copy.queue.stopped() {
        None => Ok(None),
        Some(stop) => {
            copy.progress.finish();
            let lost = copy.lost.lock().take();
            match (stop, lost) {
                (Stop::Signal(number), _) => {
                    copy.leave_parts();
                    Ok(Some(128 + number as u8))
                }
                (Stop::Lost, Some(error)) => {
                    copy.progress.say(format_args!(
                        "{error}\nthe same command with --continue goes on from here"
                    ));
                    Ok(Some(LOST))
                }
                (Stop::Lost, None) => Ok(Some(LOST)),
                (Stop::Full, _) => {
                    copy.remove_parts();
                    Ok(Some(NOT_ALL))
                }
            }
        }
    }
}

/// A copy of one source, and what it begins with.
fn begin(
    progress: &Arc<Progress>,
    flags: &CopyFlags,
    (source, target): (&Located, &Located),
    rules: Rules,
) -> Result<(Arc<Copy>, Job), CopyError> {
    let (mut from, mut to) = (
        source.side(progress).map_err(CopyError::Lost)?,
        target.side(progress).map_err(CopyError::Lost)?,
    );
    let end = |side, path| End { side, path };
    let plan = plan::plan(&end(&*from, &source.path), &end(&*to, &target.path), rules)?;
    if plan.makes_target {
        to.make_directory(&plan.target, None)?;
    }
    to = to.below(&plan.target)?;
    // What a server reads is its own matter.
    if let (Some(directory), None) = (&plan.source, &source.environment) {
        from = from.below(directory)?;
    }
    let has_attributes = [&from, &to].map(|side| side.abilities().has_attributes) == [true; 2];
    if flags.is_archive && !has_attributes {
        progress.say("extended attributes are left out: one side does not know them");
    }
    let copy = Arc::new(Copy {
        keeps_attributes: flags.is_archive && has_attributes,
        source: from,
        target: to,
        queue: Queue::default(),
        progress: Arc::clone(progress),
        continues: flags.continues,
        is_verbose: flags.is_verbose,
        hard_links: Mutex::default(),
        lost: Mutex::default(),
    });
    Ok((copy, plan.job))
}

/// A place of the command line, found.
struct Located {
    /// Empty for this machine.
    id: String,
    environment: Option<(Arc<Environment>, EnvironmentFacts)>,
    path: PathBuf,
}

impl Located {
    fn side(&self, progress: &Arc<Progress>) -> Result<Box<dyn Side>, EnvironmentError> {
        Ok(match &self.environment {
            Some((environment, facts)) => {
                Box::new(RemoteFs::new(Arc::clone(environment), facts, progress)?)
            }
            None => Box::new(LocalFs::named()),
        })
    }
}

/// The environments of one command line: each is opened once.
struct Environments {
    open: Vec<Open>,
    progress: Arc<Progress>,
}

struct Open {
    name: Option<String>,
    environment: Arc<Environment>,
    facts: EnvironmentFacts,
    _outages: Option<OutageWatch>,
}

impl Environments {
    fn located(&mut self, flags: &CopyFlags, word: &OsStr) -> Result<Located, StartError> {
        let text = |word: &OsStr| match word.to_str() {
            Some(text) => Ok(text.to_owned()),
            None => Err(StartError::NotText(word.display().to_string())),
        };
        let (name, path) = match Location::parse(word) {
            Location::Local(path) => {
                return Ok(Located {
                    id: String::new(),
                    environment: None,
                    path: path.into(),
                });
            }
            Location::Environment { name, path } => {
                (name.as_deref().map(text).transpose()?, text(&path)?)
            }
        };
        let name = name.or_else(|| flags.environment.clone());
        let (environment, facts) = self.open(flags, name)?;
        let path = match path.is_empty() {
            true => ".".to_owned(),
            false => path,
        };
        let path = environments::absolute(&environment, &facts, &path)?.into();
        if !environment.is_remote() {
            return Ok(Located {
                id: String::new(),
                environment: None,
                path,
            });
        }
        Ok(Located {
            id: environment.id().to_owned(),
            environment: Some((environment, facts)),
            path,
        })
    }

    fn open(
        &mut self,
        flags: &CopyFlags,
        name: Option<String>,
    ) -> Result<(Arc<Environment>, EnvironmentFacts), StartError> {
        if let Some(open) = self.open.iter().find(|open| open.name == name) {
            return Ok((Arc::clone(&open.environment), open.facts.clone()));
        }
        let environment =
            environments::select(flags.config.as_deref(), name.as_deref(), flags.pin)?;
        let progress = Arc::clone(&self.progress);
        let say = move |what: fmt::Arguments<'_>| progress.say(what);
        let outages = OutageWatch::begin(&environment, say).map_err(StartError::System)?;
        let facts = environment.facts()?;
        outages.iter().for_each(OutageWatch::answered);
        self.open.push(Open {
            name,
            environment: Arc::clone(&environment),
            facts: facts.clone(),
            _outages: outages,
        });
        Ok((environment, facts))
    }
}

/// What stands on the command line for a file.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Location {
    /// A path of this machine.
    Local(OsString),
    /// A path in an environment; without a name the one of `-e`, or the default.
    Environment {
        name: Option<OsString>,
        path: OsString,
    },
}

impl Location {
    /// Reads it: what has a colon before any slash names an environment.
    fn parse(word: &OsStr) -> Self {
        let bytes = word.as_bytes();
        let colon = bytes.iter().position(|byte| *byte == b':');
        match colon {
            Some(colon) if !bytes[..colon].contains(&b'/') => {
                let part = |bytes: &[u8]| OsString::from_vec(bytes.to_vec());
                Self::Environment {
                    name: (colon > 0).then(|| part(&bytes[..colon])),
                    path: part(&bytes[colon + 1..]),
                }
            }
            _ => Self::Local(word.to_owned()),
        }
    }
}

/// The end of a copy by a signal: the first stops it in order, a second one at once.
#[derive(Default)]
struct Stopping {
    copy: Mutex<Option<Arc<Copy>>>,
    signal: AtomicI32,
}

impl Stopping {
    fn collect(self: &Arc<Self>) -> io::Result<()> {
        let wanted = [Signal::INTERRUPT, Signal::TERMINATE, Signal::HANGUP];
        let events = SignalEvents::collect(&wanted)?;
        let stopping = Arc::clone(self);
        thread::Builder::new()
            .name("signals".to_owned())
            .spawn(move || stopping.take_all(&events))?;
        Ok(())
    }

    /// The copy that a signal stops.
    fn watch(&self, copy: &Arc<Copy>) {
        let mut watched = self.copy.lock();
        *watched = Some(Arc::clone(copy));
        let number = self.signal.load(Ordering::Acquire);
        if number != 0 {
            copy.queue.stop(Stop::Signal(number));
        }
    }

    fn take_all(&self, events: &SignalEvents) {
        loop {
            let mut ready = [PollFd::new(events.as_fd(), READABLE)];
            if poll::wait(&mut ready, None).is_err() {
                return;
            }
            while let Some(signal) = events.take() {
                let number = signal.number();
                let is_first = self.signal.swap(number, Ordering::AcqRel) == 0;
                let copy = self.copy.lock();
                match &*copy {
                    Some(copy) if is_first => {
                        copy.queue.stop(Stop::Signal(number));
                    }
                    _ => std::process::exit(128 + number),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_colon_before_any_slash_names_an_environment() {
        let there = |name: Option<&str>, path: &str| Location::Environment {
            name: name.map(OsString::from),
            path: path.into(),
        };
        for (word, place) in [
            ("dev:/a/b", there(Some("dev"), "/a/b")),
            ("dev:a:b", there(Some("dev"), "a:b")),
            ("dev:", there(Some("dev"), "")),
            (":x", there(None, "x")),
            ("./a:b", Location::Local("./a:b".into())),
            ("/a:b", Location::Local("/a:b".into())),
            ("a", Location::Local("a".into())),
            ("", Location::Local("".into())),
        ] {
            assert_eq!(Location::parse(OsStr::new(word)), place, "{word}");
        }
    }
}
