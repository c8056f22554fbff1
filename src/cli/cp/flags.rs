//! The flags of `cp`.

use std::ffi::OsString;
use std::path::PathBuf;

use crate::cli::grammar::{Category, Flag, FlagKind, Grammar, Operands, Value};
use crate::cli::values::path;

/// The flags of `cp`, as given or by default.
#[derive(Debug, Default)]
pub(super) struct CopyFlags {
    pub(super) config: Option<PathBuf>,
    pub(super) environment: Option<String>,
    pub(super) is_recursive: bool,
    pub(super) continues: bool,
    pub(super) is_quiet: bool,
    pub(super) is_verbose: bool,
    /// The sources, and the destination last.
    pub(super) places: Vec<OsString>,
}

pub(super) static GRAMMAR: Grammar<CopyFlags> = Grammar {
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
            "Read this file of environments",
            Value::optional("FILE", |flags: &mut CopyFlags, text| {
                flags.config = Some(path(text)?);
                Ok(())
            }),
        ),
        Flag::switch(
            Category::Copying,
            Some('r'),
            "recursive",
            "Copy directories with all below them; links stay links",
            FlagKind::Switch(|flags| flags.is_recursive = true),
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
        Flag::help(),
    ],
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
            followed. Permissions are kept, and on this machine the time of modification.\n\
            A directory that was there before stays as it is. What a file has grown by\n\
            since the copy looked at it is not copied, nor a path of 4096 bytes or more.\n\n\
            Exit code: 0 if all was copied, 1 if something was not, 255 if an\n\
            environment was not reached or lost, 2 for a wrong command line.\n",
};
