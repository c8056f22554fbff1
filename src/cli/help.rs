//! The text of `--help`, made from the table of flags.

use super::table::{Category, FLAGS, Flag, Kind};

const WIDTH: usize = 80;

/// A blank at which no line is broken, until the lines are written.
const UNBROKEN: char = '\u{a0}';

/// The whole text, with a line end.
pub(super) fn text() -> String {
    let mut text = String::from(
        "Runs commands and reads and writes files of this machine for a client elsewhere,\n\
         over JSON-RPC on a websocket or on standard input and output.\n\n\
         Usage: exec-server [OPTIONS]\n",
    );
    let column = FLAGS
        .iter()
        .map(|flag| usage(flag).len())
        .max()
        .unwrap_or(0)
        + 2;
    for (category, title) in [
        (Category::Listening, "Listening"),
        (Category::Access, "Access"),
        (Category::Limits, "Limits"),
        (Category::General, "General"),
    ] {
        text.push_str(&format!("\n{title}:\n"));
        for flag in FLAGS.iter().filter(|flag| flag.category == category) {
            let mut start = format!("{:column$}", usage(flag));
            for line in wrap(&explanation(flag), WIDTH - column) {
                text.push_str(&format!("{start}{}\n", line.replace(UNBROKEN, " ")));
                start = " ".repeat(column);
            }
        }
    }
    text
}

fn usage(flag: &Flag) -> String {
    let short = match flag.short {
        Some(short) => format!("-{short}, "),
        None => "    ".to_owned(),
    };
    let value = match &flag.kind {
        Kind::Value(value) => format!(" <{}>", value.name),
        _ => String::new(),
    };
    format!("  {short}--{}{value}", flag.long)
}

fn explanation(flag: &Flag) -> String {
    let mut text = flag.help.to_owned();
    if let Kind::Value(value) = &flag.kind {
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

    #[test]
    fn help_lists_every_flag_and_fits_a_terminal() {
        let text = text();
        for flag in &FLAGS {
            assert!(text.contains(&format!("--{}", flag.long)));
        }
        assert!(text.lines().all(|line| line.len() <= WIDTH), "{text}");
        assert!(text.contains("\n  -h, --help  "));
        for piece in [
            "ws://127.0.0.1:0]",
            "EXEC_SERVER_LOG]",
            "--allow-host <HOST>",
        ] {
            assert!(text.contains(piece), "{piece}");
        }
    }
}
