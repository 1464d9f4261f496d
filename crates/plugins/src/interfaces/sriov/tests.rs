//! The whole life of functions on the fake kernel, with sysfs and the replaced plugin's files in a temporary directory.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use polynic_cni::{Error, Invocation, Output, PluginConf, Success, Verb};
use polynic_kernel::fake::Snapshot;
use polynic_kernel::{Door, FakeDoor};
use polynic_net::{Change, IfName, LinkRef, Place};
use serde_json::{Value, json};

use super::Sriov;
use crate::testing::{self, NETNS as POD};
use crate::{Registry, drive};

const VF: &str = "0000:3b:02.4";
const OTHER: &str = "/run/netns/other";

/// A tree like sysfs: `pf0` (0000:3b:00.0), whose VF 4 is 0000:3b:02.4 with the link `pf0v4`.
pub(super) struct Bus(tempfile::TempDir);

impl Bus {
    pub(super) fn new() -> Self {
        let bus = Self(tempfile::tempdir().unwrap());
        let devices = bus.path().join("bus/pci/devices");
        fs::create_dir_all(devices.join("0000:3b:00.0/net/pf0")).unwrap();
        fs::create_dir_all(devices.join(VF)).unwrap();
        symlink("../0000:3b:00.0", devices.join(VF).join("physfn")).unwrap();
        symlink(format!("../{VF}"), devices.join("0000:3b:00.0/virtfn4")).unwrap();
        fs::create_dir_all(bus.path().join("class/net/pf0")).unwrap();
        symlink("../../../bus/pci/devices/0000:3b:00.0", bus.path().join("class/net/pf0/device")).unwrap();
        bus.show("pf0v4");
        bus
    }

    pub(super) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(super) fn write(&self, path: &str, text: &str) {
        let path = self.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// The function has this link on the node.
    fn show(&self, link: &str) {
        let net = self.path().join("bus/pci/devices").join(VF).join("net");
        let _ = fs::remove_dir_all(&net);
        fs::create_dir_all(net.join(link)).unwrap();
    }

    /// The function has no link but a driver.
    pub(super) fn bind(&self, address: &str, driver: &str) {
        let device = self.path().join("bus/pci/devices").join(address);
        fs::remove_dir_all(device.join("net")).unwrap();
        symlink(format!("../../../../bus/pci/drivers/{driver}"), device.join("driver")).unwrap();
    }
}

struct World {
    bus: Bus,
    door: FakeDoor,
    registry: Registry,
    files: tempfile::TempDir,
    plugin: Sriov,
}

/// The path for the life of the process, as the built-in plugin has it.
fn forever(path: &Path) -> &'static str {
    path.to_str().unwrap().to_owned().leak()
}

impl World {
    fn new() -> Self {
        let (bus, files, door) = (Bus::new(), tempfile::tempdir().unwrap(), FakeDoor::new());
        door.host(|host| {
            host.functions("pf0", 8).physical("pf0v4").mac("pf0v4", "02:00:00:00:00:44");
        });
        door.open(None).unwrap().apply(&set_up(false)).unwrap();
        door.add_netns(POD);
        door.add_netns(OTHER);
        let registry = Registry::new(testing::host(&door, files.path()));
        let plugin = Sriov { sysfs: forever(bus.path()), directory: forever(&files.path().join("sriov")) };
        Self { bus, door, registry, files, plugin }
    }

    fn call(&self, verb: Verb, conf: &Value) -> Result<Output, Error> {
        self.call_of("c1", POD, verb, conf)
    }

    fn call_of(&self, id: &str, netns: &str, verb: Verb, conf: &Value) -> Result<Output, Error> {
        let mut conf = conf.clone();
        if conf["ipam"]["type"] == "host-local" {
            conf["ipam"]["dataDir"] = json!(self.files.path().join("addresses"));
        }
        let invocation =
            Invocation { container_id: id.into(), netns: netns.into(), ..testing::invocation(&conf) };
        let parsed = PluginConf::parse(&invocation.stdin)?;
        drive::run(&self.plugin, &self.registry.context(), verb, &invocation, &parsed)
    }

    fn add(&self, conf: &Value) -> Result<Success, Error> {
        self.call(Verb::Add, conf)?.into_success("test")
    }

