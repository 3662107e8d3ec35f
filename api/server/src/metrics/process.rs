//! The process as its system sees it. Only Linux tells.

/// What the system says of this process. What it does not say is missing.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Process {
    pub(crate) resident_bytes: Option<u64>,
    pub(crate) started_at: Option<f64>,
    pub(crate) open_files: Option<u64>,
}

/// Asks the system. It reads files, and may wait for them.
#[cfg(target_os = "linux")]
pub(crate) fn read() -> Process {
    let text = |path| std::fs::read_to_string(path).ok();
    let files = std::fs::read_dir("/proc/self/fd").ok();
    Process {
        resident_bytes: text("/proc/self/status").as_deref().and_then(resident_bytes),
        started_at: started_at(
            text("/proc/self/stat").as_deref().unwrap_or_default(),
            text("/proc/stat").as_deref().unwrap_or_default(),
        ),
        // One of them is the folder that is read.
        open_files: files.map(|files| (files.count() as u64).saturating_sub(1)),
    }
}

/// Asks the system, which does not tell.
#[cfg(not(target_os = "linux"))]
pub(crate) fn read() -> Process {
    Process::default()
}

#[cfg(target_os = "linux")]
fn resident_bytes(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1024)
}

/// The start stands in ticks after the machine's own, and the machine's in seconds.
#[cfg(target_os = "linux")]
fn started_at(process: &str, machine: &str) -> Option<f64> {
    /// What Linux tells programs, whatever its own clock does.
    const TICKS_PER_SECOND: f64 = 100.0;
    // The program's name is in parentheses and may hold anything.
    let (_, fields) = process.rsplit_once(')')?;
    let ticks: f64 = fields.split_whitespace().nth(19)?.parse().ok()?;
    let boot = machine.lines().find_map(|line| line.strip_prefix("btime "))?;
    Some(boot.trim().parse::<f64>().ok()? + ticks / TICKS_PER_SECOND)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn the_files_of_linux_are_read_and_nonsense_is_not() {
        assert_eq!(resident_bytes("VmPeak:\t 9 kB\nVmRSS:\t   1234 kB\n"), Some(1234 * 1024));
        assert_eq!(resident_bytes("VmRSS: many kB"), None);
        let fields: Vec<String> = (3..30).map(|n| n.to_string()).collect();
        let process = format!("7 (a) b) {}", fields.join(" "));
        assert_eq!(started_at(&process, "cpu 1\nbtime 1000\n"), Some(1000.22));
        assert_eq!(started_at(&process, "cpu 1"), None);
        assert_eq!(started_at("", "btime 1000"), None);
    }

    #[test]
    fn this_process_lives_in_memory_and_began_in_the_past() {
        let process = read();
        assert!(process.resident_bytes.is_some_and(|bytes| bytes > 1 << 20), "{process:?}");
        assert!(process.open_files.is_some_and(|files| files >= 3), "{process:?}");
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let now = now.expect("after 1970").as_secs_f64();
        let started = process.started_at.expect("Linux tells");
        assert!((now - 86_400.0..=now + 2.0).contains(&started), "{started} and now {now}");
    }
}
