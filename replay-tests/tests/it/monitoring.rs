//! Figures and alerts, as Prometheus' own tool judges them.

use crate::rig::nix::{Closure, Kind};
use crate::rig::wait_for;
use crate::rig::world::World;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// Runs promtool, which `./dev setup` fetches and `./dev test` puts on the PATH.
fn promtool(args: &[&str], input: &str) -> Output {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/monitoring");
    let mut command = Command::new("promtool");
    command.args(args).current_dir(folder).stdin(Stdio::piped());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("promtool is there: ./dev test brings it");
    child.stdin.take().expect("piped").write_all(input.as_bytes()).expect("it reads");
    child.wait_with_output().expect("it ends")
}

#[track_caller]
fn assert_accepted(output: &Output) {
    let said = [&output.stdout[..], &output.stderr[..]].concat();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&said));
}

#[test]
fn promtool_accepts_the_alerts_and_each_fires_when_it_should() {
    assert_accepted(&promtool(&["check", "rules", "alerts.yml"], ""));
    assert_accepted(&promtool(&["test", "rules", "alerts_test.yml"], ""));
    let read = |file: &str| {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs").join(file);
        std::fs::read_to_string(path).expect("the document can be read")
    };
    let (alerts, tests, manual) =
        (read("monitoring/alerts.yml"), read("monitoring/alerts_test.yml"), read("metrics.md"));
    let names = alerts.lines().filter_map(|line| line.trim().strip_prefix("- alert: "));
    let names: Vec<&str> = names.collect();
    assert!(names.len() >= 6, "{names:?}");
    for name in names {
        assert!(tests.contains(&format!("alertname: {name}\n")), "{name} is not tested");
        assert!(manual.contains(&format!("| `{name}` |")), "{name} is not in the manual");
    }
}

/// Asks the server for its figures in the form that promtool reads.
fn figures(world: &World) -> String {
    let address = world.server.url().trim_start_matches("http://").to_owned();
    let mut socket = TcpStream::connect(&address).expect("the server listens");
    let token = world.server.admin_token();
    let request = format!(
        "GET /metrics HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nAccept: text/plain\r\nAuthorization: Bearer {token}\r\n\r\n"
    );
    socket.write_all(request.as_bytes()).expect("the request is sent");
    let mut answer = String::new();
    socket.read_to_string(&mut answer).expect("the server answers");
    let (head, page) = answer.split_once("\r\n\r\n").expect("it has a head");
    assert!(head.starts_with("HTTP/1.1 200") && !head.contains("chunked"), "{head}");
    page.to_owned()
}

#[test]
fn promtool_accepts_the_figures_of_a_server_that_deployed() {
    let world = World::new();
    let _agent = world.agent("web-1");
    let path = world.nix.offer(&Closure::new(Kind::Plain, "web"));
    let activated = world.activate(&[("web-1", &path)], &[]);
    assert_eq!(activated.code(), Some(0), "{}", activated.stderr);
    // Counted by whoever folds, a moment after the log has it.
    let succeeded = "ledger_deployments_total{result=\"succeeded\"} 1\n";
    let page = wait_for("the deployment in the figures", || {
        Some(figures(&world)).filter(|page| page.contains(succeeded))
    });
    for line in [
        "ledger_deployment_duration_seconds_count 1",
        "ledger_agents_connected{workspace=\"default\"} 1",
        "ledger_requests_total{route=\"/v1/activations\",status=\"200\"} 1",
        "ledger_ready 1",
    ] {
        assert!(page.lines().any(|found| found == line), "{line} is not in:\n{page}");
    }
    assert_accepted(&promtool(&["check", "metrics"], &page));
}
