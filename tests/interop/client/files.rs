//! Files.

use std::ffi::OsStr;

use exec_server::rpc::client::{ClientError, FileKind, Links, OpenFor};

use super::scene::Scene;

/// What 0.130 does not know is told by the method's name.
fn is_unknown(error: &ClientError) -> bool {
    matches!(error, ClientError::Rejected { code: -32601, .. })
}

pub fn are_written_read_listed_and_removed(scene: &Scene) {
    let client = &scene.client;
    let (sub, file) = (scene.path("sub/deep"), scene.path("sub/ü% 20#?"));
    client
        .create_directory(&sub, Links::Follow)
        .expect("a directory");
    let data: Vec<u8> = (0..=255).cycle().take(100_000).collect();
    client
        .write_file(&file, &data, false, Links::Follow)
        .expect("written");
    assert_eq!(std::fs::read(&file).expect("it is there"), data);
    assert!(client.read_file(&file).expect("read") == data);

    let entries = client.read_directory(&scene.path("sub")).expect("listed");
    let entries: Vec<_> = entries.entries.iter().collect();
    let expected = [
        (OsStr::new("deep"), FileKind::Directory),
        (OsStr::new("ü% 20#?"), FileKind::Regular),
    ];
    assert_eq!(entries, expected);
    let metadata = client.metadata(&file, true).expect("looked at");
    assert_eq!(
        (metadata.kind, metadata.is_symlink),
        (FileKind::Regular, false)
    );
    assert!(
        metadata.modified > 1_500_000_000_000_000_000,
        "{metadata:?}"
    );
    assert!(
        metadata.size.is_none_or(|size| size == 100_000),
        "{metadata:?}"
    );

    let copy = scene.path("copy");
    client
        .copy(&scene.path("sub"), &copy, true)
        .expect("copied");
    assert_eq!(
        std::fs::read(format!("{copy}/ü% 20#?")).expect("copied"),
        data
    );
    match client.canonicalize(&scene.path("sub/../copy")) {
        Ok(path) => assert_eq!(path, copy),
        Err(error) => assert!(scene.is_old() && is_unknown(&error), "{error:?}"),
    }
    client.remove(&copy).expect("removed");
    client.remove(&copy).expect("nothing there is no error");
    assert!(!std::fs::exists(&copy).expect("looked at"));
}

pub fn a_missing_one_is_told(scene: &Scene) {
    let missing = scene.path("missing");
    for error in [
        scene.client.read_file(&missing).map(drop),
        scene.client.metadata(&missing, true).map(drop),
        scene.client.read_directory(&missing).map(drop),
    ] {
        let error = error.expect_err("it does not exist");
        let ClientError::Rejected { message, .. } = &error else {
            panic!("{error:?}");
        };
        assert!(message.contains("No such file"), "{message}");
    }
}

pub fn are_read_and_written_in_blocks(scene: &Scene) {
    let client = &scene.client;
    let path = scene.path("blocks");
    let data: Vec<u8> = (0..=250).cycle().take(2_500_000).collect();
    std::fs::write(&path, &data).expect("written");
    let reading = match client.open(&path, OpenFor::Reading, Links::Follow) {
        Ok(file) => file,
        Err(error) => {
            assert!(scene.is_old() && is_unknown(&error), "{error:?}");
            assert!(client.read_file(&path).expect("whole") == data);
            return;
        }
    };
    let mut read = Vec::new();
    loop {
        let block = reading
            .read_block(read.len() as u64, 1 << 20)
            .expect("a block");
        read.extend(block.data);
        if block.is_last {
            break;
        }
    }
    assert!(read == data);
    reading.close().expect("closed");

    let writing = match client.open(&path, OpenFor::Replacing, Links::Follow) {
        Ok(file) => file,
        Err(error @ ClientError::Rejected { .. }) if !scene.is_ours() => {
            panic!("0.169 announces writing in blocks: {error}")
        }
        Err(error) => panic!("{error:?}"),
    };
    for (number, block) in data.chunks(1 << 20).enumerate() {
        writing
            .write_block((number << 20) as u64, block)
            .expect("written");
    }
    writing.close().expect("closed");
    assert!(std::fs::read(&path).expect("written") == data);
}

pub fn an_extension_is_refused_unasked(scene: &Scene) {
    let (from, to) = (scene.path("from"), scene.path("to"));
    std::fs::write(&from, "x").expect("written");
    let renamed = scene.client.rename(&from, &to, Links::Follow);
    let updated = scene
        .client
        .open(&from, OpenFor::Updating, Links::Follow)
        .map(drop);
    let sandbox = scene.client.sandbox().expect("answered");
    assert_eq!(sandbox.is_some(), scene.is_ours(), "{sandbox:?}");
    if scene.is_ours() {
        renamed.expect("ours can");
        return;
    }
    assert_eq!(
        renamed,
        Err(ClientError::Unsupported("fs/rename".to_owned()))
    );
    assert_eq!(
        updated,
        Err(ClientError::Unsupported("fs/open.update".to_owned()))
    );
    assert!(std::fs::exists(&from).expect("looked at"));
}