    fn del(&self, conf: &Value) {
        self.call(Verb::Del, conf).unwrap_or_else(|e| panic!("DEL of {conf}: {e}"));
    }

    fn check(&self, conf: &Value, result: &Success) -> Result<(), Error> {
        let mut conf = conf.clone();
        conf["prevResult"] = serde_json::from_str(&result.print(result.cni_version).unwrap()).unwrap();
        self.call(Verb::Check, &conf).map(drop)
    }

    /// The kernel, and every file but locks and host-local's memory.
    fn state(&self) -> (Snapshot, BTreeMap<String, String>) {
        let mut files = BTreeMap::new();
        collect(self.files.path(), &mut files);
        files.retain(|name, _| !name.contains("last_reserved_ip") && !name.ends_with("lock"));
        files.retain(|name, _| !name.contains("/state/host-local/"));
        (self.door.snapshot(), files)
    }

    fn file(&self, name: &str) -> Option<String> {
        fs::read_to_string(self.files.path().join("sriov").join(name)).ok()
    }

    /// Puts files where the replaced plugin would have them.
    fn write(&self, name: &str, text: &str) {
        let path = self.files.path().join("sriov").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn apply(&self, netns: &str, change: Change) {
        self.door.open(Some(netns)).unwrap().apply(&change).unwrap();
    }

    fn has(&self, line: &str) -> bool {
        self.door.snapshot().lines().iter().any(|l| l.contains(line))
    }
}

fn collect(directory: &Path, files: &mut BTreeMap<String, String>) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        match entry.path().is_dir() {
            true => collect(&entry.path(), files),
            false => drop(
                files.insert(entry.path().display().to_string(), fs::read_to_string(entry.path()).unwrap()),
            ),
        }
    }
}

fn assert_same(
    before: &(Snapshot, BTreeMap<String, String>),
    after: &(Snapshot, BTreeMap<String, String>),
    what: &str,
) {
    assert_eq!(before.0.diff(&after.0), [""; 0], "{what}");
    assert_eq!(before.1, after.1, "{what}");
}

fn conf(keys: Value) -> Value {
    let mut conf = json!({"cniVersion": "1.1.0", "name": "fast", "type": "sriov", "deviceID": VF});
    for (key, value) in keys.as_object().unwrap() {
        conf[key] = value.clone();
    }
    conf
}

fn everything() -> Value {
    conf(json!({
        "vlan": 5, "vlanQoS": 3, "vlanProto": "802.1ad", "mac": "02:00:00:00:00:AA", "spoofchk": "off", "trust": "on",
        "link_state": "enable", "min_tx_rate": 10, "max_tx_rate": 100,
        "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.9.0.0/24", "gateway": "10.9.0.1"}], [{"subnet": "fd09::/64"}]],
            "routes": [{"dst": "0.0.0.0/0"}]}
    }))
}

/// A configuration of each way through the planner, and whether a driver in user space has the function.
fn ways() -> Vec<(Value, bool)> {
    let plain = conf(json!({}));
    let tagged = conf(json!({"vlan": 0, "max_tx_rate": 7}));
    vec![(everything(), false), (plain.clone(), false), (tagged.clone(), true), (everything(), true)]
}

fn world(user_space: bool) -> World {
    let world = World::new();
    if user_space {
        world.bus.bind(VF, "vfio-pci");
    }
    world
}

fn operations(conf: &Value, world: &World) -> u64 {
    let before = world.door.operations();
    world.add(conf).unwrap_or_else(|e| panic!("{conf}: {e}"));
    world.door.operations() - before
}

#[test]
fn a_failure_at_any_step_leaves_everything_as_it_was() {
    for (conf, user_space) in ways() {
        let started = |user_space| {
            let world = world(user_space);
            world.apply(POD, set_up(true));
            world
        };
        for step in 1..=operations(&conf, &started(user_space)) {
            let world = started(user_space);
            let before = world.state();
            world.door.fail_at(step);
            world.add(&conf).expect_err("the step failed");
            assert_same(&before, &world.state(), &format!("{conf}, step {step}"));
            world.add(&conf).unwrap_or_else(|e| panic!("{conf}, again after step {step}: {e}"));
        }
    }
}

