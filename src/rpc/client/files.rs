//! Files on the server. Paths are native and absolute.

use std::fmt;

use serde::de::{Error, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::facts::{ServerFacts, native};
use super::types::{FileKind, FileMetadata, Links, Listing};
use super::{ClientError, ExecServerClient, wire};
use crate::rpc::methods::Method;
use crate::rpc::methods::fs::{
    Canonicalize, CanonicalizeReply, Copy, CopyParams, CreateDirectory, CreateDirectoryParams,
    DirectoryEntry, GetMetadata, GetMetadataParams, PathParams, ReadDirectory, ReadFile,
    ReadFileParams, ReadLink, Remove, RemoveParams, Rename, RenameParams, SetPermissions,
    SetPermissionsParams, Symlink, SymlinkParams, WriteFile,
};
use crate::rpc::{base64, encode};

/// The longest name of a file, in bytes: that of the kernel.
const MAX_NAME: usize = 255;
/// The same of one that is not UTF-8, as it is shown: a byte becomes a character of three.
const MAX_SHOWN_NAME: usize = 3 * MAX_NAME;

/// What of a [`ReadDirectoryReply`](crate::rpc::methods::fs::ReadDirectoryReply) is kept.
#[derive(Deserialize)]
struct EntriesReply {
    entries: Entries,
}

/// The entries of a directory, each forgotten for its name as soon as it is read: an answer may have
/// a million of them.
#[derive(Default)]
struct Entries(Listing);

impl Entries {
    /// The error says what is wrong with it.
    fn add(&mut self, entry: &DirectoryEntry<'_>) -> Result<(), String> {
        let kind = match entry {
            entry if entry.is_symlink => FileKind::Symlink,
            entry if entry.is_directory => FileKind::Directory,
            entry if entry.is_file => FileKind::Regular,
            _ => FileKind::Other,
        };
        let name = &*entry.file_name;
        let names = match &entry.file_name_base64 {
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
                while let Some(entry) = seq.next_element::<DirectoryEntry<'de>>()? {
                    entries.add(&entry).map_err(A::Error::custom)?;
                }
                Ok(entries)
            }
        }

        deserializer.deserialize_seq(Each)
    }
}

impl ExecServerClient {
    /// All bytes of a file; the limit is 512 MiB, and the reference's less.
    ///
    /// # Errors
    /// The file's, or the connection's; so for all that follow.
    pub fn read_file(&self, path: &str) -> Result<Vec<u8>, ClientError> {
        let path = self.server()?.path(path);
        let answer = self.call::<ReadFile>(&ReadFileParams {
            path: path.into(),
            ..ReadFileParams::default()
        })?;
        let reply = answer.reply::<ReadFile>()?;
        if let Some(incomplete) = reply.incomplete {
            return Err(ClientError::Rejected {
                code: -32603,
                message: incomplete.message,
            });
        }
        decode(ReadFile::NAME, &reply.data_base64)
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
        self.call_with(WriteFile::NAME, &write).map(drop)
    }

    /// Makes a directory, with those above it; one that exists will do.
    pub fn create_directory(&self, path: &str, links: Links) -> Result<(), ClientError> {
        let path = self.server()?.path(path);
        self.carry_out::<CreateDirectory>(&CreateDirectoryParams {
            path: path.into(),
            recursive: Some(true),
            follow_symlinks: follow(links),
            ..CreateDirectoryParams::default()
        })
    }

