//! A lab's folder on the machine: what it was asked to be, what it is, its log.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};

/// The folder of all labs' folders.
const LABS: &str = "/run/snf-lab";

/// A lab's folder.
#[derive(Debug)]
pub(super) struct State {
    pub(super) name: String,
    pub(super) folder: PathBuf,
}

/// What a lab's first process is asked for.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Order {
    /// Tells this lab's places from every other's.
    pub(super) id: String,
    pub(super) nodes: usize,
    pub(super) broker: bool,
    /// The folder of the built programs.
    pub(super) programs: PathBuf,
    /// The folder of the guest's kernel and initramfs.
    pub(super) guest: PathBuf,
    pub(super) snapshot: Option<PathBuf>,
}

/// A lab that has come up; process numbers are those of whoever started it.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Running {
    pub(super) id: String,
    /// Init of the pid namespace that holds everything.
    pub(super) first: i32,
    /// When that process was started, in the kernel's ticks: its number may be given to another later.
    pub(super) since: u64,
    /// Each place with its own init.
    pub(super) places: Vec<(String, i32)>,
    /// The programs of ours in the nodes.
    pub(super) installed: Vec<String>,
}

impl Running {
    /// Whether the lab's first process lives.
    pub(super) fn is_alive(&self) -> bool {
        matches!(started(self.first), Some((since, dead)) if since == self.since && !dead)
    }
}

/// When a process was started, and whether it has ended and waits to be reaped; nothing if there is none.
pub(super) fn started(pid: i32) -> Option<(u64, bool)> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is the name, in parentheses, and may hold anything.
    let fields: Vec<_> = text.rsplit_once(')')?.1.split_whitespace().collect();
    let dead = matches!(fields.first(), Some(&"Z" | &"X"));
    Some((fields.get(19)?.parse().ok()?, dead))
}

/// A name no other lab has had.
pub(super) fn new_id() -> Result<String> {
    let mut bytes = [0; 8];
    File::open("/dev/urandom")
        .and_then(|mut file| file.read_exact(&mut bytes))
        .context("read /dev/urandom")?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

impl State {
    /// Refuses names that are no plain folder name.
    pub(super) fn check_name(name: &str) -> Result<()> {
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        ensure!(
            !name.is_empty() && name.len() <= 32 && name.bytes().all(plain),
            "lab name {name:?}: small letters, digits and '-', at most 32"
        );
        Ok(())
    }

    /// The folder of the lab of that name, which need not be there.
    pub(super) fn of(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            folder: Path::new(LABS).join(name),
        }
    }

    /// What a lab's own first process has been told.
    pub(super) fn in_folder(folder: &Path) -> Result<Self> {
        let name = folder.file_name().context("a lab's folder has a name")?;
        Ok(Self {
            name: name.to_string_lossy().into_owned(),
            folder: folder.to_owned(),
        })
    }

    /// The names of all folders.
    pub(super) fn names() -> Result<Vec<String>> {
        let entries = match fs::read_dir(LABS) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.with_context(|| format!("list {LABS}"))?,
        };
        let names = entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
        let mut names = names.collect::<Result<Vec<_>>>()?;
        names.sort();
        Ok(names)
    }

    /// Makes the folder; there must be none.
    pub(super) fn create(name: &str) -> Result<Self> {
        let state = Self::of(name);
        fs::create_dir_all(LABS).with_context(|| format!("create {LABS}"))?;
        match fs::create_dir(&state.folder) {
            Ok(()) => Ok(state),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => bail!(
                "lab {name} is there already: `tests/lab status`, `tests/lab down`, or another --name"
            ),
            Err(error) => Err(error).with_context(|| format!("create {}", state.folder.display())),
        }
    }

    /// Removes the folder, and the folder of folders when it was the last.
    pub(super) fn remove(&self) -> Result<()> {
        fs::remove_dir_all(&self.folder)
            .with_context(|| format!("remove {}", self.folder.display()))?;
        // Not empty while other labs are there.
        let _ = fs::remove_dir(LABS);
        Ok(())
    }

    pub(super) fn log_file(&self) -> PathBuf {
        self.folder.join("log")
    }

    pub(super) fn log(&self) -> String {
        fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    pub(super) fn write_order(&self, order: &Order) -> Result<()> {
        write(&self.folder.join("order.json"), order)
    }

    pub(super) fn order(folder: &Path) -> Result<Order> {
        read(&folder.join("order.json"))
    }

    pub(super) fn write_running(&self, running: &Running) -> Result<()> {
        write(&self.folder.join("lab.json"), running)
    }

    pub(super) fn running(&self) -> Result<Running> {
        ensure!(
            self.folder.exists(),
            "there is no lab {}; `make lab` makes one",
            self.name
        );
        read(&self.folder.join("lab.json"))
            .with_context(|| format!("lab {} is not whole; `tests/lab down`", self.name))
    }
}

fn write(path: &Path, value: &impl Serialize) -> Result<()> {
    let text = serde_json::to_string_pretty(value)?;
    fs::write(path, text).with_context(|| format!("write {}", path.display()))
}

fn read<T: for<'a> Deserialize<'a>>(path: &Path) -> Result<T> {
    let text = fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
    serde_json::from_str(&text).with_context(|| format!("read {}", path.display()))
}
