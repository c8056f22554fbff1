//! The `fs/*` family. The order of the fields is 0.169's; extensions come last.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// Parameters of `fs/readFile`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReadFileParams<'a> {
    /// An absolute path or a `file:` URI, as everywhere here.
    #[serde(borrow)]
    pub path: Cow<'a, str>,
    /// False: a symbolic link anywhere in the path is an error.
    #[serde(default)]
    pub follow_symlinks: Option<bool>,
    /// The confinement asked for.
    #[serde(borrow, default)]
    pub sandbox: Option<&'a RawValue>,
    /// Extension: the longest message in bytes that the client takes; 64 MiB when left out.
    #[serde(default)]
    pub max_message_bytes: Option<u64>,
}

/// Parameters of `fs/writeFile`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WriteFileParams<'a> {
    /// Where.
    #[serde(borrow)]
    pub path: Cow<'a, str>,
    /// What.
    #[serde(borrow)]
    pub data_base64: Cow<'a, str>,
    /// As in [`ReadFileParams`].
    #[serde(default)]
    pub follow_symlinks: Option<bool>,
    /// The confinement asked for.
    #[serde(borrow, default)]
    pub sandbox: Option<&'a RawValue>,
    /// Extension: the file is replaced at once and for good, or not at all.
    #[serde(default)]
    pub atomic: Option<bool>,
}

/// Parameters of `fs/createDirectory`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CreateDirectoryParams<'a> {
    /// Where.
    #[serde(borrow)]
    pub path: Cow<'a, str>,
    /// Makes those above it too, and is content with one that exists; true when left out.
    #[serde(default)]
    pub recursive: Option<bool>,
    /// As in [`ReadFileParams`].
    #[serde(default)]
    pub follow_symlinks: Option<bool>,
    /// The confinement asked for.
    #[serde(borrow, default)]
    pub sandbox: Option<&'a RawValue>,
}

/// Parameters of `fs/getMetadata`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GetMetadataParams<'a> {
    /// Of what.
    #[serde(borrow)]
    pub path: Cow<'a, str>,
    /// As in [`ReadFileParams`].
    #[serde(default)]
    pub follow_symlinks: Option<bool>,
    /// The confinement asked for.
    #[serde(borrow, default)]
    pub sandbox: Option<&'a RawValue>,
}

/// Result of `fs/getMetadata`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GetMetadataResult {
    /// Whether it is, or a link leads to, a directory.
    pub is_directory: bool,
    /// Whether it is, or a link leads to, a regular file.
    pub is_file: bool,
    /// Whether the path itself is a link.
    pub is_symlink: bool,
    /// Bytes.
    pub size: u64,
    /// Milliseconds since 1970; 0 where the file system does not keep it.
    pub created_at_ms: i64,
    /// Milliseconds since 1970.
    pub modified_at_ms: i64,
    /// Extension: the permission bits, setuid, setgid and sticky included.
    pub mode: u32,
}

/// Parameters of `fs/readDirectory` and `fs/canonicalize`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PathParams<'a> {
    /// Of what.
    #[serde(borrow)]
    pub path: Cow<'a, str>,
    /// The confinement asked for.
    #[serde(borrow, default)]
    pub sandbox: Option<&'a RawValue>,
}

/// Result of `fs/canonicalize`.
#[derive(Debug, Serialize)]
pub struct CanonicalizeResult {
    /// In the style of the request.
    pub path: String,
}

/// Parameters of `fs/remove`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RemoveParams<'a> {
    /// What.
    #[serde(borrow)]
    pub path: Cow<'a, str>,
    /// A directory goes with all below it; true when left out.
    #[serde(default)]
    pub recursive: Option<bool>,
    /// What does not exist is no error; true when left out.
    #[serde(default)]
    pub force: Option<bool>,
    /// As in [`ReadFileParams`].
    #[serde(default)]
    pub follow_symlinks: Option<bool>,
    /// The confinement asked for.
    #[serde(borrow, default)]
    pub sandbox: Option<&'a RawValue>,
}

/// Parameters of `fs/copy`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CopyParams<'a> {
    /// What.
    #[serde(borrow)]
    pub source_path: Cow<'a, str>,
    /// Where to.
    #[serde(borrow)]
    pub destination_path: Cow<'a, str>,
    /// Whether it may be a directory.
    pub recursive: bool,
    /// The confinement asked for.
    #[serde(borrow, default)]
    pub sandbox: Option<&'a RawValue>,
    /// Extension: copies keep setuid and setgid.
    #[serde(default)]
    pub preserve_setuid: Option<bool>,
}

/// Result of `fs/copy`.
#[derive(Debug, Serialize)]
pub struct CopyResult {
    /// Extension: what was left out; only there if something was.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub skipped: Vec<SkippedEntry>,
}

/// One entry of [`CopyResult`].
#[derive(Debug, Serialize)]
pub struct SkippedEntry {
    /// In the style of the source in the request.
    pub path: String,
    /// Why.
    pub reason: String,
}

