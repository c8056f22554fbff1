//! `exec-server cert`: a key, and a certificate that it has signed itself.

use std::fs;
use std::path::{Path, PathBuf};

use base64_simd::STANDARD;
use rustls::pki_types::ServerName;

use super::description::Candidates;
use super::grammar::{Category, Flag, FlagKind, Grammar, Operands, Value};
use super::output::{Speaker, not_made};
use super::run::quoted;
use super::{Command, with_flags};
use crate::calendar::{now, rfc3339};
use crate::env::local::info::HomeInfo;
use crate::net::{Fingerprint, certificate};
use crate::sys::secret_file;

/// The row in the table of commands.
pub(crate) static CERT: Command = Command {
    name: "cert",
    summary: "Make a certificate for a server's TLS, and its key",
    perform: |args| with_flags(&GRAMMAR, args, |flags| Ok(SPEAKER.done(make(&flags)))),
    describe: || GRAMMAR.describe(),
};

static GRAMMAR: Grammar<CertFlags> = Grammar {
    about: "Makes key.pem, a private key that nobody else can read, and cert.pem, a certificate\n\
            that it has signed itself, and prints what to type at the server and its clients.\n",
    usage: "exec-server cert [OPTIONS] [DIR]",
    flags: &[
        Flag::value(
            Category::General,
            "name",
            "A name or IP address of the server; this host's, localhost and 127.0.0.1 unless \
             given. May be repeated",
            Value::list("HOST", |flags: &mut CertFlags, text| {
                flags.names.push(name(text)?);
                Ok(())
            }),
        ),
        Flag::switch(
            Category::General,
            None,
            "force",
            "Put the files in the place of regular files that are there",
            FlagKind::Switch(|flags| flags.replaces = true),
        ),
        Flag::help(),
    ],
    candidates: Candidates::Directories,
    operands: Operands::Anywhere(|flags, word| match flags.directory.replace(word.into()) {
        Some(_) => Err("one directory at a time".to_owned()),
        None => Ok(()),
    }),
    notes: "The files are made in DIR, which is this directory unless given. The certificate is\n\
            valid for 825 days. A client believes it if its fingerprint is pinned, or if it is\n\
            in the file that SSL_CERT_FILE names. Exit code: 0, or 1 if a file cannot be\n\
            written, 2 for a wrong command line.\n",
};

/// The flags of `cert`, as given or by default.
#[derive(Debug, Default)]
struct CertFlags {
    names: Vec<ServerName<'static>>,
    directory: Option<PathBuf>,
    replaces: bool,
}

const SPEAKER: Speaker = Speaker("exec-server cert");

/// How long it is valid: longer ones are refused by some.
const SECONDS: i64 = 825 * 24 * 60 * 60;
/// How much the clock of a client may be behind.
const EARLIER: i64 = 60 * 60;

fn name(text: &str) -> Result<ServerName<'static>, String> {
    let name = ServerName::try_from(text.to_owned());
    name.map_err(|_| "expected a host's name or an IP address".to_owned())
}

fn make(flags: &CertFlags) -> Result<String, String> {
    let mut names = flags.names.clone();
    if names.is_empty() {
        let host = HomeInfo::find().hostname.unwrap_or_default();
        let own = [&*host, "localhost", "127.0.0.1"];
        names.extend(own.iter().filter_map(|text| name(text).ok()));
        names.dedup();
    }
    let from = now() - EARLIER;
    let until = from + SECONDS;
    let made = certificate::self_signed(&names, from, until).map_err(|error| error.to_string())?;

    let directory = flags.directory.as_deref().unwrap_or(Path::new(""));
    let [key, certificate] = ["key.pem", "cert.pem"].map(|name| directory.join(name));
    if flags.replaces {
        // Neither without the other.
        for path in [&key, &certificate] {
            secret_file::may_be_replaced(path).map_err(|error| not_made(path, &error))?;
        }
    }
    let write = |path: &PathBuf, label: &str, der: &[u8], mode| {
        secret_file::make(path, pem(label, der).as_bytes(), mode, flags.replaces)
            .map_err(|error| not_made(path, &error))
    };
    write(&key, "PRIVATE KEY", &made.key, 0o600)?;
    if let Err(error) = write(&certificate, "CERTIFICATE", &made.certificate, 0o644) {
        if !flags.replaces {
            // Half of it is of no use. The error that counts is the first.
            let _ = fs::remove_file(&key);
        }
        return Err(error);
    }
    let shown: Vec<_> = names.iter().map(|name| name.to_str()).collect();
    let host = match &names[0] {
        ServerName::IpAddress(rustls::pki_types::IpAddr::V6(_)) => format!("[{}]", shown[0]),
        _ => shown[0].to_string(),
    };
    Ok(text(&Made {
        key: &quoted(&key.to_string_lossy()),
        certificate: &quoted(&certificate.to_string_lossy()),
        names: &shown.join(", "),
        host: &host,
        until: &rfc3339(until)[..10],
        pin: Fingerprint::of(&made.certificate),
    }))
}

/// A block of PEM.
fn pem(label: &str, der: &[u8]) -> String {
    let text = STANDARD.encode_to_string(der);
    let mut pem = format!("-----BEGIN {label}-----\n");
    for at in (0..text.len()).step_by(64) {
        pem += &text[at..text.len().min(at + 64)];
        pem.push('\n');
    }
    pem + &format!("-----END {label}-----\n")
}

/// What there is to say of a certificate.
struct Made<'a> {
    key: &'a str,
    certificate: &'a str,
    names: &'a str,
    /// The first of the names, as a URL has it.
    host: &'a str,
    until: &'a str,
    pin: Fingerprint,
}

fn text(made: &Made<'_>) -> String {
    let Made {
        key,
        certificate,
        names,
        host,
        until,
        pin,
    } = made;
    format!(
        "{key} is the key, {certificate} the certificate for {names}, valid until {until}\n\
         fingerprint: {pin}\n\
         \n\
         On this machine:\n  \
         exec-server token token\n  \
         exec-server --listen wss://0.0.0.0:8765 --tls-cert {certificate} --tls-key {key} \
         --ws-auth capability-token --ws-token-file token\n\
         \n\
         On a client, which needs the same token:\n  \
         EXEC_SERVER_TOKEN=$(cat token) exec-server run -e wss://{host}:8765 --pin {pin} uname -a\n\
         \n\
         Or in its exec-server.toml:\n  \
         [environments.there]\n  \
         url = \"wss://{host}:8765\"\n  \
         bearer_token_file = \"token\"\n  \
         pin = \"{pin}\"\n"
    )
}
