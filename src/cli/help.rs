//! The text of `--help`, made from a command's grammar.

use super::grammar::{Category, Flag, FlagKind, Grammar};

const WIDTH: usize = 80;

/// A blank at which no line is broken, until the lines are written.
const UNBROKEN: char = '\u{a0}';

/// The whole text, with a line end; `commands` are listed with what they do, if there are any.
pub(super) fn text<T>(grammar: &Grammar<T>, commands: &[(&str, &str)]) -> String {
    let mut text = format!("{}\nUsage: {}\n", grammar.about, grammar.usage);
    if !commands.is_empty() {
        text.push_str("       exec-server COMMAND --help\n\nCommands:\n");
        let names = commands.iter().map(|(name, _)| name.len());
        let column = 2 + names.max().unwrap_or(0) + 2;
        for (name, summary) in commands {
            push_row(&mut text, &format!("  {name}"), column, summary);
        }
    }
    let mut categories: Vec<Category> = Vec::new();
    for flag in grammar.flags {
        if !categories.contains(&flag.category) {
            categories.push(flag.category);
        }
    }
    let widths = grammar.flags.iter().map(|flag| usage(flag).len());
    let column = widths.max().unwrap_or(0) + 2;
    for category in categories {
        text.push_str(&format!("\n{}:\n", category.title()));
        for flag in grammar.flags {
            if flag.category == category {
                push_row(&mut text, &usage(flag), column, &explanation(flag));
            }
        }
    }
    if !grammar.notes.is_empty() {
        text.push('\n');
        text.push_str(grammar.notes);
    }
    text
}

fn push_row(text: &mut String, name: &str, column: usize, meaning: &str) {
    let mut start = format!("{name:column$}");
    for line in wrap(meaning, WIDTH - column) {
        text.push_str(&format!("{start}{}\n", line.replace(UNBROKEN, " ")));
        start = " ".repeat(column);
    }
}

fn usage<T>(flag: &Flag<T>) -> String {
    let short = match flag.short {
        Some(short) => format!("-{short}, "),
        None => "    ".to_owned(),
    };
    let value = match &flag.kind {
        FlagKind::Value(value) => format!(" <{}>", value.name),
        _ => String::new(),
    };
    format!("  {short}--{}{value}", flag.long)
}

fn explanation<T>(flag: &Flag<T>) -> String {
    let mut text = flag.help.to_owned();
    if let FlagKind::Value(value) = &flag.kind {
        if let Some(default) = value.default {
            text.push_str(&format!(" [default:{UNBROKEN}{default}]"));
        }
        if let Some(env) = value.env {
            text.push_str(&format!(" [env:{UNBROKEN}{env}]"));
        }
    }
    text
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

    fn fits<T>(grammar: &Grammar<T>) {
        let text = text(grammar, &[("name", "what it does")]);
        for flag in grammar.flags {
            assert!(text.contains(&format!("--{}", flag.long)), "{}", flag.long);
        }
        assert!(text.lines().all(|line| line.len() <= WIDTH), "{text}");
        assert!(text.contains("\n  -h, --help  ") && text.contains("\n  name  what it does\n"));
    }

    #[test]
    fn help_lists_every_flag_and_fits_a_terminal() {
        fits(&serve::GRAMMAR);
    }

    #[test]
    fn commands_stand_apart_from_what_they_do() {
        let text = text(&serve::GRAMMAR, &[("a", "one"), ("longest", "two")]);
        assert!(
            text.contains("\n  a        one\n  longest  two\n"),
            "{text}"
        );
    }

    #[test]
    fn defaults_variables_and_values_are_shown() {
        let text = text(&serve::GRAMMAR, &[]);
        for piece in ["[default: 1024]", "EXEC_SERVER_LOG]", "--allow-host <HOST>"] {
            assert!(text.contains(piece), "{piece}");
        }
        assert!(!text.contains("Commands:"));
    }
}
