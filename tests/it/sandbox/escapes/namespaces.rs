//! Namespaces inside, and those of the host.

use crate::support::sandbox::Sandbox;

on_every_launcher! {
    fn no_user_namespace_can_be_made_inside(stage) {
        for attempt in ["unshare-user", "clone-user", "clone3-user"] {
            stage.works_free(&[attempt]);
            for policy in [Sandbox::read_only(), Sandbox::read_only().online(), stage.policy()] {
                stage.refuses(&policy, &[attempt]);
            }
        }
        stage.refuses(&Sandbox::read_only(), &["unshare-mount"]);
    }

    fn no_namespace_of_another_process_can_be_entered(stage) {
        let outsider = stage.outsider(&["sleep"]);
        let pid = outsider.pid().to_string();
        for target in [pid.as_str(), "1", "self"] {
            for kind in ["mnt", "net", "user", "pid", "ipc", "uts"] {
                stage.refuses(&Sandbox::read_only(), &["setns", target, kind]);
            }
        }
        if stage.is_root() {
            stage.works_free(&["setns", &pid, "net"]);
        }
    }
}
