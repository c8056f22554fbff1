//! The limits that the control group of this process puts on it.

use std::fs;
use std::path::Path;

use crate::rpc::methods::session::CgroupLimits;

/// Where control groups are mounted on every distribution.
const MOUNT: &str = "/sys/fs/cgroup";
/// A version 1 limit from here on means none: the kernel rounds "unlimited" to pages.
const NO_LIMIT: u64 = 1 << 60;

/// The tightest limits of our group and the groups around it; `None` if there are none.
pub(super) fn limits() -> Option<CgroupLimits> {
    let membership = fs::read_to_string("/proc/self/cgroup").ok()?;
    read(Path::new(MOUNT), &membership)
}

/// Reads `membership` (the text of `/proc/self/cgroup`) against the hierarchies below `mount`.
fn read(mount: &Path, membership: &str) -> Option<CgroupLimits> {
    let mut limits = CgroupLimits::default();
    for line in membership.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(group)) = (parts.next(), parts.next()) else {
            continue;
        };
        if controllers.is_empty() {
            for root in [mount.to_owned(), mount.join("unified")] {
                for_each_group(&root, group, |dir| {
                    tighten_cpu(&mut limits, cpu_max(dir));
                    tighten_memory(&mut limits, number(dir, "memory.max"));
                });
            }
            continue;
        }
        for controller in controllers.split(',') {
            // Joined hierarchies have a link for each of their controllers.
            let root = mount.join(controller);
            for_each_group(&root, group, |dir| match controller {
                "cpu" => tighten_cpu(&mut limits, cfs_quota(dir)),
                "memory" => tighten_memory(&mut limits, number(dir, "memory.limit_in_bytes")),
                _ => {}
            });
        }
    }
    (limits != CgroupLimits::default()).then_some(limits)
}

/// Visits a group and all above it. In a container the group's own directory
/// may be invisible, and the container's is the root.
fn for_each_group(root: &Path, group: &str, mut visit: impl FnMut(&Path)) {
    let group = Path::new(group.trim_start_matches('/'));
    if group.components().any(|part| part.as_os_str() == "..") {
        return visit(root);
    }
    for ancestor in group.ancestors() {
        visit(&root.join(ancestor));
    }
}

fn tighten_cpu(limits: &mut CgroupLimits, found: Option<f64>) {
    if let Some(found) = found.filter(|found| found.is_finite()) {
        limits.cpu_limit = Some(limits.cpu_limit.map_or(found, |known| known.min(found)));
    }
}

fn tighten_memory(limits: &mut CgroupLimits, found: Option<u64>) {
    if let Some(found) = found.filter(|found| *found < NO_LIMIT) {
        let known = limits.memory_limit_bytes;
        limits.memory_limit_bytes = Some(known.map_or(found, |known| known.min(found)));
    }
}

/// Version 2: quota and period in one file; the quota may be `max`.
fn cpu_max(dir: &Path) -> Option<f64> {
    let text = fs::read_to_string(dir.join("cpu.max")).ok()?;
    let (quota, period) = text.trim().split_once(' ')?;
    share(quota.parse().ok()?, period.parse().ok()?)
}

/// Version 1: a quota of -1 is none.
fn cfs_quota(dir: &Path) -> Option<f64> {
    let quota = number(dir, "cpu.cfs_quota_us")?;
    share(quota, number(dir, "cpu.cfs_period_us")?)
}

fn share(quota: u64, period: u64) -> Option<f64> {
    (period > 0).then(|| quota as f64 / period as f64)
}

fn number(dir: &Path, file: &str) -> Option<u64> {
    fs::read_to_string(dir.join(file)).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A made-up hierarchy of control groups; removed when dropped.
    struct Tree(std::path::PathBuf);

    impl Tree {
        fn new(name: &str, files: &[(&str, &str)]) -> Self {
            let root = std::env::temp_dir().join(format!("cgroup-{name}-{}", std::process::id()));
            for (path, text) in files {
                let path = root.join(path);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, text).unwrap();
            }
            Self(root)
        }
    }

    impl Drop for Tree {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn limits(cpu: Option<f64>, memory: Option<u64>) -> Option<CgroupLimits> {
        Some(CgroupLimits {
            cpu_limit: cpu,
            memory_limit_bytes: memory,
        })
    }

    #[test]
    fn the_tightest_limit_on_the_way_up_counts() {
        let tree = Tree::new(
            "v2",
            &[
                ("a/cpu.max", "150000 100000\n"),
                ("a/memory.max", "max\n"),
                ("a/b/cpu.max", "max 100000\n"),
                ("a/b/memory.max", "1073741824\n"),
                ("a/b/c/memory.max", "4294967296\n"),
            ],
        );
        assert_eq!(
            read(&tree.0, "0::/a/b/c\n"),
            limits(Some(1.5), Some(1 << 30))
        );
        assert_eq!(read(&tree.0, "0::/a\n"), limits(Some(1.5), None));
        assert_eq!(read(&tree.0, "0::/\n"), None);
        assert_eq!(read(&tree.0, "0::/../../a\n"), None);
    }

    #[test]
    fn version_1_is_read_too() {
        let tree = Tree::new(
            "v1",
            &[
                ("cpu/cpu.cfs_quota_us", "50000\n"),
                ("cpu/cpu.cfs_period_us", "100000\n"),
                ("memory/memory.limit_in_bytes", "9223372036854771712\n"),
                ("memory/docker/x/memory.limit_in_bytes", "536870912\n"),
            ],
        );
        let membership = "4:memory:/docker/x\n3:cpu,cpuacct:/docker/x\n1:name=systemd:/docker/x\n";
        assert_eq!(
            read(&tree.0, membership),
            limits(Some(0.5), Some(512 << 20))
        );
        let unlimited = Tree::new("v1-none", &[("cpu/cpu.cfs_quota_us", "-1\n")]);
        assert_eq!(read(&unlimited.0, membership), None);
        assert_eq!(read(&unlimited.0, "nonsense\n"), None);
    }
}
