use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use polynic_cni::{Error, Invocation, Output, PluginConf, Success, Verb};
use serde_json::{Value, json};

use super::config::parse_for_test;
use super::*;

mod crashes;

struct Bench {
    data: tempfile::TempDir,
    state: tempfile::TempDir,
}

struct NoDelegate;

impl polynic_cni::Delegate for NoDelegate {
    fn call(&self, plugin_type: &str, _: Verb, _: &Invocation) -> Result<Output, Error> {
        Err(Error::internal(format!("unexpected call of {plugin_type}")))
    }
}

impl Bench {
    fn new() -> Self {
        Self { data: tempfile::tempdir().unwrap(), state: tempfile::tempdir().unwrap() }
    }

    fn store(&self) -> std::path::PathBuf {
        self.data.path().join("lab")
    }

    fn conf(&self, ipam: Value) -> Value {
        let mut ipam = ipam;
        ipam["type"] = json!("host-local");
        ipam["dataDir"] = json!(self.data.path());
        json!({"cniVersion": "1.1.0", "name": "lab", "type": "macvlan", "ipam": ipam})
    }

    fn small(&self) -> Value {
        self.conf(json!({"subnet": "10.0.0.0/24", "rangeStart": "10.0.0.10", "rangeEnd": "10.0.0.12"}))
    }

    fn call_conf(&self, verb: Verb, id: &str, ifname: &str, conf: &Value) -> Result<Output, Error> {
        self.call_on(&RealDisk, verb, [id, ifname], conf)
    }

    fn call_on(
        &self,
        disk: &dyn Disk,
        verb: Verb,
        [id, ifname]: [&str; 2],
        conf: &Value,
    ) -> Result<Output, Error> {
        let stdin = conf.to_string().into_bytes();
        let parsed = PluginConf::parse(&stdin)?;
        let invocation = Invocation {
            container_id: id.into(),
            ifname: ifname.into(),
            args: conf["testArgs"].as_str().unwrap_or_default().into(),
            stdin,
            ..Invocation::default()
        };
        let door = polynic_kernel::FakeDoor::new();
        let context = crate::Context {
            door: &door,
            state: self.state.path(),
            delegate: &NoDelegate,
            addresses: &polynic_wire::Sockets,
            releases: &polynic_wire::ReleaseJournal::new(self.state.path().join("releases")),
            seed: &|| 1,
            warn: &|_| {},
        };
        serve(disk, &context, verb, &Call::new("host-local", &invocation, &parsed)?)
    }

    fn add(&self, id: &str, ifname: &str, conf: &Value) -> Result<Success, Error> {
        self.call_conf(Verb::Add, id, ifname, conf)?.into_success("host-local")
    }

    fn ip(&self, id: &str, ifname: &str, conf: &Value) -> String {
        self.add(id, ifname, conf).unwrap().ips[0].address.to_string()
    }

    fn del(&self, id: &str, ifname: &str) {
        self.call_conf(Verb::Del, id, ifname, &self.small()).unwrap();
    }

    fn files(&self) -> BTreeSet<String> {
        let files =
            fs::read_dir(self.store()).unwrap().map(|f| f.unwrap().file_name().into_string().unwrap());
        files.filter(|f| f != "lock" && !f.starts_with("last_reserved_ip")).collect()
    }
}

fn msg(error: Error) -> String {
    error.msg
}

#[test]
fn addresses_go_round_and_have_the_subnets_prefix() {
    let bench = Bench::new();
    let conf = bench.small();
    assert_eq!(bench.ip("a", "net1", &conf), "10.0.0.10/24");
    assert_eq!(bench.ip("a", "net2", &conf), "10.0.0.11/24");
    bench.del("a", "net1");
    assert_eq!(bench.ip("b", "net1", &conf), "10.0.0.12/24", "a freed address is not the next one");
    assert_eq!(bench.ip("c", "net1", &conf), "10.0.0.10/24");
    let error = msg(bench.add("d", "net1", &conf).unwrap_err());
    let expected =
        "failed to allocate for range 0: no IP addresses available in range set: 10.0.0.10-10.0.0.12";
    assert_eq!(error, expected);
}

