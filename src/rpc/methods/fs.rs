//! The `fs/*` family. The order of the fields is 0.169's; extensions come last.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

use super::{Empty, Never, is_false, methods};
use crate::rpc::bounded;

methods! {
    Changed = "fs/changed" (ChangedParams<'a>) -> Never, extensions ["fs/changed"];
    HardLink = "fs/hardLink" (HardLinkParams<'a>) -> Empty, extensions ["fs/hardLink"];
    MissingChanged = "fs/missingChanged" (MissingChangedParams) -> Never, extensions [];
    Canonicalize = "fs/canonicalize" (PathParams<'a>) -> CanonicalizeReply, extensions [];
    Close = "fs/close" (CloseParams<'a>) -> Empty, extensions [];
    Copy = "fs/copy" (CopyParams<'a>) -> CopyReply,
        extensions ["fs/copy.preserve", "fs/copy.preserveSetuid", "fs/copy.skipped"];
    CreateDirectory = "fs/createDirectory" (CreateDirectoryParams<'a>) -> Empty,
        extensions ["fs/createDirectory.permissions"];
    GetMetadata = "fs/getMetadata" (GetMetadataParams<'a>) -> GetMetadataReply,
        extensions [
            "fs/getMetadata.attributes", "fs/getMetadata.mode", "fs/getMetadata.version"
        ];
    Open = "fs/open" (OpenParams<'a>) -> OpenReply<'a>,
        extensions [
            "fs/open.create", "fs/open.followSymlinks", "fs/open.update", "fs/open.version"
        ];
    /// With `raw` the reply is a [`RawBlockReply`].
    ReadBlock = "fs/readBlock" (ReadBlockParams<'a>) -> ReadBlockReply<'a>,
        extensions ["fs/readBlock.raw", "fs/readBlock.skipHoles"];
    ReadDirectory = "fs/readDirectory" (PathParams<'a>) -> ReadDirectoryReply<'a>,
        extensions ["fs/readDirectory.fileNameBase64", "fs/readDirectory.isSymlink"];
    ReadFile = "fs/readFile" (ReadFileParams<'a>) -> ReadFileReply<'a>,
        extensions [
            "fs/readFile.incomplete", "fs/readFile.maxMessageBytes", "fs/readFile.version"
        ];
    ReadLink = "fs/readLink" (PathParams<'a>) -> ReadLinkReply,
        extensions ["fs/readLink", "fs/readLink.targetBase64"];
    Remove = "fs/remove" (RemoveParams<'a>) -> Empty, extensions [];
    Rename = "fs/rename" (RenameParams<'a>) -> Empty,
        extensions ["fs/rename", "fs/rename.followSymlinks", "fs/rename.asReplaced"];
    SetMetadata = "fs/setMetadata" (SetMetadataParams<'a>) -> Empty,
        extensions ["fs/setMetadata", "fs/setMetadata.attributes"];
    SetPermissions = "fs/setPermissions" (SetPermissionsParams<'a>) -> Empty,
        extensions ["fs/setPermissions"];
    Symlink = "fs/symlink" (SymlinkParams<'a>) -> Empty,
        extensions ["fs/symlink", "fs/symlink.followSymlinks", "fs/symlink.targetBase64"];
    Unwatch = "fs/unwatch" (UnwatchParams<'a>) -> Empty, extensions ["fs/unwatch"];
    Walk = "fs/walk" (WalkParams<'a>) -> WalkReply<'a>,
        extensions ["fs/walk.isSymlink", "fs/walk.others"];
    Watch = "fs/watch" (WatchParams<'a>) -> WatchReply, extensions ["fs/watch"];
    WatchMissing = "fs/watchMissing" (WatchMissingParams<'a>) -> WatchReply, extensions [];
    /// With `rawBytes` the parameters are [`RawWriteBlockParams`].
    WriteBlock = "fs/writeBlock" (WriteBlockParams<'a>) -> Empty,
        extensions ["fs/writeBlock.rawBytes"], long text true;
    WriteFile = "fs/writeFile" (WriteFileParams<'a>) -> Empty,
        extensions ["fs/writeFile.atomic", "fs/writeFile.metadata", "fs/writeFile.overwrite"],
        long text true;
}

#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReadFileParams<'a> {
    /// An absolute path or a `file:` URI, as everywhere here.
    #[serde(borrow)]
    pub path: Cow<'a, str>,
    /// False: a symbolic link anywhere in the path is an error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub follow_symlinks: Option<bool>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub sandbox: Option<&'a RawValue>,
    /// Extension: the longest message in bytes that the client takes; 64 MiB when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_message_bytes: Option<u64>,
    /// Extension: what `fs/getMetadata` has told; the file must be the same until it is read.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub version: Option<Cow<'a, str>>,
}

#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WriteFileParams<'a> {
    #[serde(borrow)]
    pub path: Cow<'a, str>,
    #[serde(borrow)]
    pub data_base64: Cow<'a, str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub follow_symlinks: Option<bool>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub sandbox: Option<&'a RawValue>,
    /// Extension: the file is replaced at once and for good, or not at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub atomic: Option<bool>,
    /// Extension: false, and the file must not be there yet; true when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overwrite: Option<bool>,
    /// Extension: what the file gets when it has its content.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<NewMetadata>,
}

/// What a file or a directory is to have. An extension.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NewMetadata {
    /// 0 to 511 (octal 777). Setuid, setgid and sticky stay as they are; to a directory that has its
    /// access rules from the one above it none is added.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub permissions: Option<u32>,
    /// Milliseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub modified_at_ms: Option<i64>,
    /// Nanoseconds beyond the milliseconds, 0 to 999,999.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub modified_ns: Option<u32>,
    /// Bytes: a file is cut, or ends in a hole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
}

#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SetMetadataParams<'a> {
    #[serde(borrow)]
    pub path: Cow<'a, str>,
    /// What is left out stays as it is.
    pub metadata: NewMetadata,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub follow_symlinks: Option<bool>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub sandbox: Option<&'a RawValue>,
    /// Extended attributes as `fs/getMetadata` tells them; others stay.
    #[serde(
        default,
        deserialize_with = "attributes",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub attributes: BTreeMap<String, String>,
}

#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CreateDirectoryParams<'a> {
    #[serde(borrow)]
    pub path: Cow<'a, str>,
    /// Makes those above it too, and is content with one that exists; true when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recursive: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub follow_symlinks: Option<bool>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub sandbox: Option<&'a RawValue>,
    /// Extension: what a new directory gets, as in [`NewMetadata`]; 0777 less the umask when left
    /// out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub permissions: Option<u32>,
}

#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GetMetadataParams<'a> {
    #[serde(borrow)]
    pub path: Cow<'a, str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub follow_symlinks: Option<bool>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub sandbox: Option<&'a RawValue>,
    /// Extension: whether the reply is to have what begins with `version`.
    #[serde(default, skip_serializing_if = "is_false")]
    pub version: bool,
    /// Extension: whether the reply is to have `attributes`.
    #[serde(default, skip_serializing_if = "is_false")]
    pub attributes: bool,
}

#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GetMetadataReply {
    /// Whether it is, or a link leads to, a directory.
    pub is_directory: bool,
    /// Whether it is, or a link leads to, a regular file.
    pub is_file: bool,
    /// Whether the path itself is a link.
    #[serde(default)]
    pub is_symlink: bool,
    /// Bytes; 0.130 does not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// Milliseconds since 1970; 0 where the file system does not keep it.
    #[serde(default)]
    pub created_at_ms: i64,
    /// Milliseconds since 1970.
    #[serde(default)]
    pub modified_at_ms: i64,
    /// Extension: the permission bits, setuid, setgid and sticky included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<u32>,
    /// Extension: a text that is another after each change of the file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Extension: nanoseconds beyond the milliseconds of `modifiedAtMs`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub modified_ns: Option<u32>,
    /// Extension: whether it has holes.
    #[serde(default, skip_serializing_if = "is_false")]
    pub is_sparse: bool,
    /// Extension: which file it is on its machine: equal for two names of one file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file_id: Option<String>,
    /// Extension: how many names it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub links: Option<u32>,
    /// Extension: its extended attributes, `user.*` and access rules, each with its value in base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attributes: Option<BTreeMap<String, String>>,
}

/// Parameters of `fs/readDirectory` and `fs/canonicalize`.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PathParams<'a> {
    #[serde(borrow)]
    pub path: Cow<'a, str>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub sandbox: Option<&'a RawValue>,
}

#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Debug, Serialize, Deserialize)]
pub struct CanonicalizeReply {
    pub path: String,
}

#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RemoveParams<'a> {
    #[serde(borrow)]
    pub path: Cow<'a, str>,
    /// A directory goes with all below it; true when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recursive: Option<bool>,
    /// What does not exist is no error; true when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub force: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub follow_symlinks: Option<bool>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub sandbox: Option<&'a RawValue>,
}

#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CopyParams<'a> {
    #[serde(borrow)]
    pub source_path: Cow<'a, str>,
    /// Where to.
    #[serde(borrow)]
    pub destination_path: Cow<'a, str>,
    /// Whether it may be a directory.
    pub recursive: bool,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub sandbox: Option<&'a RawValue>,
    /// Extension: copies keep setuid and setgid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preserve_setuid: Option<bool>,
    /// Extension: copies keep owners as far as that is possible, times, attributes, and which names
    /// are those of one file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preserve: Option<bool>,
}

#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Debug, Serialize, Deserialize)]
pub struct CopyReply {
    /// Extension: what was left out; only there if something was.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub skipped: Vec<SkippedEntry>,
}

/// One entry of [`CopyReply`].
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Debug, Serialize, Deserialize)]
pub struct SkippedEntry {
    /// In the style of the source in the request.
    pub path: String,
    pub reason: String,
}

#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OpenParams<'a> {
    /// The client's name for it, at most 32 bytes.
    #[serde(borrow)]
    pub handle_id: Cow<'a, str>,
    #[serde(borrow)]
    pub path: Cow<'a, str>,
    #[serde(default, skip_serializing_if = "OpenMode::is_read")]
    pub mode: OpenMode,
    /// An extension; as in [`ReadFileParams`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub follow_symlinks: Option<bool>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub sandbox: Option<&'a RawValue>,
    /// Extension: what `fs/getMetadata` has told of a file to be read; it must be the same now, and
    /// after each block.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub version: Option<Cow<'a, str>>,
}

/// What a file is opened for.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum OpenMode {
    #[default]
    Read,
    /// `fs/writeBlock`, from an empty file on.
    Replace,
    /// `fs/writeBlock` into what is there. An extension.
    Update,
    /// `fs/writeBlock` into a file that must not be there yet, and is its owner's alone. An extension.
    Create,
}

#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OpenReply<'a> {
    #[serde(borrow)]
    pub handle_id: Cow<'a, str>,
}

#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReadBlockParams<'a> {
    #[serde(borrow)]
    pub handle_id: Cow<'a, str>,
    pub offset: u64,
    /// How many, 1 to 1,048,576.
    pub len: usize,
    /// Whether the bytes are to follow the answer as they are. An extension.
    #[serde(default, skip_serializing_if = "is_false")]
    pub raw: bool,
    /// Whether no bytes are to come where all are those of a hole. An extension.
    #[serde(default, skip_serializing_if = "is_false")]
    pub skip_holes: bool,
}

#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WriteBlockParams<'a> {
    #[serde(borrow)]
    pub handle_id: Cow<'a, str>,
    pub offset: u64,
    /// Base64 of 1 to 1,048,576 bytes.
    #[serde(borrow)]
    pub chunk: Cow<'a, str>,
}

/// Parameters of `fs/writeBlock` with its bytes behind it. An extension.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RawWriteBlockParams<'a> {
    #[serde(borrow)]
    pub handle_id: Cow<'a, str>,
    pub offset: u64,
    /// What is there has no place.
    #[serde(default)]
    #[cfg_attr(test, schemars(skip))]
    pub chunk: Option<serde::de::IgnoredAny>,
}

/// What of the parameters of `fs/writeBlock` says whether bytes follow, whatever else is wrong.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RawBytes {
    #[serde(default)]
    pub raw_bytes: Option<u64>,
}

#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CloseParams<'a> {
    #[serde(borrow)]
    pub handle_id: Cow<'a, str>,
}

#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WalkParams<'a> {
    #[serde(borrow)]
    pub path: Cow<'a, str>,
    pub options: WalkOptions,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub sandbox: Option<&'a RawValue>,
}

/// How far to walk.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WalkOptions {
    /// Levels below the names in the top directory, 0 to 64.
    pub max_depth: u64,
    /// Directories read, 1 to 10,000.
    pub max_directories: u64,
    /// Names seen, 1 to 50,000.
    pub max_entries: u64,
    /// Whether links to directories are walked into.
    pub follow_directory_symlinks: bool,
    /// Whether directories whose names begin with a dot are listed only.
    #[serde(default, skip_serializing_if = "is_false")]
    pub prune_hidden_directories: bool,
}

#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HardLinkParams<'a> {
    /// A file; a symbolic link gets one more name itself.
    #[serde(borrow)]
    pub source_path: Cow<'a, str>,
    /// Its new name, which must be free, in the same file system.
    #[serde(borrow)]
    pub destination_path: Cow<'a, str>,
    /// As in [`ReadFileParams`], of the directories on the way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub follow_symlinks: Option<bool>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub sandbox: Option<&'a RawValue>,
}

