//! Files as other programs write, replace and remove them.

use std::fs;

use super::*;

fn name(text: &str) -> IfName {
    text.parse().unwrap()
}

fn events(directory: &mut Directory) -> Vec<FileEvent> {
    let mut events = Vec::new();
    directory.events(&mut events).unwrap();
    events
}

/// The original saw neither renames nor what they replaced (B17).
#[test]
fn b17_writes_renames_and_removals_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = |file: &str| folder.path().join(file);
    let mut directory = Directory::open(folder.path()).unwrap();
    fs::write(path("tap0"), "x").unwrap();
    assert_eq!(events(&mut directory), [FileEvent::Written(name("tap0"))]);
    fs::write(path(".tap0"), "y").unwrap();
    fs::rename(path(".tap0"), path("tap0")).unwrap();
    assert_eq!(events(&mut directory), [FileEvent::Written(name("tap0"))]);
    fs::rename(path("tap0"), path("tap1")).unwrap();
    let moved = [
        FileEvent::Removed(name("tap0")),
        FileEvent::Written(name("tap1")),
    ];
    assert_eq!(events(&mut directory), moved);
    fs::remove_file(path("tap1")).unwrap();
    assert_eq!(events(&mut directory), [FileEvent::Removed(name("tap1"))]);
    for file in ["tap0~", ".tap0.swp", "a-name-no-device-has"] {
        fs::write(path(file), "x").unwrap();
    }
    assert_eq!(events(&mut directory), []);
    assert_eq!(directory.list().unwrap(), []);
}

#[test]
fn a_directory_that_is_replaced_is_watched_anew() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bindings");
    fs::create_dir(&path).unwrap();
    let mut directory = Directory::open(&path).unwrap();
    assert!(directory.is_current());
    fs::rename(&path, folder.path().join("old")).unwrap();
    assert_eq!(events(&mut directory), [FileEvent::Replaced]);
    assert!(!directory.is_current());
    assert!(matches!(directory.watch(), Err(WatchError::Watch { .. })));
    fs::create_dir(&path).unwrap();
    directory.watch().unwrap();
    assert!(directory.is_current());
    fs::write(path.join("tap0"), "x").unwrap();
    assert_eq!(events(&mut directory), [FileEvent::Written(name("tap0"))]);
    // Removed and made anew between two looks: no event tells, its number does.
    fs::remove_dir_all(&path).unwrap();
    fs::create_dir_all(folder.path().join("other")).unwrap();
    fs::rename(folder.path().join("other"), &path).unwrap();
    assert!(events(&mut directory).contains(&FileEvent::Replaced));
}

#[test]
fn what_cannot_be_read_is_refused_and_what_is_no_file_is_none() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tap0");
    assert!(read_file(&path).is_none());
    fs::create_dir(&path).unwrap();
    assert!(read_file(&path).is_none());
    fs::remove_dir(&path).unwrap();
    fs::write(&path, vec![b'#'; limits::FILE_BYTES + 1]).unwrap();
    assert!(read_file(&path).unwrap().read.content.is_err());
    fs::write(&path, "MAC=aa:00:00:00:00:01\nWHAT=x\n").unwrap();
    let found = read_file(&path).unwrap();
    assert_eq!(found.ignored.len(), 1);
    assert_eq!(
        found.read.content.unwrap().mac.to_string(),
        "aa:00:00:00:00:01"
    );
    let directory = Directory::open(folder.path()).unwrap();
    assert_eq!(directory.stamp(name("tap0")), Some(found.read.stamp));
    assert_eq!(directory.list().unwrap(), [name("tap0")]);
}
