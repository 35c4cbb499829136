//! What the hooks said, on disk: a file per instance under the state directory. Whoever reads sees the old or the new.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Write as _};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use super::environment::{Heard, IFUP, Told, is_instance_name};
use super::reconcile::Learnt;

/// The files.
#[derive(Debug, Clone)]
pub struct Store {
    directory: PathBuf,
    /// One writer at a time, among all clones: the last word stays.
    writing: Arc<Mutex<()>>,
}

/// A file cannot be read, written or removed.
#[derive(Debug, thiserror::Error)]
#[error("{act} {}", path.display())]
pub struct StoreError {
    /// read, write or remove
    pub act: &'static str,
    /// The file.
    pub path: PathBuf,
    /// Why.
    #[source]
    pub source: io::Error,
}

fn failed(act: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StoreError {
    let path = path.to_owned();
    move |source| StoreError { act, path, source }
}

impl Store {
    /// The store under a state directory, which need not be there yet.
    #[must_use]
    pub fn new(state: &Path) -> Self {
        Self {
            directory: state.join("instances"),
            writing: Arc::default(),
        }
    }

    /// Makes its directory, open to root only: what users call their instances is theirs.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn create(&self) -> Result<(), StoreError> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.directory)
            .map_err(failed("make", &self.directory))
    }

    /// Does what a hook said; on disk when it returns.
    ///
    /// # Errors
    /// A file cannot be written or removed.
    pub fn take(&self, told: &Told) -> Result<(), StoreError> {
        let _one = self.writing.lock();
        match told {
            Told::Keep(heard) => self.write(heard),
            Told::Rename { from, to } => {
                self.write(to)?;
                self.remove(from)
            }
            Told::Forget(instance) => self.remove(instance),
        }
    }

    /// Keeps tags that were learnt otherwise, unless a hook has spoken since; what hooks said besides stays.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn learn(&self, instance: &str, learnt: Learnt) -> Result<(), StoreError> {
        let _one = self.writing.lock();
        // What cannot be read is as good as never said.
        let known = self.read(instance).ok().flatten();
        if known
            .as_ref()
            .is_some_and(|known| known.tags_at() >= learnt.at)
        {
            return Ok(());
        }
        let nothing = || Heard {
            instance: instance.to_owned(),
            hook: IFUP.to_owned(),
            at: learnt.at,
            primary: None,
            tags: Vec::new(),
            tags_learnt: None,
            nics: Vec::new(),
        };
        self.write(&Heard {
            tags: learnt.tags,
            tags_learnt: Some(learnt.at),
            ..known.unwrap_or_else(nothing)
        })
    }

    /// What was said of an instance; `None` if nothing was.
    ///
    /// # Errors
    /// The file cannot be read or is not ours.
    pub fn read(&self, instance: &str) -> Result<Option<Heard>, StoreError> {
        if !is_instance_name(instance) {
            return Ok(None);
        }
        let path = self.path(instance);
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed("read", &path)(error)),
        };
        let heard = serde_json::from_slice(&text)
            .map_err(|error| failed("read", &path)(io::Error::other(error)))?;
        Ok(Some(heard))
    }

    /// Names of the instances that something was said of.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub fn instances(&self) -> Result<Vec<String>, StoreError> {
        let entries = match fs::read_dir(&self.directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(failed("read", &self.directory)(error)),
        };
        let mut names = Vec::new();
        for entry in entries {
            let entry = entry.map_err(failed("read", &self.directory))?;
            let name = entry.file_name();
            let name = name.to_str().and_then(|name| name.strip_suffix(".json"));
            names.extend(
                name.filter(|name| is_instance_name(name))
                    .map(str::to_owned),
            );
        }
        names.sort();
        Ok(names)
    }

    /// Forgets an instance if the last word on it was spoken before a moment, in milliseconds since 1970.
    ///
    /// # Errors
    /// The file cannot be removed.
    pub fn forget(&self, instance: &str, before: u64) -> Result<(), StoreError> {
        let _one = self.writing.lock();
        // What cannot be read is of no use.
        match self.read(instance) {
            Ok(Some(heard)) if heard.at >= before => Ok(()),
            Ok(_) | Err(_) => self.remove(instance),
        }
    }

    /// Forgets an instance; twice is as good as once.
    ///
    /// # Errors
    /// The file cannot be removed.
    pub fn remove(&self, instance: &str) -> Result<(), StoreError> {
        let path = self.path(instance);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(failed("remove", &path)(error))
            }
            _ => Ok(()),
        }
    }

    fn write(&self, heard: &Heard) -> Result<(), StoreError> {
        let path = self.path(&heard.instance);
        // A leading dot: no instance is called so.
        let name = format!(".{}.{}", heard.instance, std::process::id());
        let beside = self.directory.join(name);
        let text = serde_json::to_vec(heard)
            .map_err(|error| failed("write", &path)(io::Error::other(error)))?;
        File::create(&beside)
            .and_then(|mut file| {
                file.write_all(&text)?;
                file.sync_all()?;
                fs::rename(&beside, &path)?;
                File::open(&self.directory)?.sync_all()
            })
            .map_err(failed("write", &path))
    }

    fn path(&self, instance: &str) -> PathBuf {
        self.directory.join(format!("{instance}.json"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(instance: &str) -> Heard {
        Heard {
            instance: instance.to_owned(),
            hook: "instance-start".into(),
            at: 1,
            primary: None,
            tags: vec!["synnefo:hostname:web".into()],
            tags_learnt: None,
            nics: vec![[("MAC".to_owned(), "aa:00:77:00:00:01".to_owned())].into()],
        }
    }

    #[test]
    fn what_was_said_is_there_after_a_restart_and_leaves_with_its_instance() {
        let state = tempfile::tempdir().unwrap();
        let store = Store::new(state.path());
        assert_eq!(store.instances().unwrap(), [""; 0]);
        store.create().unwrap();
        store.take(&Told::Keep(heard("a.example.org"))).unwrap();
        let again = Store::new(state.path());
        assert_eq!(
            again.read("a.example.org").unwrap(),
            Some(heard("a.example.org"))
        );
        let learn = |tag: &str, at| {
            let tags = vec![tag.to_owned()];
            again.learn("a.example.org", Learnt { tags, at }).unwrap();
            again.read("a.example.org").unwrap().unwrap()
        };
        assert_eq!(learn("late", 0), heard("a.example.org"));
        let learnt = learn("new", 9);
        assert_eq!(learnt.tags, ["new"]);
        assert_eq!((learnt.at, learnt.nics), (1, heard("a.example.org").nics));
        assert_eq!(learn("late", 8).tags, ["new"]);
        let to = heard("b.example.org");
        let from = "a.example.org".to_owned();
        again.take(&Told::Rename { from, to }).unwrap();
        assert_eq!(again.instances().unwrap(), ["b.example.org"]);
        for _ in 0..2 {
            again.take(&Told::Forget("b.example.org".into())).unwrap();
        }
        assert_eq!(again.instances().unwrap(), [""; 0]);
        assert_eq!(again.read("../../etc/passwd").unwrap(), None);
    }
}
