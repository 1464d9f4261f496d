//! Looks, decides, writes; until the end.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use polynic_cni::JsonMap;
use polynic_cni::cause::chain;
use polynic_cni::json::{self, get_ci};
use serde_json::Value;

use crate::candidates;
use crate::files::{self, FileError};
use crate::follow::{Follow, MOMENT, Verdict, Why};
use crate::generate::document::document;
use crate::generate::error::GenerateError;
use crate::generate::settings::{Settings, Source};
use crate::primary::{Primary, check_versions};
use crate::watch::{Stop, Watch, Woken};

/// File names that begin so are ours.
const OWN: &str = "00-multus";
/// What the replaced daemon's file has.
const MODE: u32 = 0o600;
/// A file of ours that somebody else takes away is put back no more often than this.
const PUT_BACK: Duration = Duration::from_secs(1);

/// How long things are waited for at the start.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// For the readiness file.
    pub readiness: Duration,
    /// For a primary configuration.
    pub primary: Duration,
    /// For a primary that is missing, before another one takes its place.
    pub moment: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { readiness: Duration::from_secs(45), primary: Duration::from_secs(120), moment: MOMENT }
    }
}

/// Whether the default network is ready; true where no readiness file is configured.
#[derive(Clone, Debug)]
pub struct Readiness(Arc<AtomicBool>);

