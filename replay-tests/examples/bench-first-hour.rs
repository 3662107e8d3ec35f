//! memory of an idle agent and server, and the time until an activation shows its first line

mod common;

use anyhow::{Context, Result, bail, ensure};
use common::{Memory, Stays, Table, command, load, machine, program, quantile, run};
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Starts of which the median is taken.
const STARTS: usize = 5;
/// After an agent is connected, until its memory and the server's are read.
const SETTLE: Duration = Duration::from_secs(10);
/// The same once more, to see whether it grows by itself.
const SETTLE_LONG: Duration = Duration::from_secs(60);
/// Activations that are timed.
const ACTIVATIONS: usize = 200;
/// Activations before them, after which the closures are in the store.
const WARM_UP: usize = 4;
/// Bytes of the write that is synced for comparison: about an append's.
const SYNCED_BYTES: usize = 4096;

/// What this machine trusts, on Debian.
const TRUSTED: &str = "/etc/ssl/certs/ca-certificates.crt";

/// Two closures that Nix makes without a compiler and without a network.
const EXPRESSION: &str = r#"{ number }:
derivation {
  name = "closure-${number}";
  system = "builtin";
  builder = "builtin:buildenv";
  derivations = [ ];
  manifest = builtins.toFile "manifest.nix" number;
}
"#;

fn main() -> Result<()> {
    println!("Machine: {}.", machine()?);
    println!("Load before: {}.\n", load()?);
    memory()?;
    times()?;
    println!("Load after: {}.", load()?);
    Ok(())
}

/// A server, an agent and their folder.
struct Pair {
    // In the order in which they end.
    agent: Stays,
    server: Stays,
    url: String,
    folder: TempDir,
}

/// How an agent reaches its server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Link {
    /// In the clear, as on one machine.
    Plain,
    /// Encrypted, with a certificate of an authority beside all that this
    /// machine trusts.
    Tls,
}

impl Pair {
    fn start(link: Link) -> Result<Self> {
        let folder = TempDir::with_prefix("ledger-bench-")?;
        let mut serve = command(program("ledger")?, folder.path());
        serve.args(["serve", "--listen", "127.0.0.1:0", "--data"]).arg(folder.path().join("data"));
        if link == Link::Tls {
            make_certificates(folder.path())?;
            serve.arg("--tls-cert").arg(folder.path().join("cert.pem"));
            serve.arg("--tls-key").arg(folder.path().join("key.pem"));
        }
        let mut server = Stays::start(serve, folder.path().join("server.log"))?;
        let listens = |line: &str| Some(line.strip_prefix("listening on ")?.trim().to_owned());
        let url = server.wait_for(listens)?;
        let mut create = ledger(folder.path(), &url)?;
        create.args(["token", "create", "--kind", "agent"]);
        let token = folder.path().join("agent-token");
        fs::write(&token, run(create)?)?;
        let mut agent = command(program("ledger-agent")?, folder.path());
        agent.args(["bench", "--url", &url, "--token-file"]).arg(&token);
        agent.arg("--profile").arg(folder.path().join("profile"));
        agent.arg("--state").arg(folder.path().join("state"));
        agent.env("SSL_CERT_FILE", folder.path().join("trusted.pem"));
        let mut agent = Stays::start(agent, folder.path().join("agent.log"))?;
        agent.wait_for(|line| line.contains("connected to").then_some(()))?;
        Ok(Self { agent, server, url, folder })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn ledger(&self) -> Result<std::process::Command> {
        ledger(self.folder.path(), &self.url)
    }
}

/// `ledger` as the administrator.
fn ledger(folder: &Path, url: &str) -> Result<std::process::Command> {
    let mut ledger = command(program("ledger")?, folder);
    let token = fs::read_to_string(folder.join("data/admin-token"))?;
    ledger.env("LEDGER_URL", url).env("LEDGER_TOKEN", token.trim());
    ledger.env("SSL_CERT_FILE", folder.join("trusted.pem"));
    Ok(ledger)
}

/// Makes a certificate for the loopback address, and the file of all that is trusted.
fn make_certificates(folder: &Path) -> Result<()> {
    let mut params = rcgen::CertificateParams::new(Vec::new())?;
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let ca_key = rcgen::KeyPair::generate()?;
    let ca = params.self_signed(&ca_key)?;
    let issuer = rcgen::Issuer::new(params, ca_key);
    let key = rcgen::KeyPair::generate()?;
    let cert = rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()])?;
    let cert = cert.signed_by(&key, &issuer)?;
    fs::write(folder.join("cert.pem"), cert.pem())?;
    fs::write(folder.join("key.pem"), key.serialize_pem())?;
    let machine = fs::read_to_string(TRUSTED).with_context(|| format!("{TRUSTED} is missing"))?;
    Ok(fs::write(folder.join("trusted.pem"), format!("{machine}\n{}", ca.pem()))?)
}

