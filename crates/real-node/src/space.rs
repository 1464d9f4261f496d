//! A machine made of namespaces, in which whatever is started ends with the value.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use polynic_kernel::netns::{Host, Netns};
use serde_json::Value;
use tempfile::TempDir;

use crate::process::children;

/// The host's directories to which a node writes: what it writes stays in the machine.
const COVERED: [&str; 3] = ["/etc", "/var/lib", "/var/log"];

/// Directories that are empty in a new machine.
const PRIVATE: [&str; 5] = ["/opt", "/etc/cni", "/var/lib/cni", "/var/lib/containerd", "/var/lib/kubelet"];

/// Settings of the one kernel that all machines share, which a kubelet changes: it gets copies.
const KERNEL: [&str; 6] = [
    "vm/overcommit_memory",
    "vm/panic_on_oom",
    "kernel/panic",
    "kernel/panic_on_oops",
    "kernel/keys/root_maxkeys",
    "kernel/keys/root_maxbytes",
];

/// Interface name to addresses.
pub type Interfaces = BTreeMap<String, Vec<String>>;

/// Network, mounts, processes and host name of one machine. Its first process is a shell that collects orphans; when it ends, the kernel
/// ends all others.
#[derive(Debug)]
pub struct Space {
    holder: Child,
    init: u32,
    directory: TempDir,
}

impl Space {
    /// A new machine with a loopback link, which is up, and nothing else. It forwards packets, as nodes do.
    ///
    /// # Panics
    /// The namespaces cannot be made.
    pub fn new(name: &str) -> Self {
        let directory = tempfile::Builder::new().prefix("polynic-node-").tempdir().unwrap();
        let script = script(name);
        let mut holder = Command::new("unshare")
            .args(["--mount", "--net", "--uts", "--pid", "--fork", "--kill-child", "--mount-proc"])
            .args(["--propagation", "private", "--", "bash", "-c", &script])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .process_group(0)
            .spawn()
            .unwrap();
        let mut ready = String::new();
        BufReader::new(holder.stdout.take().unwrap()).read_line(&mut ready).unwrap();
        assert_eq!(ready.trim(), "ready", "the machine {name} does not start");
        let init =
            children(holder.id()).first().expect("it was ready").as_raw_nonzero().get().cast_unsigned();
        Self { holder, init, directory }
    }

    /// A directory that looks the same from inside and outside.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// A command that will run inside.
    pub fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--target", &self.init.to_string(), "--mount", "--net", "--uts", "--pid", "--"]);
        command.arg(program.as_ref());
        for proxy in ["HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"] {
            command.env_remove(proxy);
        }
        command
    }

    /// Runs a command inside, and answers what it printed.
    ///
    /// # Panics
    /// It fails.
    pub fn run(&self, program: &str, args: &[&str]) -> String {
        let output = self.command(program).args(args).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{program} {args:?}: {}: {said}", output.status);
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs `ip` with each of these lines.
    ///
    /// # Panics
    /// One of them fails.
    pub fn ip(&self, lines: &str) {
        for line in lines.lines().map(str::trim).filter(|line| !line.is_empty()) {
            self.run("ip", &line.split_whitespace().collect::<Vec<_>>());
        }
    }

    /// Where a path of the machine is found from outside.
    pub fn outside(&self, path: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root{path}", self.init))
    }

    /// What is in a pod's network namespace, named by its path in the machine; without loopback and link-local addresses.
    ///
    /// # Panics
    /// There is no such namespace.
    pub fn interfaces(&self, netns: &str) -> Interfaces {
        self.try_interfaces(netns).unwrap_or_else(|| panic!("there is no namespace {netns}"))
    }

    /// The same; `None` if there is no such namespace.
    pub(crate) fn try_interfaces(&self, netns: &str) -> Option<Interfaces> {
        let name = netns.rsplit('/').next().unwrap_or_default();
        let output = self.command("ip").args(["-n", name, "-j", "address"]).output().unwrap();
        let links: Vec<Value> = serde_json::from_slice(&output.stdout).ok()?;
        Some(links.iter().map(interface).filter(|(name, _)| name != "lo").collect())
    }

    /// The machine's network.
    pub fn netns(&self) -> Netns<Host> {
        Netns::of_process(self.init).unwrap()
    }

    /// The process that holds the machine, for `ip link set … netns`.
    pub fn init(&self) -> u32 {
        self.init
    }
}

impl Drop for Space {
    fn drop(&mut self) {
        // With its first process the kernel ends the whole machine; there is nobody to tell if that fails.
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

fn interface(link: &Value) -> (String, Vec<String>) {
    let addresses = link["addr_info"].as_array().unwrap().iter().filter(|addr| addr["scope"] == "global");
    let text = |addr: &Value| addr["local"].as_str().unwrap().to_owned();
    (link["ifname"].as_str().unwrap().to_owned(), addresses.map(text).collect())
}

/// What is mounted later is seen by containers that ask for it, so mounts are shared in the end, among the machine's own.
fn script(name: &str) -> String {
    let overlays = COVERED.map(|directory| {
        let [upper, work] = ["upper", "work"].map(|what| format!("/run/machine/{what}{directory}"));
        format!(
            "mkdir -p {upper} {work}\n\
             mount -t overlay -o lowerdir={directory},upperdir={upper},workdir={work} overlay {directory}\n"
        )
    });
    let mounts =
        PRIVATE.map(|directory| format!("mkdir -p {directory} && mount -t tmpfs tmpfs {directory}\n"));
    let covers = KERNEL.map(|setting| {
        let copy = format!("/run/settings/{}", setting.replace('/', "."));
        format!("cat /proc/sys/{setting} > {copy}\nmount --bind {copy} /proc/sys/{setting}\n")
    });
    format!(
        "set -e\nmount -t tmpfs tmpfs /run\n{}{}mkdir -p /run/settings\n{}mount --make-rshared /\nhostname {name}\nip link set lo up\nmkdir -p /run/netns /run/lock\necho 1 > /proc/sys/net/ipv4/ip_forward\necho ready\nexec > /dev/null\n\
         while :; do sleep 3600 & wait $!; done",
        overlays.concat(),
        mounts.concat(),
        covers.concat()
    )
}
