//! The PostgreSQL that benchmarks measure: one of their own, or a given one.

use anyhow::{Context, Result, ensure};
use ledger_store::Log;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, Row};
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use uuid::Uuid;

/// Whoever is root runs the server as this one: PostgreSQL refuses to be root.
const NOBODY: u32 = 65_534;
/// Where Debian keeps the server's programs, out of PATH.
const DEBIAN: &str = "/usr/lib/postgresql";
/// Makes a cluster as the package makes one, serves it until its standard input
/// ends, and removes it. The input ends with the benchmark, however that ends.
///
/// Nothing is tuned but what a log of gigabytes needs, for the store and the raw
/// engine alike: memory for its pages, and fewer checkpoints.
const SERVE: &str = r#"
    set -e
    trap '' HUP INT TERM
    cd "$2"
    "$1/initdb" -D data -U postgres -A trust -E UTF8 --locale C --no-sync >initdb.log 2>&1
    "$1/postgres" -D data -k "$2" -c listen_addresses= \
        -c shared_buffers=1GB -c max_wal_size=4GB >postgres.log 2>&1 </dev/null &
    server=$!
    until grep -q ready data/postmaster.pid 2>/dev/null; do
        kill -0 "$server" 2>/dev/null
        sleep 0.05
    done
    echo ready
    cat >/dev/null
    kill -INT "$server"
    wait "$server" || true
    cd /
    rm -rf "$2"
"#;

/// A running server.
#[derive(Debug)]
pub(crate) struct Server {
    /// Of a superuser, without the database: what stands before and behind its name.
    url: (String, String),
    /// How it is named in what is printed.
    name: String,
    /// Keeps a server of our own running.
    keeper: Mutex<Option<Child>>,
}

impl Server {
    /// Returns the one that `DATABASE_URL` names, with a superuser's login, or
    /// starts one with its data in the folder. It stays until [`Server::stop`].
    pub(crate) async fn get(under: &Path) -> Result<&'static Self> {
        let (url, keeper) = match std::env::var("DATABASE_URL") {
            Ok(url) => (split(&url), None),
            Err(_) => start(under)?,
        };
        let mut server = Self { url, name: String::new(), keeper: Mutex::new(keeper) };
        server.name = server.describe().await?;
        Ok(Box::leak(Box::new(server)))
    }

    async fn describe(&self) -> Result<String> {
        const SQL: &str = "SELECT split_part(current_setting('server_version'), ' ', 1), \
             current_setting('fsync')";
        let mut connection = self.administrator().await?;
        let row = sqlx::query(SQL).fetch_one(&mut connection).await?;
        let (version, fsync): (String, String) = (row.try_get(0)?, row.try_get(1)?);
        ensure!(fsync == "on", "PostgreSQL runs with fsync off: its figures would mean nothing");
        connection.close().await?;
        Ok(format!("PostgreSQL {version}"))
    }

    /// Its name and version.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Connects beside the databases of logs.
    async fn administrator(&self) -> Result<PgConnection> {
        let url = self.address("postgres");
        PgConnection::connect(&url).await.context("PostgreSQL cannot be connected to")
    }

    fn address(&self, database: &str) -> String {
        let (before, behind) = &self.url;
        format!("{before}/{database}{behind}")
    }

    /// Ends a server of our own and removes its data.
    pub(crate) fn stop(&self) {
        let keeper = self.keeper.lock().ok().and_then(|mut keeper| keeper.take());
        if let Some(mut keeper) = keeper {
            drop(keeper.stdin.take());
            // Whatever became of it, there is nothing left to do.
            let _ = keeper.wait();
        }
    }
}

/// Splits an address into what stands before and behind the database's name.
fn split(url: &str) -> (String, String) {
    let (address, parameters) = match url.split_once('?') {
        Some((address, parameters)) => (address, format!("?{parameters}")),
        None => (url, String::new()),
    };
    let host = address.find("://").map_or(0, |at| at + 3);
    let end = address[host..].find('/').map_or(address.len(), |at| host + at);
    (address[..end].to_owned(), parameters)
}

