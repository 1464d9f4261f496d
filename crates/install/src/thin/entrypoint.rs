//! Installs, writes, and keeps fresh until the end.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use polynic_cni::cause::chain;

use crate::files::{self, FileError};
use crate::follow::{MOMENT, Why};
use crate::generate::remove_twin;
use crate::node::Node;
use crate::programs::Programs;
use crate::thin::credentials::{Credentials, CredentialsError};
use crate::thin::document::{DocumentError, document, named};
use crate::thin::master::Master;
use crate::thin::options::Options;
use crate::watch::{Stop, Watch, Woken};

/// Of the configuration and of the credentials.
const MODE: u32 = 0o600;

/// Why the entry point ends.
#[derive(Debug, thiserror::Error)]
pub enum ThinError {
    /// A path that a flag names does not exist.
    #[error("--{flag}: {} does not exist", .path.display())]
    NotThere {
        /// The flag.
        flag: &'static str,
        /// Its path.
        path: PathBuf,
    },
    /// There is no master configuration.
    #[error("cannot find a master configuration in {}: {why}", .directory.display())]
    NoMaster {
        /// Where it was looked for.
        directory: PathBuf,
        /// What was found.
        why: Why,
    },
    /// The master configuration cannot be used.
    #[error(transparent)]
    Document(#[from] DocumentError),
    /// There are no credentials for the plugin.
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    /// A file cannot be read, written or removed.
    #[error(transparent)]
    File(#[from] FileError),
}

/// Looks a variable of the environment up.
pub type Environment = Box<dyn Fn(&str) -> Option<String> + Send>;

/// `thin_entrypoint`, with what it takes from its surroundings.
pub struct Entrypoint {
    /// The command line.
    pub options: Options,
    /// The environment.
    pub environment: Environment,
    /// The pod's service account, usually [`super::SERVICE_ACCOUNT`].
    pub service_account: PathBuf,
    /// How long the master configuration may be missing before another one takes its place, usually [`MOMENT`].
    pub moment: Duration,
}

impl Entrypoint {
    /// In a pod.
    pub fn of_pod(options: Options) -> Self {
        Self {
            options,
            environment: Box::new(|name| std::env::var(name).ok()),
            service_account: super::SERVICE_ACCOUNT.into(),
            moment: MOMENT,
        }
    }

    /// Puts everything in place, keeps it fresh until the end, and cleans up if that was asked for.
    ///
    /// # Errors
    /// Something cannot be put in place. What goes wrong later is told and tried again.
    pub fn run(&self, stop: &Stop) -> Result<(), ThinError> {
        self.verify()?;
        self.install()?;
        self.refresh_credentials()?;
        let mut master = Master::find(&self.options, self.moment)?;
        let watch = Watch::new(self.watched());
        self.configure(&mut master)?;
        tracing::info!("multus is installed and configured");
        let mut said = None;
        // A moment's end is no event: it has to be looked for.
        while watch.wait(stop, Duration::from_secs(1)) == Woken::Look {
            let problem = self.refresh(&mut master).err().map(|why| chain(&why));
            if let Some(problem) = problem.as_ref().filter(|_| said != problem) {
                tracing::warn!("everything stays as it is: {problem}");
            }
            said = problem;
        }
        self.end(&master)
    }

    fn end(&self, master: &Master) -> Result<(), ThinError> {
        if self.options.cleanup || self.options.uninstall {
            self.clean_up(master)?;
        }
        let (programs, configurations) = (self.options.bin_dir.clone(), self.options.conf_dir.clone());
        if self.options.uninstall {
            Ok(Node { programs, configurations, made: Vec::new() }.uninstall()?)
        } else {
            Ok(())
        }
    }

    fn user_file(&self) -> Option<&Path> {
        let file = Path::new(&self.options.conf_file);
        (self.options.conf_file != "auto").then_some(file)
    }

    fn verify(&self) -> Result<(), ThinError> {
        let o = &self.options;
        let paths: [(_, &Path); 3] =
            [("cni-bin-dir", &o.bin_dir), ("cni-conf-dir", &o.conf_dir), ("multus-bin-file", &o.bin_file)];
        let user_file = self.user_file().map(|file| ("multus-conf-file", file));
        for (flag, path) in paths.into_iter().chain(user_file) {
            if !path.exists() {
                return Err(ThinError::NotThere { flag, path: path.to_owned() });
            }
        }
        make_directory(&o.networks_dir)
    }

    fn install(&self) -> Result<(), ThinError> {
        if self.options.skip_binary_copy {
            return Ok(());
        }
        Ok(Programs::new(&self.options.bin_dir).install(&self.options.bin_file, ["multus"])?)
    }

    fn credentials_file(&self) -> PathBuf {
        self.options.conf_dir.join("multus.d/multus.kubeconfig")
    }

    /// Writes the credentials if they are not what they should be: tokens expire, and authorities change.
    fn refresh_credentials(&self) -> Result<(), ThinError> {
        let credentials =
            Credentials::of_pod(&self.environment, &self.service_account, self.options.skip_tls_verify)?;
        let (file, text) = (self.credentials_file(), credentials.kubeconfig());
        if files::read(&file)?.as_deref() == Some(text.as_bytes()) {
            return Ok(());
        }
        make_directory(file.parent().unwrap_or(&self.options.conf_dir))?;
        Ok(files::replace(&file, text.as_bytes(), MODE)?)
    }

    fn watched(&self) -> [PathBuf; 3] {
        [self.options.conf_dir.clone(), self.options.autoconfig_dir.clone(), self.service_account.clone()]
    }

    fn refresh(&self, master: &mut Master) -> Result<(), ThinError> {
        self.refresh_credentials()?;
        if self.options.skip_watch { Ok(()) } else { self.configure(master) }
    }

    fn configure(&self, master: &mut Master) -> Result<(), ThinError> {
        if let Some(file) = self.user_file() {
            return self.copy(file);
        }
        match self.options.cluster_network.as_str() {
            "" | "auto" => {}
            network => return self.write(named(&self.options, network)),
        }
        let Some((name, primary)) = master.now(Instant::now())? else { return Ok(()) };
        if self.options.cluster_network.is_empty() {
            self.write(document(&self.options, &primary)?)?;
        } else {
            self.write(named(&self.options, primary.name()))?;
        }
        master.put_aside(&name)
    }

    fn write(&self, (file, bytes): (&str, Vec<u8>)) -> Result<(), ThinError> {
        let output = self.options.conf_dir.join(file);
        if files::read(&output)?.as_ref() == Some(&bytes) {
            return Ok(());
        }
        files::replace(&output, &bytes, MODE)?;
        Ok(remove_twin(&output)?)
    }

    fn copy(&self, file: &Path) -> Result<(), ThinError> {
        let output = self.options.conf_dir.join(file.file_name().unwrap_or_default());
        if files::read(&output)? != files::read(file)? {
            files::copy(file, &output)?;
        }
        Ok(())
    }

    fn clean_up(&self, master: &Master) -> Result<(), ThinError> {
        let own = |name: &str| files::remove(&self.options.conf_dir.join(name));
        match self.user_file().and_then(Path::file_name).and_then(|name| name.to_str()) {
            Some(name) => own(name)?,
            None => own("00-multus.conf").and(own("00-multus.conflist"))?,
        }
        master.put_back()
    }
}

fn make_directory(path: &Path) -> Result<(), ThinError> {
    let made = fs::create_dir_all(path);
    Ok(made.map_err(|source| FileError::Write { path: path.to_owned(), source })?)
}