#[test]
fn files_have_the_names_and_contents_of_the_replaced_plugin() {
    let bench = Bench::new();
    bench
        .add(
            "a",
            "net1",
            &bench.conf(json!({"ranges": [[{"subnet": "10.0.0.0/24"}], [{"subnet": "fd00::/64"}]]})),
        )
        .unwrap();
    assert_eq!(bench.files(), BTreeSet::from(["10.0.0.2".into(), "fd00::2".into()]));
    assert_eq!(fs::read(bench.store().join("fd00::2")).unwrap(), b"a\r\nnet1");
    assert_eq!(fs::read(bench.store().join("last_reserved_ip.0")).unwrap(), b"10.0.0.2");
    assert_eq!(fs::read(bench.store().join("last_reserved_ip.1")).unwrap(), b"fd00::2");
}

#[test]
fn release_takes_this_interfaces_addresses_only_and_may_be_repeated() {
    let bench = Bench::new();
    let conf = bench.small();
    bench.add("a", "net1", &conf).unwrap();
    bench.add("a", "net2", &conf).unwrap();
    bench.del("a", "net1");
    bench.del("a", "net1");
    assert_eq!(bench.files(), BTreeSet::from(["10.0.0.11".into()]));
    bench.call_conf(Verb::Check, "a", "net2", &conf).unwrap();
    let error = msg(bench.call_conf(Verb::Check, "a", "net1", &conf).unwrap_err());
    assert_eq!(error, "host-local: Failed to find address added by container a");
}

#[test]
fn a_network_that_never_gave_an_address_needs_no_directory_to_give_back() {
    let bench = Bench::new();
    let conf = bench.small();
    bench.del("c1", "net1");
    bench.call_conf(Verb::Gc, "", "", &conf).unwrap();
    assert!(!bench.store().exists());
}

#[test]
fn files_of_others_are_seen_whatever_the_index_says() {
    let bench = Bench::new();
    let conf = bench.small();
    bench.add("a", "net1", &conf).unwrap();
    fs::write(bench.store().join("10.0.0.11"), "b\r\nnet1").unwrap();
    let error = msg(bench.add("b", "net1", &conf).unwrap_err());
    assert!(
        error.contains("10.0.0.11 has been allocated to b, duplicate allocation is not allowed"),
        "{error}"
    );
    assert_eq!(bench.ip("c", "net1", &conf), "10.0.0.12/24");
    bench.del("b", "net1");
    assert_eq!(bench.files(), BTreeSet::from(["10.0.0.10".into(), "10.0.0.12".into()]));
}

#[test]
fn files_of_old_releases_name_only_the_container() {
    let bench = Bench::new();
    fs::create_dir_all(bench.store()).unwrap();
    fs::write(bench.store().join("10.0.0.10"), "old").unwrap();
    let error = msg(bench.add("old", "net1", &bench.small()).unwrap_err());
    assert!(error.contains("duplicate allocation"), "{error}");
    bench.del("old", "net1");
    assert_eq!(bench.files(), BTreeSet::new());
}

#[test]
fn empty_files_of_a_crash_are_free() {
    let bench = Bench::new();
    fs::create_dir_all(bench.store()).unwrap();
    fs::write(bench.store().join("10.0.0.10"), "").unwrap();
    assert_eq!(bench.ip("a", "net1", &bench.small()), "10.0.0.10/24");
    assert_eq!(fs::read(bench.store().join("10.0.0.10")).unwrap(), b"a\r\nnet1");
}

