//! A PostgreSQL server for the tests: one of their own in a temporary folder, or
//! the one that `DATABASE_URL` names, whose login must be a superuser.

use ledger_store::Log;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use uuid::Uuid;

/// Whoever is root runs the server as this one: PostgreSQL refuses to be root.
const NOBODY: u32 = 65_534;
/// Makes a cluster, serves it until its standard input ends, and removes it. The
/// input ends with the test process, however that ends.
const SERVE: &str = r#"
    set -e
    trap '' HUP INT TERM
    cd "$2"
    "$1/initdb" -D data -U postgres -A trust -E UTF8 --locale C --no-sync >initdb.log 2>&1
    "$1/postgres" -D data -k "$2" -c listen_addresses= -c max_connections=200 \
        >postgres.log 2>&1 </dev/null &
    server=$!
    until grep -q ready data/postmaster.pid 2>/dev/null; do
        kill -0 "$server" 2>/dev/null
        sleep 0.05
    done
    echo ready
    cat >/dev/null
    kill -QUIT "$server"
    wait "$server" || true
    cd /
    rm -rf "$2"
"#;

/// The server that all tests of this process share.
struct Server {
    /// Of a superuser, without the database: what stands before and behind its name.
    url: (String, String),
    /// Keeps a server of our own running.
    _running: Option<ChildStdin>,
}

fn server() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(|| match std::env::var("DATABASE_URL") {
        Ok(url) => given(&url),
        Err(_) => start(),
    })
}

/// Splits an address into what stands before and behind the database's name.
fn given(url: &str) -> Server {
    let (address, parameters) = match url.split_once('?') {
        Some((address, parameters)) => (address, format!("?{parameters}")),
        None => (url, String::new()),
    };
    let host = address.find("://").map_or(0, |at| at + 3);
    let end = address[host..].find('/').map_or(address.len(), |at| host + at);
    Server { url: (address[..end].to_owned(), parameters), _running: None }
}

#[expect(clippy::zombie_processes, reason = "it ends after this process does")]
fn start() -> Server {
    let folder = std::env::temp_dir().join(format!("ledger-pg-{}", Uuid::now_v7().simple()));
    std::fs::create_dir(&folder).unwrap();
    let mut command = Command::new("sh");
    command.args(["-c", SERVE, "sh"]).arg(programs()).arg(&folder);
    if rustix::process::geteuid().is_root() {
        std::os::unix::fs::chown(&folder, Some(NOBODY), Some(NOBODY)).unwrap();
        command.uid(NOBODY).gid(NOBODY);
    }
    // What a terminal sends to the tests is not for the server, which ends after them.
    command.process_group(0);
    let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = piped.spawn().unwrap();
    let mut ready = [0; 5];
    let told = child.stdout.take().unwrap().read_exact(&mut ready);
    assert!(told.is_ok(), "PostgreSQL did not start; see the logs in {}", folder.display());
    let host = format!("?host={}", folder.display());
    let running = child.stdin.take();
    Server { url: ("postgres://postgres@localhost".to_owned(), host), _running: running }
}

/// Finds the server's programs, which Debian keeps out of PATH.
fn programs() -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    // A link in PATH may have no others beside it.
    let in_path = std::env::split_paths(&path).find_map(|folder| {
        let program = folder.join("initdb").canonicalize().ok()?;
        program.parent().map(Path::to_owned)
    });
    in_path
        .or_else(|| newest(Path::new("/usr/lib/postgresql")))
        .expect("there is no PostgreSQL: install it (./dev setup does), or set DATABASE_URL to one")
}

fn newest(folder: &Path) -> Option<PathBuf> {
    let versions = std::fs::read_dir(folder).ok()?.flatten();
    let number = |version: &Path| version.file_name()?.to_str()?.parse::<u32>().ok();
    let versions = versions.map(|version| version.path());
    let newest = versions.max_by_key(|version| number(version))?;
    Some(newest.join("bin"))
}

/// A database of its own, with the log's schema in it.
pub(crate) struct Database {
    name: String,
}

impl Database {
    pub(crate) async fn new() -> Self {
        let database = Self::empty().await;
        Log::migrate_postgres(&database.superuser()).await.unwrap();
        database
    }

    /// A database without a schema.
    pub(crate) async fn empty() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("ledger_test_{}_{number}", std::process::id());
        let database = Self { name };
        let mut connection = database.administrator().await;
        let sql = format!("CREATE DATABASE {}", database.name);
        connection.execute(AssertSqlSafe(sql)).await.unwrap();
        database
    }

    /// Connects to the server, beside the database.
    async fn administrator(&self) -> PgConnection {
        let (before, behind) = &server().url;
        PgConnection::connect(&format!("{before}/postgres{behind}")).await.unwrap()
    }

    /// The address, for a superuser.
    pub(crate) fn superuser(&self) -> String {
        let (before, behind) = &server().url;
        format!("{before}/{}{behind}", self.name)
    }

    /// The address that a server of ours gets: of a login that may nothing but what
    /// `ledger_service` may.
    pub(crate) fn service(&self) -> String {
        self.acting_as("ledger_service")
    }

    /// The address, for a session that acts as the given role.
    pub(crate) fn acting_as(&self, role: &str) -> String {
        let url = self.superuser();
        let joint = if url.contains('?') { '&' } else { '?' };
        format!("{url}{joint}options[role]={role}")
    }

    /// Makes a login with these attributes, for this database alone, and returns
    /// the address for it.
    pub(crate) async fn login(&self, attributes: &str) -> (String, String) {
        let name = format!("{}_login", self.name);
        let sql = format!("CREATE ROLE {name} LOGIN PASSWORD 'secret' {attributes}");
        self.connect().await.execute(AssertSqlSafe(sql)).await.unwrap();
        let url = self.superuser();
        let (scheme, rest) = url.split_once("://").unwrap();
        let host = rest.split_once('@').map_or(rest, |(_, host)| host);
        (format!("{scheme}://{name}:secret@{host}"), name)
    }

    /// Connects as a superuser.
    pub(crate) async fn connect(&self) -> PgConnection {
        PgConnection::connect(&self.superuser()).await.unwrap()
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        // A server of our own goes with all its databases.
        if server()._running.is_some() {
            return;
        }
        let database = format!("DROP DATABASE {} WITH (FORCE)", self.name);
        let login = format!("DROP ROLE IF EXISTS {}_login", self.name);
        let (before, behind) = &server().url;
        let url = format!("{before}/postgres{behind}");
        let dropping = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(async {
                let mut connection = PgConnection::connect(&url).await.unwrap();
                connection.execute(AssertSqlSafe(database)).await.unwrap();
                connection.execute(AssertSqlSafe(login)).await.unwrap();
            });
        });
        // What is left behind harms no test.
        let _ = dropping.join();
    }
}
