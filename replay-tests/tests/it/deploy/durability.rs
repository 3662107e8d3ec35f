//! Nothing is acknowledged before it is on the disk. Killing processes cannot
//! show that, since the kernel keeps what they wrote; the order of system calls can.

use super::{assert_code, well};
use crate::rig::nix::Closure;
use crate::rig::server::Options;
use crate::rig::world::World;

/// Why a trace shows no durable write.
#[derive(Debug, PartialEq, Eq)]
enum Fault {
    NoRequest,
    NoAnswer,
    NotSynced,
}

/// Reads in the trace that between the arrival of the request and the answer to
/// it, a sync of a file whose name holds `file` began and ended well.
fn check_order(trace: &str, request: &str, file: &str) -> Result<(), Fault> {
    let lines: Vec<&str> = trace.lines().collect();
    let is_read = |line: &str| ["recvfrom(", "read(", "recvmsg("].iter().any(|c| line.contains(c));
    let is_answer = |line: &str| {
        ["sendto(", "write(", "writev(", "sendmsg("].iter().any(|c| line.contains(c))
            && line.contains("HTTP/1.1 2")
    };
    let arrived = lines
        .iter()
        .position(|line| line.contains(request) && (is_read(line) || line.contains("resumed>")))
        .ok_or(Fault::NoRequest)?;
    let after = &lines[arrived..];
    let answered = after.iter().position(|line| is_answer(line)).ok_or(Fault::NoAnswer)?;
    let mut begun = Vec::new();
    for line in &after[..answered] {
        let Some((thread, call)) = line.split_once(' ') else { continue };
        let call = call.trim_start();
        let is_sync = call.starts_with("fdatasync(") || call.starts_with("fsync(");
        if is_sync && call.contains(file) {
            if call.ends_with("= 0") {
                return Ok(());
            }
            begun.push(thread);
        }
        let resumed = call.starts_with("<... f") && call.contains("sync resumed");
        if resumed && call.ends_with("= 0") && begun.contains(&thread) {
            return Ok(());
        }
    }
    Err(Fault::NotSynced)
}

#[test]
fn an_activation_is_on_the_disk_before_it_is_acknowledged() {
    let trace = tempfile::NamedTempFile::new().expect("a file can be made");
    let file = trace.path().to_str().expect("the path is UTF-8").to_owned();
    let tracer = format!(
        "strace -D -f -y -qq -s 64 -o {file} \
         -e trace=network,read,write,writev,fdatasync,fsync"
    );
    let wrapper = tracer.split_whitespace().map(str::to_owned).collect();
    let server = Options { wrapper, ..Options::default() };
    let world = World::with(server, Default::default());
    let agent = world.agent("web-1");
    let path = world.nix.offer(&Closure::plain("site"));
    assert_code(&world.activate(&[("web-1", &path)], &[]), 0);
    let data = world.server.data();
    let data = data.to_str().expect("the path is UTF-8");
    let trace = std::fs::read_to_string(&file).expect("the trace is there");
    for request in ["POST /v1/tokens", "POST /v1/activations"] {
        assert_eq!(check_order(&trace, request, data), Ok(()), "{request}");
    }
    world.check_story(&agent, &well(1));
}

#[test]
fn a_trace_without_a_sync_in_time_is_found_out() {
    let request = r#"7 recvfrom(9<socket:[1]>, "POST /v1/activations HTTP/1.1", 64, 0, NULL) = 28"#;
    let resumed = r#"7 <... recvfrom resumed>"POST /v1/activations HTTP/1.1", 64, 0, NULL) = 28"#;
    let answer = r#"7 writev(9<socket:[1]>, [{iov_base="HTTP/1.1 200 OK"}], 1) = 17"#;
    let sync = "8 fdatasync(12</data/ledger.db-wal>) = 0";
    let begun = "8 fdatasync(12</data/ledger.db-wal> <unfinished ...>";
    let ended = "8 <... fdatasync resumed>) = 0";
    let failed = "8 fdatasync(12</data/ledger.db-wal>) = -1 EIO (Input/output error)";
    let elsewhere = "8 fdatasync(12</tmp/other>) = 0";
    let check = |lines: &[&str]| check_order(&lines.join("\n"), "POST /v1/act", "/data/");
    assert_eq!(check(&[request, sync, answer]), Ok(()));
    assert_eq!(check(&[resumed, begun, ended, answer]), Ok(()));
    assert_eq!(check(&[request, answer]), Err(Fault::NotSynced));
    assert_eq!(check(&[request, answer, sync]), Err(Fault::NotSynced));
    assert_eq!(check(&[sync, request, answer]), Err(Fault::NotSynced));
    assert_eq!(check(&[begun, request, ended, answer]), Err(Fault::NotSynced));
    assert_eq!(check(&[request, begun, answer, ended]), Err(Fault::NotSynced));
    assert_eq!(check(&[request, failed, answer]), Err(Fault::NotSynced));
    assert_eq!(check(&[request, elsewhere, answer]), Err(Fault::NotSynced));
    assert_eq!(check(&[sync, answer]), Err(Fault::NoRequest));
    assert_eq!(check(&[request, sync]), Err(Fault::NoAnswer));
}
