//! Limits by cgroup v2, in virtual machines that have it or have not.

use crate::support::vm;

#[test]
fn limits_hold_where_cgroup_v2_is_delegated() {
    let set_up = "mount -t cgroup2 cgroup2 /sys/fs/cgroup
        echo +memory +pids +cpu >/sys/fs/cgroup/cgroup.subtree_control";
    vm::run(set_up, "cgroups-delegated");
}

#[test]
fn limits_are_refused_where_cgroup_v1_has_the_controllers() {
    let set_up = "mount -t tmpfs tmpfs /sys/fs/cgroup
        mkdir /sys/fs/cgroup/unified /sys/fs/cgroup/memory
        mount -t cgroup -o memory cgroup /sys/fs/cgroup/memory
        mount -t cgroup2 cgroup2 /sys/fs/cgroup/unified";
    vm::run(set_up, "cgroups-of-version-1");
}
