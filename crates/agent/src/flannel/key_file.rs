//! The private key of the backend wireguard: made once, and the same from then on (spec/flannel.md 1).

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use polynic_net::WireguardSecret;

/// For its owner alone, who does not change it either.
const MODE: u32 = 0o400;

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub(super) enum KeyFileError {
    #[error("cannot read or make the WireGuard key {}", .0.display())]
    File(PathBuf, #[source] io::Error),
    #[error("{} holds no WireGuard key, which is 32 bytes in base64; without the file the node gets a new one", .0.display())]
    NoKey(PathBuf),
}

/// The key in the file; without a file a new one, which is in it from then on.
pub(super) fn load_or_make(path: &Path) -> Result<WireguardSecret, KeyFileError> {
    let failed = |why| KeyFileError::File(path.to_owned(), why);
    let text = match fs::read_to_string(path) {
        Err(why) if why.kind() == io::ErrorKind::NotFound => make(path).map_err(failed)?,
        read => read.map_err(failed)?,
    };
    let given: WireguardSecret = text.trim().parse().map_err(|_| KeyFileError::NoKey(path.to_owned()))?;
    // Other tools may keep a key without the bits that the kernel sets.
    Ok(WireguardSecret::private(*given.bytes()))
}

/// Makes a new key and puts it into place whole; of two daemons that do so, which may have one process number in two containers, one is first,
/// and its key is that of both.
fn make(path: &Path) -> io::Result<String> {
    let directory = path.parent().unwrap_or(Path::new("/"));
    polynic_flannel::make_directory(directory)?;
    let lock = File::open(directory)?;
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive)?;
    if path.exists() {
        return fs::read_to_string(path);
    }
    let mut random = [0; 32];
    rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::empty())?;
    let text = WireguardSecret::private(random).text();
    let new = path.with_extension("new");
    let _ = fs::remove_file(&new);
    let mut file = File::options().write(true).create_new(true).mode(MODE).open(&new)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    lock.sync_all()?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_key_is_made_once_for_its_owner_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("run/flannel/wgkey");
        let key = load_or_make(&path).unwrap();
        assert_eq!(load_or_make(&path).unwrap(), key, "a restart keeps it");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, MODE);
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
        let other = load_or_make(&directory.path().join("other")).unwrap();
        assert_ne!(other, key);
    }

    #[test]
    fn a_key_of_another_tool_is_taken_as_the_kernel_takes_it_and_no_key_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("wgkey");
        fs::write(&path, "//////////////////////////////////////////8=\n").unwrap();
        assert_eq!(load_or_make(&path).unwrap(), WireguardSecret::private([0xff; 32]));
        fs::write(&path, "half a key").unwrap();
        let why = load_or_make(&path).unwrap_err().to_string();
        assert!(why.contains("wgkey holds no WireGuard key"), "{why}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "half a key", "it is not overwritten");
    }
}
