//! Files on the server, whole and in blocks. Paths are native and absolute.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::de::{Error, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::connection::{Answer, CallError, Connection, decode_result};
use super::{ClientError, ExecServerClient, RejectionData};
use crate::rpc::methods::Method;
use crate::rpc::methods::fs::{
    Canonicalize, CanonicalizeReply, Close, CloseParams, Copy, CopyParams, CreateDirectory,
    CreateDirectoryParams, DirectoryEntry, GetMetadata, GetMetadataParams, HardLink,
    HardLinkParams, NewMetadata as SentMetadata, Open, OpenMode, OpenParams, PathParams,
    RawBlockReply, ReadBlock, ReadBlockParams, ReadDirectory, ReadFile, ReadFileParams, ReadLink,
    ReadLinkReply, Remove, RemoveParams, Rename, RenameParams, SetMetadata, SetMetadataParams,
    SetPermissions, SetPermissionsParams, Symlink, SymlinkParams, WriteBlock, WriteFile,
};
use crate::rpc::path_uri::WirePath;
use crate::rpc::{base64, encode};

/// What tells that a file was changed, and the rest that goes with it.
const VERSION: &str = "fs/getMetadata.version";
/// A file with all that it is to have, which must not be there yet.
const WRITE_WITH_METADATA: &str = "fs/writeFile.metadata";
/// Nanoseconds in a millisecond.
const NANOS_OF_MILLI: i64 = 1_000_000;

/// A rename that gives a file what the file has that it replaces.
const RENAME_AS_REPLACED: &str = "fs/rename.asReplaced";

/// What a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileKind {
    /// With bytes in it.
    Regular,
    /// With names in it.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A device, a socket or a FIFO.
    Other,
}

/// What is known about a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileMetadata {
    /// What it is, or what a link leads to.
    pub kind: FileKind,
    /// Whether the path itself is a link.
    pub is_symlink: bool,
    /// Bytes, where the server tells; 0.130 does not.
    pub size: Option<u64>,
    /// Nanoseconds since 1970; whole milliseconds of the reference.
    pub modified: i64,
    /// The permission bits, where the server tells.
    pub mode: Option<u32>,
    /// What is another after each change of the file, where the server tells.
    pub version: Option<String>,
    /// Whether it is known to have holes.
    pub is_sparse: bool,
    /// Which file it is on its machine, where the server tells.
    pub id: Option<String>,
    /// How many names it has, where the server tells.
    pub links: Option<u32>,
}

/// What a file or a directory is to have; what is left out stays as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NewMetadata {
    /// The permission bits, at most 0777. A directory keeps setgid that it has from the one above it,
    /// and gets no bit that the access rules of that one take away.
    pub permissions: Option<u32>,
    /// When its content last changed, in nanoseconds since 1970.
    pub modified: Option<i64>,
    /// Bytes: a file is cut, or ends in a hole.
    pub size: Option<u64>,
}

impl From<NewMetadata> for SentMetadata {
    fn from(new: NewMetadata) -> Self {
        let rest = |nanos: i64| nanos.rem_euclid(NANOS_OF_MILLI) as u32;
        Self {
            permissions: new.permissions,
            modified_at_ms: new.modified.map(|nanos| nanos.div_euclid(NANOS_OF_MILLI)),
            modified_ns: new.modified.map(rest).filter(|rest| *rest > 0),
            size: new.size,
        }
    }
}

/// What is in a directory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// The names, sorted, and what each is; a link is [`FileKind::Other`] where the server does not
    /// look behind it. Not all are UTF-8: calls take a path with such a name as a `file:` URI.
    pub entries: Names,
}

/// What is done about symbolic links in a path where something is written or changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Links {
    /// They are followed.
    Follow,
    /// There must be none, as far as the server can see to that: the reference does for whole files
    /// and for directories, and a server of 0.130 follows them all.
    Refuse,
}

/// What to open a file for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenFor {
    /// Reading blocks.
    Reading,
    /// Writing blocks into an empty file.
    Replacing,
    /// Writing blocks into what is there, for a transfer that goes on; an extension.
    Updating,
    /// Writing blocks into a file that must not be there yet, and is its owner's alone; an extension.
    Creating,
}