fn memory() -> Result<()> {
    println!(
        "Memory in MiB, {} s after the agent connected; median of {STARTS} starts.\n",
        SETTLE.as_secs()
    );
    let later = format!("resident {} s later", SETTLE_LONG.as_secs());
    let mut table = Table::new(&[
        "process",
        "resident (RSS)",
        "highest",
        "proportional (PSS)",
        "anonymous",
        &later,
        "target",
    ]);
    for (link, words) in [(Link::Tls, "over TLS"), (Link::Plain, "over plain HTTP")] {
        let (mut agents, mut servers) = (Vec::new(), Vec::new());
        for start in 1..=STARTS {
            let pair = Pair::start(link)?;
            std::thread::sleep(SETTLE);
            agents.push(Memory::of(pair.agent.id())?);
            servers.push(Memory::of(pair.server.id())?);
            if start < STARTS {
                continue;
            }
            std::thread::sleep(SETTLE_LONG);
            let (agent, server) = (Memory::of(pair.agent.id())?, Memory::of(pair.server.id())?);
            let name = format!("`ledger-agent`, idle, connected {words}");
            table.row(&memory_row(&name, &agents, agent, "under 15")?);
            let name = format!("`ledger serve`, empty log, one agent {words}");
            table.row(&memory_row(&name, &servers, server, "under 40")?);
        }
    }
    println!("{table}");
    Ok(())
}

fn memory_row(name: &str, samples: &[Memory], late: Memory, target: &str) -> Result<Vec<String>> {
    let of = |read: fn(&Memory) -> u64, hundredths| -> Result<String> {
        let values: Vec<u64> = samples.iter().map(read).collect();
        Ok(mib(quantile(&values, hundredths)?))
    };
    Ok(vec![
        name.to_owned(),
        of(|memory| memory.resident, 50)?,
        of(|memory| memory.resident, 100)?,
        of(|memory| memory.proportional, 50)?,
        of(|memory| memory.anonymous, 50)?,
        mib(late.resident),
        target.to_owned(),
    ])
}

fn mib(kib: u64) -> String {
    format!("{:.1}", kib as f64 / 1024.0)
}

/// What is timed, each as often as the others and in turn.
#[derive(Default)]
struct Times {
    sync: Vec<Duration>,
    round_trip: Vec<Duration>,
    version: Vec<Duration>,
    agents: Vec<Duration>,
    first_line: Vec<Duration>,
    whole: Vec<Duration>,
}

fn times() -> Result<()> {
    let pair = Pair::start(Link::Plain)?;
    let specs = [spec(&pair, "1")?, spec(&pair, "2")?];
    let mut alternate = specs.iter().cycle();
    let mut times = Times::default();
    for number in 0..WARM_UP + ACTIVATIONS {
        let spec = alternate.next().context("there are two")?;
        let (first_line, whole) = activate(&pair, spec)?;
        if number >= WARM_UP {
            times.first_line.push(first_line);
            times.whole.push(whole);
            measure_floors(&pair, &mut times)?;
        }
    }
    println!(
        "Time in milliseconds, {ACTIVATIONS} activations of a plain closure that is in the store, two closures in turn.\n"
    );
    let mut table = Table::new(&["what", "p50", "p99", "max"]);
    for (what, samples) in [
        ("**`ledger activate` to the first line of the agent's work**", &times.first_line),
        ("`ledger activate` to its exit, the profile set", &times.whole),
        ("for comparison: `ledger agents`, a process and one answered request", &times.agents),
        ("for comparison: `ledger --version`, a process alone", &times.version),
        ("for comparison: one HTTP round trip on an open connection", &times.round_trip),
        ("for comparison: 4 KiB written and synced (`fdatasync`) in the same folder", &times.sync),
    ] {
        let of =
            |hundredths| -> Result<String> { Ok(milliseconds(quantile(samples, hundredths)?)) };
        table.row(&[what.to_owned(), of(50)?, of(99)?, of(100)?]);
    }
    println!("{table}");
    Ok(())
}

