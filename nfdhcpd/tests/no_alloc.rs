//! No answer allocates: every case of `frames/`, with an allocator that counts.

#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]
#![expect(unsafe_code, reason = "a global allocator is unsafe to implement")]

#[path = "answers/case.rs"]
mod case;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::fs;
use std::path::Path;

use case::Case;
use nfdhcpd::responder;
use nfdhcpd::wire::Frame;

struct Counting;

thread_local! {
    /// Allocations of this thread: other tests run on others.
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

fn count() {
    // A thread that ends has no counter any more; nobody asks it.
    let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
}

// SAFETY: every call is handed on to the system's allocator as it is.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller keeps the contract, which is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: as above.
        unsafe { System.realloc(pointer, layout, size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn allocations() -> usize {
    ALLOCATIONS.with(Cell::get)
}

#[test]
fn the_counter_counts() {
    let before = allocations();
    drop(Box::new(Path::new("x").to_owned()));
    assert!(allocations() > before);
}

#[test]
fn no_answer_allocates() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/frames");
    let mut cases = 0;
    let mut out = Frame::new();
    for entry in fs::read_dir(folder).expect("tests/frames can be read") {
        let path = entry.expect("its entries too").path();
        let text = fs::read_to_string(&path).expect("a case is text");
        let case = Case::parse(text.split("--- decision\n").next().unwrap_or_default());
        let inbound = case.inbound();
        let before = allocations();
        let decision = responder::answer(&case.served, &inbound, &mut out);
        let after = allocations();
        assert_eq!(after - before, 0, "{}: {decision:?}", path.display());
        cases += 1;
    }
    assert!(cases > 5, "only {cases} cases");
}