/// A piece of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileBlock {
    /// Fewer bytes than were asked for only at the end.
    pub data: Vec<u8>,
    /// Whether the file ends here.
    pub is_last: bool,
    /// Up to where there is a hole, if that is all.
    pub data_at: Option<u64>,
}

impl ExecServerClient {
    /// All bytes of a file; the limit is 512 MiB, and the reference's less.
    ///
    /// # Errors
    /// The file's, or the connection's; so for all that follow.
    pub fn read_file(&self, path: &str) -> Result<Vec<u8>, ClientError> {
        self.read_file_of(path, None)
    }

    /// The same of a file that is an error if it is not of this version from start to end.
    pub fn read_file_of(&self, path: &str, version: Option<&str>) -> Result<Vec<u8>, ClientError> {
        let path = self.session()?.facts.path(path);
        let answer = self.call::<ReadFile>(&ReadFileParams {
            path: path.into(),
            version: version.map(Into::into),
            ..ReadFileParams::default()
        })?;
        let reply = answer.reply::<ReadFile>()?;
        if let Some(incomplete) = reply.incomplete {
            return Err(ClientError::Rejected {
                code: -32603,
                message: incomplete.message,
                data: RejectionData::default(),
            });
        }
        from_base64(ReadFile::NAME, &reply.data_base64)
    }