#[test]
fn an_add_that_died_at_any_step_is_cleaned_by_del_or_by_the_next_add() {
    for (conf, user_space) in ways() {
        for step in 1..=operations(&conf, &world(user_space)) {
            let world = world(user_space);
            let before = world.state();
            world.door.crash_at(step);
            world.add(&conf).expect_err("the process died");
            world.door.heal();
            if step % 2 == 0 {
                world.add(&conf).unwrap_or_else(|e| panic!("{conf}, ADD after a crash at {step}: {e}"));
            }
            world.del(&conf);
            assert_same(&before, &world.state(), &format!("{conf}, crash at {step}"));
        }
    }
}

#[test]
fn del_puts_the_function_back() {
    for (conf, user_space) in ways() {
        let world = world(user_space);
        let before = world.state();
        let result = world.add(&conf).unwrap();
        world.check(&conf, &result).unwrap();
        assert_eq!(world.add(&conf).unwrap(), result, "the same again");
        world.del(&conf);
        assert_same(&before, &world.state(), &conf.to_string());
        world.del(&conf);
        assert_same(&before, &world.state(), &format!("{conf}, second DEL"));
    }
}

fn set_up(on: bool) -> Change {
    Change::attr(Place::Host, &name("pf0v4"), polynic_net::Attr::Up(!on), polynic_net::Attr::Up(on))
}

fn name(text: &str) -> IfName {
    IfName::new(text).unwrap()
}

/// Settings by the physical function first, the pod's addresses on a link that has its name and address, announcements last.
#[test]
fn the_steps_stand_in_order() {
    let world = World::new();
    world.apply(POD, set_up(true));
    let result = world.add(&everything()).unwrap();
    let record =
        fs::read_to_string(world.files.path().join("state/attachments/c1/fast:net1:sriov.json")).unwrap();
    let record: crate::record::Record = serde_json::from_str(&record).unwrap();
    let steps: Vec<String> = record.plan.steps.iter().map(|step| step.change.to_string()).collect();
    let expected = [
        "set Vlan(VfVlan { id: 5, qos: 3, protocol: Dot1ad }) of VF 4 on pf0 in host",
        "set Mac(02:00:00:00:00:aa) of VF 4 on pf0 in host",
        "set Rate(VfRate { min: 10, max: 100 }) of VF 4 on pf0 in host",
        "set SpoofCheck(false) of VF 4 on pf0 in host",
        "set Trust(true) of VF 4 on pf0 in host",
        "set LinkState(Enable) of VF 4 on pf0 in host",
        "set Up(false) on pf0v4 in host",
        "move link host:pf0v4 to net1 in pod",
        "change sysctl net/ipv4/conf/net1/arp_notify=1 in pod",
        "change sysctl net/ipv6/conf/net1/ndisc_notify=1 in pod",
        "change sysctl net/ipv6/conf/net1/optimistic_dad=1 in pod",
        "set Mac(02:00:00:00:00:aa) on net1 in pod",
        "set Mtu(1500) on net1 in pod",
    ];
    let begin: Vec<&str> = steps.iter().map(String::as_str).filter(|s| !s.contains("optimistic")).collect();
    let expected: Vec<&str> = expected.into_iter().filter(|s| !s.contains("optimistic")).collect();
    assert_eq!(begin[..expected.len()], expected);
    let end = [
        "wait for the carrier of net1 in pod",
        "announce 10.9.0.2 at 02:00:00:00:00:aa on net1 in pod",
        "announce fd09::2 at 02:00:00:00:00:aa on net1 in pod",
    ];
    assert_eq!(steps[steps.len() - 3..], end);
    assert_eq!(world.door.announced().len(), 2);
    let interface = &result.interfaces[0];
    assert_eq!((interface.mac.as_str(), interface.mtu), ("02:00:00:00:00:aa", Some(1500)));
    assert_eq!((interface.name.as_str(), interface.sandbox.as_str()), ("net1", POD));
    assert!(result.ips.iter().all(|ip| ip.interface == Some(0)));
}