#[test]
fn what_a_killed_process_left_half_done_is_removed_and_harms_no_address() {
    let bench = Bench::new();
    bench.add("a", "net1", &bench.small()).unwrap();
    let (address, unfinished) = (bench.store().join("10.0.0.10"), bench.store().join(".new"));
    // Killed between linking the address into place and removing its first name.
    fs::hard_link(&address, &unfinished).unwrap();
    assert_eq!(bench.ip("b", "net1", &bench.small()), "10.0.0.11/24");
    assert_eq!(fs::read(&address).unwrap(), b"a\r\nnet1");
    fs::write(&unfinished, "b").unwrap();
    bench.del("a", "net1");
    bench.del("b", "net1");
    assert_eq!(bench.files(), BTreeSet::new());
}

#[test]
fn the_same_attachment_gets_no_second_address() {
    let bench = Bench::new();
    let conf = bench.small();
    bench.add("a", "net1", &conf).unwrap();
    let error = msg(bench.add("a", "net1", &conf).unwrap_err());
    assert!(
        error.ends_with("10.0.0.10 has been allocated to a, duplicate allocation is not allowed"),
        "{error}"
    );
}

#[test]
fn a_failure_in_a_later_set_gives_the_earlier_address_back() {
    let bench = Bench::new();
    let range = json!({"subnet": "10.0.1.0/24", "rangeStart": "10.0.1.5", "rangeEnd": "10.0.1.5"});
    let conf = bench.conf(json!({"ranges": [[{"subnet": "10.0.0.0/24"}], [range]]}));
    bench.add("a", "net1", &conf).unwrap();
    let before = bench.files();
    assert!(msg(bench.add("b", "net1", &conf).unwrap_err()).starts_with("failed to allocate for range 1: "));
    assert_eq!(bench.files(), before);
}

#[test]
fn requests_come_from_three_sources_and_must_all_be_met() {
    let bench = Bench::new();
    let mut conf = bench.small();
    conf["runtimeConfig"] = json!({"ips": ["10.0.0.12/24"]});
    assert_eq!(bench.ip("a", "net1", &conf), "10.0.0.12/24");
    let error = msg(bench.add("b", "net1", &conf).unwrap_err());
    assert!(
        error.ends_with("requested IP address 10.0.0.12 is not available in range set 10.0.0.10-10.0.0.12"),
        "{error}"
    );
    let mut conf = bench.small();
    conf["args"] = json!({"cni": {"ips": ["10.0.0.11"]}});
    conf["testArgs"] = json!("IP=10.0.0.99");
    let before = bench.files();
    let error = msg(bench.add("c", "net1", &conf).unwrap_err());
    assert_eq!(error, "failed to allocate all requested IPs: 10.0.0.99");
    assert_eq!(bench.files(), before);
}

#[test]
fn the_gateway_is_never_handed_out() {
    let bench = Bench::new();
    let mut conf = bench.conf(json!({"subnet": "10.0.0.0/30", "gateway": "10.0.0.2"}));
    assert_eq!(bench.ip("a", "net1", &conf), "10.0.0.1/30");
    conf["runtimeConfig"] = json!({"ips": ["10.0.0.2"]});
    let error = msg(bench.add("b", "net1", &conf).unwrap_err());
    assert!(error.ends_with("requested ip 10.0.0.2 is subnet's gateway"), "{error}");
}

#[test]
fn gc_keeps_what_is_listed_and_the_bookkeeping() {
    let bench = Bench::new();
    let conf = bench.small();
    bench.add("a", "net1", &conf).unwrap();
    bench.add("b", "net1", &conf).unwrap();
    fs::write(bench.store().join("10.0.0.12"), "a").unwrap();
    let mut gc = bench.small();
    bench.call_conf(Verb::Gc, "", "", &gc).unwrap();
    assert_eq!(bench.files().len(), 3, "without a list nothing is known to be stale");
    gc["cni.dev/valid-attachments"] = json!([{"containerID": "a", "ifname": "net1"}]);
    bench.call_conf(Verb::Gc, "", "", &gc).unwrap();
    assert_eq!(bench.files(), BTreeSet::from(["10.0.0.10".into(), "10.0.0.12".into()]));
    assert!(bench.store().join("lock").exists() && bench.store().join("last_reserved_ip.0").exists());
    gc["cni.dev/valid-attachments"] = json!([]);
    bench.call_conf(Verb::Gc, "", "", &gc).unwrap();
    assert_eq!(bench.files(), BTreeSet::new());
}

