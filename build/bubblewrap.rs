//! bubblewrap, compiled into one static ELF of its own and written down for `src/sandbox/bundled.rs` to embed.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use sha2::{Digest, Sha256};

const SOURCES: [&str; 6] = [
    "bubblewrap.c",
    "bind-mount.c",
    "network.c",
    "utils.c",
    "chroot_realpath.c",
    "safe_openat.c",
];

/// Writes `bundled_bwrap.rs` into `out`, and `bwrap` beside it if `vendor` holds the pinned source. Without the source it
/// warns and the program has no bwrap inside; with it, every failure is an error that says what to do.
pub fn embed(vendor: &Path, out: &Path) -> Result<(), String> {
    // The directory, not the archive: it may be missing now and come later.
    println!("cargo::rerun-if-changed={}", vendor.display());
    let pin = Pin::read(&vendor.join("pin"))?;
    let archive = vendor.join("source").join(&pin.file);
    let constant = if archive.exists() {
        let elf = build(&pin, &archive, vendor, out)?;
        let (version, digest) = (&pin.version, sha256(&elf)?);
        let bytes = fs::read(&elf).map_err(|e| format!("cannot read {}: {e}", elf.display()))?;
        let (size, packed) = (bytes.len(), out.join("bwrap.deflate"));
        fs::write(&packed, miniz_oxide::deflate::compress_to_vec(&bytes, 10))
            .map_err(|e| format!("cannot write {}: {e}", packed.display()))?;
        format!(
            "Some(BundledBwrap {{ version: {version:?}, sha256: {digest:?}, size: {size}, \
             packed: include_bytes!(\"bwrap.deflate\") }})"
        )
    } else {
        println!(
            "cargo::warning=no bwrap will be inside: {} is missing; `make` or vendor/bubblewrap/fetch.sh brings it",
            archive.display()
        );
        "None".to_owned()
    };
    let text = format!(
        "/// The bwrap built with this program; `None` if its source was not there.\n\
         pub const BUNDLED_BWRAP: Option<BundledBwrap> = {constant};\n"
    );
    let generated = out.join("bundled_bwrap.rs");
    fs::write(&generated, text).map_err(|e| format!("cannot write {}: {e}", generated.display()))
}

struct Pin {
    version: String,
    file: String,
    sha256: String,
}

impl Pin {
    fn read(path: &Path) -> Result<Pin, String> {
        let text =
            fs::read_to_string(path).map_err(|e| format!("cannot read {}: {e}", path.display()))?;
        let value = |name: &str| {
            text.lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix('='))
                .map(str::to_owned)
                .ok_or_else(|| format!("{} has no line {name}=", path.display()))
        };
        Ok(Pin {
            version: value("version")?,
            file: value("file")?,
            sha256: value("sha256")?,
        })
    }
}

fn build(pin: &Pin, archive: &Path, vendor: &Path, out: &Path) -> Result<PathBuf, String> {
    let found = sha256(archive)?;
    if found != pin.sha256 {
        let archive = archive.display();
        return Err(format!(
            "{archive} has SHA-256 {found}, the pin says {}: remove it and run `make`",
            pin.sha256
        ));
    }
    let source = out.join("bubblewrap");
    // What an earlier pin unpacked must not mix with this one's files.
    if source.exists() {
        fs::remove_dir_all(&source)
            .map_err(|e| format!("cannot remove {}: {e}", source.display()))?;
    }
    fs::create_dir_all(&source).map_err(|e| format!("cannot create {}: {e}", source.display()))?;
    run(
        Command::new("tar")
            .args(["--no-same-owner", "-xf"])
            .arg(archive)
            .arg("-C")
            .arg(&source)
            .arg("--strip-components=1"),
        "tar and xz are needed to unpack bubblewrap (Debian: xz-utils)",
    )?;

    let elf = out.join("bwrap");
    let compiler = cc::Build::new()
        .opt_level_str("s")
        .debug(false)
        .try_get_compiler()
        .map_err(|e| format!("no C compiler for bubblewrap: {e} (Debian: musl-tools)"))?;
    let arch = env::var("CARGO_CFG_TARGET_ARCH").unwrap_or_default();
    run(
        compiler
            .to_command()
            .current_dir(&source)
            .args([
                "-fstack-protector-strong",
                "-ffunction-sections",
                "-fdata-sections",
                "-fno-asynchronous-unwind-tables",
                "-D_GNU_SOURCE",
                "-DHAVE_CONFIG_H",
            ])
            .arg(format!("-DBUBBLEWRAP_VERSION=\"{}\"", pin.version))
            .arg("-I")
            .arg(vendor)
            .arg("-I")
            .arg(vendor.join("include"))
            .args(["-I", "."])
            // musl-gcc hides the kernel's headers together with glibc's; searched last, they fill only what musl lacks.
            .args(["-idirafter", "/usr/include", "-idirafter"])
            .arg(format!("/usr/include/{arch}-linux-gnu"))
            .args(SOURCES)
            .args([
                "-static",
                "-s",
                "-Wl,--gc-sections",
                "-Wl,-z,relro,-z,now,-z,noexecstack,-z,noseparate-code",
                "-Wl,--build-id=none",
                "-o",
            ])
            .arg(&elf),
        "bubblewrap does not compile (musl needs Debian's musl-tools and the kernel headers, linux-libc-dev)",
    )?;
    Ok(elf)
}

/// Runs a command to its end; on failure the error is `remedy` with the command and what it said.
fn run(command: &mut Command, remedy: &str) -> Result<(), String> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(|e| format!("{remedy}: {}: {e}", command.get_program().display()))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!(
        "{remedy}: {command:?}: {}\n{}",
        output.status,
        said.trim()
    ))
}

fn sha256(path: &Path) -> Result<String, String> {
    let bytes = fs::read(path).map_err(|e| format!("cannot read {}: {e}", path.display()))?;
    Ok(Sha256::digest(&bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect())
}
