//! The C library's allocator, held to what a small daemon needs.

/// One arena for all threads: the packet threads allocate nothing, and further arenas would only hold memory.
#[expect(
    unsafe_code,
    reason = "there is no safe way to set the allocator's parameters"
)]
pub fn one_arena() {
    // SAFETY: no pointers; only numbers of the allocator change.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1);
    }
}

/// Gives memory back to the kernel that a start or a reload needed for a moment.
#[expect(
    unsafe_code,
    reason = "there is no safe way to trim the allocator's heap"
)]
pub fn give_back() {
    // SAFETY: no pointers; only memory that is not in use is given back.
    unsafe {
        libc::malloc_trim(0);
    }
}
