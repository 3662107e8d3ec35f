//! A PostgreSQL server of a test's own, which can die and come back.

use super::administrator::Administrator;
use super::server::Options;
use ledger_store::Log;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// Whoever is root runs the server as this one: PostgreSQL refuses to be root.
const NOBODY: u32 = 65_534;
/// Where Debian keeps the server's programs, out of PATH.
const DEBIAN: &str = "/usr/lib/postgresql";
/// The login of the servers under test, which may do no more than they must.
pub(crate) const LOGIN: &str = "ledger_test";
/// Makes a cluster and does as its standard input says, until that ends; then it
/// removes the cluster. The input ends with the test process, however that ends.
const KEEP: &str = r#"
    set -e
    trap '' HUP INT TERM
    programs=$1
    settings=$3
    cd "$2"
    begin() {
        rm -f data/postmaster.pid
        "$programs/postgres" -D data -k "$PWD" -c listen_addresses= $settings \
            >>postgres.log 2>&1 </dev/null &
        server=$!
        until grep -q ready data/postmaster.pid 2>/dev/null; do
            kill -0 "$server" 2>/dev/null
            sleep 0.05
        done
        echo started
    }
    end() {
        kill -QUIT "$server" 2>/dev/null || true
        wait "$server" || true
        echo stopped
    }
    "$programs/initdb" -D data -U postgres -A trust -E UTF8 --locale C --no-sync >initdb.log 2>&1
    begin
    while read -r order; do
        case $order in
            start) begin ;;
            stop) end ;;
        esac
    done
    end 2>/dev/null >&2
    cd /
    rm -rf "$2"
"#;

/// Nothing here cuts the power, so nothing waits for the disk, least of all a repair,
/// which would sync a thousand files. That a commit waits is the store's to test.
const HASTY: &str = "-c fsync=off";

/// A server with one database, in a folder that goes with this value.
pub(crate) struct Postgres {
    folder: PathBuf,
    keeper: Child,
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Postgres {
    /// Starts a server whose database has the log's schema, and a login for it.
    pub(crate) fn start() -> Self {
        let postgres = Self::start_empty(HASTY);
        postgres.migrate();
        postgres
    }

    /// The same with PostgreSQL's own settings.
    pub(crate) fn start_careful() -> Self {
        let postgres = Self::start_empty("");
        postgres.migrate();
        postgres
    }

    /// Starts a server with nothing in its database.
    pub(crate) fn start_empty(settings: &str) -> Self {
        let name = format!("ledger-pg-{}", uuid::Uuid::now_v7().simple());
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir(&folder).expect("a folder can be made");
        let mut keeper = Command::new("sh");
        keeper.args(["-c", KEEP, "sh"]).arg(programs()).arg(&folder).arg(settings);
        if rustix::process::geteuid().is_root() {
            let owned = std::os::unix::fs::chown(&folder, Some(NOBODY), Some(NOBODY));
            owned.expect("root may give a folder away");
            keeper.uid(NOBODY).gid(NOBODY);
        }
        // What a terminal sends to the tests is not for the server, which ends after them.
        keeper.process_group(0);
        keeper.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut keeper = keeper.spawn().expect("there is a shell");
        let orders = keeper.stdin.take();
        let answers = BufReader::new(keeper.stdout.take().expect("it is piped"));
        let mut postgres = Self { folder, keeper, orders, answers };
        postgres.hear("started");
        postgres
    }

    fn migrate(&self) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.expect("a runtime can be made");
        let migrated = runtime.block_on(Log::migrate_postgres(&self.superuser()));
        migrated.expect("a new database gets the schema");
        self.login(LOGIN);
    }

    /// Makes a login as servers have it, and returns the address for it.
    pub(crate) fn login(&self, name: &str) -> String {
        let login = format!("CREATE ROLE {name} LOGIN IN ROLE ledger_service");
        Administrator::of(self).run(&login);
        self.address(name)
    }

    /// The address that a server of ours gets.
    pub(crate) fn url(&self) -> String {
        self.address(LOGIN)
    }

    /// The address for somebody who may do everything.
    pub(crate) fn superuser(&self) -> String {
        self.address("postgres")
    }

    /// Where its socket and its log are.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    fn address(&self, login: &str) -> String {
        format!("postgres://{login}@localhost/postgres?host={}", self.folder.display())
    }

    /// How a server is started on it.
    pub(crate) fn options(&self, more: &[&str]) -> Options {
        self.options_as(&self.url(), more)
    }

    /// The same with a login of its own.
    pub(crate) fn options_as(&self, url: &str, more: &[&str]) -> Options {
        let args = ["--database", url].into_iter().chain(more.iter().copied());
        Options { args: args.map(str::to_owned).collect(), ..Options::default() }
    }

    /// Immediate shutdown: every connection is cut off, and nothing is put in order.
    pub(crate) fn stop_at_once(&mut self) {
        self.order("stop");
        self.hear("stopped");
    }

    /// Starts it again on the same data, which it first repairs from its log.
    pub(crate) fn start_again(&mut self) {
        self.order("start");
        self.hear("started");
    }

    fn order(&mut self, order: &str) {
        let orders = self.orders.as_mut().expect("it is there until the end");
        writeln!(orders, "{order}").expect("the keeper listens");
    }

    fn hear(&mut self, expected: &str) {
        let mut answer = String::new();
        let heard = self.answers.read_line(&mut answer);
        let logs = self.folder.display();
        assert!(
            heard.is_ok() && answer.trim_end() == expected,
            "PostgreSQL is not {expected}; see the logs in {logs}"
        );
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        drop(self.orders.take());
        // One that ended by itself has left its logs to be looked at.
        let _ = self.keeper.wait();
    }
}

/// Finds the server's programs.
fn programs() -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    // A link in PATH may have no others beside it.
    let in_path = std::env::split_paths(&path).find_map(|folder| {
        let program = folder.join("initdb").canonicalize().ok()?;
        program.parent().map(Path::to_owned)
    });
    let versions = std::fs::read_dir(DEBIAN).into_iter().flatten().flatten();
    let number = |version: &Path| version.file_name()?.to_str()?.parse::<u32>().ok();
    let newest = versions.map(|version| version.path()).max_by_key(|version| number(version));
    in_path
        .or_else(|| Some(newest?.join("bin")))
        .expect("there is no PostgreSQL: ./dev setup installs what the tests need")
}
