//! Nothing is acknowledged before it is on the disk. Killing processes cannot
//! show that, since the kernel keeps what they wrote; the order of system calls can.

use super::reports::{answer, begin, new_request, report, reports};
use super::{assert_code, well};
use crate::rig::agent::Settings;
use crate::rig::nix::Closure;
use crate::rig::server::Options;
use crate::rig::story::check_log;
use crate::rig::wire::Puppet;
use crate::rig::world::World;
use api_wire::agent::FromServer;
use std::path::Path;

/// Why a trace shows no durable write.
#[derive(Debug, PartialEq, Eq)]
enum Fault {
    NoRequest,
    NoAnswer,
    NotSynced,
}

fn is_read(line: &str) -> bool {
    ["recvfrom", "read", "recvmsg"].iter().any(|call| calls(line, call))
}

fn is_write(line: &str) -> bool {
    ["sendto", "write", "writev", "sendmsg"].iter().any(|call| calls(line, call))
}

/// Returns whether a line is about the call: begun, or begun earlier and resumed.
fn calls(line: &str, call: &str) -> bool {
    let Some((_thread, rest)) = line.split_once(' ') else { return false };
    let rest = rest.trim_start();
    rest.strip_prefix(call).is_some_and(|rest| rest.starts_with('('))
        || rest.strip_prefix("<... ").is_some_and(|rest| rest.starts_with(&format!("{call} ")))
}

/// Reads in the trace that between the arrival of the request and the answer to
/// it, a sync of a file whose name holds `file` began and ended well.
fn check_request(trace: &str, request: &str, file: &str) -> Result<(), Fault> {
    let lines: Vec<&str> = trace.lines().collect();
    let arrived = lines.iter().position(|line| line.contains(request) && is_read(line));
    let after = &lines[arrived.ok_or(Fault::NoRequest)?..];
    let answered = after.iter().position(|line| is_write(line) && line.contains("HTTP/1.1 2"));
    check_sync(&after[..answered.ok_or(Fault::NoAnswer)?], file)
}

/// The same for each message with these words that the server wrote to a socket:
/// since something was last read from that socket, a sync began and ended well.
fn check_messages(trace: &str, words: &str, file: &str) -> Result<usize, Fault> {
    let lines: Vec<&str> = trace.lines().collect();
    let mut found = 0;
    for (answered, line) in lines.iter().enumerate() {
        if !(is_write(line) && line.contains(words)) {
            continue;
        }
        let socket = socket_of(line).ok_or(Fault::NoAnswer)?;
        let is_arrival = |line: &&str| {
            is_read(line)
                && line.contains(socket)
                && !line.contains("EAGAIN")
                && !line.ends_with("= 0")
        };
        let arrived = lines[..answered].iter().rposition(is_arrival).ok_or(Fault::NoRequest)?;
        check_sync(&lines[arrived..answered], file)?;
        found += 1;
    }
    Ok(found)
}

/// Returns the socket as strace names it, like `<socket:[123]>` or its addresses.
fn socket_of(line: &str) -> Option<&str> {
    let from = line.find('<')?;
    let to = from + line[from..].find(">,")?;
    line.get(from..=to)
}

/// Reads in these lines that a sync of the file began and ended well.
fn check_sync(lines: &[&str], file: &str) -> Result<(), Fault> {
    let mut begun = Vec::new();
    for line in lines {
        let Some((thread, call)) = line.split_once(' ') else { continue };
        if !(calls(line, "fdatasync") || calls(line, "fsync")) {
            continue;
        }
        let resumed = call.trim_start().starts_with("<...") && begun.contains(&thread);
        let about_file = resumed || call.contains(file);
        if about_file && call.ends_with("= 0") {
            return Ok(());
        }
        if about_file {
            begun.push(thread);
        }
    }
    Err(Fault::NotSynced)
}

/// Starts a world whose server's system calls are written to the file.
fn traced(file: &Path) -> World {
    let file = file.to_str().expect("the path is UTF-8");
    let tracer = format!(
        "strace -D -f -y -qq -s 256 -o {file} -e trace=network,read,write,writev,fdatasync,fsync"
    );
    let wrapper = tracer.split_whitespace().map(str::to_owned).collect();
    World::with(Options { wrapper, ..Options::default() }, Settings::default())
}

fn data(world: &World) -> String {
    world.server.data().to_str().expect("the path is UTF-8").to_owned()
}

#[test]
fn an_activation_is_on_the_disk_before_it_is_acknowledged() {
    let trace = tempfile::NamedTempFile::new().expect("a file can be made");
    let world = traced(trace.path());
    let agent = world.agent("web-1");
    let path = world.nix.offer(&Closure::plain("site"));
    assert_code(&world.activate(&[("web-1", &path)], &[]), 0);
    let trace = std::fs::read_to_string(trace.path()).expect("the trace is there");
    for request in ["POST /v1/tokens", "POST /v1/activations"] {
        assert_eq!(check_request(&trace, request, &data(&world)), Ok(()), "{request}");
    }
    world.check_story(&agent, &well(1));
}

#[test]
fn a_claim_and_a_report_are_on_the_disk_before_they_are_acknowledged() {
    let trace = tempfile::NamedTempFile::new().expect("a file can be made");
    let world = traced(trace.path());
    // One that waits for each answer, so that nothing else is under way.
    let puppet = Puppet::new("puppet");
    let (mut socket, _) = puppet.connect(&world);
    let (deployment, _) = begin(&world, &mut socket);
    for step in reports() {
        let id = new_request();
        socket.send(&report(id, deployment, &step));
        assert!(matches!(answer(&mut socket, id), FromServer::Acknowledged { .. }));
    }
    let trace = std::fs::read_to_string(trace.path()).expect("the trace is there");
    // As strace prints quotation marks.
    let type_is = |name: &str| format!(r#"{{\"type\":\"{name}\""#);
    let data = data(&world);
    assert_eq!(check_messages(&trace, &type_is("claimed"), &data), Ok(1));
    assert_eq!(check_messages(&trace, &type_is("acknowledged"), &data), Ok(3));
    check_log(&world.log());
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
    let check = |lines: &[&str]| check_request(&lines.join("\n"), "POST /v1/act", "/data/");
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

    let read = r#"7 recvfrom(9<socket:[1]>, "\201\376", 64, 0, NULL) = 28"#;
    let nothing = "7 recvfrom(9<socket:[1]>, 0x1, 64, 0, NULL) = -1 EAGAIN (Resource ...)";
    let other = r#"7 recvfrom(8<socket:[2]>, "a", 64, 0, NULL) = 1"#;
    let acknowledged = r#"7 sendto(9<socket:[1]>, "\201~acknowledged", 64, 0, NULL, 0) = 28"#;
    let check = |lines: &[&str]| check_messages(&lines.join("\n"), "acknowledged", "/data/");
    assert_eq!(check(&[read, nothing, sync, other, nothing, acknowledged]), Ok(1));
    assert_eq!(check(&[read, sync, acknowledged, read, sync, acknowledged]), Ok(2));
    assert_eq!(check(&[read, sync, acknowledged, read, acknowledged]), Err(Fault::NotSynced));
    assert_eq!(check(&[sync, read, acknowledged]), Err(Fault::NotSynced));
    assert_eq!(check(&[other, sync, acknowledged]), Err(Fault::NoRequest));
}
