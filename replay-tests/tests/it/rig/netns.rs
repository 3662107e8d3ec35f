//! A server's and a machine's network namespace, and a switch between them
//! that can be cut.

use super::process::{Process, command, require_root};
use std::path::Path;
use tempfile::TempDir;

/// The three namespaces.
pub(crate) struct Network {
    folder: TempDir,
    number: u32,
}

impl Network {
    /// Makes them, with a cable from each end to the switch.
    pub(crate) fn new() -> Self {
        require_root("making network namespaces");
        let folder = TempDir::with_prefix("ledger-net-").expect("a folder can be made");
        let network = Self { folder, number: std::process::id() };
        for end in [SWITCH, SERVER, MACHINE] {
            network.ip(&format!("netns add {}", network.namespace(end.name)));
            network.ip_in(end, "link set lo up");
        }
        network.ip_in(SWITCH, "link add switch type bridge");
        network.ip_in(SWITCH, "link set switch up");
        for end in [SERVER, MACHINE] {
            let (port, switch) = (end.name, network.namespace(SWITCH.name));
            network
                .ip_in(end, &format!("link add cable type veth peer name {port} netns {switch}"));
            network.ip_in(end, &format!("address add {}/30 dev cable", end.address));
            network.ip_in(end, "link set cable up");
            network.ip_in(SWITCH, &format!("link set {port} up master switch"));
        }
        network
    }

    /// The server's address, which only the two namespaces know.
    pub(crate) const fn address(&self) -> &'static str {
        SERVER.address
    }

    /// What a command line begins with to run at the server's end.
    pub(crate) fn at_server(&self) -> Vec<String> {
        self.at(SERVER)
    }

    /// What a command line begins with to run at the machine's end.
    pub(crate) fn at_machine(&self) -> Vec<String> {
        self.at(MACHINE)
    }

    /// Nothing passes any more. Both cables still carry, so neither end is told:
    /// packets vanish as behind a switch that died.
    pub(crate) fn cut(&self) {
        self.ip_in(SWITCH, &format!("link set {} nomaster", MACHINE.name));
    }

    /// Everything passes again.
    pub(crate) fn heal(&self) {
        self.ip_in(SWITCH, &format!("link set {} master switch", MACHINE.name));
    }

    fn at(&self, end: End) -> Vec<String> {
        ["ip", "netns", "exec", &self.namespace(end.name)].map(str::to_owned).to_vec()
    }

    fn namespace(&self, name: &str) -> String {
        format!("ledger-{name}-{}", self.number)
    }

    fn ip_in(&self, end: End, args: &str) {
        self.ip(&format!("-n {} {args}", self.namespace(end.name)));
    }

    fn ip(&self, args: &str) {
        let output = run_ip(args, self.folder.path());
        assert!(
            output.status.success(),
            "ip {args}: {}; this test needs a kernel that lets root make network namespaces",
            output.stderr
        );
    }
}

/// One namespace.
#[derive(Clone, Copy)]
struct End {
    name: &'static str,
    /// From the range for private use, and only inside the namespaces made here.
    address: &'static str,
}

const SWITCH: End = End { name: "switch", address: "" };
const SERVER: End = End { name: "server", address: "10.213.77.1" };
const MACHINE: End = End { name: "machine", address: "10.213.77.2" };

fn run_ip(args: &str, folder: &Path) -> super::process::Output {
    let mut ip = command("ip", folder);
    ip.args(args.split(' '));
    Process::run("ip", ip, folder)
}

impl Drop for Network {
    fn drop(&mut self) {
        for end in [SWITCH, SERVER, MACHINE] {
            // It may never have been made.
            run_ip(&format!("netns delete {}", self.namespace(end.name)), self.folder.path());
        }
    }
}
