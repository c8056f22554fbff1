//! Manual pages, as troff with the macros of man(7): one of the program, and one of each command.

use std::fmt::Write as _;

use super::description::{Description, FlagRow, UNBROKEN};
use super::{Command, serve, summaries};
use crate::version;

/// exec-server(1).
pub(super) fn of_program() -> String {
    let mut page = Page::new(
        "exec-server",
        "give a client elsewhere processes and files of this machine",
    );
    let description = serve::GRAMMAR.describe();
    page.synopsis(&[description.usage, "exec-server COMMAND [ARGUMENT]..."]);
    page.about(&description);
    page.heading("COMMANDS");
    for (name, summary) in summaries() {
        page.item(&format!("\\fBexec\\-server {name}\\fR"), summary);
    }
    page.options(&description);
    page.see_also(&["exec-server(7)", "environments.toml(5)"]);
    page.0
}

/// exec-server-run(1) and the like.
pub(super) fn of_command(command: &Command) -> String {
    let mut page = Page::new(&format!("exec-server-{}", command.name), command.summary);
    let description = (command.describe)();
    page.synopsis(&[description.usage]);
    page.about(&description);
    page.options(&description);
    page.see_also(&["exec-server(1)", "environments.toml(5)"]);
    page.0
}

/// A page that is being written.
struct Page(String);

impl Page {
    fn new(name: &str, summary: &str) -> Self {
        let mut page = Self(String::new());
        page.line(format_args!(
            ".TH \"{}\" 1 \"\" \"{}\"",
            escaped(&name.to_ascii_uppercase()),
            escaped(&version::short())
        ));
        page.heading("NAME");
        page.line(format_args!("{} \\- {}", escaped(name), escaped(summary)));
        page
    }

    fn line(&mut self, line: impl std::fmt::Display) {
        // Writing to a text cannot fail.
        let _ = writeln!(self.0, "{line}");
    }

    fn heading(&mut self, title: &str) {
        self.line(format_args!(".SH {title}"));
    }

    /// Lines that are kept as they are.
    fn verbatim(&mut self, text: &str) {
        self.line(".nf");
        for line in text.lines() {
            self.line(escaped(line));
        }
        self.line(".fi");
    }

    fn synopsis(&mut self, usages: &[&str]) {
        self.heading("SYNOPSIS");
        self.verbatim(&usages.join("\n"));
    }

    fn about(&mut self, description: &Description) {
        self.heading("DESCRIPTION");
        for line in description.about.lines() {
            self.line(escaped(line));
        }
    }

    fn item(&mut self, tag: &str, text: &str) {
        self.line(format_args!(".TP\n{tag}"));
        self.line(escaped(text));
    }

    fn options(&mut self, description: &Description) {
        self.heading("OPTIONS");
        for category in description.categories() {
            self.line(format_args!(".SS \"{}\"", escaped(category.title())));
            for flag in description.of(category) {
                self.item(&tag(flag), &flag.explanation());
            }
        }
        if !description.notes.is_empty() {
            self.heading("NOTES");
            self.verbatim(description.notes);
        }
    }

    fn see_also(&mut self, pages: &[&str]) {
        self.heading("SEE ALSO");
        self.line(escaped(&pages.join(", ")));
    }
}

/// A flag with its value, as the head of its paragraph.
fn tag(flag: &FlagRow) -> String {
    let mut tag = String::new();
    if let Some(short) = flag.short {
        tag.push_str(&format!("\\fB\\-{short}\\fR, "));
    }
    tag.push_str(&format!("\\fB\\-\\-{}\\fR", escaped(flag.long)));
    if let Some(value) = &flag.value {
        let name = escaped(value.name);
        tag.push_str(&match value.is_optional {
            true => format!(" [\\fI{name}\\fR]"),
            false => format!(" \\fI{name}\\fR"),
        });
    }
    tag
}

/// A line of text, of which nothing is taken for a request, an escape or a typographic dash.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 8);
    if text.starts_with(['.', '\'']) {
        out.push_str("\\&");
    }
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\e"),
            '-' => out.push_str("\\-"),
            '`' => out.push_str("\\(ga"),
            '\'' => out.push_str("\\(aq"),
            '~' => out.push_str("\\(ti"),
            '^' => out.push_str("\\(ha"),
            '"' => out.push_str("\\(dq"),
            UNBROKEN => out.push_str("\\ "),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_a_text_is_taken_for_troff() {
        assert_eq!(
            escaped(".so it's a-b\\n `x`"),
            "\\&.so it\\(aqs a\\-b\\en \\(gax\\(ga"
        );
    }
}
