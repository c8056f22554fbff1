//! Files.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use exec_server::env::{FileKind, Links, OpenFor};

use super::over_all;
use crate::support::{patterned, scratch};

over_all! {
    fn what_is_written_is_read(environment) {
        let (files, dir) = (environment.client().unwrap(), scratch());
        let path = dir.path("f");
        let data = patterned(3_000_001);
        files.write_file(&path, &data, false, Links::Follow).unwrap();
        assert!(files.read_file(&path).unwrap() == data);
        files.write_file(&path, b"short", true, Links::Follow).unwrap();
        assert_eq!(files.read_file(&path).unwrap(), b"short");
        files.write_file(&path, b"", false, Links::Follow).unwrap();
        assert_eq!(files.read_file(&path).unwrap(), b"");
    }

    fn what_is_not_there_is_known_as_that(environment) {
        let (files, dir) = (environment.client().unwrap(), scratch());
        let path = dir.path("no");
        for error in [
            files.read_file(&path).unwrap_err(),
            files.metadata(&path, true).unwrap_err(),
            files.read_directory(&path).unwrap_err(),
            files.canonicalize(&path).unwrap_err(),
            files.open(&path, OpenFor::Reading, Links::Follow).map(|_| ()).unwrap_err(),
        ] {
            assert!(error.is_not_found(), "{error}");
        }
        files.remove(&path).unwrap();
        let error = files.read_file("relative").unwrap_err();
        assert!(!error.is_not_found() && error.code().is_some(), "{error}");
    }

    fn metadata_tells_kind_size_mode_and_links(environment) {
        let (files, dir) = (environment.client().unwrap(), scratch());
        let (file, link) = (dir.path("f"), dir.path("l"));
        files.write_file(&file, b"1234", false, Links::Follow).unwrap();
        files.set_permissions(&file, 0o640, Links::Follow).unwrap();
        files.symlink("f", &link, Links::Follow).unwrap();
        let found = files.metadata(&link, true).unwrap();
        assert_eq!((found.kind, found.size), (FileKind::Regular, Some(4)));
        assert_eq!((found.is_symlink, found.mode), (true, Some(0o640)));
        assert!(found.modified > 1_500_000_000_000_000_000);
        assert_eq!(files.metadata(&link, false).unwrap().kind, FileKind::Symlink);
        assert!(!files.metadata(&file, false).unwrap().is_symlink);
        assert_eq!(files.metadata(&dir.dir(), true).unwrap().kind, FileKind::Directory);
    }

    fn a_directory_is_listed_in_order(environment) {
        let (files, dir) = (environment.client().unwrap(), scratch());
        files.create_directory(&dir.path("b/c"), Links::Follow).unwrap();
        files.write_file(&dir.path("a"), b"", false, Links::Follow).unwrap();
        files.symlink("nowhere", &dir.path("z"), Links::Follow).unwrap();
        files.symlink("b", &dir.path("y"), Links::Follow).unwrap();
        let odd = std::ffi::OsStr::from_bytes(b"odd\xff");
        std::fs::write(std::path::Path::new(&dir.dir()).join(odd), b"").unwrap();
        let listing = files.read_directory(&dir.dir()).unwrap();
        let names: Vec<_> = listing.entries.iter().collect();
        assert_eq!(names, [
            (OsStr::new("a"), FileKind::Regular),
            (OsStr::new("b"), FileKind::Directory),
            (odd, FileKind::Regular),
            (OsStr::new("y"), FileKind::Symlink),
            (OsStr::new("z"), FileKind::Symlink),
        ]);
    }

    fn names_are_copied_moved_and_removed(environment) {
        let (files, dir) = (environment.client().unwrap(), scratch());
        let (tree, copy, moved) = (dir.path("t"), dir.path("c"), dir.path("m"));
        files.create_directory(&dir.path("t/d"), Links::Follow).unwrap();
        files.write_file(&dir.path("t/d/f"), b"x", false, Links::Follow).unwrap();
        assert!(files.copy(&tree, &copy, false).is_err(), "a directory is copied as a tree");
        files.copy(&tree, &copy, true).unwrap();
        files.rename(&copy, &moved, Links::Follow).unwrap();
        assert_eq!(files.read_file(&dir.path("m/d/f")).unwrap(), b"x");
        files.remove(&moved).unwrap();
        assert!(files.metadata(&moved, true).unwrap_err().is_not_found());
        files.symlink("t", &dir.path("l"), Links::Follow).unwrap();
        assert_eq!(files.read_link(&dir.path("l")).unwrap(), std::path::Path::new("t"));
        assert!(files.read_link(&dir.path("no")).unwrap_err().is_not_found());
        assert_eq!(files.canonicalize(&dir.path("l/d/../d")).unwrap(), dir.path("t/d"));
    }

    fn blocks_are_read_in_any_order(environment) {
        let (files, dir) = (environment.client().unwrap(), scratch());
        let path = dir.path("f");
        let data = patterned(2_500_000);
        files.write_file(&path, &data, false, Links::Follow).unwrap();
        let file = files.open(&path, OpenFor::Reading, Links::Follow).unwrap();
        for (offset, len, is_last) in [
            (2_000_000, 1 << 20, true),
            (0, 1 << 20, false),
            (1_500_000, 1_000_000, true),
            (2_499_999, 1, true),
            (7, 1, false),
        ] {
            let block = file.read_block(offset as u64, len).unwrap();
            let end = data.len().min(offset + len);
            assert!(block.data == data[offset..end], "{len} bytes at {offset}");
            assert_eq!(block.is_last, is_last, "{len} bytes at {offset}");
        }
        let block = file.read_block(9_000_000, 10).unwrap();
        assert!(block.data.is_empty() && block.is_last);
        assert!(file.read_block(0, 0).is_err(), "a block of nothing");
        assert!(file.read_block(0, (1 << 20) + 1).is_err(), "a block above 1 MiB");
        file.close().unwrap();
    }

    fn blocks_are_written_anew_or_into_what_is_there(environment) {
        let (files, dir) = (environment.client().unwrap(), scratch());
        let path = dir.path("f");
        files.write_file(&path, b"0123456789", false, Links::Follow).unwrap();
        let file = files.open(&path, OpenFor::Updating, Links::Follow).unwrap();
        file.write_block(8, b"abc").unwrap();
        file.close().unwrap();
        assert_eq!(files.read_file(&path).unwrap(), b"01234567abc");
        let file = files.open(&path, OpenFor::Replacing, Links::Follow).unwrap();
        assert_eq!(files.read_file(&path).unwrap(), b"");
        file.write_block(2, b"x").unwrap();
        assert!(file.write_block(0, b"").is_err(), "a block of nothing");
        assert!(file.write_block(0, &vec![0; (1 << 20) + 1]).is_err(), "a block above 1 MiB");
        file.close().unwrap();
        assert_eq!(files.read_file(&path).unwrap(), b"\0\0x");
        let file = files.open(&dir.path("new"), OpenFor::Updating, Links::Follow).unwrap();
        file.write_block(0, &vec![7; 1 << 20]).unwrap();
        file.close().unwrap();
        assert_eq!(files.read_file(&dir.path("new")).unwrap(), vec![7; 1 << 20]);
    }

    fn several_threads_move_blocks_of_one_file(environment) {
        let (files, dir) = (environment.client().unwrap(), scratch());
        let path = dir.path("f");
        let data = patterned(4 << 20);
        let file = files.open(&path, OpenFor::Replacing, Links::Follow).unwrap();
        std::thread::scope(|scope| {
            for (index, part) in data.chunks(1 << 20).enumerate() {
                let file = &file;
                scope.spawn(move || file.write_block((index << 20) as u64, part).unwrap());
            }
        });
        file.close().unwrap();
        let file = files.open(&path, OpenFor::Reading, Links::Follow).unwrap();
        std::thread::scope(|scope| {
            for (index, part) in data.chunks(1 << 20).enumerate() {
                let file = &file;
                scope.spawn(move || {
                    let block = file.read_block((index << 20) as u64, part.len()).unwrap();
                    assert!(block.data == part, "block {index}");
                });
            }
        });
    }
}