#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RenameParams<'a> {
    /// What; a link is renamed itself.
    #[serde(borrow)]
    pub source_path: Cow<'a, str>,
    /// To what, in the same file system.
    #[serde(borrow)]
    pub destination_path: Cow<'a, str>,
    /// Whether what is there is replaced; true when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overwrite: Option<bool>,
    /// Whether a file gets the owner, the group and the permission bits of the file that it replaces;
    /// if that cannot be, nothing is replaced. False when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub as_replaced: Option<bool>,
    /// As in [`ReadFileParams`], of the directories on the way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub follow_symlinks: Option<bool>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub sandbox: Option<&'a RawValue>,
}

#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SetPermissionsParams<'a> {
    #[serde(borrow)]
    pub path: Cow<'a, str>,
    /// 0 to 4095 (octal 7777).
    pub mode: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub follow_symlinks: Option<bool>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub sandbox: Option<&'a RawValue>,
}

#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReadLinkReply {
    /// What the link says, as it is.
    pub target: String,
    /// Extension: the bytes of what is not UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_base64: Option<String>,
}

#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SymlinkParams<'a> {
    /// The link to be made; the name must be free.
    #[serde(borrow)]
    pub path: Cow<'a, str>,
    /// What it is to say: a path, relative or not, or a `file:` URI.
    #[serde(borrow)]
    pub target: Cow<'a, str>,
    /// As in [`ReadFileParams`], of the directories on the way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub follow_symlinks: Option<bool>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub sandbox: Option<&'a RawValue>,
    /// Extension: the bytes of what it is to say, in place of `target`.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub target_base64: Option<Cow<'a, str>>,
}

