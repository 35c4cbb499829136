//! Job files as Ganeti's processes write them: a temporary file, renamed onto `queue/job-N`; archived ones on a shelf of
//! ten thousand.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::cluster::Job;

/// Ganeti's data directory, as far as its readers look into it.
#[derive(Debug, Clone)]
pub(crate) struct QueueDirectory {
    queue: PathBuf,
}

impl QueueDirectory {
    /// Makes `queue`, `queue/archive` and the `ssconf_*` files below `ganeti`, which names this node as the master.
    pub(crate) fn make(ganeti: &Path, cluster: &str, nodes: &[String]) -> io::Result<Self> {
        let queue = ganeti.join("queue");
        fs::create_dir_all(queue.join("archive"))?;
        let master = nodes.first().map_or("", String::as_str);
        let texts = [
            ("cluster_name", cluster.to_owned()),
            ("node_list", nodes.join("\n")),
            ("master_node", master.to_owned()),
        ];
        for (name, text) in texts {
            let new = ganeti.join("ssconf.new");
            fs::write(&new, format!("{text}\n"))?;
            fs::rename(new, ganeti.join(format!("ssconf_{name}")))?;
        }
        Ok(Self { queue })
    }

    /// Writes a job where it belongs now.
    pub(crate) fn write(&self, job: &Job) -> io::Result<()> {
        let name = format!("job-{}", job.id);
        let (live, shelf) = (self.queue.join(&name), self.shelf(job.id));
        if job.is_archived {
            fs::create_dir_all(&shelf)?;
            return match fs::rename(&live, shelf.join(&name)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                _ => Ok(()),
            };
        }
        let new = self.queue.join(format!("{name}k35ke0y.new"));
        fs::write(&new, job.file().to_string())?;
        fs::rename(new, live)
    }

    fn shelf(&self, id: u64) -> PathBuf {
        self.queue.join("archive").join((id / 10_000).to_string())
    }
}
