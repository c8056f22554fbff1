//! The tree of mounts.

use std::fs;

use crate::support::sandbox::{Sandbox, snapshot};

on_every_launcher! {
    fn the_remount_that_opened_0_130_changes_nothing(stage) {
        let outside = stage.path("outside");
        let target = format!("{outside}/new");
        let before = snapshot(&outside);
        let policy = stage.policy();
        for remount in ["remount-rw", "remount-all-rw", "setattr-rw"] {
            for path in ["/", outside.as_str(), "/proc", "/dev"] {
                stage.refuses(&policy, &[remount, path, "--", "write", &target]);
            }
        }
        stage.works_free(&["write", &target]);
        fs::remove_file(&target).unwrap();
        assert_eq!(before.len(), snapshot(&outside).len());
    }

    fn no_call_about_mounts_works(stage) {
        let workspace = stage.workspace();
        let outside = stage.path("outside");
        let (here, there) = (workspace.as_str(), outside.as_str());
        let policy = stage.policy();
        for attempt in [
            &["mount-tmpfs", here][..], &["mount-proc", here], &["bind", there, here], &["rbind", "/", here], &["move", "/proc", here],
            &["make-shared", "/"], &["clone-tree", there, here], &["overlay", there, here], &["umount", "/proc"],
            &["umount", "/"], &["pivot-root", here], &["chroot", here], &["fsopen"], &["fspick", "/"], &["sethostname"],
        ] {
            stage.refuses(&policy, attempt);
        }
        // What a namespace of one's own permits; so the calls above are made rightly.
        for attempt in [&["mount-tmpfs", here][..], &["rbind", "/", here], &["clone-tree", there, here], &["make-shared", "/"], &["chroot", here], &["fsopen"]] {
            stage.works_free(&[&["in-userns"], attempt].concat());
        }
    }
}

on_every_bwrap! {
    fn what_covers_a_denied_place_cannot_be_taken_off(stage) {
        let denied = stage.make_directory("workspace/denied");
        let secret = stage.make_file("workspace/denied/secret", "the-secret");
        let workspace = stage.workspace();
        let policy = Sandbox::workspace(&workspace).deny(&denied);
        let free = stage.works_free(&["read", &secret]);
        assert_eq!(free, "the-secret");
        let moved = format!("{workspace}/moved");
        for first in [
            &["umount", &denied][..], &["remount-rw", &denied], &["setattr-rw", &denied], &["rename", &denied, &moved],
            &["exchange", &denied, &workspace], &["chmod", &denied, "777"], &["remove-tree", &denied],
        ] {
            let outcome = stage.refuses(&policy, &[first, &["--", "read", &secret]].concat());
            assert!(!outcome.stdout.contains("the-secret"), "{outcome:?}");
        }
        assert_eq!(fs::read_to_string(&secret).unwrap(), "the-secret");
    }
}
