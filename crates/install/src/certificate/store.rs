//! Certificates on disk: `multus-client-<time>.pem` with certificate and key, and a link to the one that is used.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use x509_parser::pem::Pem;

use crate::files::{self, FileError};

/// Why there is no certificate on disk.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A file cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The file is no certificate with its key, such as one that is half-written.
    #[error("{} is no certificate: {why}", .path.display())]
    Content {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
}

/// What was got.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// From when it is good.
    pub from: Timestamp,
    /// Until when.
    pub until: Timestamp,
}

impl Stored {
    /// When to ask for the next one: when a fifth of its time is left.
    pub fn renewal(&self) -> Timestamp {
        let good = self.until.as_second() - self.from.as_second();
        Timestamp::from_second(self.until.as_second() - good / 5).unwrap_or(self.until)
    }

    /// Reads a certificate's times.
    fn read(pem: &[u8]) -> Result<Self, String> {
        let first = Pem::iter_from_buffer(pem).flatten().find(|pem| pem.label == "CERTIFICATE");
        let pem = first.ok_or("there is no CERTIFICATE in it")?;
        let certificate = pem.parse_x509().map_err(|why| why.to_string())?;
        let validity = certificate.validity();
        let time = |seconds| Timestamp::from_second(seconds).map_err(|why| why.to_string());
        Ok(Self {
            from: time(validity.not_before.timestamp())?,
            until: time(validity.not_after.timestamp())?,
        })
    }
}

/// A directory of certificates.
pub struct Store {
    directory: PathBuf,
}

impl Store {
    /// In a directory, which is made when it is needed.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self { directory: directory.into() }
    }

    /// The link to the certificate that is used.
    pub fn current(&self) -> PathBuf {
        self.directory.join("multus-client-current.pem")
    }

    /// The certificate that is used, if there is one.
    ///
    /// # Errors
    /// The file is there and is none.
    pub fn load(&self) -> Result<Option<Stored>, StoreError> {
        let Some(pem) = files::read(&self.current())? else { return Ok(None) };
        let stored = Stored::read(&pem);
        stored.map(Some).map_err(|why| StoreError::Content { path: self.current(), why })
    }

    /// Stores a certificate with its key, and uses it from now on. Whoever reads the link sees the old or the new one, never half of one.
    ///
    /// # Errors
    /// What is given is no certificate, or the directory cannot be written.
    pub fn save(&self, certificate: &[u8], key: &str, now: Timestamp) -> Result<Stored, StoreError> {
        let file = self.directory.join(format!("multus-client-{}.pem", now.strftime("%Y-%m-%d-%H-%M-%S")));
        let stored =
            Stored::read(certificate).map_err(|why| StoreError::Content { path: file.clone(), why })?;
        let failed = |source| FileError::Write { path: file.clone(), source };
        fs::create_dir_all(&self.directory).map_err(failed)?;
        files::replace(&file, &[certificate, b"\n", key.as_bytes()].concat(), 0o600)?;
        let linked = files::beside(&self.current(), |new| symlink(file.file_name().unwrap_or_default(), new));
        linked.map_err(|source| FileError::Write { path: self.current(), source })?;
        self.forget_others(&file).map_err(failed)?;
        Ok(stored)
    }

    fn forget_others(&self, kept: &Path) -> io::Result<()> {
        let is_old = |path: &PathBuf| {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            path != kept
                && *path != self.current()
                && name.starts_with("multus-client-")
                && name.ends_with(".pem")
        };
        let files = fs::read_dir(&self.directory)?.flatten().map(|entry| entry.path());
        files.filter(is_old).try_for_each(fs::remove_file)
    }
}
