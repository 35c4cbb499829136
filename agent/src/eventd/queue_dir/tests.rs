//! A directory that others write to.

use std::os::unix::fs::symlink;

use super::*;

struct Place {
    directory: tempfile::TempDir,
    queue: QueueDir,
}

fn place(limit: u64) -> Place {
    let directory = tempfile::tempdir().unwrap();
    let queue = QueueDir::new(directory.path().to_owned(), limit).unwrap();
    Place { directory, queue }
}

impl Place {
    fn write(&self, name: &str, content: &str) {
        fs::write(self.directory.path().join(name), content).unwrap();
    }

    /// As Ganeti writes: another name first.
    fn put(&self, id: u64, content: &str) {
        let temporary = format!("job-{id}x_y2.new");
        self.write(&temporary, content);
        let to = self.directory.path().join(format!("job-{id}"));
        fs::rename(self.directory.path().join(temporary), to).unwrap();
    }
}

fn ids(jobs: &[u64]) -> BTreeSet<JobId> {
    jobs.iter().copied().map(JobId).collect()
}

#[test]
fn only_whole_names_are_jobs() {
    assert_eq!(job_of_name("job-15"), Some(JobId(15)));
    let others = [
        "job-15lq5d248g.new",
        "job-15-157-55.tmp",
        "job-",
        "job-015",
        "job-+1",
        "serial",
        "lock",
        "job-99999999999999999999999",
        "job-1 ",
        "xjob-1",
        "job--1",
    ];
    for name in others {
        assert_eq!(job_of_name(name), None, "{name}");
    }
}

#[test]
fn live_and_archived_jobs_are_listed_and_read() {
    let mut place = place(1 << 20);
    place.queue.watch().unwrap();
    for name in ["serial", "version", "job-3.bak", "job-15abc.new"] {
        place.write(name, "x");
    }
    place.put(3, "three");
    place.put(20_001, "new");
    for (shelf, id) in [(0, 1), (0, 2), (2, 20_000)] {
        let shelf = place.directory.path().join(format!("archive/{shelf}"));
        fs::create_dir_all(&shelf).unwrap();
        fs::write(shelf.join(format!("job-{id}")), "old").unwrap();
    }
    assert_eq!(place.queue.live().unwrap(), ids(&[3, 20_001]));
    assert_eq!(place.queue.archived(JobId(2)).unwrap(), ids(&[2, 20_000]));
    assert_eq!(place.queue.highest_archived().unwrap(), Some(JobId(20_000)));
    let (content, stamp) = place.queue.read(Shelf::Live, JobId(3)).unwrap();
    assert_eq!(content, b"three");
    assert_eq!(place.queue.stamp(Shelf::Live, JobId(3)).unwrap(), stamp);
    assert!(place.queue.read(Shelf::Archive, JobId(20_000)).is_ok());
    assert!(matches!(
        place.queue.read(Shelf::Live, JobId(4)),
        Err(Unreadable::Gone)
    ));
    let hints = place.queue.hints();
    assert_eq!(hints.jobs, ids(&[3, 20_001]));
    assert!(!hints.list);
    assert_eq!(place.queue.hints(), Hints::default());
    place.put(3, "three again");
    assert_ne!(place.queue.stamp(Shelf::Live, JobId(3)).unwrap(), stamp);
}

#[test]
fn what_is_no_small_regular_file_is_not_read() {
    let place = place(1024);
    let path = |name: &str| place.directory.path().join(name);
    place.write("job-1", &"x".repeat(1025));
    fs::create_dir(path("job-2")).unwrap();
    symlink("/etc/passwd", path("job-3")).unwrap();
    nix::unistd::mkfifo(&path("job-4"), nix::sys::stat::Mode::S_IRUSR).unwrap();
    place.write("job-5", &"x".repeat(1024));
    let read = |id| place.queue.read(Shelf::Live, JobId(id));
    assert!(matches!(
        read(1),
        Err(Unreadable::TooLarge { size: 1025, .. })
    ));
    for id in [2, 3, 4] {
        assert!(matches!(read(id), Err(Unreadable::NoFile)), "{id}");
        assert!(matches!(
            place.queue.stamp(Shelf::Live, JobId(id)),
            Err(Unreadable::NoFile)
        ));
    }
    assert_eq!(read(5).unwrap().0.len(), 1024);
}

#[test]
fn lost_hints_and_another_directory_ask_for_a_list() {
    let mut place = place(1024);
    place.queue.watch().unwrap();
    let length = fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").unwrap();
    for _ in 0..length.trim().parse::<u64>().unwrap() + 10 {
        // Two equal events in a row would be one.
        place.put(1, "");
        place.put(2, "");
    }
    assert!(place.queue.hints().list);
    assert_eq!(place.queue.hints(), Hints::default());
    fs::rename(
        place.directory.path(),
        place.directory.path().with_extension("away"),
    )
    .unwrap();
    assert!(place.queue.hints().list);
    fs::create_dir(place.directory.path()).unwrap();
    place.queue.watch().unwrap();
    place.put(7, "");
    assert_eq!(place.queue.hints().jobs, ids(&[7]));
    fs::remove_dir_all(place.directory.path().with_extension("away")).unwrap();
}

#[test]
fn a_queue_that_is_not_there_is_an_error_each_time() {
    let directory = tempfile::tempdir().unwrap();
    let mut queue = QueueDir::new(directory.path().join("queue"), 1024).unwrap();
    assert!(queue.watch().is_err());
    assert!(queue.live().is_err());
    assert!(queue.archived(JobId(0)).unwrap().is_empty());
    fs::create_dir(directory.path().join("queue")).unwrap();
    queue.watch().unwrap();
    assert!(queue.live().unwrap().is_empty());
}