#[test]
fn status_is_50_when_a_set_is_exhausted() {
    let bench = Bench::new();
    let conf = bench.small();
    bench.call_conf(Verb::Status, "", "", &conf).unwrap();
    for id in ["a", "b", "c"] {
        bench.add(id, "net1", &conf).unwrap();
    }
    assert_eq!(bench.call_conf(Verb::Status, "", "", &conf).unwrap_err().code, 50);
}

#[test]
fn an_address_is_given_back_without_its_ranges() {
    let bench = Bench::new();
    let conf = bench.small();
    bench.add("a", "net1", &conf).unwrap();
    bench.add("b", "net1", &conf).unwrap();
    let mut bare = conf.clone();
    bare["ipam"] = json!({"type": "host-local", "dataDir": conf["ipam"]["dataDir"]});
    bench.call_conf(Verb::Del, "a", "net1", &bare).unwrap();
    let held = || bench.files().into_iter().filter(|file| file.starts_with("10.")).count();
    assert_eq!(held(), 1);
    bare["cni.dev/valid-attachments"] = json!([]);
    bench.call_conf(Verb::Gc, "", "", &bare).unwrap();
    assert_eq!(held(), 0);
    assert_eq!(bench.call_conf(Verb::Check, "b", "net1", &bare).unwrap_err().msg, "no IP ranges specified");
}

#[test]
fn wrong_ranges_are_refused_by_their_texts() {
    let cases = [
        (json!({}), "no IP ranges specified"),
        (
            json!({"subnet": "10.0.0.5/24"}),
            "invalid range set 0: Network has host bits set. For a subnet mask of length 24 the network address is 10.0.0.0",
        ),
        (
            json!({"subnet": "10.0.0.0/31"}),
            "invalid range set 0: Network 10.0.0.0/31 too small to allocate from",
        ),
        (
            json!({"subnet": "10.0.0.0/24", "rangeStart": "10.0.1.1"}),
            "invalid range set 0: RangeStart 10.0.1.1 not in network 10.0.0.0/24",
        ),
        (
            json!({"subnet": "10.0.0.0/24", "rangeEnd": "10.0.1.1"}),
            "invalid range set 0: RangeEnd 10.0.1.1 not in network 10.0.0.0/24",
        ),
        (json!({"ranges": [[]]}), "invalid range set 0: empty range set"),
        (
            json!({"ranges": [[{"subnet": "10.0.0.0/24"}, {"subnet": "fd00::/64"}]]}),
            "invalid range set 0: mixed address families",
        ),
        (
            json!({"ranges": [[{"subnet": "10.0.0.0/24"}], [{"subnet": "10.0.0.0/25"}]]}),
            "range set 0 overlaps with 1",
        ),
    ];
    for (mut ipam, expected) in cases {
        ipam["type"] = json!("host-local");
        let conf = json!({"cniVersion": "1.0.0", "name": "lab", "type": "x", "ipam": ipam});
        let error = parse_for_test(&conf).err().map(msg);
        assert_eq!(error.as_deref(), Some(expected), "{conf}");
    }
    let two = json!({"cniVersion": "0.2.0", "name": "lab", "type": "x", "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.0.0.0/24"}], [{"subnet": "10.0.1.0/24"}]]}});
    let error = parse_for_test(&two).err().map(msg);
    assert_eq!(error.as_deref(), Some("CNI version 0.2.0 does not support more than 1 address per family"));
    let none = json!({"cniVersion": "1.0.0", "name": "lab", "type": "x"});
    assert_eq!(parse_for_test(&none).err().map(msg).as_deref(), Some("IPAM config missing 'ipam' key"));
}

