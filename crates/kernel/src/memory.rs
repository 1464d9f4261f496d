//! What a daemon asks of the allocator, and of the kernel about its program.
//!
//! The allocator gives each thread that meets another one memory of its own, from which nothing comes back: with threads that come and go in bursts,
//! that is most of what a daemon has. Where it is not glibc's, nothing happens. Most of the program was needed once, at the start or for a burst, and
//! stays mapped.

use std::fs;
use std::ops::Range;

/// Has all threads share one heap. To be called at the start, before there are others.
#[allow(unsafe_code, reason = "mallopt has no safe form")]
pub fn share_one_heap() {
    #[cfg(target_env = "gnu")]
    // SAFETY: mallopt takes two numbers, and any are fine: what it does not know it refuses.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1);
    }
}

/// Gives memory that is free back to the machine, and the pages of the program; costs some milliseconds, so it is for quiet moments.
///
/// The program's pages stay in the page cache. Those that are needed again come back from there, sixteen at a time; the kernel can take the others
/// when it needs memory, and does not count them as in use.
pub fn give_back() {
    trim();
    for pages in program_pages(&fs::read_to_string("/proc/self/smaps").unwrap_or_default()) {
        unmap(pages);
    }
}

#[allow(unsafe_code, reason = "malloc_trim has no safe form")]
fn trim() {
    #[cfg(target_env = "gnu")]
    // SAFETY: malloc_trim takes the number of bytes to keep, and the allocator's own locks.
    unsafe {
        libc::malloc_trim(0);
    }
}

#[allow(unsafe_code, reason = "madvise of what is not an object of ours")]
fn unmap(pages: Range<usize>) {
    // SAFETY: the range is that of a mapping of a file that nobody can write to, not even this process, and no page of which differs from the file
    // (see `program_pages`): whoever reads it next gets the same bytes from the file, which the kernel keeps from being written while it is executed.
    unsafe {
        libc::madvise(pages.start as *mut libc::c_void, pages.len(), libc::MADV_DONTNEED);
    }
}

/// The mappings of the executed file, by `/proc/self/smaps`, that hold nothing but what is in it: neither writable nor with a page of their own. What the
/// loader has relocated and then protected has such pages.
fn program_pages(smaps: &str) -> Vec<Range<usize>> {
    let executable = fs::read_link("/proc/self/exe").unwrap_or_default();
    let executable = executable.to_string_lossy();
    let mut found: Vec<Range<usize>> = Vec::new();
    let mut candidate = None;
    for line in smaps.lines() {
        match line.split_once(':') {
            Some(("Anonymous", size)) if size.trim() == "0 kB" => found.extend(candidate.take()),
            Some((field, _)) if !field.contains(' ') => {}
            _ => candidate = mapping(line, &executable),
        }
    }
    found
}

/// `start-end perms offset device inode path`, if it is the file's and cannot be written to.
fn mapping(line: &str, file: &str) -> Option<Range<usize>> {
    let mut words = line.split_whitespace();
    let (start, end) = words.next()?.split_once('-')?;
    let is_fixed = ["r-xp", "r--p"].contains(&words.next()?);
    let address = |text| usize::from_str_radix(text, 16).ok();
    let range = address(start)?..address(end)?;
    Some(range).filter(|_| is_fixed && !file.is_empty() && words.last() == Some(file))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resident_of_files() -> u64 {
        let status = fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("RssFile:")).unwrap();
        line.split_whitespace().next().unwrap().parse().unwrap()
    }

    #[test]
    fn what_is_not_used_of_the_program_is_given_back_and_works_again() {
        let before = resident_of_files();
        give_back();
        let after = resident_of_files();
        assert!(after < before, "{before} KiB, {after} KiB");
        // Constants, and code that was there before.
        assert_eq!(fs::read_link("/proc/self/exe").unwrap(), std::env::current_exe().unwrap());
    }

    #[test]
    fn only_what_is_as_in_the_file_counts() {
        let file = fs::read_link("/proc/self/exe").unwrap().display().to_string();
        let smaps = format!(
            "00400000-00500000 r-xp 00000000 fd:00 7   {file}\nSize:  1024 kB\nAnonymous:  0 kB\nVmFlags: rd ex\n\
             00500000-00600000 r--p 00100000 fd:00 7   {file}\nAnonymous:  4 kB\n\
             00600000-00700000 rw-p 00200000 fd:00 7   {file}\nAnonymous:  0 kB\n\
             00700000-00800000 r-xp 00000000 fd:00 8   /lib/other.so\nAnonymous:  0 kB\n\
             00800000-00900000 r--p 00300000 fd:00 7   {file}\nAnonymous:  0 kB\n\
             7ff000000000-7ff000001000 r-xp 00000000 00:00 0   [vdso]\nAnonymous:  0 kB\n"
        );
        assert_eq!(program_pages(&smaps), [0x40_0000..0x50_0000, 0x80_0000..0x90_0000]);
        assert!(program_pages("no such thing").is_empty());
    }
}