#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WatchMissingParams<'a> {
    /// Names the watch in its notification; must grow from call to call.
    pub watch_id: u64,
    /// Paths that do not exist.
    #[serde(borrow)]
    pub missing: Vec<Cow<'a, str>>,
    /// A path that exists and matters to the client.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub present: Option<Cow<'a, str>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub sandbox: Option<&'a RawValue>,
}

#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WatchParams<'a> {
    /// Names the watch in its notifications.
    #[serde(borrow)]
    pub watch_id: Cow<'a, str>,
    #[serde(borrow)]
    pub path: Cow<'a, str>,
    /// Whether directories below it are watched, too; false when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recursive: Option<bool>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub sandbox: Option<&'a RawValue>,
}

/// Reply of `fs/watch`, where it is always true, and `fs/watchMissing`.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Debug, Serialize, Deserialize)]
pub struct WatchReply {
    /// Whether notifications may follow.
    pub watching: bool,
}

#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UnwatchParams<'a> {
    #[serde(borrow)]
    pub watch_id: Cow<'a, str>,
}

fn attributes<'de, D: Deserializer<'de>>(from: D) -> Result<BTreeMap<String, String>, D::Error> {
    bounded::variables(from, "attributes")
}

impl OpenMode {
    fn is_read(&self) -> bool {
        *self == Self::Read
    }
}

