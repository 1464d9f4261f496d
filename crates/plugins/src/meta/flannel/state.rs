//! Notes of delegates, one file per attachment, and the files of the replaced plugin (spec/flannel.md 13, "State key").
//!
//! The replaced plugin has one file per container, `<dataDir>/<container id>`, whatever the interface. We keep
//! `<dataDir>/<container id>:<interface>` (neither may hold a colon), and write the other file as well, as it would: whoever rolls
//! back to it finds what its DEL needs.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use polynic_cni::GoMap;
use polynic_cni::json;

use crate::Call;

/// A note of one attachment's delegate.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Note {
    /// Its file.
    pub(super) file: PathBuf,
    /// Whose it is.
    pub(super) container_id: String,
    /// The interface; absent in the replaced plugin's files.
    pub(super) ifname: Option<String>,
    /// The delegate's configuration.
    pub(super) text: String,
}

impl Note {
    /// The network that the delegate served.
    pub(super) fn network(&self) -> Option<String> {
        let delegate = json::parse_object(self.text.as_bytes()).ok()?;
        GoMap(&delegate).string("name").ok().map(str::to_owned)
    }
}

/// A directory of notes.
pub(super) struct Notes {
    directory: PathBuf,
}

impl Notes {
    pub(super) fn new(directory: &Path) -> Self {
        Self { directory: directory.to_owned() }
    }

    /// What is noted of exactly this attachment.
    pub(super) fn own(&self, call: &Call<'_>) -> Option<String> {
        fs::read_to_string(self.file(call.container_id(), call.ifname.as_str())).ok()
    }

    /// The note of an attachment; else the replaced plugin's, if we have none of any interface of the container.
    pub(super) fn find(&self, container_id: &str, ifname: &str) -> Option<Note> {
        let note = |file: PathBuf, ifname: Option<&str>| {
            let text = fs::read_to_string(&file).ok()?;
            let (container_id, ifname) = (container_id.to_owned(), ifname.map(str::to_owned));
            Some(Note { file, container_id, ifname, text })
        };
        let own = note(self.file(container_id, ifname), Some(ifname));
        own.or_else(|| {
            let others = self.interfaces_of(container_id);
            if others.is_empty() { note(self.directory.join(container_id), None) } else { None }
        })
    }

    /// Writes the note of an attachment, and the replaced plugin's.
    pub(super) fn write(&self, call: &Call<'_>, text: &str) -> io::Result<()> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.directory)?;
        self.write_file(&self.file(call.container_id(), call.ifname.as_str()), text)?;
        self.write_file(&self.directory.join(call.container_id()), text)
    }

    /// Complete or not at all, and durable: addresses that are held outlive a reboot, and so must what releases them.
    fn write_file(&self, file: &Path, text: &str) -> io::Result<()> {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        let new = self.directory.join(format!(".{name}.{}.new", std::process::id()));
        let _ = fs::remove_file(&new);
        let mut open = fs::File::options().write(true).create_new(true).mode(0o600).open(&new)?;
        open.write_all(text.as_bytes()).and_then(|()| open.sync_all())?;
        fs::rename(&new, file)
    }

    /// Removes the note of an attachment.
    pub(super) fn remove(&self, call: &Call<'_>) {
        if let Some(note) = self.find(call.container_id(), call.ifname.as_str()) {
            self.forget(&note);
        }
    }

    /// Removes a note, and the replaced plugin's if it says the same or nobody of the container is left.
    pub(super) fn forget(&self, note: &Note) {
        let _ = fs::remove_file(&note.file);
        let old = self.directory.join(&note.container_id);
        let same = fs::read_to_string(&old).is_ok_and(|text| text == note.text);
        if same || self.interfaces_of(&note.container_id).is_empty() {
            let _ = fs::remove_file(&old);
        }
    }

    /// All notes, each of an interface where we wrote it. The replaced plugin's file beside ours is none of its own.
    pub(super) fn all(&self) -> Vec<Note> {
        let names = self.names();
        let has_own =
            |id: &str| names.iter().any(|name| name.split_once(':').is_some_and(|(own, _)| own == id));
        let notes = names.iter().filter_map(|name| {
            let (id, ifname) = match name.split_once(':') {
                Some((id, ifname)) => (id, Some(ifname.to_owned())),
                None if has_own(name) => return None,
                None => (name.as_str(), None),
            };
            let file = self.directory.join(name);
            let text = fs::read_to_string(&file).ok()?;
            Some(Note { file, container_id: id.to_owned(), ifname, text })
        });
        notes.collect()
    }

    /// Keeps other processes from what this file guards: the choice of a store.
    pub(super) fn lock(&self) -> io::Result<fs::File> {
        let file =
            fs::File::options().create(true).append(true).mode(0o600).open(self.directory.join(".lock"))?;
        file.lock()?;
        Ok(file)
    }

    fn file(&self, container_id: &str, ifname: &str) -> PathBuf {
        self.directory.join(format!("{container_id}:{ifname}"))
    }

    fn interfaces_of(&self, container_id: &str) -> Vec<String> {
        let prefix = format!("{container_id}:");
        self.names().into_iter().filter(|name| name.starts_with(&prefix)).collect()
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.directory).into_iter().flatten().flatten();
        let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
        let mut names: Vec<String> = names.filter(|name| !name.starts_with('.')).collect();
        names.sort();
        names
    }
}
