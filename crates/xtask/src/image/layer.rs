//! Archives whose bytes depend on nothing but their entries.

use std::io::Write as _;

use anyhow::{Context as _, Result};
use flate2::{Compression, GzBuilder};
use tar::{Builder, EntryType, Header};

use super::Packing;
use super::contents::{Entry, What};

/// An archive of entries, in their order.
///
/// # Errors
/// A path is too long for an archive.
pub fn archive(entries: &[Entry<'_>]) -> Result<Vec<u8>> {
    let mut archive = Builder::new(Vec::new());
    for entry in entries {
        append(&mut archive, entry).with_context(|| format!("adding {}", entry.path))?;
    }
    Ok(archive.into_inner()?)
}

fn append(archive: &mut Builder<Vec<u8>>, entry: &Entry<'_>) -> Result<()> {
    let mut header = Header::new_gnu();
    header.set_mode(entry.mode);
    // Empty fields are no numbers to a strict reader.
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    let content: &[u8] = match &entry.what {
        What::File(content) => content,
        What::Directory | What::Link(_) | What::Symbolic(_) => &[],
    };
    header.set_size(content.len() as u64);
    match &entry.what {
        What::Directory => header.set_entry_type(EntryType::Directory),
        What::File(_) => header.set_entry_type(EntryType::Regular),
        What::Link(to) => {
            header.set_entry_type(EntryType::Link);
            return Ok(archive.append_link(&mut header, &entry.path, to)?);
        }
        What::Symbolic(to) => {
            header.set_entry_type(EntryType::Symlink);
            return Ok(archive.append_link(&mut header, &entry.path, to)?);
        }
    }
    Ok(archive.append_data(&mut header, &entry.path, content)?)
}

/// The same, compressed; without a time or a name in the header.
///
/// # Errors
/// As [`archive`].
pub fn compressed(entries: &[Entry<'_>], packing: Packing) -> Result<Vec<u8>> {
    let level = match packing {
        Packing::Compressed => Compression::best(),
        Packing::Plain => Compression::none(),
    };
    let mut gzip = GzBuilder::new().mtime(0).write(Vec::new(), level);
    gzip.write_all(&archive(entries)?)?;
    Ok(gzip.finish()?)
}
