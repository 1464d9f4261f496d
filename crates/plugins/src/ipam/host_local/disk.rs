//! What the store and its index do to files, one method for each step that can be the last one of a process. Reading changes
//! nothing and is not here.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

/// Changes files. The tests have another one, under which the process dies at a step of their choice.
pub(super) trait Disk {
    /// Makes a directory and those above it.
    fn create_directory(&self, path: &Path) -> io::Result<()>;
    /// Opens the file to be locked, making it if need be.
    fn open_lock(&self, path: &Path) -> io::Result<File>;
    /// Writes a file that is not there yet. Never into one that is: after a crash that may be an address, under its second name.
    fn create(&self, path: &Path, content: &str) -> io::Result<()>;
    /// Writes a file that may be there.
    fn write(&self, path: &Path, content: &str) -> io::Result<()>;
    /// Gives a file a second name.
    fn link(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Gives a file another name, instead of whatever has it.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a name.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Removes a directory with what is in it.
    fn remove_all(&self, path: &Path) -> io::Result<()>;
}

/// The real one.
pub(super) struct RealDisk;

impl Disk for RealDisk {
    fn create_directory(&self, path: &Path) -> io::Result<()> {
        fs::DirBuilder::new().recursive(true).mode(0o755).create(path)
    }

    fn open_lock(&self, path: &Path) -> io::Result<File> {
        File::options().read(true).write(true).create(true).truncate(false).mode(0o750).open(path)
    }

    fn create(&self, path: &Path, content: &str) -> io::Result<()> {
        let mut file = File::options().write(true).create_new(true).mode(0o600).open(path)?;
        file.write_all(content.as_bytes())
    }

    fn write(&self, path: &Path, content: &str) -> io::Result<()> {
        fs::write(path, content)
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::hard_link(from, to)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn remove_all(&self, path: &Path) -> io::Result<()> {
        fs::remove_dir_all(path)
    }
}
