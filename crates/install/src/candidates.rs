//! Reads the candidates for the primary configuration from a directory.

use std::fs;
use std::io;
use std::path::Path;

use crate::follow::Candidates;
use crate::primary::{Primary, PrimaryError};

/// Everything in the directory that may be a primary: `.conf` or `.conflist`, and not with a name that begins like our own file.
///
/// A directory that cannot be read has none; a file that cannot is a candidate that cannot be used.
pub(crate) fn read(directory: &Path, own: &str) -> Candidates {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let names = names.filter(|name| is_candidate(name, own));
    names.filter_map(|name| Some((name.clone(), content(&directory.join(&name))?))).collect()
}

pub(crate) fn is_candidate(name: &str, own: &str) -> bool {
    let extension = Path::new(name).extension().and_then(|extension| extension.to_str());
    matches!(extension, Some("conf" | "conflist")) && !name.starts_with(own)
}

/// No configuration is larger, in bytes.
const LARGEST: u64 = 1 << 20;

/// Reads a file, unless it is none, whose end may never come, or larger than any configuration.
pub(crate) fn read_small(path: &Path) -> io::Result<Vec<u8>> {
    let file = fs::metadata(path)?;
    if !file.is_file() {
        return Err(io::Error::other("it is no file"));
    }
    if file.len() > LARGEST {
        return Err(io::Error::other(format!("{} bytes are too many", file.len())));
    }
    fs::read(path)
}

/// `None` for what is no file, whose end may never come, or for what has gone since.
fn content(path: &Path) -> Option<Result<Primary, PrimaryError>> {
    match read_small(path) {
        Ok(bytes) => Some(Primary::parse(&bytes)),
        Err(_) if !path.is_file() => None,
        Err(why) => Some(Err(PrimaryError::Json(why.to_string()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn candidates_are_configurations_that_are_not_ours() {
        let directory = tempfile::tempdir().unwrap();
        let put = |name: &str, text: &str| fs::write(directory.path().join(name), text).unwrap();
        for name in
            ["20-b.conf", "10-a.conflist", "00-multus.conf", "00-multus-x.conf", "05-c.json", "10-a.conf.old"]
        {
            put(name, r#"{"type":"ptp"}"#);
        }
        put("15-half.conf", "{");
        fs::create_dir(directory.path().join("whereabouts.conf")).unwrap();
        let names = |own| read(directory.path(), own).into_keys().collect::<Vec<_>>();
        assert_eq!(names("00-multus"), ["10-a.conflist", "15-half.conf", "20-b.conf"]);
        assert_eq!(names("00-multus.conf")[0], "00-multus-x.conf");
        assert!(read(directory.path(), "00-multus")["15-half.conf"].is_err());
        assert!(read(&directory.path().join("none"), "00-multus").is_empty());
    }

    #[test]
    fn what_is_no_file_or_has_no_end_is_not_read() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        let (kind, mode) = (rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR);
        rustix::fs::mknodat(rustix::fs::CWD, path("10-pipe.conf"), kind, mode, 0).unwrap();
        std::os::unix::fs::symlink("/dev/zero", path("11-zero.conf")).unwrap();
        std::os::unix::fs::symlink(path("12-loop.conf"), path("12-loop.conf")).unwrap();
        fs::File::create(path("13-large.conf")).unwrap().set_len(1 << 40).unwrap();
        fs::write(path("20-net.conf"), r#"{"type":"ptp"}"#).unwrap();
        let found = read(directory.path(), "00-multus");
        let usable: Vec<(&str, bool)> =
            found.iter().map(|(name, read)| (name.as_str(), read.is_ok())).collect();
        assert_eq!(usable, [("13-large.conf", false), ("20-net.conf", true)]);
    }
}
