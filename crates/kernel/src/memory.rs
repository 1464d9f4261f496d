//! What a daemon asks of the allocator. The allocator gives each thread that meets another one memory of its own, from which nothing comes back: with
//! threads that come and go in bursts, that is most of what a daemon has. Where it is not glibc's, nothing happens.

/// Has all threads share one heap. To be called at the start, before there are others.
#[allow(unsafe_code, reason = "mallopt has no safe form")]
pub fn share_one_heap() {
    #[cfg(target_env = "gnu")]
    // SAFETY: mallopt takes two numbers, and any are fine: what it does not know it refuses.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1);
    }
}

/// Gives memory that is free back to the machine; costs about a millisecond for a few MiB, so it is for quiet moments.
#[allow(unsafe_code, reason = "malloc_trim has no safe form")]
pub fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: malloc_trim takes the number of bytes to keep, and the allocator's own locks.
    unsafe {
        libc::malloc_trim(0);
    }
}
