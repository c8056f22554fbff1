//! The directory that every case finds, and what it looks like afterwards.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use super::case::Ground;
use super::identity::Identity;
use crate::isolation::Place;
use support::recorded::fields::Fields;

/// Made by the user whose server is asked, so that it owns everything inside.
const MAKE: &str = r#"set -e
umask 022
mkdir d d/sub d/sub/deep empty .hidden locked 'sp ace'
printf hello >f.txt
printf a >d/a
printf b >d/sub/b
printf c >d/sub/deep/c
printf s >.hidden/secret
printf u >'sp ace/ü%'
printf '#!/bin/sh\necho script $0\n' >run.sh
chmod 755 run.sh
printf 'echo no shebang\n' >plain
chmod 755 plain
printf private >private
chmod 600 private
printf setuid >setuid
chmod 4755 setuid
printf inside >locked/inside
chmod 0 locked
chmod 700 d/sub
ln f.txt hard
ln -s f.txt lf
ln -s d ld
ln -s nowhere dang
ln -s loop2 loop1
ln -s loop1 loop2
mkfifo fifo
mkdir -p plug/.codex-plugin plug/skills/s/agents plug/bad
printf '{"name":"p","mcpServers":"./m.json","apps":"a.json"}' >plug/.codex-plugin/plugin.json
printf '{}' >plug/m.json
printf -- '---\nname: s\n---\n' >plug/skills/s/SKILL.md
printf 'interface:\n' >plug/skills/s/agents/openai.yaml
printf '\377' >plug/bad/SKILL.md
head -c 100000 /dev/zero | tr '\0' x >big
touch -h -d @1700000000 f.txt d d/a lf ld dang fifo run.sh big empty
"#;

/// The same for [`Ground::Project`].
const MAKE_PROJECT: &str = r#"set -e
umask 022
mkdir -p proj/.git proj/src proj/sub/a other
printf config >proj/.git/config
printf a >proj/src/a.txt
printf s >proj/sub/s
printf env >proj/x.env
printf env >proj/sub/x.env
printf o >other/o.txt
ln -s ../../other/o.txt proj/src/out
"#;

/// One directory for all cases of a setting.
pub struct Fixture {
    pub path: PathBuf,
    identity: Identity,
    /// What was made last.
    made: RefCell<Option<(Ground, State)>>,
}

/// Everything below a directory: what it is, and when it was changed.
type State = BTreeMap<String, (String, i64)>;

impl Fixture {
    /// Nothing is there yet.
    pub fn new(place: &Place, identity: Identity) -> Self {
        Self {
            path: place.scratch.join("fixture"),
            identity,
            made: RefCell::default(),
        }
    }

    /// Makes everything afresh, unless it is as it was made.
    pub fn reset(&self, ground: Ground) {
        let mut made = self.made.borrow_mut();
        let is_there = |(was, state_then): &(Ground, State)| {
            *was == ground && *state_then == state(&self.path)
        };
        if !made.as_ref().is_some_and(is_there) {
            self.make(ground);
            *made = Some((ground, state(&self.path)));
        }
    }

    fn make(&self, ground: Ground) {
        if self.path.exists() {
            fs::remove_dir_all(&self.path)
                .unwrap_or_else(|error| panic!("{}: {error}", self.path.display()));
        }
        fs::create_dir(&self.path).expect("the run's directory can be written");
        if self.identity == Identity::Nobody {
            std::os::unix::fs::chown(&self.path, Some(65534), Some(65534))
                .expect("root may give away");
        }
        let script = match ground {
            Ground::Kinds => {
                let socket = UnixListener::bind(self.path.join("socket"));
                drop(socket.expect("the directory is fresh"));
                MAKE
            }
            Ground::Project => MAKE_PROJECT,
        };
        let made = self
            .identity
            .command("/bin/sh")
            .args(["-c", script])
            .current_dir(&self.path)
            .stdin(Stdio::null())
            .status();
        assert!(
            made.is_ok_and(|status| status.success()),
            "the fixture cannot be made"
        );
    }

    /// Everything that is there, file by file.
    pub fn state(&self) -> Fields {
        state(&self.path)
            .into_iter()
            .map(|(at, (what, _))| (at, what))
            .collect()
    }
}

fn state(path: &Path) -> State {
    let mut state = State::new();
    look(path, "/tree", &mut state);
    state
}

fn look(path: &Path, at: &str, state: &mut State) {
    let Ok(metadata) = fs::symlink_metadata(path) else {
        return;
    };
    let kind = metadata.file_type();
    let mode = metadata.permissions().mode() & 0o7777;
    let what = if kind.is_symlink() {
        format!("link to {:?}", fs::read_link(path).unwrap_or_default())
    } else if kind.is_dir() {
        for entry in fs::read_dir(path).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            look(&entry.path(), &format!("{at}/{name}"), state);
        }
        format!("directory {mode:o}")
    } else if kind.is_file() {
        let content = fs::read(path).unwrap_or_default();
        let begin = String::from_utf8_lossy(&content[..content.len().min(40)]).into_owned();
        format!(
            "file {mode:o} of {}, {} bytes {begin:?}",
            metadata.uid(),
            content.len()
        )
    } else {
        format!(
            "{} {mode:o}",
            if kind.is_fifo() { "fifo" } else { "special" }
        )
    };
    let changed = metadata.mtime() * 1_000_000_000 + metadata.mtime_nsec();
    state.insert(at.to_string(), (what, changed));
}
