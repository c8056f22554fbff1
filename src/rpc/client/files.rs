//! Files on the server. Paths are native and absolute.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeOwned, Error, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::facts::{ServerFacts, native};
use super::types::{FileKind, FileMetadata, Links, Listing};
use super::{ClientError, ExecServerClient, wire};
use crate::rpc::{base64, encode};

/// The longest name of a file, in bytes: that of the kernel.
const MAX_NAME: usize = 255;
/// The same of one that is not UTF-8, as it is shown: a byte becomes a character of three.
const MAX_SHOWN_NAME: usize = 3 * MAX_NAME;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct DataReply<'a> {
    #[serde(borrow)]
    data_base64: Cow<'a, str>,
    #[serde(default)]
    incomplete: Option<Incomplete>,
}

#[derive(Deserialize)]
struct Incomplete {
    message: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct MetadataReply {
    is_directory: bool,
    is_file: bool,
    #[serde(default)]
    is_symlink: bool,
    #[serde(default)]
    size: Option<u64>,
    #[serde(default)]
    modified_at_ms: i64,
    #[serde(default)]
    mode: Option<u32>,
}

#[derive(Deserialize)]
struct EntriesReply {
    entries: Entries,
}

/// The entries of a directory, each forgotten for its name as soon as it is read: an answer may have
/// a million of them.
#[derive(Default)]
struct Entries(Listing);

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct EntryReply<'a> {
    #[serde(borrow)]
    file_name: Cow<'a, str>,
    is_directory: bool,
    is_file: bool,
    #[serde(default)]
    is_symlink: bool,
    #[serde(borrow, default)]
    file_name_base64: Option<&'a RawValue>,
}

impl Entries {
    /// The error says what is wrong with it.
    fn add(&mut self, entry: &EntryReply<'_>) -> Result<(), String> {
        let kind = match entry {
            entry if entry.is_symlink => FileKind::Symlink,
            entry if entry.is_directory => FileKind::Directory,
            entry if entry.is_file => FileKind::Regular,
            _ => FileKind::Other,
        };
        let name = &*entry.file_name;
        let names = match entry.file_name_base64 {
            Some(_) if name.len() <= MAX_SHOWN_NAME => &mut self.0.unnamed,
            None if is_name(name) => &mut self.0.entries,
            _ => return Err(format!("{} is no name of a file", shortened(name))),
        };
        match names.push(name.as_ref(), kind) {
            true => Ok(()),
            false => Err("there are too many names".to_owned()),
        }
    }
}

impl<'de> Deserialize<'de> for Entries {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Each;

        impl<'de> Visitor<'de> for Each {
            type Value = Entries;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the entries of a directory")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Entries, A::Error> {
                let mut entries = Entries::default();
                while let Some(entry) = seq.next_element::<EntryReply<'de>>()? {
                    entries.add(&entry).map_err(A::Error::custom)?;
                }
                Ok(entries)
            }
        }

        deserializer.deserialize_seq(Each)
    }
}

#[derive(Deserialize)]
struct PathReply {
    path: String,
}

#[derive(Deserialize)]
struct LinkReply {
    target: String,
}

impl ExecServerClient {
    /// All bytes of a file; the limit is 512 MiB, and the reference's less.
    ///
    /// # Errors
    /// The file's, or the connection's; so for all that follow.
    pub fn read_file(&self, path: &str) -> Result<Vec<u8>, ClientError> {
        let method = "fs/readFile";
        let facts = self.server()?;
        let json = self.call(method, &json!({ "path": facts.path(path) }))?;
        let reply: DataReply<'_> = wire::borrowed_result(method, &json)?;
        if let Some(incomplete) = reply.incomplete {
            return Err(ClientError::Rejected {
                code: -32603,
                message: incomplete.message,
            });
        }
        decode(method, &reply.data_base64)
    }

    /// Makes or replaces a file; with `is_atomic`, an extension, at once or not at all.
    pub fn write_file(
        &self,
        path: &str,
        data: &[u8],
        is_atomic: bool,
        links: Links,
    ) -> Result<(), ClientError> {
        let facts = self.server()?;
        if is_atomic {
            facts.needs("fs/writeFile.atomic")?;
        }
        let path = facts.path(path);
        let write = |out: &mut Vec<u8>| {
            out.extend_from_slice(b"{\"path\":");
            encode::json(out, &path);
            if is_atomic {
                out.extend_from_slice(b",\"atomic\":true");
            }
            if links == Links::Refuse {
                out.extend_from_slice(b",\"followSymlinks\":false");
            }
            out.extend_from_slice(b",\"dataBase64\":\"");
            base64::encode_into(data, out);
            out.extend_from_slice(b"\"}");
        };
        let limit = Some(self.call_timeout());
        self.shared().call("fs/writeFile", write, limit).map(drop)
    }

    /// Makes a directory, with those above it; one that exists will do.
    pub fn create_directory(&self, path: &str, links: Links) -> Result<(), ClientError> {
        let path = self.server()?.path(path);
        let mut params = json!({ "path": path, "recursive": true });
        refuse_links(&mut params, links);
        self.call("fs/createDirectory", &params).map(drop)
    }

