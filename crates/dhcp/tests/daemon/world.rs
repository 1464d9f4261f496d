//! A pod with an interface on a wire, a server at its other end, and a daemon.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use polynic_cni::Success;
use polynic_dhcp::Timing;
use polynic_dhcp::daemon::{Daemon, Options};
use polynic_dhcp::rpc::{Arguments, client};
use polynic_kernel::netns::{self, Netns, Pod};
use polynic_kernel::testing::{Scratch, say_skipped, scratch_netns};
use polynic_kernel::{Door, RealDoor};
use polynic_net::{IfName, Needs, NsFacts, Place};
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct World {
    pub(crate) scratch: Scratch,
    pub(crate) directory: TempDir,
    server: Netns<Pod>,
    server_path: PathBuf,
    daemon: Option<Daemon>,
}

/// A server that ends with the test.
pub(crate) struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if let Some(daemon) = self.daemon.take() {
            daemon.stop();
        }
        let _ = netns::unpin(&self.server_path);
    }
}

fn has(program: &str) -> bool {
    Command::new(program).arg("--help").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok()
}

impl World {
    /// A pod with `net1`, at whose other end 10.77.0.1/24 is; none if this machine lacks what it takes, or one of the programs.
    pub(crate) fn new(programs: &[&str]) -> Option<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let scratch = scratch_netns()?;
        if let Some(missing) = programs.iter().chain(&["ip"]).find(|program| !has(program)) {
            say_skipped(&format!(
                "there is no {missing:?} (Debian: dnsmasq-base, busybox, iproute2, containernetworking-plugins)"
            ));
            return None;
        }
        let server_path =
            PathBuf::from(format!("/run/netns/server-{}", COUNT.fetch_add(1, Ordering::Relaxed)));
        let server = netns::create_pinned(&server_path).unwrap();
        let directory = tempfile::tempdir_in("/run").unwrap();
        let world = Self { scratch, directory, server, server_path, daemon: None };
        let (pod, server) = (name(&world.scratch.path), name(world.server_path.to_str().unwrap()));
        world.ip(&format!("link add srv netns {server} type veth peer name net1 netns {pod}"));
        world.ip(&format!("-n {server} address add 10.77.0.1/16 dev srv"));
        world.ip(&format!("-n {server} link set srv up"));
        Some(world)
    }

    pub(crate) fn ip(&self, words: &str) {
        run("ip", words);
    }

    /// `ip` where the servers are.
    pub(crate) fn server_ip(&self, words: &str) {
        self.ip(&format!("-n {} {words}", name(self.server_path.to_str().unwrap())));
    }

    /// `ip` in the pod.
    pub(crate) fn pod_ip(&self, words: &str) {
        self.ip(&format!("-n {} {words}", name(&self.scratch.path)));
    }

    pub(crate) fn path(&self, file: &str) -> PathBuf {
        self.directory.path().join(file)
    }

    /// Options of a daemon that tries quickly.
    pub(crate) fn options(&self) -> Options {
        let timing = Timing {
            attempt: Duration::from_secs(5),
            longest_pause: Duration::from_secs(2),
            give_up: Duration::from_secs(20),
        };
        let (socket, state) = (self.path("dhcp/dhcp.sock"), self.path("leases"));
        Options { socket, state, timing, ..Options::default() }
    }

    pub(crate) fn start(&mut self) {
        self.start_with(&self.options());
    }

    pub(crate) fn start_with(&mut self, options: &Options) {
        let daemon = Daemon::start(options, None, Box::<RealDoor>::default(), 7);
        self.daemon = Some(daemon.unwrap());
    }

    pub(crate) fn start_through(&mut self, door: Box<dyn Door>) {
        self.daemon = Some(Daemon::start(&self.options(), None, door, 7).unwrap());
    }

    pub(crate) fn stop(&mut self) {
        self.daemon.take().unwrap().stop();
    }

    pub(crate) fn dial(&self) -> client::Daemon {
        client::Daemon::dial(&self.options().socket, PATIENCE).unwrap()
    }

    pub(crate) fn arguments(&self, ifname: &str, ipam: &str) -> Arguments {
        Arguments {
            container_id: "c1".into(),
            netns: self.scratch.path.clone(),
            ifname: ifname.into(),
            args: "K8S_POD_NAME=web-0".into(),
            path: "/opt/cni/bin".into(),
            stdin: format!(r#"{{"cniVersion": "1.0.0", "name": "lan", "type": "macvlan", "ipam": {ipam}}}"#)
                .into(),
        }
    }

    /// A lease for `net1`, whose address the interface gets as a main plugin would give it.
    pub(crate) fn attach(&self) -> Success {
        let result = self.dial().allocate(&self.arguments("net1", r#"{"type": "dhcp"}"#)).unwrap();
        self.pod_ip(&format!("address add {} dev net1", result.ips[0].address));
        for route in &result.routes {
            self.pod_ip(&format!("route add {} via {}", route.dst, route.gw.unwrap()));
        }
        result
    }

    pub(crate) fn dnsmasq(&self, more: &[&str]) -> Server {
        let leases = format!("--dhcp-leasefile={}", self.path("dnsmasq.leases").display());
        let mut command = Command::new("dnsmasq");
        command.args([
            "--keep-in-foreground",
            "--conf-file=/dev/null",
            "--port=0",
            "--interface=srv",
            "--pid-file=",
        ]);
        command.args(["--bind-interfaces", "--dhcp-authoritative", "--no-ping", "--user=root", "--group="]);
        command.args([
            "--log-facility=/dev/null",
            "--no-hosts",
            "--no-resolv",
            "--dhcp-lease-max=1000",
            &leases,
        ]);
        command.args(more);
        self.serve(command)
    }

    /// A server with leases of so many seconds, of these last bytes of 10.77.0.0/24.
    pub(crate) fn udhcpd(&self, seconds: u32, first: u8, last: u8) -> Server {
        let (file, leases, pid) =
            (self.path("udhcpd.conf"), self.path("udhcpd.leases"), self.path("udhcpd.pid"));
        std::fs::write(&leases, "").unwrap();
        let conf = format!(
            "start 10.77.0.{first}\nend 10.77.0.{last}\ninterface srv\nmin_lease 1\nauto_time 0\nlease_file {}\npidfile {}\n\
             option subnet 255.255.255.0\noption router 10.77.0.1\noption lease {seconds}\n",
            leases.display(),
            pid.display()
        );
        std::fs::write(&file, conf).unwrap();
        let mut command = Command::new("busybox");
        command.args(["udhcpd", "-f"]).arg(&file);
        self.serve(command)
    }

    pub(crate) fn serve(&self, mut command: Command) -> Server {
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Server(self.server.run(move || command.spawn()).unwrap().unwrap())
    }

    pub(crate) fn pod(&self) -> NsFacts {
        let mut needs = Needs::default();
        let net1 = IfName::new("net1").unwrap();
        needs.pod.link(&net1);
        needs.pod.addresses.push(net1);
        needs.pod.routes = true;
        let facts = RealDoor::default().open(Some(&self.scratch.path)).unwrap().observe(&needs).unwrap();
        facts.at(Place::Pod).unwrap().clone()
    }

    /// IPv4 addresses of `net1`.
    pub(crate) fn addresses(&self) -> Vec<String> {
        let facts = self.pod();
        let v4 = facts.addresses.iter().filter(|a| a.net.addr().is_ipv4());
        v4.map(|a| a.net.to_string()).collect()
    }

    /// The next hops of default routes.
    pub(crate) fn gateways(&self) -> Vec<String> {
        let facts = self.pod();
        let default = facts.routes.iter().filter(|r| r.is_default() && r.dst.addr().is_ipv4());
        default.filter_map(|r| Some(r.gw?.to_string())).collect()
    }

    /// The one lease on disk, as JSON.
    pub(crate) fn kept(&self) -> Option<serde_json::Value> {
        let mut files = std::fs::read_dir(self.path("leases")).ok()?.flatten();
        let file = files.find(|f| f.path().extension().is_some_and(|e| e == "json"))?;
        serde_json::from_slice(&std::fs::read(file.path()).ok()?).ok()
    }
}

/// The name by which `ip` knows a namespace.
pub(crate) fn name(path: &str) -> &str {
    path.trim_start_matches("/run/netns/")
}

fn run(program: &str, words: &str) {
    let output = Command::new(program).args(words.split_whitespace()).output().unwrap();
    assert!(output.status.success(), "{program} {words}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Waits until something is so.
#[track_caller]
pub(crate) fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < end, "in vain: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Text of a file, empty if there is none.
pub(crate) fn text(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}
