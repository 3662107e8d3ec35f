//! What benchmarks have in common: programs under test, figures, the machine.

use anyhow::{Context, Result, bail, ensure};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long anything may take to come.
const DEADLINE: Duration = Duration::from_secs(60);

/// Returns a program of the same build as this one.
pub(crate) fn program(name: &str) -> Result<PathBuf> {
    let own = std::env::current_exe().context("this program has no path")?;
    let folder = own.parent().and_then(Path::parent).context("it is in no target folder")?;
    let program = folder.join(name);
    ensure!(program.exists(), "{} is missing; ./dev bench builds it", program.display());
    Ok(program)
}

/// A command that inherits nothing of the machine but where programs are.
pub(crate) fn command(program: impl AsRef<Path>, home: &Path) -> Command {
    let mut command = Command::new(program.as_ref());
    let path = std::env::var("PATH").unwrap_or_default();
    command.env_clear().env("PATH", path).env("HOME", home).stdin(Stdio::null());
    command.env(
        "NIX_CONFIG",
        "substituters =\nbuild-users-group =\nexperimental-features = nix-command",
    );
    command.env("NIX_REMOTE", home.join("root"));
    command
}

/// Runs a command to its end, which must be a good one. Returns what it printed.
pub(crate) fn run(mut command: Command) -> Result<String> {
    let output = command.output().with_context(|| format!("{command:?} cannot be started"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?} failed ({}): {said}", output.status);
    Ok(String::from_utf8(output.stdout)?)
}

/// A program that stays. It is ended when this goes.
#[derive(Debug)]
pub(crate) struct Stays {
    child: Child,
    log: PathBuf,
}

impl Stays {
    /// Starts it with all that it says in a file.
    pub(crate) fn start(mut command: Command, log: PathBuf) -> Result<Self> {
        let file = fs::File::create(&log)?;
        command.stdout(file.try_clone()?).stderr(file);
        let child = command.spawn().with_context(|| format!("{command:?} cannot be started"))?;
        Ok(Self { child, log })
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits until it says a line that passes.
    pub(crate) fn wait_for<T>(&mut self, look: impl Fn(&str) -> Option<T>) -> Result<T> {
        let began = Instant::now();
        while began.elapsed() < DEADLINE {
            let text = fs::read_to_string(&self.log)?;
            if let Some(found) = text.lines().find_map(&look) {
                return Ok(found);
            }
            if let Some(status) = self.child.try_wait()? {
                bail!("a program ended ({status}) before it was ready:\n{text}");
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        bail!("a program is not ready after {DEADLINE:?}: {}", fs::read_to_string(&self.log)?)
    }
}

impl Drop for Stays {
    fn drop(&mut self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        // It may have ended by itself.
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        let _ = self.child.wait();
    }
}

/// Memory of a process, in KiB.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Memory {
    /// All its pages that are in memory.
    pub(crate) resident: u64,
    /// The same, with each shared page divided by those who share it.
    pub(crate) proportional: u64,
    /// The part that is no file's: heap and stacks.
    pub(crate) anonymous: u64,
}

impl Memory {
    /// Reads it from /proc.
    pub(crate) fn of(process: u32) -> Result<Self> {
        let read = |name: &str| {
            let path = format!("/proc/{process}/{name}");
            fs::read_to_string(&path).with_context(|| format!("{path} cannot be read"))
        };
        let (status, rollup) = (read("status")?, read("smaps_rollup")?);
        let kib = |text: &str, name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name));
            let number = line.and_then(|line| line.split_whitespace().next());
            number.and_then(|number| number.parse().ok()).with_context(|| format!("no {name}"))
        };
        Ok(Self {
            resident: kib(&status, "VmRSS:")?,
            proportional: kib(&rollup, "Pss:")?,
            anonymous: kib(&rollup, "Anonymous:")?,
        })
    }
}

/// Returns the value below or at which so many hundredths of the samples are.
pub(crate) fn quantile<T: Copy + Ord>(samples: &[T], hundredths: usize) -> Result<T> {
    quantile_of(samples, hundredths * 10)
}

/// The same in thousandths.
pub(crate) fn quantile_of<T: Copy + Ord>(samples: &[T], thousandths: usize) -> Result<T> {
    let mut sorted = samples.to_vec();
    sorted.sort_unstable();
    let rank = (sorted.len() * thousandths).div_ceil(1000).max(1);
    sorted.get(rank - 1).copied().context("there are no samples")
}

/// A table in Markdown.
#[derive(Debug)]
pub(crate) struct Table(String);

impl Table {
    pub(crate) fn new(header: &[&str]) -> Self {
        let rules: Vec<&str> = header.iter().map(|_| "---").collect();
        Self(format!("| {} |\n| {} |\n", header.join(" | "), rules.join(" | ")))
    }

    pub(crate) fn row(&mut self, cells: &[String]) {
        // A String takes everything.
        let _ = writeln!(self.0, "| {} |", cells.join(" | "));
    }
}

impl std::fmt::Display for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// Says what the figures were measured on, without the machine's name.
pub(crate) fn machine() -> Result<String> {
    let read =
        |path: &str| fs::read_to_string(path).with_context(|| format!("{path} cannot be read"));
    let (cpu, memory) = (read("/proc/cpuinfo")?, read("/proc/meminfo")?);
    let of = |text: &str, name: &str| {
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.split_once(':'));
        value.map(|(_, value)| value.trim().to_owned()).unwrap_or_default()
    };
    let model = of(&cpu, "model name");
    let kib: u64 = of(&memory, "MemTotal").trim_end_matches(" kB").parse()?;
    let cores = std::thread::available_parallelism()?;
    let kernel = read("/proc/sys/kernel/osrelease")?;
    let mut nix = Command::new("nix-store");
    nix.arg("--version");
    let nix = run(nix)?;
    Ok(format!(
        "{cores} cores ({model}), {:.1} GiB of memory, Linux {}, {}",
        kib as f64 / f64::from(1 << 20),
        kernel.trim().split('-').next().unwrap_or_default(),
        nix.trim()
    ))
}

/// Returns how busy the machine is: the mean of the last minute, in processes.
pub(crate) fn load() -> Result<String> {
    let text = fs::read_to_string("/proc/loadavg")?;
    Ok(text.split(' ').next().unwrap_or_default().to_owned())
}
