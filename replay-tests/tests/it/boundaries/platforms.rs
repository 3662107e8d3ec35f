//! What runs on macOS names nothing that only Linux has, but behind `cfg`.
//!
//! Nobody here can compile for macOS; this finds what a compiler would, as far
//! as words tell.

/// Words of things that only Linux has: files, system calls, modules.
const ONLY_LINUX: &[&str] = &[
    "/proc/",
    "/sys/",
    "Boottime",
    "fallocate",
    "inotify",
    "memfd",
    "os::linux",
    "parent_process_death_signal",
    "pidfd",
    "prctl",
    "prlimit",
    "sched_setaffinity",
    "signalfd",
    "timerfd",
];

/// How many lines before a word its `cfg` may stand: a function's attribute
/// stands above the function.
const LINES_BEFORE: usize = 40;

/// Returns a sentence for each word that stands behind no `cfg`, outside of
/// comments and tests.
pub(super) fn unguarded(file: &str, text: &str) -> Vec<String> {
    let code: Vec<&str> = text
        .lines()
        .take_while(|line| line.trim() != "#[cfg(test)]")
        .map(|line| if line.trim_start().starts_with("//") { "" } else { line })
        .collect();
    // A whole file may be behind one: `#![cfg(…)]` at its head.
    if code.iter().any(|line| line.starts_with("#![cfg(target_os = \"linux\")]")) {
        return Vec::new();
    }
    let mut found = Vec::new();
    for (number, line) in code.iter().enumerate() {
        let Some(word) = ONLY_LINUX.iter().find(|word| line.contains(**word)) else { continue };
        let before = &code[number.saturating_sub(LINES_BEFORE)..=number];
        if !before.iter().any(|line| line.contains("target_os = \"linux\"")) {
            found.push(format!("{file}:{}: {word} in: {}", number + 1, line.trim()));
        }
    }
    found
}

#[test]
fn words_of_linux_are_found_unless_they_are_behind_cfg() {
    let found = |text: &str| unguarded("x.rs", text).len();
    assert_eq!(found("let exe = \"/proc/self/exe\";"), 1);
    assert_eq!(found("#[cfg(target_os = \"linux\")]\nlet exe = \"/proc/self/exe\";"), 0);
    assert_eq!(found("#![cfg(target_os = \"linux\")]\nfn a() {}\nfn b() { prctl() }"), 0);
    assert_eq!(found("// prctl is not for us"), 0);
    assert_eq!(found("fn a() {}\n#[cfg(test)]\nmod tests { \"/proc/\" }"), 0);
    let far = format!("#[cfg(target_os = \"linux\")]\n{}pidfd()", "\n".repeat(LINES_BEFORE));
    assert_eq!(found(&far), 1);
}
