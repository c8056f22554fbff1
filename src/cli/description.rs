//! What the table of a command says, without the places that it writes to: `--help` is made of it,
//! and so are manual pages and completions.

use super::grammar::Category;

/// A command's table.
pub(crate) struct Description {
    /// What `--help` says first, with a line end.
    pub(crate) about: &'static str,
    /// How to call it, as one line.
    pub(crate) usage: &'static str,
    /// What `--help` says last, with line ends; may be empty.
    pub(crate) notes: &'static str,
    /// What arguments that are no flags may be.
    pub(crate) candidates: Candidates,
    /// Whether flags end at the first such argument.
    pub(crate) ends_at_operand: bool,
    pub(crate) flags: Vec<FlagRow>,
}

/// A flag.
pub(crate) struct FlagRow {
    pub(crate) category: Category,
    pub(crate) short: Option<char>,
    pub(crate) long: &'static str,
    pub(crate) help: &'static str,
    /// What becomes of an option that means nothing here.
    pub(crate) outcome: Option<&'static str>,
    pub(crate) value: Option<ValueRow>,
}

/// The value of a flag.
pub(crate) struct ValueRow {
    pub(crate) name: &'static str,
    /// Whether the flag may stand alone.
    pub(crate) is_optional: bool,
    pub(crate) default: Option<&'static str>,
    /// The variable that holds when the flag is absent.
    pub(crate) env: Option<&'static str>,
    pub(crate) candidates: Candidates,
}

/// What a word of the command line may be, as far as completions can list it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Candidates {
    /// Anything.
    Unknown,
    Words(&'static [&'static str]),
    /// Files of this machine.
    Files,
    /// Directories of this machine.
    Directories,
    /// Programs of this machine, then files.
    Programs,
    /// Names of environments.
    Environments,
    /// `check`, then the name of an environment.
    EnvironmentChecks,
    /// A path in the environment that `--environment` names.
    PathsThere,
    /// `ENV:PATH`, or a file of this machine.
    Places,
    /// Names of commands.
    Commands,
    /// What `generate` makes, then the name of a command.
    Generated,
}

impl Candidates {
    /// What a value may be that is called so.
    pub(crate) fn of_value(name: &str) -> Self {
        match name {
            "FILE" | "PATH" => Self::Files,
            "DIR" => Self::Directories,
            "ENV" => Self::Environments,
            _ => Self::Unknown,
        }
    }
}

impl ValueRow {
    /// The row of a value that is looked at and forgotten.
    pub(crate) fn of_form(name: &'static str) -> Self {
        Self {
            name,
            is_optional: false,
            default: None,
            env: None,
            candidates: Candidates::Unknown,
        }
    }
}

impl Description {
    /// The whole text of `--help`, with a line end; `commands` are listed with what they do, if there are any.
    pub(crate) fn help(&self, commands: &[(&str, &str)]) -> String {
        let mut text = format!("{}\nUsage: {}\n", self.about, self.usage);
        if !commands.is_empty() {
            text.push_str("       exec-server COMMAND --help\n\nCommands:\n");
            let names = commands.iter().map(|(name, _)| name.len());
            let column = 2 + names.max().unwrap_or(0) + 2;
            for (name, summary) in commands {
                push_row(&mut text, &format!("  {name}"), column, summary);
            }
        }
        let widths = self.flags.iter().map(|flag| flag.usage().len());
        let column = widths.max().unwrap_or(0) + 2;
        for category in self.categories() {
            text.push_str(&format!("\n{}:\n", category.title()));
            for flag in self.of(category) {
                push_row(&mut text, &flag.usage(), column, &flag.explanation());
            }
        }
        if !self.notes.is_empty() {
            text.push('\n');
            text.push_str(self.notes);
        }
        text
    }

    /// The categories, in the order of the table.
    pub(crate) fn categories(&self) -> Vec<Category> {
        let mut categories = Vec::new();
        for flag in &self.flags {
            if !categories.contains(&flag.category) {
                categories.push(flag.category);
            }
        }
        categories
    }

    /// The flags of a category.
    pub(crate) fn of(&self, category: Category) -> impl Iterator<Item = &FlagRow> {
        let flags = self.flags.iter();
        flags.filter(move |flag| flag.category == category)
    }
}

impl FlagRow {
    /// What stands on the left in `--help`.
    fn usage(&self) -> String {
        let short = match self.short {
            Some(short) => format!("-{short}, "),
            None => "    ".to_owned(),
        };
        let value = match &self.value {
            Some(value) if value.is_optional => format!(" [{}]", value.name),
            Some(value) => format!(" <{}>", value.name),
            None => String::new(),
        };
        format!("  {short}--{}{value}", self.long)
    }

    /// What the flag does, with its default and its variable.
    pub(crate) fn explanation(&self) -> String {
        let mut text = match self.outcome {
            Some(outcome) => format!("{outcome}: {}", self.help),
            None => self.help.to_owned(),
        };
        if let Some(value) = &self.value {
            if let Some(default) = value.default {
                text.push_str(&format!(" [default:{UNBROKEN}{default}]"));
            }
            if let Some(env) = value.env {
                text.push_str(&format!(" [env:{UNBROKEN}{env}]"));
            }
        }
        text
    }
}

const WIDTH: usize = 80;

/// A blank at which no line is broken, until the lines are written.
pub(crate) const UNBROKEN: char = '\u{a0}';

fn push_row(text: &mut String, name: &str, column: usize, meaning: &str) {
    let mut start = format!("{name:column$}");
    for line in wrap(meaning, WIDTH - column) {
        text.push_str(&format!("{start}{}\n", line.replace(UNBROKEN, " ")));
        start = " ".repeat(column);
    }
}

fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let last = lines.len() - 1;
        if lines[last].is_empty() {
            lines[last].push_str(word);
        } else if lines[last].chars().count() + 1 + word.chars().count() <= width {
            lines[last].push(' ');
            lines[last].push_str(word);
        } else {
            lines.push(word.to_owned());
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::serve;

    #[test]
    fn help_lists_every_flag_and_fits_a_terminal() {
        let description = serve::GRAMMAR.describe();
        let text = description.help(&[("name", "what it does")]);
        for flag in &description.flags {
            assert!(text.contains(&format!("--{}", flag.long)), "{}", flag.long);
        }
        assert!(text.lines().all(|line| line.len() <= WIDTH), "{text}");
        assert!(text.contains("\n  -h, --help  ") && text.contains("\n  name  what it does\n"));
    }

    #[test]
    fn commands_stand_apart_from_what_they_do() {
        let text = serve::GRAMMAR.describe();
        let text = text.help(&[("a", "one"), ("longest", "two")]);
        assert!(
            text.contains("\n  a        one\n  longest  two\n"),
            "{text}"
        );
    }

    #[test]
    fn defaults_variables_and_values_are_shown() {
        let text = serve::GRAMMAR.describe().help(&[]);
        for piece in ["[default: 1024]", "EXEC_SERVER_LOG]", "--allow-host <HOST>"] {
            assert!(text.contains(piece), "{piece}");
        }
        assert!(!text.contains("Commands:"));
    }
}