#[test]
fn twenty_at_once_get_twenty_addresses() {
    let bench = Bench::new();
    let conf = bench.conf(json!({"subnet": "10.0.0.0/27"}));
    let ips: Vec<String> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..20)
            .map(|i| {
                scope.spawn({
                    let (bench, conf) = (&bench, &conf);
                    move || bench.ip(&format!("c{i}"), "eth0", conf)
                })
            })
            .collect();
        workers.into_iter().map(|w| w.join().unwrap()).collect()
    });
    assert_eq!(ips.iter().collect::<BTreeSet<_>>().len(), 20);
    assert_eq!(bench.files().len(), 20);
}

#[test]
fn a_huge_range_costs_nothing() {
    let bench = Bench::new();
    let conf = bench.conf(json!({"subnet": "fd00::/48"}));
    assert_eq!(bench.ip("a", "net1", &conf), "fd00::2/48");
    assert!(Path::new(&bench.store()).exists());
}

/// Debian's plugin and ours on one directory, in turn: neither hands out what the other holds, each releases the other's.
#[test]
fn the_replaced_plugin_shares_the_store() {
    let peer = Path::new("/usr/lib/cni/host-local");
    if !peer.exists() {
        eprintln!("skipped: no {}", peer.display());
        return;
    }
    let bench = Bench::new();
    let mut conf = bench.small();
    conf["cniVersion"] = json!("1.0.0");
    let exec = polynic_cni::Exec::default();
    let peer_call = |verb, id: &str| {
        let invocation = Invocation {
            container_id: id.into(),
            netns: "/proc/1/ns/net".into(),
            ifname: "net1".into(),
            path: "/usr/lib/cni".into(),
            netns_override: true,
            stdin: conf.to_string().into_bytes(),
            env: vec![("CNI_NETNS_OVERRIDE".into(), "1".into())],
            ..Invocation::default()
        };
        polynic_cni::Delegate::call(&exec, "host-local", verb, &invocation)
    };
    let peer_ip = |id: &str| {
        peer_call(Verb::Add, id).unwrap().into_success("host-local").unwrap().ips[0].address.to_string()
    };
    assert_eq!(bench.ip("ours", "net1", &conf), "10.0.0.10/24");
    assert_eq!(peer_ip("theirs"), "10.0.0.11/24");
    assert_eq!(bench.ip("ours2", "net1", &conf), "10.0.0.12/24");
    assert!(
        msg(peer_call(Verb::Add, "full").unwrap_err()).contains("no IP addresses available in range set")
    );
    assert!(
        msg(bench.add("full", "net1", &conf).unwrap_err()).contains("no IP addresses available in range set")
    );
    peer_call(Verb::Del, "ours").unwrap();
    bench.del("theirs", "net1");
    assert_eq!(bench.files(), BTreeSet::from(["10.0.0.12".into()]));
    assert!(msg(peer_call(Verb::Add, "ours2").unwrap_err()).contains("duplicate allocation is not allowed"));
    let error = msg(bench.add("ours2", "net1", &conf).unwrap_err());
    assert!(error.contains("duplicate allocation is not allowed"), "{error}");
}

/// Otherwise the cost of each DEL would grow with the number of addresses that are held.
#[test]
fn an_address_is_given_back_without_reading_the_others() {
    let bench = Bench::new();
    bench.ip("a", "net1", &bench.small());
    let modified = fs::metadata(bench.store()).unwrap().modified().unwrap();
    // What only a search would find, in a store that looks as it was left.
    fs::write(bench.store().join("10.0.0.12"), "a\r\nnet1").unwrap();
    fs::File::open(bench.store()).unwrap().set_modified(modified).unwrap();
    bench.del("a", "net1");
    assert_eq!(bench.files(), BTreeSet::from(["10.0.0.12".to_owned()]));
    // Now it does not, and is searched.
    fs::write(bench.store().join("10.0.0.11"), "b\r\nnet1").unwrap();
    bench.del("a", "net1");
    assert_eq!(bench.files(), BTreeSet::from(["10.0.0.11".to_owned()]));
}
