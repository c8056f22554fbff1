//! The programs: three references from the cache that `bench/reference.sh` fills, and ours.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::isolation::Place;
use crate::subject::{Generation, Whose};

/// Where each is; a reference that cannot be had is left out.
pub struct Binaries {
    ours: PathBuf,
    /// 0.130, 0.169 and 0.171.
    references: [Option<PathBuf>; 3],
}

impl Binaries {
    /// Looks, fetching what the cache lacks, and makes each reachable for any user below the run's directory.
    pub fn find(place: &Place) -> Result<Self, String> {
        let built = PathBuf::from(env!("CARGO_BIN_EXE_exec-server"));
        let ours = std::env::var_os("EXEC_SERVER_BIN").map_or(built, PathBuf::from);
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("bench/reference.sh");
        let output = Command::new(&script)
            .stderr(Stdio::inherit())
            .output()
            .map_err(|error| format!("{}: {error}", script.display()))?;
        let output = String::from_utf8_lossy(&output.stdout);
        let reference = |name: &str| {
            let path = output
                .lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix('='))?;
            Some(reachable(place, Path::new(path), name))
        };
        let names = ["REFERENCE_0130", "REFERENCE_0169", "REFERENCE_0171"];
        let references = names.map(reference);
        if references.iter().all(Option::is_none) {
            return Err("no reference is there, so there is nothing to compare with".into());
        }
        Ok(Self {
            ours: reachable(place, &ours, "OURS"),
            references,
        })
    }

    /// The reference of a generation.
    pub fn reference(&self, generation: Generation) -> Option<&Path> {
        self.references[generation as usize].as_deref()
    }

    /// The reference of a version, as `0.171`.
    pub fn version(&self, version: &str) -> Option<&Path> {
        let index = ["0.130", "0.169", "0.171"]
            .iter()
            .position(|known| *known == version)?;
        self.references[index].as_deref()
    }

    /// The server's program; ours is the same for every generation.
    pub fn server(&self, whose: Whose, generation: Generation) -> Option<&Path> {
        match whose {
            Whose::Ours => Some(&self.ours),
            Whose::Reference => self.reference(generation),
        }
    }
}

/// The same program where an ordinary user can reach it too: a home directory is not for everyone. What a reference
/// needs besides is in the directory next to its own.
fn reachable(place: &Place, program: &Path, name: &str) -> PathBuf {
    let depth = if name == "OURS" { 1 } else { 2 };
    let directory = program.ancestors().nth(depth);
    let file = directory.and_then(|directory| program.strip_prefix(directory).ok());
    let (Some(directory), Some(file)) = (directory, file) else {
        return program.to_path_buf();
    };
    let bound = place.scratch.join(name);
    let mounted = place.root
        && place.namespaces
        && std::fs::create_dir(&bound).is_ok()
        && Command::new("mount")
            .arg("--bind")
            .args([directory, &bound])
            .status()
            .is_ok_and(|status| status.success());
    if mounted {
        bound.join(file)
    } else {
        program.to_path_buf()
    }
}