    /// What is there; a link is looked behind if `follows_links`. Otherwise a link is told by
    /// `is_symlink`, and `kind` is [`FileKind::Symlink`].
    pub fn metadata(&self, path: &str, follows_links: bool) -> Result<FileMetadata, ClientError> {
        let path = self.server()?.path(path);
        let reply: MetadataReply = self.ask("fs/getMetadata", &json!({ "path": path }))?;
        let kind = match (reply.is_symlink && !follows_links, &reply) {
            (true, _) => FileKind::Symlink,
            (_, reply) if reply.is_directory => FileKind::Directory,
            (_, reply) if reply.is_file => FileKind::Regular,
            _ => FileKind::Other,
        };
        Ok(FileMetadata {
            kind,
            is_symlink: reply.is_symlink,
            size: reply.size,
            modified_ms: reply.modified_at_ms,
            mode: reply.mode,
        })
    }

    /// The names in a directory. The call fails for what is no name, or comes twice: whoever joins
    /// these names to a path must end up below it.
    pub fn read_directory(&self, path: &str) -> Result<Listing, ClientError> {
        let method = "fs/readDirectory";
        let path = self.server()?.path(path);
        let reply: EntriesReply = {
            // Gone before the names are sorted: it may be long.
            let answer = self.call(method, &json!({ "path": path }))?;
            wire::borrowed_result(method, &answer)?
        };
        let Entries(mut listing) = reply.entries;
        listing.entries.sort();
        match listing.entries.repeated() {
            Some(name) => Err(ClientError::Protocol(format!(
                "{name:?} is in {path} twice"
            ))),
            None => Ok(listing),
        }
    }

    /// Removes a file or a tree; that nothing is there is no error.
    pub fn remove(&self, path: &str) -> Result<(), ClientError> {
        let path = self.server()?.path(path);
        let params = json!({ "path": path, "recursive": true, "force": true });
        self.call("fs/remove", &params).map(drop)
    }

    /// Copies on the server.
    pub fn copy(&self, from: &str, to: &str, is_recursive: bool) -> Result<(), ClientError> {
        let facts = self.server()?;
        let params = json!({
            "sourcePath": facts.path(from),
            "destinationPath": facts.path(to),
            "recursive": is_recursive,
        });
        self.call("fs/copy", &params).map(drop)
    }

    /// The path without links and dots.
    pub fn canonicalize(&self, path: &str) -> Result<String, ClientError> {
        let path = self.server()?.path(path);
        let method = "fs/canonicalize";
        let reply: PathReply = self.ask(method, &json!({ "path": path }))?;
        native(&reply.path).ok_or_else(|| {
            let path = reply.path;
            ClientError::Protocol(format!("{method} gave what is no path here: {path}"))
        })
    }

    /// Renames within a file system, over what is there. An extension.
    pub fn rename(&self, from: &str, to: &str, links: Links) -> Result<(), ClientError> {
        let facts = self.server()?;
        facts.needs("fs/rename")?;
        let mut params = json!({
            "sourcePath": facts.path(from), "destinationPath": facts.path(to),
        });
        refuse_links(&mut params, links);
        self.call("fs/rename", &params).map(drop)
    }

    /// Sets permission bits. An extension.
    pub fn set_permissions(&self, path: &str, mode: u32, links: Links) -> Result<(), ClientError> {
        let facts = self.server()?;
        facts.needs("fs/setPermissions")?;
        let mut params = json!({ "path": facts.path(path), "mode": mode });
        refuse_links(&mut params, links);
        self.call("fs/setPermissions", &params).map(drop)
    }

    /// Makes a symbolic link that says `target`. An extension.
    pub fn symlink(&self, target: &str, path: &str, links: Links) -> Result<(), ClientError> {
        let facts = self.server()?;
        facts.needs("fs/symlink")?;
        let mut params = json!({ "path": facts.path(path), "target": target });
        refuse_links(&mut params, links);
        self.call("fs/symlink", &params).map(drop)
    }

    /// What a symbolic link says. An extension.
    ///
    /// # Errors
    /// As there.
    pub fn read_link(&self, path: &str) -> Result<String, ClientError> {
        let facts = self.server()?;
        facts.needs("fs/readLink")?;
        let reply: LinkReply = self.ask("fs/readLink", &json!({ "path": facts.path(path) }))?;
        Ok(reply.target)
    }

    /// What is known of the server; connects if need be.
    fn server(&self) -> Result<ServerFacts, ClientError> {
        Ok(self.shared().ready()?.0.facts.clone())
    }

    fn ask<T: DeserializeOwned>(&self, method: &str, params: &Value) -> Result<T, ClientError> {
        wire::result(method, &self.call(method, params)?)
    }
}

/// The beginning of what is no name, quoted.
fn shortened(name: &str) -> String {
    const SHOWN: usize = 60;
    match &name[..name.floor_char_boundary(SHOWN)] {
        start if start.len() < name.len() => format!("{start:?}... of {} bytes", name.len()),
        whole => format!("{whole:?}"),
    }
}

/// A server that does not know the member follows links.
fn refuse_links(params: &mut Value, links: Links) {
    if links == Links::Refuse {
        params["followSymlinks"] = false.into();
    }
}

/// Whether it names something in a directory, and nothing elsewhere.
fn is_name(name: &str) -> bool {
    !matches!(name, "" | "." | "..") && !name.contains(['/', '\0']) && name.len() <= MAX_NAME
}

pub(super) fn decode(method: &str, text: &str) -> Result<Vec<u8>, ClientError> {
    base64::decode(text)
        .map_err(|error| ClientError::Protocol(format!("{method} gave no base64: {error}")))
}