/// Reply of `fs/readFile`. The server writes it piece by piece.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReadFileReply<'a> {
    /// All bytes; ends in `!`, which is no base64, if the file failed in the middle.
    #[serde(borrow)]
    pub data_base64: Cow<'a, str>,
    /// Extension: that it failed, and how.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub incomplete: Option<Incomplete>,
}

/// How the content of a file broke off.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Debug, Serialize, Deserialize)]
pub struct Incomplete {
    /// How many bytes are good.
    pub bytes: u64,
    pub message: String,
}

/// Reply of `fs/readDirectory`. The server writes it entry by entry.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Debug, Serialize, Deserialize)]
pub struct ReadDirectoryReply<'a> {
    /// In no order.
    #[serde(borrow)]
    pub entries: Vec<DirectoryEntry<'a>>,
}

/// One entry of [`ReadDirectoryReply`].
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DirectoryEntry<'a> {
    /// Its name, with other characters for what is not UTF-8.
    #[serde(borrow)]
    pub file_name: Cow<'a, str>,
    /// Whether it is, or a link leads to, a directory.
    pub is_directory: bool,
    /// Whether it is, or a link leads to, a regular file.
    pub is_file: bool,
    /// Extension: whether it is a link.
    #[serde(default, skip_serializing_if = "is_false")]
    pub is_symlink: bool,
    /// Extension: the bytes of a name that is not UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file_name_base64: Option<String>,
}

