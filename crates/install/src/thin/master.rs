//! The master configuration in thin mode, which may be put aside as `<name>.old` once it stands in ours.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::candidates;
use crate::files::FileError;
use crate::follow::{Follow, Verdict, Why};
use crate::primary::Primary;
use crate::thin::entrypoint::ThinError;
use crate::thin::options::Options;

/// File names that begin so are ours.
const OWN: &str = "00-multus.conf";
/// The ending of a master configuration that was put aside.
const ASIDE: &str = ".old";

/// Finds the master configuration, and follows it.
pub(super) struct Master {
    directory: PathBuf,
    named: Option<String>,
    rename: bool,
    follow: Follow,
    /// Whether it was found before: from then on it may be missing.
    found: bool,
}

impl Master {
    /// With `--rename-conf-file`, one that an earlier run put aside is put back first.
    pub(super) fn find(options: &Options, moment: Duration) -> Result<Self, ThinError> {
        let named = Some(options.master.clone()).filter(|name| !name.is_empty());
        let master = Self {
            directory: options.autoconfig_dir.clone(),
            follow: Follow::new(named.clone(), None, moment),
            named,
            rename: options.rename,
            found: false,
        };
        let is_there = candidates::read(&master.directory, OWN).keys().any(|name| master.may_be(name));
        if !is_there {
            master.put_back()?;
        }
        Ok(master)
    }

    fn may_be(&self, name: &str) -> bool {
        self.named.as_deref().is_none_or(|named| named == name)
    }

    /// The configuration as it should be used now; `None` if there is nothing to do.
    pub(super) fn now(&mut self, now: Instant) -> Result<Option<(String, Primary)>, ThinError> {
        let candidates = candidates::read(&self.directory, OWN);
        match self.follow.decide(now, &candidates) {
            Verdict::Use(name, primary) => {
                self.found = true;
                Ok(Some((name.to_owned(), primary.clone())))
            }
            // It was put aside by ourselves.
            Verdict::Keep(Why::Missing(_)) if self.found && self.rename => Ok(None),
            Verdict::Keep(why) => Err(ThinError::NoMaster { directory: self.directory.clone(), why }),
        }
    }

    /// Renames the master to `<name>.old`, if that was asked for. From then on no other file may take its place.
    pub(super) fn put_aside(&mut self, name: &str) -> Result<(), ThinError> {
        if !self.rename {
            return Ok(());
        }
        self.follow = Follow::new(Some(name.to_owned()), None, Duration::ZERO);
        rename(&self.directory.join(name), &self.directory.join(format!("{name}{ASIDE}")))
    }

    /// Undoes it, unless there is a new master.
    pub(super) fn put_back(&self) -> Result<(), ThinError> {
        if !self.rename {
            return Ok(());
        }
        let Some(aside) = self.aside() else { return Ok(()) };
        let back = aside.with_extension("");
        if back.exists() { Ok(()) } else { rename(&aside, &back) }
    }

    /// The first that was put aside.
    fn aside(&self) -> Option<PathBuf> {
        let entries = fs::read_dir(&self.directory).into_iter().flatten().flatten();
        let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
        let aside = names.filter(|name| {
            name.strip_suffix(ASIDE)
                .is_some_and(|name| candidates::is_candidate(name, OWN) && self.may_be(name))
        });
        aside.min().map(|name| self.directory.join(name))
    }
}

fn rename(from: &Path, to: &Path) -> Result<(), ThinError> {
    Ok(fs::rename(from, to).map_err(|source| FileError::Write { path: to.to_owned(), source })?)
}
