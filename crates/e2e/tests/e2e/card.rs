//! An SR-IOV card: a `netdevsim` link takes the settings of functions, and a tree like sysfs names another link as one of them. There
//! is no simulated card that has both.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use polynic_e2e::{Node, left_to_vm};

/// The number of the function that is used.
const NUMBER: u32 = 2;

/// A card with four functions in a node; gone with this value.
pub(crate) struct Card {
    /// The physical function's link.
    pub(crate) pf: String,
    /// The address of the function whose link is known.
    pub(crate) vf: String,
    device: String,
    sysfs: PathBuf,
}

impl Card {
    /// Puts a card into the node, whose function 2 has the node's link `link`. Nothing if this kernel has no such cards.
    pub(crate) fn insert(node: &Node, link: &str) -> Option<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let sysfs = PathBuf::from(node.directory()).join("sysfs");
        fs::create_dir(&sysfs).unwrap();
        // Shows the node's links, where the machine allows it.
        mount("sysfs", sysfs.to_str().unwrap());
        if !sysfs.join("bus/netdevsim/new_device").exists() {
            left_to_vm("netdevsim");
            return None;
        }
        hide_machine();
        let number = 1000 + COUNT.fetch_add(1, Ordering::Relaxed);
        fs::write(sysfs.join("bus/netdevsim/new_device"), format!("{number} 1")).unwrap();
        let device = sysfs.join(format!("bus/netdevsim/devices/netdevsim{number}"));
        fs::write(device.join("sriov_numvfs"), "4").unwrap();
        let pf = fs::read_dir(device.join("net")).unwrap().next().unwrap().unwrap();
        // Tests share the tree below.
        let (made, pf) = (pf.file_name().into_string().unwrap(), format!("pf{number}"));
        node.ip(&format!("link set {made} name {pf}"));
        let card = Self { pf, vf: format!("{number:04x}:3b:02.{NUMBER}"), device: number.to_string(), sysfs };
        card.describe(link);
        Some(card)
    }

    fn physical(&self) -> String {
        self.vf.replace(&format!("02.{NUMBER}"), "00.0")
    }

    /// What the plugin reads about the card.
    fn describe(&self, link: &str) {
        let devices = PathBuf::from("/sys/bus/pci/devices");
        let (pf, vf) = (devices.join(self.physical()), devices.join(&self.vf));
        fs::create_dir_all(pf.join("net").join(&self.pf)).unwrap();
        fs::create_dir_all(&vf).unwrap();
        symlink(format!("../{}", self.physical()), vf.join("physfn")).unwrap();
        symlink(format!("../{}", self.vf), pf.join(format!("virtfn{NUMBER}"))).unwrap();
        let class = PathBuf::from("/sys/class/net").join(&self.pf);
        fs::create_dir_all(&class).unwrap();
        symlink(&pf, class.join("device")).unwrap();
        fs::create_dir_all(vf.join("net").join(link)).unwrap();
    }

    /// A driver in user space takes the function.
    pub(crate) fn bind(&self, driver: &str) {
        let vf = PathBuf::from("/sys/bus/pci/devices").join(&self.vf);
        fs::remove_dir_all(vf.join("net")).unwrap();
        symlink(format!("../../drivers/{driver}"), vf.join("driver")).unwrap();
    }

    /// What `ip` says of the function.
    pub(crate) fn settings(&self, node: &Node) -> String {
        let pf = self.pf.clone();
        let show = move || Command::new("ip").args(["link", "show", "dev", &pf]).output().unwrap();
        let text = String::from_utf8(node.netns().run(show).unwrap().stdout).unwrap();
        let line = text.lines().find(|line| line.trim_start().starts_with(&format!("vf {NUMBER} ")));
        line.unwrap().split_whitespace().collect::<Vec<_>>().join(" ")
    }
}

impl Drop for Card {
    fn drop(&mut self) {
        // What is left goes with the process.
        let _ = fs::write(self.sysfs.join("bus/netdevsim/del_device"), &self.device);
        let _ = Command::new("umount").arg("-l").arg(&self.sysfs).status();
    }
}

/// Puts empty directories over the machine's /sys and /var/lib, for this process and those it starts.
fn hide_machine() {
    static DONE: OnceLock<()> = OnceLock::new();
    DONE.get_or_init(|| {
        ["/sys", "/var/lib"].iter().for_each(|place| assert!(mount("tmpfs", place), "{place}"))
    });
}

/// Mounts in the namespaces of the calling thread.
fn mount(kind: &str, place: &str) -> bool {
    let output = Command::new("mount").args(["-t", kind, "none", place]).output();
    output.is_ok_and(|output| output.status.success())
}
