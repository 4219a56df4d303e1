//! What a control group has used, as it is seen from within its container; both versions of control groups.

use super::{Used, field, text};
use std::path::Path;

/// Limits from here on are none: the kernel says so with the largest number of pages that it can count.
const NO_LIMIT: u64 = 1 << 60;

/// What the control group whose files are below `root` has used. None where there are no such files.
pub(crate) fn used(root: &Path) -> Option<Used> {
    version_2(root).or_else(|| version_1(root))
}

fn version_2(root: &Path) -> Option<Used> {
    let cpu = text(root.join("cpu.stat"))?;
    let number = |name: &str| text(root.join(name))?.trim().parse::<u64>().ok();
    let io = text(root.join("io.stat"));
    let sum = |key: &str| {
        let fields = io.as_deref()?.split_whitespace();
        let values = fields.filter_map(|field| field.strip_prefix(key)?.parse::<u64>().ok());
        Some(values.sum())
    };
    let reclaimable =
        text(root.join("memory.stat")).and_then(|stat| field(&stat, "inactive_file "));
    Some(Used {
        cpu_us: field(&cpu, "usage_usec "),
        memory: number("memory.current").map(|all| all.saturating_sub(reclaimable.unwrap_or(0))),
        memory_limit: number("memory.max"),
        processes: number("pids.current"),
        disk_read: sum("rbytes="),
        disk_written: sum("wbytes="),
    })
}

fn version_1(root: &Path) -> Option<Used> {
    let cpu = text(root.join("cpuacct/cpuacct.usage"))?;
    let number = |name: &str| text(root.join(name))?.trim().parse::<u64>().ok();
    let stat = text(root.join("memory/memory.stat"));
    let reclaimable = stat.and_then(|stat| field(&stat, "total_inactive_file "));
    let io = [
        "blkio/blkio.throttle.io_service_bytes_recursive",
        "blkio/blkio.throttle.io_service_bytes",
    ];
    let io = io.iter().find_map(|name| text(root.join(name)));
    let sum = |operation: &str| {
        let lines = io.as_deref()?.lines();
        let values = lines.filter_map(|line| {
            let (_, amount) = line.split_once(operation)?;
            amount.trim().parse::<u64>().ok()
        });
        Some(values.sum())
    };
    Some(Used {
        cpu_us: cpu.trim().parse::<u64>().ok().map(|ns| ns / 1_000),
        memory: number("memory/memory.usage_in_bytes")
            .map(|all| all.saturating_sub(reclaimable.unwrap_or(0))),
        memory_limit: number("memory/memory.limit_in_bytes").filter(|limit| *limit < NO_LIMIT),
        processes: number("pids/pids.current"),
        disk_read: sum(" Read "),
        disk_written: sum(" Write "),
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::fs;

    fn lay_out(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (name, content) in files {
            let path = root.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        root
    }

    fn check(files: &[(&str, &str)]) {
        let root = lay_out(files);
        let expected = Used {
            cpu_us: Some(1_500_000),
            memory: Some(60),
            memory_limit: Some(4_096),
            processes: Some(3),
            disk_read: Some(11),
            disk_written: Some(22),
        };
        assert_eq!(used(root.path()), Some(expected));
    }

    #[test]
    fn both_versions_say_the_same() {
        check(&[
            (
                "cpu.stat",
                "usage_usec 1500000\nuser_usec 1\nsystem_usec 2\n",
            ),
            ("memory.current", "100\n"),
            ("memory.stat", "anon 50\ninactive_file 40\nactive_file 5\n"),
            ("memory.max", "4096\n"),
            ("pids.current", "3\n"),
            (
                "io.stat",
                "8:0 rbytes=10 wbytes=20 rios=1 wios=2\n8:16 rbytes=1 wbytes=2\n",
            ),
        ]);
        check(&[
            ("cpuacct/cpuacct.usage", "1500000999\n"),
            ("memory/memory.usage_in_bytes", "100\n"),
            (
                "memory/memory.stat",
                "cache 9\ninactive_file 7\ntotal_inactive_file 40\n",
            ),
            ("memory/memory.limit_in_bytes", "4096\n"),
            ("pids/pids.current", "3\n"),
            (
                "blkio/blkio.throttle.io_service_bytes",
                "8:0 Read 10\n8:0 Write 20\n8:0 Total 30\n8:16 Read 1\n8:16 Write 2\nTotal 33\n",
            ),
        ]);
    }

    #[test]
    fn what_is_not_told_is_absent() {
        assert_eq!(used(Path::new("/nonexistent")), None);
        let root = lay_out(&[("cpu.stat", "usage_usec 5\n"), ("memory.max", "max\n")]);
        let expected = Used {
            cpu_us: Some(5),
            ..Used::default()
        };
        assert_eq!(used(root.path()), Some(expected));
        let root = lay_out(&[
            ("cpuacct/cpuacct.usage", "5000\n"),
            ("memory/memory.limit_in_bytes", "9223372036854771712\n"),
        ]);
        assert_eq!(used(root.path()), Some(expected));
    }
}
