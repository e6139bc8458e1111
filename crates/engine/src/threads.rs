//! How many threads compute when nobody says: one per physical core that this process may use. A second thread on a
//! core shares its vector units and caches, and slows the pool down.

use std::collections::HashSet;
use std::fs;
use std::thread::available_parallelism;

/// Physical cores among the processors that affinity allows, at most what the cgroup's quota gives; at least 1.
pub(crate) fn default_threads() -> usize {
    let logical = available_parallelism().map_or(1, usize::from);
    physical_cores()
        .map_or(logical, |cores| cores.min(logical))
        .max(1)
}

/// `None` where the system does not tell (only Linux does, through /proc and /sys).
fn physical_cores() -> Option<usize> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let allowed = status
        .lines()
        .find_map(|line| line.strip_prefix("Cpus_allowed_list:"))?;
    let mut cores = HashSet::new();
    for cpu in parse_cpu_list(allowed)? {
        let topology = format!("/sys/devices/system/cpu/cpu{cpu}/topology");
        let package = fs::read_to_string(format!("{topology}/physical_package_id")).ok()?;
        let core = fs::read_to_string(format!("{topology}/core_id")).ok()?;
        cores.insert((package, core));
    }
    (!cores.is_empty()).then_some(cores.len())
}

/// `0-3,8,10-11` as numbers; `None` when it reads otherwise.
fn parse_cpu_list(list: &str) -> Option<Vec<u32>> {
    /// Above any machine; a list that names more is not one of processors.
    const MAX_CPUS: u32 = 1 << 16;
    let mut cpus = Vec::new();
    for part in list.trim().split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (u32, u32) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
        if last >= MAX_CPUS {
            return None;
        }
        cpus.extend(first..=last);
    }
    Some(cpus)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_lists_are_read_as_the_kernel_writes_them() {
        assert_eq!(
            parse_cpu_list("\t0-2,5,8-9\n"),
            Some(vec![0, 1, 2, 5, 8, 9])
        );
        assert_eq!(parse_cpu_list("3"), Some(vec![3]));
        assert_eq!(parse_cpu_list("0-4294967295"), None);
        assert_eq!(parse_cpu_list("x"), None);
    }

    #[test]
    fn the_default_is_at_least_one_thread_and_at_most_what_the_system_allows() {
        let logical = available_parallelism().map_or(1, usize::from);
        assert!((1..=logical).contains(&default_threads()));
    }
}
