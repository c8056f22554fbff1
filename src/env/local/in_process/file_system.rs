//! The files of this machine, for who runs here.

use std::path::PathBuf;

use super::LocalEnvironment;
use crate::env::local::files::{
    self, BlockFile, Content, CopyOptions, FileError, Links, MAX_READ, Mode, RemoveOptions,
};
use crate::env::{
    DirectoryEntry, EnvironmentError, FileBlock, FileKind, FileMetadata, FileSystem, Listing,
    OpenFile, OpenFor,
};
use crate::rpc::error::RpcError;
use crate::rpc::path_uri::{PathStyle, WirePath};
use crate::sys::file::Kind;

type Result<T> = std::result::Result<T, EnvironmentError>;

impl FileSystem for LocalEnvironment {
    fn read(&self, path: &str) -> Result<Vec<u8>> {
        let mut content = Content::open(&native(path)?, Links::Follow)?;
        let mut data = Vec::new();
        // One byte more than may be read is refused by the content itself.
        content.fill(&mut data, MAX_READ as usize + 1)?;
        Ok(data)
    }

    fn write(&self, path: &str, data: &[u8], is_atomic: bool) -> Result<()> {
        let path = native(path)?;
        let written = if is_atomic {
            files::replace(&path, data, Links::Follow)
        } else {
            files::write(&path, data, Links::Follow)
        };
        Ok(written?)
    }

    fn create_directory(&self, path: &str) -> Result<()> {
        Ok(files::make_directory(&native(path)?, true, Links::Follow)?)
    }

    fn metadata(&self, path: &str, follows_links: bool) -> Result<FileMetadata> {
        let found = files::metadata(&native(path)?, Links::Follow)?;
        let is_told_as_link = found.is_link && !follows_links;
        Ok(FileMetadata {
            kind: kind(Some(found.status.kind), is_told_as_link),
            is_symlink: found.is_link,
            size: Some(found.status.size),
            modified_ms: found.status.modified_ms,
            mode: Some(found.status.mode),
        })
    }

    fn read_directory(&self, path: &str) -> Result<Listing> {
        let mut listing = Listing::default();
        files::list(&native(path)?, |listed| {
            let Ok(name) = listed.name.to_str() else {
                let shown = listed.name.to_string_lossy().into_owned();
                return listing.unnamed.push(shown);
            };
            listing.entries.push(DirectoryEntry {
                name: name.to_owned(),
                kind: kind(listed.kind, listed.is_link),
            });
        })?;
        listing.entries.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        Ok(listing)
    }

    fn remove(&self, path: &str) -> Result<()> {
        let options = RemoveOptions {
            recursive: true,
            force: true,
            links: Links::Follow,
        };
        Ok(files::remove(&native(path)?, options)?)
    }

    fn copy(&self, from: &str, to: &str, is_recursive: bool) -> Result<()> {
        let options = CopyOptions {
            recursive: is_recursive,
            keep_special: false,
        };
        files::copy(&native(from)?, &native(to)?, options)?;
        Ok(())
    }

    fn canonicalize(&self, path: &str) -> Result<String> {
        let real = files::canonicalize(&native(path)?)?;
        Ok(PathStyle::Native.render(&real))
    }

    fn rename(&self, from: &str, to: &str) -> Result<()> {
        Ok(files::rename(&native(from)?, &native(to)?, true)?)
    }

    fn set_permissions(&self, path: &str, mode: u32) -> Result<()> {
        Ok(files::set_permissions(&native(path)?, mode, Links::Follow)?)
    }

    fn symlink(&self, target: &str, path: &str) -> Result<()> {
        if target.contains('\0') {
            let message = "the target of a link cannot contain a NUL byte";
            return Err(RpcError::invalid_params(message).into());
        }
        Ok(files::make_link(target.as_ref(), &native(path)?)?)
    }

    fn read_link(&self, path: &str) -> Result<String> {
        Ok(files::read_link(&native(path)?)?)
    }

    fn open(&self, path: &str, purpose: OpenFor) -> Result<Box<dyn OpenFile>> {
        let mode = match purpose {
            OpenFor::Reading => Mode::Read,
            OpenFor::Replacing => Mode::Replace,
            OpenFor::Updating => Mode::Update,
        };
        Ok(Box::new(LocalFile(BlockFile::open(&native(path)?, mode)?)))
    }
}

struct LocalFile(BlockFile);

impl OpenFile for LocalFile {
    fn read_block(&self, offset: u64, len: usize) -> Result<FileBlock> {
        let mut data = Vec::new();
        let block = self.0.read(offset, len, &mut data)?;
        Ok(FileBlock {
            data,
            is_last: block.is_last,
        })
    }

    fn write_block(&self, offset: u64, data: &[u8]) -> Result<()> {
        Ok(self.0.write(offset, data)?)
    }

    fn close(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}

impl From<FileError> for EnvironmentError {
    fn from(error: FileError) -> Self {
        RpcError::from(error).into()
    }
}

fn native(path: &str) -> Result<PathBuf> {
    Ok(WirePath::parse(path).map_err(RpcError::from)?.path)
}

fn kind(kind: Option<Kind>, is_link: bool) -> FileKind {
    match kind {
        _ if is_link => FileKind::Symlink,
        Some(Kind::Regular) => FileKind::Regular,
        Some(Kind::Directory) => FileKind::Directory,
        Some(Kind::Link) => FileKind::Symlink,
        _ => FileKind::Other,
    }
}
