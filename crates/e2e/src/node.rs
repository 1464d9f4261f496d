//! Machines made of namespaces: a node with a wire to the world, and pods.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::{fs, io::Write};

use polynic_kernel::netns::{self, Host, Netns, Pod as PodSide};
use polynic_kernel::testing::{Scratch, say_skipped, scratch_netns};
use tempfile::TempDir;

use crate::State;

/// A node: `eth0` with 192.168.1.10/24 and fd00:1::10/64 on a wire, whose other end is the network's router
/// (192.168.1.1, fd00:1::1), behind which 198.51.100.7 and 2001:db8::7 are. The calling thread is in the node's namespace.
pub struct Node {
    scratch: Scratch,
    wire: Pod,
    directory: TempDir,
}

/// A namespace like a pod's: a loopback link that is down, nothing else.
pub struct Pod {
    /// The namespace.
    pub netns: Netns<PodSide>,
    /// Path of the namespace, fit for `CNI_NETNS`.
    pub path: String,
    /// An id no other pod of this process has, fit for `CNI_CONTAINERID`.
    pub id: String,
}

impl Drop for Pod {
    fn drop(&mut self) {
        // Mounts are private to this process and end with it.
        let _ = netns::unpin(Path::new(&self.path));
    }
}

impl Pod {
    /// A new pod.
    ///
    /// # Panics
    /// The machine does not let this process make namespaces; [`Node::new`] has said so before.
    pub fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = format!("/run/netns/pod-{count}");
        let netns = netns::create_pinned(Path::new(&path)).unwrap();
        Self { netns, path, id: format!("pod-{count}-{}", std::process::id()) }
    }

    /// Runs `ip` once in the pod, with one command on each line.
    pub fn ip(&self, lines: &str) {
        ip(&self.netns, lines);
    }

    /// What is in the pod.
    pub fn state(&self) -> State {
        State::observe(&self.netns)
    }
}

impl Default for Pod {
    fn default() -> Self {
        Self::new()
    }
}

impl Node {
    /// A new node; nothing if this machine allows no namespaces or has no `ip`.
    pub fn new() -> Option<Self> {
        let scratch = scratch_netns()?;
        if Command::new("ip").arg("-V").stdout(Stdio::null()).status().is_err() {
            say_skipped("there is no `ip` (Debian: iproute2)");
            return None;
        }
        let wire = Pod::new();
        let end = wire.path.trim_start_matches("/run/netns/");
        ip(
            &scratch.host,
            &possible(&format!(
                "link set lo up
                 link add eth0 type veth peer name wire netns {end}
                 address add 192.168.1.10/24 dev eth0
                 address add fd00:1::10/64 dev eth0 nodad
                 link set eth0 up"
            )),
        );
        wire.ip(&possible(
            "link set lo up
                 address add 192.168.1.1/24 dev wire
                 address add fd00:1::1/64 dev wire nodad
                 address add 198.51.100.7/32 dev lo
                 address add 2001:db8::7/128 dev lo
                 link set wire up",
        ));
        ip(&scratch.host, &possible("route add default via 192.168.1.1\nroute add default via fd00:1::1"));
        let directory = tempfile::tempdir_in("/run").unwrap();
        Some(Self { scratch, wire, directory })
    }

    /// The node's namespace.
    pub fn netns(&self) -> &Netns<Host> {
        &self.scratch.host
    }

    /// The router at the other end of the node's wire.
    pub fn wire(&self) -> &Pod {
        &self.wire
    }

    /// A directory for IPAM data and whatever else the test has; gone with the node.
    pub fn directory(&self) -> &str {
        self.directory.path().to_str().expect("a path under /run is text")
    }

    /// Runs `ip` once on the node, with one command on each line.
    pub fn ip(&self, lines: &str) {
        ip(&self.scratch.host, lines);
    }

    /// What is on the node.
    pub fn state(&self) -> State {
        State::observe(&self.scratch.host)
    }

    /// The files that IPAM keeps for a network, but the lock and the memory of what was handed out last.
    pub fn addresses_held(&self, network: &str) -> Vec<String> {
        let files = fs::read_dir(self.directory.path().join(network)).into_iter().flatten();
        let names = files.map(|f| f.unwrap().file_name().to_string_lossy().into_owned());
        let mut names: Vec<_> = names.filter(|n| n != "lock" && !is_last_reserved(n)).collect();
        names.sort();
        names
    }
}

/// Whether this kernel has IPv6 at all.
pub fn has_ipv6() -> bool {
    Path::new("/proc/sys/net/ipv6").exists()
}

/// The lines for `ip` without those about IPv6, if this kernel has none.
fn possible(lines: &str) -> String {
    let all = has_ipv6();
    lines.lines().filter(|line| all || !line.contains("::")).collect::<Vec<_>>().join("\n")
}

fn is_last_reserved(name: &str) -> bool {
    name.strip_prefix("last_reserved_ip.").is_some_and(|set| set.parse::<u32>().is_ok())
}

fn ip<P: 'static>(netns: &Netns<P>, lines: &str) {
    if let Err(said) = try_ip(netns, lines) {
        panic!("{said}\n{lines}");
    }
}

/// Runs `ip` with these lines; the error is what it said.
pub(crate) fn try_ip<P: 'static>(netns: &Netns<P>, lines: &str) -> Result<(), String> {
    let lines = lines.to_owned();
    let output = netns.run(move || {
        let mut child = Command::new("ip")
            .args(["-batch", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
        child.wait_with_output().unwrap()
    });
    let output = output.unwrap();
    match output.status.success() {
        true => Ok(()),
        false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
    }
}
