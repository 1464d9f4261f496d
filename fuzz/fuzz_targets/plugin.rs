//! A built-in plugin as an executable, on a fake kernel: stdin, environment, dispatch, planning, answer.
//!
//! Input: a byte for the plugin (if stdin's `type` names none), a byte for the verb, a line of `CNI_ARGS`, then stdin. Whatever comes, the answer is a result
//! or an error object, and a refused ADD leaves the kernel as it was.
#![no_main]

use std::ffi::OsString;
use std::sync::LazyLock;

use libfuzzer_sys::{Corpus, fuzz_target};
use polynic_cni::dispatch;
use polynic_kernel::FakeDoor;
use polynic_plugins::{Host, Registry, types};
use serde_json::Value;

const NETNS: &str = "/run/netns/pod";
const VERBS: [&str; 7] = ["ADD", "DEL", "CHECK", "GC", "STATUS", "VERSION", "BOGUS"];

struct World {
    door: FakeDoor,
    registry: Registry,
    directory: tempfile::TempDir,
}

/// One world for all inputs: what one leaves behind, the next has to live with.
static WORLD: LazyLock<World> = LazyLock::new(|| {
    let door = FakeDoor::new();
    door.host(|host| {
        host.physical("eth0").address("eth0", "10.1.0.2/24").route("0.0.0.0/0", Some("10.1.0.1"), "eth0");
    });
    door.add_netns(NETNS);
    let directory = tempfile::tempdir().expect("a temporary directory");
    let registry = Registry::new(Host {
        door: Box::new(door.clone()),
        state: directory.path().join("state"),
        executable: None,
        addresses: Box::new(polynic_wire::Sockets),
        releases: polynic_wire::ReleaseJournal::new(directory.path().join("releases")),
        seed: Box::new(|| 7),
        warn: Box::new(|_| {}),
    });
    World { door, registry, directory }
});

/// Keeps an input from reading or writing files of its choice, which is a configuration's right but not a fuzzer's. Keys are
/// matched without regard to case, as the parser matches them.
fn confine(value: &mut Value, data: &str) {
    match value {
        Value::Object(map) => {
            map.retain(|key, _| !["datadir", "resolvconf"].contains(&key.to_lowercase().as_str()));
            map.values_mut().for_each(|v| confine(v, data));
            map.insert("dataDir".to_owned(), Value::from(data));
        }
        Value::Array(list) => list.iter_mut().for_each(|v| confine(v, data)),
        _ => {}
    }
}

/// Plugin, verb, `CNI_ARGS` and stdin of an input.
fn request<'a>(input: &'a [u8], data: &str) -> Option<(&'static str, &'static str, &'a str, String)> {
    let (&[plugin, verb], rest) = input.split_first_chunk()?;
    let end = rest.iter().position(|b| *b == b'\n')?;
    let args = std::str::from_utf8(&rest[..end]).ok()?;
    // What is no JSON is left to the targets that parse and do nothing.
    let mut stdin: Value = serde_json::from_slice(&rest[end + 1..]).ok()?;
    confine(&mut stdin, data);
    let plugins: Vec<&str> = types().collect();
    // Seeds outlive the order of the plugins.
    let named = plugins.iter().find(|known| stdin["type"] == **known).copied();
    let plugin = named.unwrap_or(plugins[usize::from(plugin) % plugins.len()]);
    Some((plugin, VERBS[usize::from(verb) % VERBS.len()], args, stdin.to_string()))
}

fuzz_target!(|input: &[u8]| -> Corpus {
    let world = &*WORLD;
    let data = world.directory.path().join("data");
    let Some((plugin, verb, args, stdin)) = request(input, &data.to_string_lossy()) else {
        return Corpus::Reject;
    };
    if args.contains('\0') {
        return Corpus::Reject;
    }
    let env = [
        ("CNI_COMMAND", verb),
        ("CNI_CONTAINERID", "c1"),
        ("CNI_NETNS", NETNS),
        ("CNI_IFNAME", "net1"),
        ("CNI_ARGS", args),
        ("CNI_PATH", "/nowhere"),
    ];
    let env = env.map(|(k, v)| (OsString::from(k), OsString::from(v)));
    let before = world.door.snapshot();
    let main = world.registry.plugin(plugin).expect("a built-in plugin");
    let answer = dispatch(&main, env, &mut stdin.as_bytes());
    if answer.code == 0 {
        assert!(answer.stdout.is_empty() || serde_json::from_str::<Value>(&answer.stdout).is_ok());
        return Corpus::Keep;
    }
    let error: Value = serde_json::from_str(&answer.stdout).expect("an error object");
    assert!(error["code"].is_u64() && error["msg"].as_str().is_some_and(|m| !m.is_empty()), "{error}");
    assert!(!answer.stdout.contains("this is a defect"), "{error}");
    if verb == "ADD" {
        assert_eq!(before.diff(&world.door.snapshot()), Vec::<String>::new(), "{error}");
    }
    Corpus::Keep
});