    /// Makes or replaces a file; with `is_atomic`, an extension, at once or not at all.
    pub fn write_file(
        &self,
        path: &str,
        data: &[u8],
        is_atomic: bool,
        links: Links,
    ) -> Result<(), ClientError> {
        let session = self.session()?;
        let facts = &session.facts;
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

    /// Makes a file that must not be there yet, with all that it is to have. An extension.
    pub fn create_file(
        &self,
        path: &str,
        data: &[u8],
        new: NewMetadata,
        links: Links,
    ) -> Result<(), ClientError> {
        let session = self.session()?;
        session.facts.needs(WRITE_WITH_METADATA)?;
        let path = session.facts.path(path);
        let write = |out: &mut Vec<u8>| {
            out.extend_from_slice(b"{\"path\":");
            encode::json(out, &path);
            out.extend_from_slice(b",\"overwrite\":false,\"metadata\":");
            encode::json(out, &SentMetadata::from(new));
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
        self.create_directory_as(path, links, None)
    }

    /// The same, where a new one gets these permissions; a server that does not know that makes one
    /// as usual.
    pub fn create_directory_as(
        &self,
        path: &str,
        links: Links,
        permissions: Option<u32>,
    ) -> Result<(), ClientError> {
        let path = self.session()?.facts.path(path);
        self.carry_out::<CreateDirectory>(&CreateDirectoryParams {
            path: path.into(),
            recursive: Some(true),
            follow_symlinks: follow(links),
            permissions,
            ..CreateDirectoryParams::default()
        })
    }

    /// What is there; a link is looked behind if `follows_links`. Otherwise a link is told by
    /// `is_symlink`, and `kind` is [`FileKind::Symlink`].
    pub fn metadata(&self, path: &str, follows_links: bool) -> Result<FileMetadata, ClientError> {
        let session = self.session()?;
        let answer = self.call::<GetMetadata>(&GetMetadataParams {
            path: session.facts.path(path).into(),
            version: session.facts.has(VERSION),
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
            modified: (reply.modified_at_ms.saturating_mul(NANOS_OF_MILLI))
                .saturating_add(reply.modified_ns.unwrap_or(0).into()),
            mode: reply.mode,
            version: reply.version,
            is_sparse: reply.is_sparse,
            id: reply.file_id,
            links: reply.links,
        })
    }

    /// The names in a directory. The call fails for what is no name, or comes twice: whoever joins
    /// these names to a path must end up below it.
    pub fn read_directory(&self, path: &str) -> Result<Listing, ClientError> {
        let path = self.session()?.facts.path(path);
        let reply: EntriesReply = {
            // Gone before the names are sorted: it may be long.
            let answer = self.call::<ReadDirectory>(&at(&path))?;
            decode_result(ReadDirectory::NAME, &answer.json)?
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
        let path = self.session()?.facts.path(path);
        self.carry_out::<Remove>(&RemoveParams {
            path: path.into(),
            recursive: Some(true),
            force: Some(true),
            ..RemoveParams::default()
        })
    }

    /// Copies on the server.
    pub fn copy(&self, from: &str, to: &str, is_recursive: bool) -> Result<(), ClientError> {
        let session = self.session()?;
        let facts = &session.facts;
        self.carry_out::<Copy>(&CopyParams {
            source_path: facts.path(from).into(),
            destination_path: facts.path(to).into(),
            recursive: is_recursive,
            ..CopyParams::default()
        })
    }

    /// The path without links and dots.
    pub fn canonicalize(&self, path: &str) -> Result<PathBuf, ClientError> {
        let path = self.session()?.facts.path(path);
        let answer = self.call::<Canonicalize>(&at(&path))?;
        let CanonicalizeReply { path } = answer.reply::<Canonicalize>()?;
        let parsed = WirePath::parse(&path).map_err(|_| {
            let method = Canonicalize::NAME;
            ClientError::Protocol(format!("{method} gave what is no path here: {path}"))
        })?;
        Ok(parsed.path)
    }

    /// Gives a file or a directory what it is to have. An extension.
    pub fn set_metadata(
        &self,
        path: &str,
        new: NewMetadata,
        links: Links,
    ) -> Result<(), ClientError> {
        self.set(SetMetadata::NAME, path, (new, BTreeMap::new()), links)
    }

    /// Renames within a file system, over what is there. An extension.
    pub fn rename(&self, from: &str, to: &str, links: Links) -> Result<(), ClientError> {
        self.rename_with(from, to, links, None)
    }

    /// The same, where a file gets the owner, the group and the permission bits of the one that it
    /// replaces. A server that cannot do that leaves it with its own.
    pub fn replace(&self, from: &str, to: &str, links: Links) -> Result<(), ClientError> {
        let can = self.session()?.facts.has(RENAME_AS_REPLACED);
        self.rename_with(from, to, links, can.then_some(true))
    }

    fn rename_with(
        &self,
        from: &str,
        to: &str,
        links: Links,
        as_replaced: Option<bool>,
    ) -> Result<(), ClientError> {
        let session = self.session()?;
        let facts = &session.facts;
        facts.needs(Rename::NAME)?;
        self.carry_out::<Rename>(&RenameParams {
            source_path: facts.path(from).into(),
            destination_path: facts.path(to).into(),
            as_replaced,
            follow_symlinks: follow(links),
            ..RenameParams::default()
        })
    }

    /// The extended attributes of a file. An extension.
    pub fn attributes(&self, path: &str) -> Result<Vec<(String, Vec<u8>)>, ClientError> {
        let session = self.session()?;
        session.facts.needs("fs/getMetadata.attributes")?;
        let answer = self.call::<GetMetadata>(&GetMetadataParams {
            path: session.facts.path(path).into(),
            attributes: true,
            ..GetMetadataParams::default()
        })?;
        let found = answer.reply::<GetMetadata>()?.attributes;
        let values = found.unwrap_or_default().into_iter().map(|(name, value)| {
            let value = from_base64(GetMetadata::NAME, &value)?;
            Ok((name, value))
        });
        values.collect()
    }

    /// Sets extended attributes; others stay. An extension.
    pub fn set_attributes(
        &self,
        path: &str,
        attributes: &[(String, Vec<u8>)],
        links: Links,
    ) -> Result<(), ClientError> {
        let texts = attributes.iter();
        let texts = texts.map(|(name, value)| (name.clone(), base64::encode(value)));
        let changes = (NewMetadata::default(), texts.collect());
        self.set("fs/setMetadata.attributes", path, changes, links)
    }

    /// Changes what a file has besides its content, on a server that announces this extension.
    fn set(
        &self,
        extension: &str,
        path: &str,
        (metadata, attributes): (NewMetadata, BTreeMap<String, String>),
        links: Links,
    ) -> Result<(), ClientError> {
        let session = self.session()?;
        let facts = &session.facts;
        facts.needs(extension)?;
        self.carry_out::<SetMetadata>(&SetMetadataParams {
            path: facts.path(path).into(),
            metadata: metadata.into(),
            attributes,
            follow_symlinks: follow(links),
            ..SetMetadataParams::default()
        })
    }

    /// Gives a file one more name, which must be free. An extension.
    pub fn hard_link(&self, from: &str, to: &str, links: Links) -> Result<(), ClientError> {
        let session = self.session()?;
        let facts = &session.facts;
        facts.needs(HardLink::NAME)?;
        self.carry_out::<HardLink>(&HardLinkParams {
            source_path: facts.path(from).into(),
            destination_path: facts.path(to).into(),
            follow_symlinks: follow(links),
            ..HardLinkParams::default()
        })
    }

    /// Sets permission bits. An extension.
    pub fn set_permissions(&self, path: &str, mode: u32, links: Links) -> Result<(), ClientError> {
        let session = self.session()?;
        let facts = &session.facts;
        facts.needs(SetPermissions::NAME)?;
        self.carry_out::<SetPermissions>(&SetPermissionsParams {
            path: facts.path(path).into(),
            mode,
            follow_symlinks: follow(links),
            ..SetPermissionsParams::default()
        })
    }

    /// Makes a symbolic link that says `target`. An extension.
    pub fn symlink(
        &self,
        target: impl AsRef<Path>,
        path: &str,
        links: Links,
    ) -> Result<(), ClientError> {
        let target = target.as_ref();
        let session = self.session()?;
        let facts = &session.facts;
        facts.needs(Symlink::NAME)?;
        let odd = match target.to_str() {
            Some(_) => None,
            None => {
                facts.needs("fs/symlink.targetBase64")?;
                Some(base64::encode(target.as_os_str().as_bytes()))
            }
        };
        self.carry_out::<Symlink>(&SymlinkParams {
            path: facts.path(path).into(),
            target: target.to_str().unwrap_or_default().into(),
            target_base64: odd.map(Into::into),
            follow_symlinks: follow(links),
            ..SymlinkParams::default()
        })
    }

    /// What a symbolic link says. An extension.
    pub fn read_link(&self, path: &str) -> Result<PathBuf, ClientError> {
        let session = self.session()?;
        let facts = &session.facts;
        facts.needs(ReadLink::NAME)?;
        let answer = self.call::<ReadLink>(&at(&facts.path(path)))?;
        let ReadLinkReply {
            target,
            target_base64,
        } = answer.reply::<ReadLink>()?;
        Ok(match target_base64 {
            Some(bytes) => OsString::from_vec(from_base64(ReadLink::NAME, &bytes)?).into(),
            None => target.into(),
        })
    }

    /// Calls a method whose reply says nothing of use.
    fn carry_out<M: Method>(&self, params: &M::Params<'_>) -> Result<(), ClientError> {
        self.call::<M>(params).map(drop)
    }
}

/// The largest block, in bytes: the protocol's limit.
pub const MAX_BLOCK: usize = 1024 * 1024;

/// An open file. It belongs to the connection: when that is lost the file is closed, and must be
/// opened again. Dropping it closes it.
pub struct OpenFile {
    connection: Arc<Connection>,
    handle: String,
    limit: Duration,
    /// Whether the server gives blocks as they are, and takes them so.
    gives_raw: bool,
    takes_raw: bool,
    knows_holes: bool,
    is_closed: bool,
    /// Keeps the client.
    _client: ExecServerClient,
}

impl ExecServerClient {
    /// Opens a file for blocks.
    ///
    /// # Errors
    /// The file's, or the connection's, or the server does not know this purpose.
    pub fn open(
        &self,
        path: &str,
        purpose: OpenFor,
        links: Links,
    ) -> Result<OpenFile, ClientError> {
        self.open_of(path, purpose, links, None)
    }

    /// The same of a file to be read that is an error whenever it is not of this version.
    pub fn open_of(
        &self,
        path: &str,
        purpose: OpenFor,
        links: Links,
        version: Option<&str>,
    ) -> Result<OpenFile, ClientError> {
        let limit = self.call_timeout();
        loop {
            let (session, connection) = self.connector().ready()?;
            let handle = session.fresh_name();
            let mode = match purpose {
                OpenFor::Reading => OpenMode::Read,
                OpenFor::Replacing => OpenMode::Replace,
                OpenFor::Updating => OpenMode::Update,
                OpenFor::Creating => OpenMode::Create,
            };
            match mode {
                OpenMode::Read | OpenMode::Replace => {}
                OpenMode::Update => session.facts.needs("fs/open.update")?,
                OpenMode::Create => session.facts.needs("fs/open.create")?,
            }
            let can_refuse = session.facts.has("fs/open.followSymlinks");
            let params = OpenParams {
                handle_id: (&*handle).into(),
                path: session.facts.path(path).into(),
                mode,
                follow_symlinks: follow(links).filter(|_| can_refuse),
                version: version.map(Into::into),
                ..OpenParams::default()
            };
            let write = |out: &mut Vec<u8>| encode::json(out, &params);
            match connection.call(Open::NAME, &write, Some(limit)) {
                Ok(_) => {
                    return Ok(OpenFile {
                        connection,
                        handle,
                        limit,
                        gives_raw: session.facts.has("fs/readBlock.raw"),
                        takes_raw: session.facts.has("fs/writeBlock.rawBytes"),
                        knows_holes: session.facts.has("fs/readBlock.skipHoles"),
                        is_closed: false,
                        _client: self.clone(),
                    });
                }
                Err(CallError::NotSent(_)) => {}
                Err(CallError::Failed(error)) => return Err(error),
            }
        }
    }
}

impl OpenFile {
    /// Up to `len` bytes, [`MAX_BLOCK`] at most, from `offset` on.
    ///
    /// # Errors
    /// The file's, or the connection's.
    pub fn read_block(&self, offset: u64, len: usize) -> Result<FileBlock, ClientError> {
        self.read(offset, len, false)
    }

    /// The same, but none where all of them are in a hole, if the server knows that.
    ///
    /// # Errors
    /// The file's, or the connection's.
    pub fn read_block_or_hole(&self, offset: u64, len: usize) -> Result<FileBlock, ClientError> {
        self.read(offset, len, true)
    }

    fn read(&self, offset: u64, len: usize, skips_holes: bool) -> Result<FileBlock, ClientError> {
        let params = ReadBlockParams {
            handle_id: (&*self.handle).into(),
            offset,
            len,
            raw: self.gives_raw,
            skip_holes: skips_holes && self.knows_holes,
        };
        if self.gives_raw {
            let write = |out: &mut Vec<u8>| encode::json(out, &params);
            let block = self
                .connection
                .call_for_block(ReadBlock::NAME, &write, self.limit);
            let block = block.map_err(explain)?;
            let reply: RawBlockReply = decode_result(ReadBlock::NAME, &block.json)?;
            return at_most(len, block.bytes, reply.eof, reply.data_at);
        }
        let answer = self.call::<ReadBlock>(&params)?;
        let reply = answer.reply::<ReadBlock>()?;
        let data = from_base64(ReadBlock::NAME, &reply.chunk)?;
        at_most(len, data, reply.eof, reply.data_at)
    }

    /// Writes 1 byte to [`MAX_BLOCK`] at `offset`.
    ///
    /// # Errors
    /// The file's, or the connection's.
    pub fn write_block(&self, offset: u64, data: &[u8]) -> Result<(), ClientError> {
        let write = |out: &mut Vec<u8>| {
            out.extend_from_slice(b"{\"handleId\":");
            encode::json(out, &self.handle);
            out.extend_from_slice(b",\"offset\":");
            encode::json(out, &offset);
            if self.takes_raw {
                out.extend_from_slice(b",\"rawBytes\":");
                encode::json(out, &data.len());
            } else {
                out.extend_from_slice(b",\"chunk\":\"");
                base64::encode_into(data, out);
                out.push(b'"');
            }
            out.push(b'}');
        };
        let payload = if self.takes_raw { data } else { &[] };
        self.connection
            .call_with_payload(WriteBlock::NAME, &write, payload, Some(self.limit))
            .map(drop)
            .map_err(explain)
    }

    /// Closes it and says whether that went well.
    ///
    /// # Errors
    /// What was written may not be there.
    pub fn close(mut self) -> Result<(), ClientError> {
        self.is_closed = true;
        self.call::<Close>(&self.close_params()).map(drop)
    }

    fn close_params(&self) -> CloseParams<'_> {
        CloseParams {
            handle_id: (&*self.handle).into(),
        }
    }

    fn call<M: Method>(&self, params: &M::Params<'_>) -> Result<Answer, ClientError> {
        let params = |out: &mut Vec<u8>| encode::json(out, params);
        let answer = self.connection.call(M::NAME, &params, Some(self.limit));
        answer.map_err(explain)
    }
}

/// A block, if it is not longer than what was asked for.
fn at_most(
    len: usize,
    data: Vec<u8>,
    is_last: bool,
    data_at: Option<u64>,
) -> Result<FileBlock, ClientError> {
    match data.len() {
        count if count > len => Err(ClientError::Protocol(format!(
            "{} gave {count} bytes where {len} were asked for",
            ReadBlock::NAME
        ))),
        _ => Ok(FileBlock {
            data_at: data_at.filter(|_| data.is_empty()),
            data,
            is_last,
        }),
    }
}

fn explain(error: CallError) -> ClientError {
    match error {
        CallError::NotSent(why) => ClientError::Disconnected(format!(
            "the file was open on a connection that was lost ({why}); open it again"
        )),
        CallError::Failed(error) => error,
    }
}

impl Drop for OpenFile {
    fn drop(&mut self) {
        if !self.is_closed {
            self.connection.post::<Close>(&self.close_params());
        }
    }
}

impl fmt::Debug for OpenFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("OpenFile").field(&self.handle).finish()
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
fn follow(links: Links) -> Option<bool> {
    (links == Links::Refuse).then_some(false)
}

pub(crate) fn from_base64(method: &str, text: &str) -> Result<Vec<u8>, ClientError> {
    base64::decode(text)
        .map_err(|error| ClientError::Protocol(format!("{method} gave no base64: {error}")))
}

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
        let odd = match entry.file_name_base64.as_deref().map(base64::decode) {
            Some(Ok(bytes)) if str::from_utf8(&bytes).is_err() => Some(bytes),
            Some(_) => return Err(format!("{} has no bytes", shortened(name))),
            None => None,
        };
        let bytes = odd.as_deref().unwrap_or(name.as_bytes());
        if !is_name(bytes) {
            return Err(format!("{} is no name of a file", shortened(name)));
        }
        match self.0.entries.push(OsStr::from_bytes(bytes), kind) {
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

/// The longest name of a file, in bytes: that of the kernel.
const MAX_NAME: usize = 255;

/// Whether it names something in a directory, and nothing elsewhere.
fn is_name(name: &[u8]) -> bool {
    let is_path = name.iter().any(|byte| matches!(byte, b'/' | b'\0'));
    !matches!(name, b"" | b"." | b"..") && !is_path && name.len() <= MAX_NAME
}

/// The beginning of what is no name, quoted.
fn shortened(name: &str) -> String {
    const SHOWN: usize = 60;
    match &name[..name.floor_char_boundary(SHOWN)] {
        start if start.len() < name.len() => format!("{start:?}... of {} bytes", name.len()),
        whole => format!("{whole:?}"),
    }
}

/// Names in a directory and what each is, in little memory: a server may tell of a million of them
/// in one answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    text: Vec<u8>,
    entries: Vec<Entry>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    start: u32,
    length: u16,
    kind: FileKind,
}

impl Names {
    /// Adds one; false if it has no room, with 4 GiB of names or a name of 64 KiB.
    #[must_use]
    pub fn push(&mut self, name: &OsStr, kind: FileKind) -> bool {
        let (start, length) = (u32::try_from(self.text.len()), u16::try_from(name.len()));
        let (Ok(start), Ok(length)) = (start, length) else {
            return false;
        };
        self.text.extend_from_slice(name.as_bytes());
        self.entries.push(Entry {
            start,
            length,
            kind,
        });
        true
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The one at `index`; none behind the last.
    pub fn get(&self, index: usize) -> Option<(&OsStr, FileKind)> {
        let entry = self.entries.get(index)?;
        Some((name_of(&self.text, entry), entry.kind))
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&OsStr, FileKind)> {
        let named = |entry| (name_of(&self.text, entry), entry.kind);
        self.entries.iter().map(named)
    }

    /// Sorts them by their bytes.
    pub fn sort(&mut self) {
        let text = &self.text;
        self.entries
            .sort_unstable_by(|one, other| name_of(text, one).cmp(name_of(text, other)));
    }

    /// A name that is there twice, once they are sorted.
    pub fn repeated(&self) -> Option<&OsStr> {
        let pairs = self.entries.windows(2);
        let mut names = pairs.map(|pair| [&pair[0], &pair[1]].map(|it| name_of(&self.text, it)));
        names.find(|[one, next]| one == next).map(|[name, _]| name)
    }

    /// Bytes of memory that they take.
    pub fn size(&self) -> usize {
        self.text.capacity() + self.entries.capacity() * size_of::<Entry>()
    }

    /// Those that `is_wanted`, in the same order and in no more memory than they need.
    #[must_use]
    pub fn only(&self, is_wanted: impl Fn(&OsStr, FileKind) -> bool) -> Self {
        let wanted = || {
            self.entries
                .iter()
                .filter(|entry| is_wanted(name_of(&self.text, entry), entry.kind))
        };
        let length = wanted().map(|entry| usize::from(entry.length)).sum();
        let mut only = Self {
            text: Vec::with_capacity(length),
            entries: Vec::with_capacity(wanted().count()),
        };
        for entry in wanted() {
            // What fitted before fits again.
            let _ = only.push(name_of(&self.text, entry), entry.kind);
        }
        only
    }
}

fn name_of<'a>(text: &'a [u8], entry: &Entry) -> &'a OsStr {
    let start = entry.start as usize;
    // Entries are only made with their text.
    let name = text.get(start..start + usize::from(entry.length));
    OsStr::from_bytes(name.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(of: &[(&str, FileKind)]) -> Names {
        let mut names = Names::default();
        for (name, kind) in of {
            assert!(names.push(OsStr::new(name), *kind));
        }
        names
    }

    #[test]
    fn they_are_sorted_and_chosen_from() {
        let of = [
            ("b", FileKind::Directory),
            ("", FileKind::Other),
            ("abc", FileKind::Regular),
        ];
        let mut names = names(&of);
        assert_eq!(names.get(0), Some((OsStr::new("b"), FileKind::Directory)));
        names.sort();
        let sorted: Vec<_> = names.iter().map(|(name, _)| name).collect();
        assert_eq!(sorted, ["", "abc", "b"]);
        let directories = names.only(|_, kind| kind == FileKind::Directory);
        assert_eq!(directories.get(0), names.get(2));
        assert_eq!((directories.len(), directories.get(1)), (1, None));
        assert!(directories.size() < 16);
    }

    #[test]
    fn a_name_that_comes_twice_is_found() {
        let of = ["b", "a", "b"].map(|name| (name, FileKind::Regular));
        let mut names = names(&of);
        assert_eq!(names.repeated(), None);
        names.sort();
        assert_eq!(names.repeated(), Some(OsStr::new("b")));
    }

    #[test]
    fn a_name_that_is_too_long_is_not_taken() {
        let long = "n".repeat(1 << 16);
        assert!(!Names::default().push(OsStr::new(&long), FileKind::Regular));
    }
}
