//! The files of this machine, for who runs here.

use std::path::PathBuf;

use super::LocalEnvironment;
use crate::env::local::files::{
    self, BlockFile, Content, CopyOptions, FileError, MAX_READ, Mode, RemoveOptions,
};
use crate::env::{
    EnvironmentError, FileBlock, FileKind, FileMetadata, FileSystem, Links, Listing, OpenFile,
    OpenFor,
};
use crate::rpc::error::RpcError;
use crate::rpc::path_uri::{PathStyle, WirePath};
use crate::sys::file::FileType;

type Result<T> = std::result::Result<T, EnvironmentError>;

impl FileSystem for LocalEnvironment {
    fn read(&self, path: &str) -> Result<Vec<u8>> {
        let mut content = Content::open(&native(path)?, Links::Follow)?;
        let mut data = Vec::new();
        // One byte more than may be read is refused by the content itself.
        content.fill(&mut data, MAX_READ as usize + 1)?;
        Ok(data)
    }

    fn write(&self, path: &str, data: &[u8], is_atomic: bool, links: Links) -> Result<()> {
        let path = native(path)?;
        let written = if is_atomic {
            files::replace(&path, data, links)
        } else {
            files::write(&path, data, links)
        };
        Ok(written?)
    }

    fn create_directory(&self, path: &str, links: Links) -> Result<()> {
        Ok(files::make_directory(&native(path)?, true, links)?)
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
        let mut has_room = true;
        files::list(&native(path)?, |listed| {
            let kind = kind(listed.kind, listed.is_link);
            has_room &= match listed.name.to_str() {
                Ok(name) => listing.entries.push(name.as_ref(), kind),
                Err(_) => {
                    let shown = listed.name.to_string_lossy();
                    listing.unnamed.push(shown.as_ref().as_ref(), kind)
                }
            };
        })?;
        if !has_room {
            let message = format!("`{path}` has more names than can be listed");
            return Err(RpcError::invalid_request(message).into());
        }
        listing.entries.sort();
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

    fn rename(&self, from: &str, to: &str, links: Links) -> Result<()> {
        Ok(files::rename(&native(from)?, &native(to)?, true, links)?)
    }

    fn set_permissions(&self, path: &str, mode: u32, links: Links) -> Result<()> {
        Ok(files::set_permissions(&native(path)?, mode, links)?)
    }

    fn symlink(&self, target: &str, path: &str, links: Links) -> Result<()> {
        if target.contains('\0') {
            let message = "the target of a link cannot contain a NUL byte";
            return Err(RpcError::invalid_params(message).into());
        }
        Ok(files::make_link(target.as_ref(), &native(path)?, links)?)
    }

    fn read_link(&self, path: &str) -> Result<String> {
        Ok(files::read_link(&native(path)?)?)
    }

    fn open(&self, path: &str, purpose: OpenFor, links: Links) -> Result<Box<dyn OpenFile>> {
        let mode = match purpose {
            OpenFor::Reading => Mode::Read,
            OpenFor::Replacing => Mode::Replace,
            OpenFor::Updating => Mode::Update,
        };
        let file = BlockFile::open(&native(path)?, mode, links)?;
        Ok(Box::new(LocalFile(file)))
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

fn kind(kind: Option<FileType>, is_link: bool) -> FileKind {
    match kind {
        _ if is_link => FileKind::Symlink,
        Some(FileType::Regular) => FileKind::Regular,
        Some(FileType::Directory) => FileKind::Directory,
        Some(FileType::Link) => FileKind::Symlink,
        _ => FileKind::Other,
    }
}