fn start(under: &Path) -> Result<((String, String), Option<Child>)> {
    let folder = under.canonicalize()?.join(format!("ledger-pg-{}", Uuid::now_v7().simple()));
    std::fs::create_dir(&folder)?;
    let mut command = Command::new("sh");
    command.args(["-c", SERVE, "sh"]).arg(programs()?).arg(&folder);
    if rustix::process::geteuid().is_root() {
        std::os::unix::fs::chown(&folder, Some(NOBODY), Some(NOBODY))?;
        command.uid(NOBODY).gid(NOBODY);
    }
    // What a terminal sends to the benchmark is not for the server, which ends after it.
    command.process_group(0);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut keeper = command.spawn().context("there is no shell")?;
    let mut answer = String::new();
    let stdout = keeper.stdout.take().context("its output is piped")?;
    BufReader::new(stdout).read_line(&mut answer)?;
    let logs = folder.display();
    ensure!(answer.trim_end() == "ready", "PostgreSQL did not start; see the logs in {logs}");
    let url = ("postgres://postgres@localhost".to_owned(), format!("?host={logs}"));
    Ok((url, Some(keeper)))
}

/// Finds the server's programs.
fn programs() -> Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    // A link in PATH may have no others beside it.
    let in_path = std::env::split_paths(&path).find_map(|folder| {
        let program = folder.join("initdb").canonicalize().ok()?;
        program.parent().map(Path::to_owned)
    });
    let versions = std::fs::read_dir(DEBIAN).into_iter().flatten().flatten();
    let number = |version: &Path| version.file_name()?.to_str()?.parse::<u32>().ok();
    let newest = versions.map(|version| version.path()).max_by_key(|version| number(version));
    in_path.or_else(|| Some(newest?.join("bin"))).context(
        "there is no PostgreSQL: ./dev setup installs it, or set DATABASE_URL to one, or leave it out with --on sqlite",
    )
}

/// A database of its own on the server. It is gone with this value.
#[derive(Debug)]
pub(crate) struct Database {
    server: &'static Server,
    name: String,
}

impl Database {
    /// Makes one with the log's schema.
    pub(crate) async fn new(server: &'static Server) -> Result<Self> {
        let database = Self::make(server, "TEMPLATE template0").await?;
        Log::migrate_postgres(&database.superuser()).await?;
        Ok(database)
    }

    /// Copies one that nobody is connected to: file by file, as SQLite's is copied.
    pub(crate) async fn copy(&self) -> Result<Self> {
        let how = format!("TEMPLATE {} STRATEGY file_copy", self.name);
        Self::make(self.server, &how).await
    }

    async fn make(server: &'static Server, how: &str) -> Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let database =
            Self { server, name: format!("ledger_bench_{}_{number}", std::process::id()) };
        let sql = format!("CREATE DATABASE {} {how}", database.name);
        let mut connection = server.administrator().await?;
        connection.execute(AssertSqlSafe(sql)).await?;
        connection.close().await?;
        Ok(database)
    }

    /// The address, for a superuser.
    pub(crate) fn superuser(&self) -> String {
        self.server.address(&self.name)
    }

    /// The address, for a session that may do no more than the role.
    pub(crate) fn acting_as(&self, role: &str) -> String {
        let url = self.superuser();
        let joint = if url.contains('?') { '&' } else { '?' };
        format!("{url}{joint}options[role]={role}")
    }

    /// The address that a server of ours gets.
    pub(crate) fn service(&self) -> String {
        self.acting_as("ledger_service")
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let url = self.server.address("postgres");
        let sql = format!("DROP DATABASE {} WITH (FORCE)", self.name);
        // This may be dropped where nothing can be awaited.
        let dropping = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async {
                let mut connection = PgConnection::connect(&url).await?;
                connection.execute(AssertSqlSafe(sql)).await?;
                anyhow::Ok(())
            })
        });
        if !matches!(dropping.join(), Ok(Ok(()))) {
            eprintln!("The database {} could not be dropped.", self.name);
        }
    }
}
