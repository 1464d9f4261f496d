//! The file: every commit of the objects, durable. One owner; after an error it is opened anew, because what a half-written
//! commit left in memory cannot be trusted, while what is in the file can.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};

use super::StoreError;
use super::objects::{Objects, Overlay};

/// Objects by key.
const OBJECTS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("objects");
/// Numbers of the store itself: `revision`, `format`.
const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");
/// Layout of the two tables; raised when they change meaning.
const FORMAT: u64 = 1;
/// Memory that redb may use for pages; everything else is the kernel's page cache.
const CACHE_BYTES: usize = 4 << 20;
/// A file of this size is made smaller at the start, if it is mostly empty.
const LARGE: u64 = 32 << 20;

pub(super) struct File {
    path: PathBuf,
    /// Missing after an error, until it can be opened again.
    db: Option<Database>,
}

impl File {
    /// Opens the file at `path`, or makes it; answers what is in it, and its last revision.
    pub(super) fn open(path: &Path) -> Result<(Self, Objects, u64), StoreError> {
        let mut db = open_database(path)?;
        let revision = prepare(&db, path)?;
        let objects = read_all(&db)?;
        shrink(&mut db, path, &objects);
        Ok((Self { path: path.into(), db: Some(db) }, objects, revision))
    }

    /// Makes `changes` and `revision` durable: all of it, or nothing.
    pub(super) fn commit(&mut self, changes: &Overlay, revision: u64) -> Result<(), StoreError> {
        let db = match self.db.take() {
            Some(db) => db,
            None => open_database(&self.path)?,
        };
        // An error drops the database; the next commit opens it again.
        write(&db, changes, revision)?;
        self.db = Some(db);
        Ok(())
    }
}

fn write(db: &Database, changes: &Overlay, revision: u64) -> Result<(), StoreError> {
    let write = db.begin_write().map_err(write_error)?;
    {
        let mut objects = write.open_table(OBJECTS).map_err(write_error)?;
        for (key, body) in changes {
            match body {
                Some(body) => objects.insert(key.as_str(), body.as_ref()).map_err(write_error)?,
                None => objects.remove(key.as_str()).map_err(write_error)?,
            };
        }
        write.open_table(META).map_err(write_error)?.insert("revision", revision).map_err(write_error)?;
    }
    write.commit().map_err(write_error)
}

fn open_database(path: &Path) -> Result<Database, StoreError> {
    let failed = |source: redb::Error| StoreError::Open { path: path.into(), source: Arc::new(source) };
    let mut options = OpenOptions::new();
    // Secrets are in there.
    let file = options.read(true).write(true).create(true).truncate(false).mode(0o600).open(path);
    let file = file.map_err(|e| failed(redb::Error::Io(e)))?;
    Database::builder().set_cache_size(CACHE_BYTES).create_file(file).map_err(|e| failed(e.into()))
}

/// Makes the tables of a new store; answers the last revision of an old one.
fn prepare(db: &Database, path: &Path) -> Result<u64, StoreError> {
    let setup = db.begin_write().map_err(write_error)?;
    let (revision, is_new) = {
        let mut meta = setup.open_table(META).map_err(write_error)?;
        setup.open_table(OBJECTS).map_err(write_error)?;
        let found = meta.get("format").map_err(read_error)?.map(|v| v.value());
        if let Some(found) = found.filter(|found| *found != FORMAT) {
            return Err(StoreError::Format { path: path.into(), found });
        }
        if found.is_none() {
            meta.insert("format", FORMAT).map_err(write_error)?;
        }
        (meta.get("revision").map_err(read_error)?.map_or(0, |value| value.value()), found.is_none())
    };
    if is_new {
        setup.commit().map_err(write_error)?
    } else {
        setup.abort().map_err(write_error)?
    }
    Ok(revision)
}

fn read_all(db: &Database) -> Result<Objects, StoreError> {
    let table = db.begin_read().map_err(read_error)?.open_table(OBJECTS).map_err(read_error)?;
    let mut objects = Objects::new();
    for entry in table.iter().map_err(read_error)? {
        let (key, value) = entry.map_err(read_error)?;
        objects.insert(key.value().to_owned(), bytes::Bytes::copy_from_slice(value.value()));
    }
    Ok(objects)
}

/// What is deleted leaves room in the file, which later writes use; much of it is given back here. Worth no failure.
fn shrink(db: &mut Database, path: &Path, objects: &Objects) {
    let size = std::fs::metadata(path).map_or(0, |metadata| metadata.len());
    let used: usize = objects.iter().map(|(key, body)| key.len() + body.len()).sum();
    if size > LARGE && size / 4 > used as u64 {
        match db.compact() {
            Ok(_) => tracing::info!(path = %path.display(), size, used, "the object store was made smaller"),
            Err(error) => tracing::warn!(%error, "the object store cannot be made smaller"),
        }
    }
}

fn read_error(error: impl Into<redb::Error>) -> StoreError {
    StoreError::Read(Arc::new(error.into()))
}

fn write_error(error: impl Into<redb::Error>) -> StoreError {
    StoreError::Write(Arc::new(error.into()))
}