/// Returns a time in milliseconds, with two digits at least.
fn milliseconds(time: Duration) -> String {
    let value = time.as_secs_f64() * 1000.0;
    if value < 1.0 { format!("{value:.2}") } else { format!("{value:.1}") }
}

/// Builds a closure in the agent's store, and returns the file that asks for it.
fn spec(pair: &Pair, number: &str) -> Result<PathBuf> {
    let expression = pair.path("closure.nix");
    fs::write(&expression, EXPRESSION)?;
    let mut build = command("nix-build", pair.folder.path());
    build.arg(expression).args(["--no-out-link", "--argstr", "number", number]);
    let path = run(build)?;
    let file = pair.path(&format!("{number}.json"));
    fs::write(&file, format!(r#"{{"agents":{{"bench":"{}"}}}}"#, path.trim()))?;
    Ok(file)
}

/// Activates, and returns the time from before the start of `ledger activate`
/// until its first line on stdout, which is the first line of the agent's work,
/// and until its end.
fn activate(pair: &Pair, spec: &Path) -> Result<(Duration, Duration)> {
    let mut activate = pair.ledger()?;
    activate.arg("activate").arg(spec).stdout(Stdio::piped()).stderr(Stdio::null());
    let began = Instant::now();
    let mut child = activate.spawn()?;
    let mut stdout = BufReader::new(child.stdout.take().context("it has a stdout")?);
    let mut line = String::new();
    stdout.read_line(&mut line)?;
    let first_line = began.elapsed();
    ensure!(line.starts_with("bench | fetching /nix/store/"), "the first line is {line:?}");
    // To the end of it, so that the program never waits for us.
    stdout.read_to_string(&mut line)?;
    let status = child.wait()?;
    let whole = began.elapsed();
    ensure!(status.success(), "the activation failed: {line}");
    Ok((first_line, whole))
}

fn measure_floors(pair: &Pair, times: &mut Times) -> Result<()> {
    let (mut agents, mut version) = (pair.ledger()?, pair.ledger()?);
    agents.arg("agents");
    version.arg("--version");
    times.agents.push(timed(|| run(agents).map(drop))?);
    times.version.push(timed(|| run(version).map(drop))?);
    let mut http = Http::connect(&pair.url)?;
    http.ask()?;
    times.round_trip.push(timed(|| http.ask())?);
    let mut file = File::create(pair.path("synced"))?;
    times.sync.push(timed(|| {
        file.write_all(&[0; SYNCED_BYTES])?;
        Ok(file.sync_data()?)
    })?);
    Ok(())
}

fn timed(act: impl FnOnce() -> Result<()>) -> Result<Duration> {
    let began = Instant::now();
    act()?;
    Ok(began.elapsed())
}

/// An open connection that asks whether the server lives.
struct Http {
    stream: TcpStream,
}

impl Http {
    fn connect(url: &str) -> Result<Self> {
        let address = url.strip_prefix("http://").context("the address is plain HTTP")?;
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        Ok(Self { stream })
    }

    fn ask(&mut self) -> Result<()> {
        self.stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: bench\r\n\r\n")?;
        let mut answer = Vec::new();
        // The body is JSON and comes last.
        while !answer.ends_with(b"}") {
            let mut buffer = [0; 1024];
            match self.stream.read(&mut buffer)? {
                0 => bail!("the server closed the connection"),
                read => answer.extend_from_slice(buffer.get(..read).unwrap_or_default()),
            }
        }
        ensure!(answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer));
        Ok(())
    }
}
