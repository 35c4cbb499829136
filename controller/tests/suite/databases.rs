//! SQLite in a file, PostgreSQL and MariaDB as servers on sockets in a folder of their own. They end with this program.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use controller::db::Db;
use sea_orm::{ConnectionTrait, Database, DatabaseConnection};

/// How long a server may take to listen.
const START: Duration = Duration::from_secs(60);
/// Who the servers run as when root starts them: PostgreSQL refuses root.
const NOBODY: u32 = 65534;
const POSTGRES: &str = "/usr/lib/postgresql/15/bin";

/// Which database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Sqlite,
    Postgres,
    MariaDb,
}

pub(crate) const ALL: [Kind; 3] = [Kind::Sqlite, Kind::Postgres, Kind::MariaDb];

/// A database of a test's own.
pub(crate) struct Fresh {
    pub(crate) url: String,
    _folder: Option<tempfile::TempDir>,
}

impl Fresh {
    /// An empty one; `None` when its server is not installed.
    pub(crate) async fn make(kind: Kind) -> Option<Self> {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let name = format!("test_{}", MADE.fetch_add(1, Ordering::Relaxed));
        if kind == Kind::Sqlite {
            let folder = tempfile::tempdir().unwrap();
            let url = format!("sqlite:{}/controller.db", folder.path().display());
            return Some(Self {
                url,
                _folder: Some(folder),
            });
        }
        let server = Server::of(kind)?;
        let admin = server.connect().await;
        admin
            .execute_unprepared(&format!("CREATE DATABASE {name}"))
            .await
            .unwrap();
        admin.close().await.unwrap();
        Some(Self {
            url: server.url(&name),
            _folder: None,
        })
    }

    /// One with all tables.
    pub(crate) async fn migrated(kind: Kind) -> Option<(Self, Db)> {
        let fresh = Self::make(kind).await?;
        Db::migrate(&fresh.url).await.unwrap();
        let db = Db::connect(&fresh.url, 4).await.unwrap();
        Some((fresh, db))
    }
}

struct Server {
    kind: Kind,
    folder: PathBuf,
    /// As long as its input is open, the server runs.
    _shell: Child,
}

impl Server {
    fn of(kind: Kind) -> Option<&'static Self> {
        static POSTGRES_SERVER: OnceLock<Option<Server>> = OnceLock::new();
        static MARIADB_SERVER: OnceLock<Option<Server>> = OnceLock::new();
        let (server, program) = match kind {
            Kind::Sqlite => return None,
            Kind::Postgres => (&POSTGRES_SERVER, format!("{POSTGRES}/postgres")),
            Kind::MariaDb => (&MARIADB_SERVER, String::from("/usr/sbin/mariadbd")),
        };
        let server = server.get_or_init(|| Path::new(&program).exists().then(|| Self::start(kind)));
        if server.is_none() {
            assert!(
                std::env::var_os("CI").is_none(),
                "{program} is not installed"
            );
            eprintln!("skipped on {kind:?}: {program} is not installed (make setup)");
        }
        server.as_ref()
    }

    fn start(kind: Kind) -> Self {
        let folder = tempfile::tempdir().unwrap().keep();
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).unwrap();
        if nix_root() {
            chown(&folder, Some(NOBODY), Some(NOBODY)).unwrap();
        }
        let data = folder.join("data");
        let place = |option: &str, path: &Path| format!("{option}{}", path.display());
        let mut initialise;
        let mut serve;
        match kind {
            Kind::Sqlite => unreachable!("a file is no server"),
            Kind::Postgres => {
                initialise = Command::new(format!("{POSTGRES}/initdb"));
                initialise.args(["-U", "snf", "-A", "trust", "-E", "UTF8", "--no-sync", "-D"]);
                initialise.arg(&data);
                serve = vec![
                    format!("{POSTGRES}/postgres"),
                    String::from("-D"),
                    data.display().to_string(),
                    place("-k", &folder),
                    String::from("-h"),
                    String::new(),
                    // What a test leaves behind need not survive.
                    String::from("-cfsync=off"),
                    String::from("-cmax_connections=200"),
                ];
            }
            Kind::MariaDb => {
                initialise = Command::new("mariadb-install-db");
                initialise.args([
                    "--no-defaults",
                    "--skip-test-db",
                    "--auth-root-authentication-method=normal",
                ]);
                initialise.arg(place("--datadir=", &data));
                serve = vec![String::from("/usr/sbin/mariadbd")];
                serve.extend(["--no-defaults", "--skip-networking"].map(String::from));
                serve.extend([
                    String::from("--innodb-flush-log-at-trx-commit=0"),
                    String::from("--max-connections=200"),
                    place("--datadir=", &data),
                    place("--socket=", &folder.join("socket")),
                    place("--pid-file=", &folder.join("pid")),
                ]);
            }
        }
        succeed(as_nobody(&mut initialise).current_dir(&folder));
        let log = fs::File::create(folder.join("log")).unwrap();
        // It ends, and its folder goes, when this program does, however it does.
        let mut shell = Command::new("/bin/sh");
        shell
            .args([
                "-c",
                r#"folder=$1; shift; "$@" & read -r _; kill -QUIT $!; wait; rm -rf "$folder"/*"#,
            ])
            .arg("server")
            .arg(&folder)
            .args(&serve)
            .current_dir(&folder)
            .stdin(Stdio::piped())
            .stdout(log.try_clone().unwrap())
            .stderr(log);
        let shell = as_nobody(&mut shell).process_group(0).spawn().unwrap();
        let server = Self {
            kind,
            _shell: shell,
            folder,
        };
        server.wait();
        server
    }

    fn wait(&self) {
        let socket = match self.kind {
            Kind::Sqlite => unreachable!("a file is no server"),
            Kind::Postgres => self.folder.join(".s.PGSQL.5432"),
            Kind::MariaDb => self.folder.join("socket"),
        };
        let begun = Instant::now();
        while std::os::unix::net::UnixStream::connect(&socket).is_err() {
            assert!(
                begun.elapsed() < START,
                "{:?} does not listen:\n{}",
                self.kind,
                fs::read_to_string(self.folder.join("log")).unwrap_or_default()
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn url(&self, database: &str) -> String {
        let folder = self.folder.display();
        match self.kind {
            Kind::Sqlite => unreachable!("a file is no server"),
            Kind::Postgres => format!("postgres://snf@localhost/{database}?host={folder}"),
            Kind::MariaDb => format!("mysql://root@localhost/{database}?socket={folder}/socket"),
        }
    }

    /// PostgreSQL listens a moment before it lets anybody in.
    async fn connect(&self) -> DatabaseConnection {
        let name = match self.kind {
            Kind::Sqlite | Kind::Postgres => "postgres",
            Kind::MariaDb => "mysql",
        };
        let begun = Instant::now();
        loop {
            match Database::connect(self.url(name)).await {
                Ok(connection) => return connection,
                Err(error) if begun.elapsed() > START => panic!("{:?}: {error}", self.kind),
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    }
}

fn nix_root() -> bool {
    fs::metadata("/proc/self")
        .is_ok_and(|process| std::os::unix::fs::MetadataExt::uid(&process) == 0)
}

fn as_nobody(command: &mut Command) -> &mut Command {
    if nix_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
    command
}

fn succeed(command: &mut Command) {
    let Output {
        status,
        stdout,
        stderr,
    } = command.stdin(Stdio::null()).output().unwrap();
    assert!(
        status.success(),
        "{command:?}: {status}\n{}{}",
        String::from_utf8_lossy(&stdout),
        String::from_utf8_lossy(&stderr)
    );
}
