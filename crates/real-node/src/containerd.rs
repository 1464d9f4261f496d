//! Debian's containerd, in a machine of its own.

use std::fs;
use std::path::{Path, PathBuf};

use crate::cri::Cri;
use crate::image::{self, IMAGE};
use crate::process::Process;
use crate::space::Space;
use crate::tools;
use crate::wait;

/// A container runtime that runs; it ends when dropped, its containers end with the machine.
#[derive(Debug)]
pub struct Containerd {
    process: Process,
    directory: PathBuf,
    conf_dir: PathBuf,
}

/// Where a runtime looks, as paths of its machine.
#[derive(Clone, Copy, Debug)]
pub struct Places<'a> {
    /// For plugins.
    pub bin_dir: &'a Path,
    /// For network configurations.
    pub conf_dir: &'a Path,
}

impl Containerd {
    /// Starts containerd in `space`, with the plugins of `bin_dir` and the configurations of [`Containerd::conf_dir`], and gives it the
    /// tests' image.
    ///
    /// # Panics
    /// It does not start.
    pub fn start(space: &Space, bin_dir: &Path) -> Self {
        let conf_dir = space.directory().join("net.d");
        fs::create_dir_all(&conf_dir).unwrap();
        Self::start_with(space, Places { bin_dir, conf_dir: &conf_dir })
    }

    /// The same with other directories, which are there.
    ///
    /// # Panics
    /// It does not start.
    pub fn start_with(space: &Space, places: Places<'_>) -> Self {
        let directory = space.directory().to_owned();
        fs::write(directory.join("containerd.toml"), config(&directory, places)).unwrap();
        let process = spawn(space, &directory);
        let this = Self { process, directory, conf_dir: places.conf_dir.to_owned() };
        this.wait_until_served();
        this.load(space, &image::write(&this.directory));
        this
    }

    /// Gives it an image.
    ///
    /// # Panics
    /// It does not take the file.
    pub fn load(&self, space: &Space, image: &Path) {
        let socket = self.socket();
        let ctr = ["--address", text(&socket), "--namespace", "k8s.io", "images", "import", text(image)];
        space.run("ctr", &ctr);
    }

    /// Kills containerd and starts it anew; containers go on running meanwhile.
    ///
    /// # Panics
    /// It does not start.
    pub fn restart(&mut self, space: &Space) {
        self.process.kill();
        self.process = spawn(space, &self.directory);
        self.wait_until_served();
    }

    /// Where containerd looks for network configurations, as a path of its machine.
    pub fn conf_dir(&self) -> PathBuf {
        self.conf_dir.clone()
    }

    /// The socket it serves.
    pub fn socket(&self) -> PathBuf {
        self.directory.join("containerd.sock")
    }

    /// The end of its log, for people.
    pub fn last_words(&self) -> String {
        self.process.last_words()
    }

    fn wait_until_served(&self) {
        let served = || match Cri::new(&self.socket()).is_ready() {
            // Without a configuration the network is not ready, which is the test's business.
            Ok(()) => Some(()),
            Err(why) => why.starts_with("NetworkReady").then_some(()),
        };
        wait::until("containerd serves", served, || self.last_words());
    }
}

fn spawn(space: &Space, directory: &Path) -> Process {
    let mut command = space.command(tools::find("containerd").expect("looked for before"));
    command.arg("--config").arg(directory.join("containerd.toml"));
    Process::start(command, &directory.join("containerd.log"))
}

fn config(directory: &Path, places: Places<'_>) -> String {
    let (directory, bin_dir, conf_dir) =
        (directory.display(), places.bin_dir.display(), places.conf_dir.display());
    format!(
        r#"version = 2
root = "/var/lib/containerd"
state = "/run/containerd"
[grpc]
address = "{directory}/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{IMAGE}"
disable_apparmor = true
restrict_oom_score_adj = true
disable_hugetlb_controller = true
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "{bin_dir}"
conf_dir = "{conf_dir}"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
"#
    )
}

fn text(path: &Path) -> &str {
    path.to_str().expect("temporary directories have plain names")
}