/// Parameters of `fs/open`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OpenParams<'a> {
    /// The client's name for it, at most 32 bytes.
    #[serde(borrow)]
    pub handle_id: Cow<'a, str>,
    /// What.
    #[serde(borrow)]
    pub path: Cow<'a, str>,
    /// What for.
    #[serde(default)]
    pub mode: OpenMode,
    /// An extension; as in [`ReadFileParams`].
    #[serde(default)]
    pub follow_symlinks: Option<bool>,
    /// The confinement asked for.
    #[serde(borrow, default)]
    pub sandbox: Option<&'a RawValue>,
}

/// What a file is opened for.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum OpenMode {
    /// `fs/readBlock`.
    #[default]
    Read,
    /// `fs/writeBlock`, from an empty file on.
    Replace,
    /// `fs/writeBlock` into what is there. An extension.
    Update,
}

/// Result of `fs/open`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OpenResult<'a> {
    /// As asked for.
    pub handle_id: &'a str,
}

/// Parameters of `fs/readBlock`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReadBlockParams<'a> {
    /// Which file.
    #[serde(borrow)]
    pub handle_id: Cow<'a, str>,
    /// From which byte.
    pub offset: u64,
    /// How many, 1 to 1,048,576.
    pub len: usize,
    /// Whether the bytes are to follow the answer as they are. An extension.
    #[serde(default)]
    pub raw: bool,
}

/// Parameters of `fs/writeBlock`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WriteBlockParams<'a> {
    /// Which file.
    #[serde(borrow)]
    pub handle_id: Cow<'a, str>,
    /// From which byte.
    pub offset: u64,
    /// Base64 of 1 to 1,048,576 bytes.
    #[serde(borrow)]
    pub chunk: Cow<'a, str>,
}

/// Parameters of `fs/writeBlock` with its bytes behind it. An extension.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RawWriteBlockParams<'a> {
    /// Which file.
    #[serde(borrow)]
    pub handle_id: Cow<'a, str>,
    /// From which byte.
    pub offset: u64,
    /// What is there has no place.
    #[serde(default)]
    pub chunk: Option<serde::de::IgnoredAny>,
}

/// What of the parameters of `fs/writeBlock` says whether bytes follow, whatever else is wrong.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RawBytes {
    /// How many.
    #[serde(default)]
    pub raw_bytes: Option<u64>,
}

/// Parameters of `fs/close`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CloseParams<'a> {
    /// Which file.
    #[serde(borrow)]
    pub handle_id: Cow<'a, str>,
}

/// Parameters of `fs/walk`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WalkParams<'a> {
    /// Below what.
    #[serde(borrow)]
    pub path: Cow<'a, str>,
    /// How far.
    pub options: WalkOptions,
    /// The confinement asked for.
    #[serde(borrow, default)]
    pub sandbox: Option<&'a RawValue>,
}

/// How far to walk.
#[derive(Clone, Copy, Debug, Deserialize)]
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
    #[serde(default)]
    pub prune_hidden_directories: bool,
}

/// Parameters of the extension `fs/rename`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RenameParams<'a> {
    /// What; a link is renamed itself.
    #[serde(borrow)]
    pub source_path: Cow<'a, str>,
    /// To what, in the same file system.
    #[serde(borrow)]
    pub destination_path: Cow<'a, str>,
    /// Whether what is there is replaced; true when left out.
    #[serde(default)]
    pub overwrite: Option<bool>,
    /// As in [`ReadFileParams`], of the directories on the way.
    #[serde(default)]
    pub follow_symlinks: Option<bool>,
    /// The confinement asked for.
    #[serde(borrow, default)]
    pub sandbox: Option<&'a RawValue>,
}

/// Parameters of the extension `fs/setPermissions`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SetPermissionsParams<'a> {
    /// Of what.
    #[serde(borrow)]
    pub path: Cow<'a, str>,
    /// 0 to 4095 (octal 7777).
    pub mode: u32,
    /// As in [`ReadFileParams`].
    #[serde(default)]
    pub follow_symlinks: Option<bool>,
    /// The confinement asked for.
    #[serde(borrow, default)]
    pub sandbox: Option<&'a RawValue>,
}

/// Result of the extension `fs/readLink`.
#[derive(Debug, Serialize)]
pub struct ReadLinkResult {
    /// What the link says, as it is.
    pub target: String,
}

/// Parameters of the extension `fs/symlink`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SymlinkParams<'a> {
    /// The link to be made; the name must be free.
    #[serde(borrow)]
    pub path: Cow<'a, str>,
    /// What it is to say: a path, relative or not, or a `file:` URI.
    #[serde(borrow)]
    pub target: Cow<'a, str>,
    /// As in [`ReadFileParams`], of the directories on the way.
    #[serde(default)]
    pub follow_symlinks: Option<bool>,
    /// The confinement asked for.
    #[serde(borrow, default)]
    pub sandbox: Option<&'a RawValue>,
}