    /// What is there; a link is looked behind if `follows_links`. Otherwise a link is told by
    /// `is_symlink`, and `kind` is [`FileKind::Symlink`].
    pub fn metadata(&self, path: &str, follows_links: bool) -> Result<FileMetadata, ClientError> {
        let path = self.server()?.path(path);
        let answer = self.call::<GetMetadata>(&GetMetadataParams {
            path: path.into(),
            ..GetMetadataParams::default()
        })?;
        let reply = answer.reply::<GetMetadata>()?;
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
        let path = self.server()?.path(path);
        let reply: EntriesReply = {
            // Gone before the names are sorted: it may be long.
            let answer = self.call::<ReadDirectory>(&at(&path))?;
            wire::result(ReadDirectory::NAME, &answer.json)?
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
        self.carry_out::<Remove>(&RemoveParams {
            path: path.into(),
            recursive: Some(true),
            force: Some(true),
            ..RemoveParams::default()
        })
    }

    /// Copies on the server.
    pub fn copy(&self, from: &str, to: &str, is_recursive: bool) -> Result<(), ClientError> {
        let facts = self.server()?;
        self.carry_out::<Copy>(&CopyParams {
            source_path: facts.path(from).into(),
            destination_path: facts.path(to).into(),
            recursive: is_recursive,
            ..CopyParams::default()
        })
    }

    /// The path without links and dots.
    pub fn canonicalize(&self, path: &str) -> Result<String, ClientError> {
        let path = self.server()?.path(path);
        let answer = self.call::<Canonicalize>(&at(&path))?;
        let CanonicalizeReply { path } = answer.reply::<Canonicalize>()?;
        native(&path).ok_or_else(|| {
            let method = Canonicalize::NAME;
            ClientError::Protocol(format!("{method} gave what is no path here: {path}"))
        })
    }

    /// Renames within a file system, over what is there. An extension.
    pub fn rename(&self, from: &str, to: &str, links: Links) -> Result<(), ClientError> {
        let facts = self.server()?;
        facts.needs(Rename::NAME)?;
        self.carry_out::<Rename>(&RenameParams {
            source_path: facts.path(from).into(),
            destination_path: facts.path(to).into(),
            follow_symlinks: follow(links),
            ..RenameParams::default()
        })
    }

    /// Sets permission bits. An extension.
    pub fn set_permissions(&self, path: &str, mode: u32, links: Links) -> Result<(), ClientError> {
        let facts = self.server()?;
        facts.needs(SetPermissions::NAME)?;
        self.carry_out::<SetPermissions>(&SetPermissionsParams {
            path: facts.path(path).into(),
            mode,
            follow_symlinks: follow(links),
            ..SetPermissionsParams::default()
        })
    }

    /// Makes a symbolic link that says `target`. An extension.
    pub fn symlink(&self, target: &str, path: &str, links: Links) -> Result<(), ClientError> {
        let facts = self.server()?;
        facts.needs(Symlink::NAME)?;
        self.carry_out::<Symlink>(&SymlinkParams {
            path: facts.path(path).into(),
            target: target.into(),
            follow_symlinks: follow(links),
            ..SymlinkParams::default()
        })
    }

    /// What a symbolic link says. An extension.
    ///
    /// # Errors
    /// As there.
    pub fn read_link(&self, path: &str) -> Result<String, ClientError> {
        let facts = self.server()?;
        facts.needs(ReadLink::NAME)?;
        let answer = self.call::<ReadLink>(&at(&facts.path(path)))?;
        Ok(answer.reply::<ReadLink>()?.target)
    }

    /// Calls a method whose reply says nothing of use.
    fn carry_out<M: Method>(&self, params: &M::Params<'_>) -> Result<(), ClientError> {
        self.call::<M>(params).map(drop)
    }

    /// What is known of the server; connects if need be.
    fn server(&self) -> Result<ServerFacts, ClientError> {
        Ok(self.shared().ready()?.0.facts.clone())
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

/// The parameters of what takes a path alone.
fn at(path: &str) -> PathParams<'_> {
    PathParams {
        path: path.into(),
        sandbox: None,
    }
}

/// The value of `followSymlinks`. A server that does not know the member follows links.
pub(super) fn follow(links: Links) -> Option<bool> {
    (links == Links::Refuse).then_some(false)
}

/// Whether it names something in a directory, and nothing elsewhere.
fn is_name(name: &str) -> bool {
    !matches!(name, "" | "." | "..") && !name.contains(['/', '\0']) && name.len() <= MAX_NAME
}

pub(super) fn decode(method: &str, text: &str) -> Result<Vec<u8>, ClientError> {
    base64::decode(text)
        .map_err(|error| ClientError::Protocol(format!("{method} gave no base64: {error}")))
}
