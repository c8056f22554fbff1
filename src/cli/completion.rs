//! What the functions of `generate` for shells ask: which words may stand at the cursor.
//!
//! `exec-server __complete WORD...` has the words of a command line behind the program's name, of which
//! the last one ends at the cursor. The answer has a line for each candidate, behind a plus sign,
//! and a line `files`, `directories` or `programs` where the shell knows more. It has no errors:
//! where nothing can be known, there are no candidates.

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use super::description::{Candidates, Description, FlagRow};
use super::generate::{MANUAL, SHELLS};
use super::output::print;
use super::{COMMANDS, REFERENCE_WORD, answered_within, environments, named, serve, shared_flags};
use crate::env::configured;
use crate::rpc::client::FileKind;
use crate::serve::local_environment;
use crate::visible::steers;

/// The command's name, which no person types.
pub(crate) const WORD: &str = "__complete";

/// How long an environment may take to tell what is in a directory: somebody waits at a prompt.
const LIMIT: Duration = Duration::from_secs(2);

/// Most candidates of a directory: nobody reads more.
const MOST: usize = 1000;

/// Prints the candidates for the last of these words.
pub(crate) fn run(words: &[OsString]) -> ExitCode {
    let words: Vec<String> = words
        .iter()
        .map(|word| word.to_string_lossy().into_owned())
        .collect();
    if let Some(text) = answered_within(LIMIT, move || answer(&words)) {
        print(&text);
    }
    ExitCode::SUCCESS
}

fn answer(words: &[String]) -> String {
    let mut answer = Answer::default();
    let Some((current, mut before)) = words.split_last() else {
        return answer.text;
    };
    if before.first().is_some_and(|word| word == REFERENCE_WORD) {
        before = &before[1..];
    }
    let shared: Vec<OsString> = before.iter().map(OsString::from).collect();
    let name = shared_flags(&shared);
    let command = before.get(name).and_then(|name| named(name));
    let description = match command {
        Some(command) => (command.describe)(),
        None => serve::GRAMMAR.describe(),
    };
    let mut words = before.to_vec();
    match command {
        Some(_) => drop(words.remove(name)),
        None if words.len() == name && !current.starts_with('-') => {
            answer.current.clone_from(current);
            answer.commands();
            return answer.text;
        }
        None => {}
    }
    Line::read(&description, &words).complete(current, &mut answer);
    answer.text
}

/// The words before the cursor.
struct Line<'a> {
    description: &'a Description,
    operands: Vec<&'a str>,
    /// The values of flags, by their long names.
    values: Vec<(&'a str, &'a str)>,
    /// The flag whose value comes next.
    pending: Option<&'a FlagRow>,
    is_behind_flags: bool,
}

impl<'a> Line<'a> {
    fn read(description: &'a Description, words: &'a [String]) -> Self {
        let mut line = Self {
            description,
            operands: Vec::new(),
            values: Vec::new(),
            pending: None,
            is_behind_flags: false,
        };
        for word in words {
            line.add(word);
        }
        line
    }

    fn add(&mut self, word: &'a str) {
        if let Some(flag) = self.pending.take() {
            self.values.push((flag.long, word));
        } else if self.is_behind_flags || word == "-" || !word.starts_with('-') {
            self.operands.push(word);
            self.is_behind_flags |= self.description.ends_at_operand;
        } else if word == "--" {
            self.is_behind_flags = true;
        } else if let Some(long) = word.strip_prefix("--") {
            match long.split_once('=') {
                Some(given) => self.values.push(given),
                None => self.pending = self.flag(|flag| flag.long == long),
            }
        } else {
            self.add_short(&word[1..]);
        }
    }

    /// Flags of one letter that stand together; the last may have its value behind it.
    fn add_short(&mut self, letters: &'a str) {
        for (at, letter) in letters.char_indices() {
            let Some(flag) = self.flag(|flag| flag.short == Some(letter)) else {
                continue;
            };
            match &letters[at + letter.len_utf8()..] {
                "" => self.pending = Some(flag),
                value => self.values.push((flag.long, value.trim_start_matches('='))),
            }
            return;
        }
    }

