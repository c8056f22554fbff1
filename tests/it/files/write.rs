//! `fs/writeFile`.

use std::os::unix::fs::{MetadataExt, symlink};

use serde_json::json;

use super::{
    IS_A_DIRECTORY, LOOP, NOT_A_DIRECTORY, NOT_FOUND, content, mode, put, refused, set_mode, uri,
};
use crate::support::{encode, patterned, scratch};

over_both! {
    fn a_file_is_made_and_then_written_in_place(client) {
        let scratch = scratch();
        let path = scratch.path("f");
        put(client, &uri(&path), b"first and long");
        assert_eq!(mode(&path) & 0o777 & !0o644, 0, "no more than the umask leaves");
        set_mode(&path, 0o751);
        std::fs::hard_link(&path, scratch.path("other")).unwrap();
        put(client, &path, b"second");
        assert_eq!(mode(&path), 0o751);
        assert_eq!(std::fs::read(scratch.path("other")).unwrap(), b"second");
        put(client, &path, b"");
        assert_eq!(content(client, &path), b"");
    }

    fn links_are_followed_even_to_a_file_that_is_yet_to_be(client) {
        let scratch = scratch();
        symlink("target", scratch.path("link")).unwrap();
        put(client, &scratch.path("link"), b"1");
        assert_eq!(std::fs::read(scratch.path("target")).unwrap(), b"1");
        assert!(std::fs::symlink_metadata(scratch.path("link")).unwrap().is_symlink());
    }

    fn what_cannot_be_written_is_named(client) {
        let scratch = scratch();
        std::fs::write(scratch.path("f"), "x").unwrap();
        for (path, (code, message)) in [
            (scratch.dir(), IS_A_DIRECTORY), (scratch.path("none/f"), NOT_FOUND), (scratch.path("f/x"), NOT_A_DIRECTORY), ("/".into(), IS_A_DIRECTORY),
        ] {
            for atomic in [false, true] {
                let params = json!({"path": uri(&path), "dataBase64": "", "atomic": atomic && path != "/"});
                refused(client, "fs/writeFile", params, code, message);
            }
        }
        symlink("loop", scratch.path("loop")).unwrap();
        refused(client, "fs/writeFile", json!({"path": scratch.path("loop"), "dataBase64": ""}), LOOP.0, LOOP.1);
    }

    fn only_canonical_base64_is_taken_and_nothing_is_touched_otherwise(client) {
        let scratch = scratch();
        let path = scratch.path("f");
        std::fs::write(&path, "kept").unwrap();
        for (text, fault) in [
            ("aGk", "Invalid padding"), ("aGkK\naGkK", "Invalid symbol 10, offset 4."), ("a_==", "Invalid symbol 95, offset 1."),
            ("aGl=", "Invalid last symbol 108, offset 2."),
        ] {
            let message = format!("fs/writeFile requires valid base64 dataBase64: {fault}");
            refused(client, "fs/writeFile", json!({"path": path, "dataBase64": text}), -32600, &message);
        }
        assert_eq!(std::fs::read(&path).unwrap(), b"kept");
    }

    fn text_with_escapes_is_the_same_text(client) {
        let scratch = scratch();
        let path = scratch.path("f");
        let escaped = path.replace('/', "\\/");
        client.send(&format!(r#"{{"id":77,"method":"fs\/writeFile","params":{{"path":"{escaped}","dataBase64":"\/\/\u0038="}}}}"#));
        client.answer(77).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"\xff\xff");
    }

    fn megabytes_arrive(client) {
        let scratch = scratch();
        let bytes = patterned(11 << 20);
        for atomic in [false, true] {
            let path = scratch.path(&format!("f{atomic}"));
            client.ok("fs/writeFile", json!({"path": path, "dataBase64": encode(&bytes), "atomic": atomic}));
            assert!(std::fs::read(&path).unwrap() == bytes);
        }
    }

    fn an_atomic_write_puts_another_file_there_with_the_same_mode(client) {
        let scratch = scratch();
        let path = scratch.path("f");
        put(client, &path, b"old");
        set_mode(&path, 0o640);
        let before = std::fs::metadata(&path).unwrap().ino();
        client.ok("fs/writeFile", json!({"path": uri(&path), "dataBase64": encode(b"new"), "atomic": true}));
        assert_eq!(std::fs::read(&path).unwrap(), b"new");
        assert_ne!(std::fs::metadata(&path).unwrap().ino(), before);
        assert_eq!(mode(&path), 0o640);
        assert_eq!(std::fs::read_dir(scratch.dir()).unwrap().count(), 1, "nothing is left beside it");
    }
}