impl Readiness {
    /// As far as is known now.
    pub fn is_ready(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Generates the configuration.
pub struct Generator {
    settings: Settings,
    patience: Patience,
    follow: Follow,
    ready: Readiness,
    /// The last content that was good.
    wanted: Option<Vec<u8>>,
    /// When the file was last put back.
    put_back: Option<Instant>,
    /// What was last said, so that it is said once.
    said: Option<String>,
}

impl Generator {
    /// A generator that has not looked yet.
    pub fn new(settings: Settings) -> Self {
        Self::with_patience(settings, Patience::default())
    }

    /// The same, waiting longer or less.
    pub fn with_patience(settings: Settings, patience: Patience) -> Self {
        let previous = previous_primary(&settings);
        Self {
            follow: Follow::new(settings.primary.clone(), previous, patience.moment),
            ready: Readiness(Arc::new(AtomicBool::new(settings.readiness_file.is_none()))),
            settings,
            patience,
            wanted: None,
            put_back: None,
            said: None,
        }
    }

    /// For whoever has to know whether the default network is ready.
    pub fn readiness(&self) -> Readiness {
        self.ready.clone()
    }

    /// Waits for the readiness file and for a primary that can be wrapped. Ends early, without an error, when the end comes.
    ///
    /// # Errors
    /// They do not come in time, or the versions do not fit.
    pub fn prepare(&mut self, stop: &Stop) -> Result<(), GenerateError> {
        let watch = self.watch();
        let started = Instant::now();
        while !self.look_ready() {
            let left = self.patience.readiness.saturating_sub(started.elapsed());
            if left.is_zero() {
                return Err(GenerateError::NotReady(
                    self.settings.readiness_file.clone().unwrap_or_default(),
                ));
            }
            if watch.wait(stop, left) == Woken::Stopped {
                return Ok(());
            }
        }
        self.await_content(&watch, stop)
    }

    fn await_content(&mut self, watch: &Watch, stop: &Stop) -> Result<(), GenerateError> {
        let started = Instant::now();
        loop {
            let Err(why) = self.look()? else { return Ok(()) };
            let left = self.patience.primary.saturating_sub(started.elapsed());
            if left.is_zero() {
                return Err(GenerateError::NoPrimary { directory: self.settings.primaries.clone(), why });
            }
            self.say(&format!("waiting for a primary configuration: {why}"));
            // Not longer than a moment: it may be what ends the wait.
            if watch.wait(stop, left.min(Duration::from_secs(1))) == Woken::Stopped {
                return Ok(());
            }
        }
    }

    /// Writes the configuration, and keeps it true until the end.
    ///
    /// # Errors
    /// It cannot be written at first. Later failures are told and tried again.
    pub fn keep(&mut self, stop: &Stop) -> Result<(), GenerateError> {
        let watch = self.watch();
        self.put()?;
        let mut pause = Duration::ZERO;
        while watch.wait(stop, pause) == Woken::Look {
            pause = match self.pass() {
                Ok(()) => Duration::MAX,
                Err(why) => {
                    self.say(&chain(&why));
                    PUT_BACK
                }
            };
            // Something is not in order, or was not a moment ago.
            if self.put_back.is_some() || self.said.is_some() {
                pause = PUT_BACK;
            }
        }
        if self.settings.remove_at_end {
            files::remove(&self.settings.output())?;
        }
        Ok(())
    }

    fn watch(&self) -> Watch {
        let user_file = match &self.settings.source {
            Source::Primary => None,
            Source::File(path) => path.parent(),
        };
        let readiness = self.settings.readiness_file.as_deref().and_then(Path::parent);
        let mut directories = vec![self.settings.primaries.clone(), self.settings.directory.clone()];
        directories.extend([user_file, readiness].into_iter().flatten().map(Path::to_owned));
        directories.dedup();
        Watch::new(directories)
    }

    /// One look at everything, and what follows from it.
    fn pass(&mut self) -> Result<(), GenerateError> {
        let was = self.ready.is_ready();
        if self.look_ready() != was {
            let file = self.settings.readiness_file.clone().unwrap_or_default();
            tracing::warn!(file = %file.display(), ready = !was, "the readiness of the default network has changed");
        }
        match self.look() {
            Ok(Ok(())) => self.said = None,
            Ok(Err(why)) => self.say(&format!("the configuration stays as it is: {why}")),
            // What cannot be wrapped, or read, is no reason to take away what works.
            Err(why) => self.say(&format!("the configuration stays as it is: {}", chain(&why))),
        }
        self.put()
    }

    fn look_ready(&self) -> bool {
        let ready = self.settings.readiness_file.as_deref().is_none_or(Path::exists);
        self.ready.0.store(ready, Ordering::Relaxed);
        ready
    }

    /// Makes [`Generator::wanted`] what it should be now, or says why it stays.
    fn look(&mut self) -> Result<Result<(), Why>, GenerateError> {
        match self.settings.source.clone() {
            Source::File(path) => self.look_at_user_file(&path).map(Ok),
            Source::Primary => self.look_at_primaries(),
        }
    }

    fn look_at_user_file(&mut self, path: &Path) -> Result<(), GenerateError> {
        let missing =
            || FileError::Read { path: path.to_owned(), source: std::io::ErrorKind::NotFound.into() };
        let bytes = files::read(path)?.ok_or_else(missing)?;
        Primary::parse(&bytes).map_err(|why| GenerateError::UserFile { path: path.to_owned(), why })?;
        self.wanted = Some(bytes);
        Ok(())
    }

    fn look_at_primaries(&mut self) -> Result<Result<(), Why>, GenerateError> {
        let candidates = candidates::read(&self.settings.primaries, OWN);
        let (name, primary) = match self.follow.decide(Instant::now(), &candidates) {
            Verdict::Keep(why) => return Ok(Err(why)),
            Verdict::Use(name, primary) => (name, primary),
        };
        let path = self.settings.primaries.join(name);
        let own = &self.settings.copied.cni_version;
        if self.settings.force_version && primary.version() != own {
            force_version(&path, primary, own)?;
        } else {
            check_versions(own, primary.version())
                .map_err(|why| GenerateError::Version { primary: path.clone(), why })?;
        }
        self.wanted = Some(document(&self.settings.copied, &path, primary));
        Ok(Ok(()))
    }

    /// Makes the file what is wanted.
    fn put(&mut self) -> Result<(), GenerateError> {
        let Some(wanted) = &self.wanted else { return Ok(()) };
        let output = self.settings.output();
        let there = files::read(&output)?;
        if there.as_ref() == Some(wanted) {
            self.put_back = self.put_back.filter(|at| at.elapsed() < PUT_BACK);
            return Ok(());
        }
        // Whoever renames everything in the directory would answer each file of ours at once, for ever.
        if there.is_none() && self.put_back.is_some_and(|at| at.elapsed() < PUT_BACK) {
            return Ok(());
        }
        files::replace(&output, wanted, MODE)?;
        tracing::info!(file = %output.display(), "wrote the configuration");
        self.put_back = Some(Instant::now());
        Ok(remove_twin(&output)?)
    }

    fn say(&mut self, text: &str) {
        if self.said.as_deref() != Some(text) {
            tracing::warn!("{text}");
            self.said = Some(text.to_owned());
        }
    }
}

/// What the file that is there says about the primary, if it is in our directory of primaries.
fn previous_primary(settings: &Settings) -> Option<String> {
    let conf = json::parse_object(&files::read(&settings.output()).ok()??).ok()?;
    let path = PathBuf::from(get_ci(&conf, "clusterNetwork")?.as_str()?);
    let name = path.file_name()?.to_str()?.to_owned();
    (path.parent() == Some(settings.primaries.as_path())).then_some(name)
}

/// Writes a primary with our version over it, with the permissions that it has.
fn force_version(path: &Path, primary: &Primary, own: &str) -> Result<(), FileError> {
    use std::os::unix::fs::PermissionsExt;
    let mode = path.metadata().map_or(0o644, |meta| meta.permissions().mode() & 0o7777);
    let conf = Value::Object(primary.clone().with_version(own).conf().clone());
    files::replace(path, conf.to_string().as_bytes(), mode)
}

/// Removes the other form of our file, which an earlier installation may have left and a runtime might take instead.
pub(crate) fn remove_twin(output: &Path) -> Result<(), FileError> {
    let twin = match output.file_name().and_then(|name| name.to_str()) {
        Some("00-multus.conf") => output.with_file_name("00-multus.conflist"),
        Some("00-multus.conflist") => output.with_file_name("00-multus.conf"),
        _ => return Ok(()),
    };
    if files::read(&twin)?.is_some_and(|bytes| is_multus(&bytes)) {
        files::remove(&twin)?;
    }
    Ok(())
}

/// Whether a configuration is one of Multus.
pub(crate) fn is_multus(bytes: &[u8]) -> bool {
    let is_type = |conf: &JsonMap| {
        get_ci(conf, "type").and_then(Value::as_str).is_some_and(|t| ["multus", "multus-shim"].contains(&t))
    };
    let Ok(conf) = json::parse_object(bytes) else { return false };
    let plugins = get_ci(&conf, "plugins").and_then(Value::as_array);
    is_type(&conf) || plugins.into_iter().flatten().filter_map(Value::as_object).any(is_type)
}