    /// The flag of that name, if it must have a value.
    fn flag(&self, is_meant: impl Fn(&FlagRow) -> bool) -> Option<&'a FlagRow> {
        let flag = self.description.flags.iter().find(|flag| is_meant(flag))?;
        let value = flag.value.as_ref()?;
        (!value.is_optional).then_some(flag)
    }

    fn value(&self, long: &str) -> Option<&'a str> {
        let mut given = self.values.iter().rev();
        given.find(|(name, _)| *name == long).map(|given| given.1)
    }

    /// Adds what the word at the cursor may become.
    fn complete(&self, current: &str, answer: &mut Answer) {
        answer.current = current.to_owned();
        let candidates = |flag: &FlagRow| match &flag.value {
            Some(value) => value.candidates,
            None => Candidates::Unknown,
        };
        if let Some(flag) = self.pending {
            return self.list(candidates(flag), answer);
        }
        if self.is_behind_flags || !current.starts_with('-') {
            return self.list(self.description.candidates, answer);
        }
        if let Some((long, value)) = current.split_once('=') {
            let long = long.trim_start_matches('-');
            let mut flags = self.description.flags.iter();
            if let Some(flag) = flags.find(|flag| flag.long == long) {
                answer.prefix = format!("--{long}=");
                answer.current = value.to_owned();
                self.list(candidates(flag), answer);
            }
            return;
        }
        for flag in &self.description.flags {
            if flag.outcome.is_none() {
                answer.add(&format!("--{}", flag.long));
            }
        }
    }

    fn list(&self, candidates: Candidates, answer: &mut Answer) {
        match candidates {
            Candidates::Unknown => {}
            Candidates::Words(words) => words.iter().for_each(|word| answer.add(word)),
            Candidates::Files => answer.more("files"),
            Candidates::Directories => answer.more("directories"),
            Candidates::Programs if self.operands.is_empty() => answer.more("programs"),
            Candidates::Programs => answer.more("files"),
            Candidates::Environments => self.environments("", answer),
            Candidates::EnvironmentChecks => match self.operands[..] {
                [] => answer.add("check"),
                ["check"] => self.environments("", answer),
                _ => {}
            },
            Candidates::PathsThere => {
                let path = answer.current.clone();
                self.paths(self.value("environment"), "", &path, answer);
            }
            Candidates::Places => {
                let place = answer.current.clone();
                match place.split_once(':') {
                    Some((name, path)) if !name.contains('/') => {
                        let environment = match name {
                            "" => self.value("environment"),
                            name => Some(name),
                        };
                        self.paths(environment, &format!("{name}:"), path, answer);
                    }
                    _ => {
                        self.environments(":", answer);
                        answer.more("files");
                    }
                }
            }
            Candidates::Commands if self.operands.is_empty() => answer.commands(),
            Candidates::Commands => {}
            Candidates::Generated => match self.operands[..] {
                [] => {
                    answer.add(MANUAL);
                    SHELLS.iter().for_each(|(name, _)| answer.add(name));
                }
                [MANUAL] => answer.commands(),
                _ => {}
            },
        }
    }

    fn config(&self) -> Option<&'a Path> {
        self.value("config").map(Path::new)
    }

    /// The names of environments, each with `end` behind it.
    fn environments(&self, end: &str, answer: &mut Answer) {
        if let Ok(all) = configured(self.config(), local_environment()) {
            for each in all.environments() {
                answer.add(&format!("{}{end}", each.environment.id()));
            }
        }
    }

    /// What is there and begins with `path`, in that environment or the default one.
    fn paths(&self, name: Option<&str>, before: &str, path: &str, answer: &mut Answer) {
        let Ok(environment) = environments::select(self.config(), name, None) else {
            return;
        };
        let (directory, beginning) = match path.rfind('/') {
            Some(slash) => path.split_at(slash + 1),
            None => ("", path),
        };
        let Ok(facts) = environment.facts() else {
            return;
        };
        let Ok(absolute) = environments::absolute(&environment, &facts, directory) else {
            return;
        };
        let Ok(listing) = environment
            .client()
            .and_then(|client| environment.named(client.read_directory(&absolute)))
        else {
            return;
        };
        let names = listing.entries.iter();
        let names = names.filter_map(|(name, kind)| Some((name.to_str()?, kind)));
        // One that begins with a dot is listed when it is asked for, as shells do it.
        let meant = names.filter(|(name, _)| {
            name.starts_with(beginning) && (beginning.starts_with('.') || !name.starts_with('.'))
        });
        for (name, kind) in meant.take(MOST) {
            let end = match kind {
                FileKind::Directory => "/",
                _ => "",
            };
            answer.add(&format!("{before}{directory}{name}{end}"));
        }
    }
}

/// The answer that is being made.
#[derive(Default)]
struct Answer {
    text: String,
    /// What of the word at the cursor is the flag of the value that is completed.
    prefix: String,
    /// The rest of that word.
    current: String,
}

impl Answer {
    /// Adds a candidate if the word at the cursor is its beginning. What could steer a terminal is left out, and what
    /// would be more than a line.
    fn add(&mut self, candidate: &str) {
        if candidate.starts_with(&self.current) && !candidate.contains(steers) {
            for piece in ["+", &self.prefix, candidate, "\n"] {
                self.text.push_str(piece);
            }
        }
    }

    /// Lets the shell list what it knows better.
    fn more(&mut self, what: &str) {
        self.text.push_str(what);
        self.text.push('\n');
    }

    fn commands(&mut self) {
        COMMANDS.iter().for_each(|command| self.add(command.name));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(line: &str) -> Vec<String> {
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        answer(&words).lines().map(str::to_owned).collect()
    }

    #[test]
    fn the_first_word_is_a_command_or_a_flag_of_serving() {
        assert_eq!(answered("ru"), ["+run"]);
        assert_eq!(answered("exec-server ru"), ["+run"]);
        assert_eq!(answered("--config f ru"), ["+run"]);
        assert_eq!(answered("--metr"), ["+--metrics"]);
        assert_eq!(answered("--listen stdio ru"), [""; 0]);
    }

    #[test]
    fn values_are_completed_behind_a_blank_and_an_equals_sign() {
        assert_eq!(answered("--log-format "), ["+text", "+json"]);
        assert_eq!(answered("--log-format=j"), ["+--log-format=json"]);
        assert_eq!(answered("run --sandbox r"), ["+read-only"]);
        assert_eq!(answered("run --log "), ["files"]);
        assert_eq!(answered("cert "), ["directories"]);
    }

    #[test]
    fn a_value_is_no_operand_and_an_operand_ends_the_flags_of_run() {
        assert_eq!(answered("run -C / "), ["programs"]);
        assert_eq!(answered("run -tC/ "), ["programs"]);
        assert_eq!(answered("run -ntC / --outp"), [""; 0]);
        assert_eq!(answered("run make --ver"), ["files"]);
        assert_eq!(answered("run -- --ver"), ["programs"]);
        assert_eq!(answered("env ch"), ["+check"]);
        assert_eq!(answered("generate man to"), ["+token"]);
    }

    #[test]
    fn what_the_reference_alone_has_is_not_offered() {
        assert!(answered("--aws").is_empty());
    }
}