/// Reply of `fs/walk`. The server writes it entry by entry.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Debug, Serialize, Deserialize)]
pub struct WalkReply<'a> {
    /// Regular files and directories.
    #[serde(borrow)]
    pub entries: Vec<WalkEntry<'a>>,
    /// What could not be looked at.
    #[serde(borrow)]
    pub errors: Vec<WalkError<'a>>,
    /// Whether there is more than was told.
    pub truncated: bool,
    /// Extension: what is neither; only there if something is.
    #[serde(borrow, default, skip_serializing_if = "Vec::is_empty")]
    pub others: Vec<WalkEntry<'a>>,
}

/// One entry of [`WalkReply`].
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WalkEntry<'a> {
    #[serde(borrow)]
    pub path: Cow<'a, str>,
    #[serde(borrow)]
    pub kind: Cow<'a, str>,
    /// Extension: whether it is a link.
    #[serde(default, skip_serializing_if = "is_false")]
    pub is_symlink: bool,
}

/// What [`WalkReply`] tells of a failure.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Debug, Serialize, Deserialize)]
pub struct WalkError<'a> {
    #[serde(borrow)]
    pub path: Cow<'a, str>,
    #[serde(borrow)]
    pub message: Cow<'a, str>,
}

#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Debug, Serialize, Deserialize)]
pub struct ReadBlockReply<'a> {
    /// Base64; fewer bytes than asked for only at the end.
    #[serde(borrow)]
    pub chunk: Cow<'a, str>,
    /// Whether the file ends behind it.
    pub eof: bool,
    /// Extension: up to where there is a hole, if that is all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_at: Option<u64>,
}

/// The same where the bytes follow as they are. An extension.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RawBlockReply {
    /// Whether the file ends behind them.
    pub eof: bool,
    /// How many follow.
    pub raw_bytes: usize,
    /// As in [`ReadBlockReply`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_at: Option<u64>,
}

#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MissingChangedParams {
    pub watch_id: u64,
}

#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ChangedParams<'a> {
    #[serde(borrow)]
    pub watch_id: Cow<'a, str>,
    /// In their order.
    #[serde(borrow)]
    pub changes: Vec<Change<'a>>,
    /// Whether changes were lost, so that everything must be looked at again.
    #[serde(default, skip_serializing_if = "is_false")]
    pub overflow: bool,
}

/// One change of [`ChangedParams`].
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Change<'a> {
    /// What has changed, in the style of the request.
    #[serde(borrow)]
    pub path: Cow<'a, str>,
    /// `created`, `modified`, `removed` or `renamed`.
    #[serde(borrow)]
    pub kind: Cow<'a, str>,
    /// What was renamed was called so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// Whether it is a directory.
    pub is_directory: bool,
}