/// The replaced plugin's own form (spec/sriov.md 3): after a return to it, its DEL finds everything.
#[test]
fn the_replaced_plugin_finds_its_files() {
    let world = World::new();
    world.add(&everything()).unwrap();
    let state: Value = serde_json::from_str(&world.file("c1-net1").unwrap()).unwrap();
    let before = json!({"HostIFName": "pf0v4", "SpoofChk": true, "Trust": false, "AdminMAC": "00:00:00:00:00:00",
        "EffectiveMAC": "02:00:00:00:00:44", "Vlan": 0, "VlanQoS": 0, "VlanProto": 33024, "MinTxRate": 0, "MaxTxRate": 0,
        "LinkState": 0, "MTU": 1500});
    let mut ipam = everything()["ipam"].clone();
    ipam["dataDir"] = json!(world.files.path().join("addresses"));
    let expected = json!({"cniVersion": "1.1.0", "name": "fast", "type": "sriov", "ipam": ipam, "OrigVfState": before,
        "Master": "pf0", "MAC": "02:00:00:00:00:aa", "MTU": 1500, "vlan": 5, "vlanQoS": 3, "vlanProto": "802.1ad",
        "deviceID": VF, "VFID": 4, "min_tx_rate": 10, "max_tx_rate": 100, "spoofchk": "off", "trust": "on",
        "link_state": "enable"});
    assert_eq!(state, expected);
    assert_eq!(world.file("pci/0000:3b:02.4").as_deref(), Some(POD));
    use std::os::unix::fs::PermissionsExt;
    let mode = fs::metadata(world.files.path().join("sriov/c1-net1")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert!(world.files.path().join("sriov/pci/vf_lock/0000:3b:02.4.lock").exists());
}

/// What the replaced plugin leaves of an attachment: its files, and the kernel's state.
fn attached_by_the_replaced_plugin(world: &World) {
    let before = json!({"HostIFName": "pf0v4", "SpoofChk": true, "Trust": false, "AdminMAC": "00:00:00:00:00:00",
        "EffectiveMAC": "02:00:00:00:00:44", "Vlan": 0, "VlanQoS": 0, "VlanProto": 33024, "MinTxRate": 0, "MaxTxRate": 0,
        "LinkState": 0, "MTU": 1500});
    let state = json!({"cniVersion": "0.3.1", "name": "fast", "type": "sriov", "ipam": {}, "dns": {}, "OrigVfState": before,
        "Master": "pf0", "MAC": "02:00:00:00:00:aa", "MTU": null, "vlan": 5, "vlanQoS": 3, "vlanProto": "802.1q",
        "deviceID": VF, "VFID": 4, "min_tx_rate": null, "max_tx_rate": 100, "spoofchk": "off", "trust": "on",
        "link_state": "enable", "runtimeConfig": {}, "logLevel": "info"});
    let attach =
        conf(json!({"vlan": 5, "vlanQoS": 3, "mac": "02:00:00:00:00:aa", "spoofchk": "off", "trust": "on",
        "link_state": "enable", "max_tx_rate": 100}));
    world.add(&attach).unwrap();
    fs::remove_dir_all(world.files.path().join("state")).unwrap();
    world.write("c1-net1", &state.to_string());
    world.write("pci/0000:3b:02.4", POD);
}

#[test]
fn what_the_replaced_plugin_attached_is_put_back() {
    let conf = conf(json!({"deviceID": ""}));
    for netns in [POD, ""] {
        let world = World::new();
        let before = world.state();
        attached_by_the_replaced_plugin(&world);
        if netns.is_empty() {
            world.door.remove_netns(POD);
            world.bus.show("net1");
        }
        world.call_of("c1", netns, Verb::Del, &conf).unwrap();
        let after = world.state();
        assert_eq!(after.1, before.1, "{netns:?}");
        let on_node = |snapshot: &Snapshot| {
            let lines = snapshot.lines().iter().filter(|line| line.starts_with("host: "));
            lines.cloned().collect::<Vec<_>>()
        };
        assert_eq!(on_node(&after.0), on_node(&before.0), "{netns:?}");
    }
}

#[test]
fn a_function_goes_to_one_pod_at_a_time() {
    let world = World::new();
    let conf = everything();
    world.add(&conf).unwrap();
    let state = world.state();
    let error = world.call_of("c2", OTHER, Verb::Add, &conf).unwrap_err();
    assert_eq!(error.code, 11, "{error}");
    assert!(error.msg.ends_with("pci address 0000:3b:02.4 is already allocated"), "{error}");
    assert_same(&state, &world.state(), "the refused ADD");
    world.call_of("c2", OTHER, Verb::Del, &conf).unwrap();
    assert_same(&state, &world.state(), "the DEL of the refused ADD");
}

/// The file is named after container and interface alone.
#[test]
fn a_network_that_wants_a_taken_interface_leaves_the_files_of_the_one_that_has_it() {
    let world = World::new();
    world.add(&everything()).unwrap();
    let state = world.state();
    let mut other = everything();
    other["name"] = json!("other");
    other["deviceID"] = json!("0000:3b:02.5");
    world.add(&other).unwrap_err();
    assert_same(&state, &world.state(), "the refused ADD");
    world.del(&other);
    assert_same(&state, &world.state(), "the DEL of the refused ADD");
    world.del(&everything());
    assert_eq!(world.file("c1-net1"), None);
}

/// Nothing of what was set for a pod that is gone reaches the next one, and the late DEL of the first leaves the second alone.
#[test]
fn a_function_of_a_pod_that_is_gone_is_taken_over() {
    let world = World::new();
    world.add(&everything()).unwrap();
    world.door.remove_netns(POD);
    world.bus.show("net1");
    // The link comes home under its old name first: sysfs follows.
    let plain = conf(json!({"max_tx_rate": 50}));
    let error = world.call_of("c2", OTHER, Verb::Add, &plain).unwrap_err();
    assert!(error.msg.contains("net1"), "{error}");
    assert!(world.has("host: link pf0v4"), "{:?}", world.door.snapshot());
    world.bus.show("pf0v4");
    world.call_of("c2", OTHER, Verb::Add, &plain).unwrap();
    assert!(world.has(
        "vlan: Some(VfVlan { id: 0, qos: 0, protocol: Dot1q }), rate: Some(VfRate { min: 0, max: 50 })"
    ));
    let second = world.door.snapshot();
    for netns in [POD, ""] {
        world.call_of("c1", netns, Verb::Del, &everything()).unwrap();
        assert_eq!(second.diff(&world.door.snapshot()), [""; 0], "late DEL with {netns:?}");
        assert_eq!(world.file("pci/0000:3b:02.4").as_deref(), Some(OTHER));
    }
    assert_eq!(world.file("c1-net1"), None);
    world.call_of("c2", OTHER, Verb::Del, &plain).unwrap();
    assert_eq!(world.file("pci/0000:3b:02.4"), None);
}

#[test]
fn a_name_that_is_taken_on_the_node_keeps_no_link_in_the_pod() {
    let world = World::new();
    world.add(&everything()).unwrap();
    world.door.host(|host| {
        host.physical("pf0v4");
    });
    world.del(&everything());
    assert!(world.has("host: link temp_"), "{:?}", world.door.snapshot());
    assert!(!world.has("netns/pod: link net1"));
}

#[test]
fn a_driver_in_user_space_keeps_its_function() {
    let world = world(true);
    let result = world.add(&everything()).unwrap();
    assert_eq!(result.interfaces[0].mac, "02:00:00:00:00:aa");
    assert_eq!(result.ips.len(), 2);
    assert!(world.has("host: link pf0v4") && !world.has("link net1") && !world.has("address 10.9.0.2"));
    assert_eq!(world.door.announced(), []);
    let state: Value = serde_json::from_str(&world.file("c1-net1").unwrap()).unwrap();
    assert_eq!(state["OrigVfState"]["HostIFName"], "");
    world.check(&everything(), &result).unwrap();
    world.del(&everything());
    // Without an address of anybody's there is none to tell.
    let bare = world.add(&conf(json!({}))).unwrap();
    assert_eq!((bare.interfaces[0].mac.as_str(), bare.interfaces[0].mtu), ("", Some(1500)));
}

#[test]
fn check_sees_what_somebody_changed() {
    let world = World::new();
    let result = world.add(&everything()).unwrap();
    let vf = |trust| polynic_net::Attr::Vf { index: 4, attr: polynic_net::VfAttr::Trust(trust) };
    world.apply(POD, Change::attr(Place::Host, &name("pf0"), vf(true), vf(false)));
    let error = world.check(&everything(), &result).unwrap_err();
    assert_eq!(error.msg, "VF 4 of pf0 has Trust(false), not Trust(true)");
    world.apply(POD, Change::attr(Place::Host, &name("pf0"), vf(false), vf(true)));
    world.check(&everything(), &result).unwrap();
    let moved = LinkRef { place: Place::Pod, name: name("net1") };
    world.apply(POD, Change::move_link(moved, Place::Pod, &name("net2")));
    assert!(world.check(&everything(), &result).unwrap_err().msg.contains("net1 not found"));
}

#[test]
fn gc_frees_what_no_valid_attachment_has() {
    for replaced in [false, true] {
        let world = World::new();
        let before = world.state().1;
        match replaced {
            true => attached_by_the_replaced_plugin(&world),
            false => drop(world.add(&everything()).unwrap()),
        }
        let gc = |valid: Value| {
            let mut conf = everything();
            conf["deviceID"] = json!("");
            conf["cni.dev/valid-attachments"] = valid;
            world.call_of("", "", Verb::Gc, &conf).unwrap();
        };
        gc(json!([{"containerID": "c1", "ifname": "net1"}]));
        assert_eq!(world.file("pci/0000:3b:02.4").as_deref(), Some(POD));
        gc(json!([{"containerID": "c1", "ifname": "net2"}]));
        assert_eq!(world.state().1, before, "by the replaced plugin: {replaced}");
        assert!(world.has("host: link pf0v4") && !world.has("link net1"));
    }
}

#[test]
fn status_knows_the_device_if_it_is_told_one() {
    let world = World::new();
    let status = |keys: Value| world.call_of("", "", Verb::Status, &conf(keys)).map(drop).map_err(|e| e.code);
    assert_eq!(status(json!({"deviceID": ""})), Ok(()));
    assert_eq!(status(json!({})), Ok(()));
    assert_eq!(status(json!({"deviceID": "0000:3b:0f.0"})), Err(50));
}

#[test]
fn a_configuration_that_became_bad_keeps_no_del_from_its_work() {
    let world = World::new();
    let before = world.state();
    world.add(&everything()).unwrap();
    let mut bad = everything();
    bad["vlan"] = json!(5000);
    assert!(world.call_of("c2", OTHER, Verb::Add, &bad).unwrap_err().msg.contains("vlan id 5000 invalid"));
    world.del(&bad);
    assert_same(&before, &world.state(), "DEL");
}

#[test]
fn a_function_whose_number_changed_is_not_confused_with_another() {
    let world = World::new();
    world.add(&everything()).unwrap();
    let device = world.bus.path().join("bus/pci/devices/0000:3b:00.0");
    fs::rename(device.join("virtfn4"), device.join("virtfn6")).unwrap();
    let error = world.call(Verb::Del, &everything()).unwrap_err();
    assert!(error.msg.contains("is VF 6 of pf0, not VF 4 of pf0"), "{error}");
    // All of them are gone: so is what was to be reset.
    fs::remove_dir_all(world.bus.path().join("bus/pci/devices").join(VF)).unwrap();
    world.del(&everything());
    assert_eq!(world.file("c1-net1"), None);
}

#[test]
fn a_log_file_says_what_was_done() {
    let world = World::new();
    let log = world.files.path().join("log/sriov.log");
    let conf = conf(json!({"logFile": log, "logLevel": "info"}));
    world.add(&conf).unwrap();
    world.del(&conf);
    let text = fs::read_to_string(&log).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let told: Vec<&str> = lines.iter().map(|line| line["msg"].as_str().unwrap()).collect();
    assert_eq!(told, ["ADD succeeded", "DEL succeeded"]);
    // A log that cannot be written keeps nobody from the network.
    let nowhere = conf_with_log(&conf, "/proc/nowhere/sriov.log");
    world.add(&nowhere).unwrap();
}

fn conf_with_log(conf: &Value, file: &str) -> Value {
    let mut conf = conf.clone();
    conf["logFile"] = json!(file);
    conf
}
