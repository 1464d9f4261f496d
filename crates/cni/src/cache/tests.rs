use std::os::unix::fs::PermissionsExt;

use serde_json::json;
use tempfile::TempDir;

use super::*;
use crate::json::JsonMap;

/// The example of spec/cni.md 5.4, as libcni writes it: one line.
const GOLDEN: &str = concat!(
    r#"{"kind":"cniCacheV1","containerId":"c7","config":"eyJjbmkuLi4=","ifName":"net1","networkName":"lab","#,
    r#""netns":"/run/netns/c7","cniArgs":[["IgnoreUnknown","1"]],"capabilityArgs":{"mac":"02:00:00:00:00:07"},"#,
    r#""result":{"cniVersion":"1.0.0","ips":[{"address":"192.0.2.9/24"}]}}"#
);

fn object(value: Value) -> JsonMap {
    value.as_object().cloned().unwrap()
}

fn golden() -> Entry {
    Entry {
        container_id: "c7".into(),
        config: b"{\"cni...".to_vec(),
        ifname: "net1".into(),
        network: "lab".into(),
        netns: "/run/netns/c7".into(),
        args: vec![("IgnoreUnknown".into(), "1".into())],
        capability_args: object(json!({"mac": "02:00:00:00:00:07"})),
        result: object(json!({"cniVersion": "1.0.0", "ips": [{"address": "192.0.2.9/24"}]})),
    }
}

fn key() -> Key<'static> {
    Key { network: "lab", container_id: "c7", ifname: "net1" }
}

/// A cache directory with one raw file for [`key`].
fn with_file(content: &[u8]) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    fs::create_dir(directory.path().join("results")).unwrap();
    fs::write(directory.path().join("results/lab-c7-net1"), content).unwrap();
    directory
}

#[test]
fn the_file_is_libcnis_to_the_byte() {
    assert_eq!(golden().to_json(), GOLDEN);
    assert_eq!(Entry::from_json(GOLDEN.as_bytes()), Ok(golden()));
    let least = Entry { netns: String::new(), args: vec![], capability_args: JsonMap::new(), ..golden() };
    let text = least.to_json();
    assert!(
        !text.contains("netns") && !text.contains("cniArgs") && !text.contains("capabilityArgs"),
        "{text}"
    );
}

#[test]
fn files_are_complete_and_private() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("cni");
    Cache::new(&root).write(&golden()).unwrap();
    Cache::new(&root).write(&golden()).unwrap();
    let file = root.join("results/lab-c7-net1");
    assert_eq!(fs::read_to_string(&file).unwrap(), GOLDEN);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&file), mode(&root.join("results"))), (0o600, 0o700));
    let names: Vec<_> = fs::read_dir(&root).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["results"], "no temporary file is left");
}

#[test]
fn a_failed_write_leaves_nothing_behind() {
    let directory = tempfile::tempdir().unwrap();
    let target = directory.path().join("results/lab-c7-net1");
    fs::create_dir_all(target.join("in the way")).unwrap();
    assert!(Cache::new(directory.path()).write(&golden()).unwrap_err().msg.contains("lab-c7-net1"));
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
}

#[test]
fn keys_are_complete_and_stay_in_the_directory() {
    let cache = Cache::new(Path::new("/c"));
    assert_eq!(cache.path(key()), Ok("/c/results/lab-c7-net1".into()));
    for wrong in ["", "../x", "a/b", "a\0"] {
        for key in [
            Key { network: wrong, ..key() },
            Key { container_id: wrong, ..key() },
            Key { ifname: wrong, ..key() },
        ] {
            let error = cache.path(key).unwrap_err();
            assert!(error.msg.starts_with("cache file path requires network name ("), "{error}");
        }
    }
}

#[test]
fn results_come_back_in_the_version_asked_for() {
    let directory = with_file(GOLDEN.as_bytes());
    let cache = Cache::new(directory.path());
    let read = cache.read_result(key(), Version::V0_4_0).unwrap().unwrap();
    assert_eq!((read.cni_version, read.ips.len()), (Version::V0_4_0, 1));
    assert_eq!(cache.read(key()), Ok(Some(golden())));
}

#[test]
fn a_bare_result_is_the_legacy_form() {
    let directory = with_file(br#"{"cniVersion":"0.2.0","ip4":{"ip":"192.0.2.9/24"}}"#);
    let read = Cache::new(directory.path()).read_result(key(), Version::V0_4_0).unwrap().unwrap();
    assert_eq!(read.ips[0].address, "192.0.2.9/24".parse().unwrap());
    assert_eq!(Cache::new(directory.path()).read(key()), Ok(None));
}

#[test]
fn a_missing_file_is_none_and_a_broken_one_an_error() {
    let directory = tempfile::tempdir().unwrap();
    assert_eq!(Cache::new(directory.path()).read_result(key(), Version::V1_0_0), Ok(None));
    assert_eq!(Cache::new(directory.path()).remove(key()), Ok(()));
    for broken in [&b""[..], b"{", b"[]", &GOLDEN.as_bytes()[..60]] {
        let directory = with_file(broken);
        assert!(Cache::new(directory.path()).read_result(key(), Version::V1_0_0).is_err());
        assert_eq!(Cache::new(directory.path()).read(key()), Ok(None));
        assert_eq!(Cache::new(directory.path()).remove(key()), Ok(()));
        assert_eq!(Cache::new(directory.path()).read_result(key(), Version::V1_0_0), Ok(None));
    }
}

#[test]
fn listing_is_sorted_and_leaves_out_what_is_no_attachment() {
    let directory = with_file(GOLDEN.as_bytes());
    let cache = Cache::new(directory.path());
    let entry =
        |network: &str, id: &str| Entry { network: network.into(), container_id: id.into(), ..golden() };
    cache.write(&entry("b", "c8")).unwrap();
    cache.write(&entry("a", "c7")).unwrap();
    cache.write(&entry("a", "x-c7-y")).unwrap();
    for (name, content) in [("a-c7-empty", ""), ("a-c7-kind", r#"{"kind":"other"}"#), ("-c7-", GOLDEN)] {
        fs::write(directory.path().join("results").join(name), content).unwrap();
    }
    fs::write(directory.path().join("results/a-c7-less"), GOLDEN.replace("\"net1\"", "\"\"")).unwrap();
    let names = |id| {
        let list = cache.list(id).unwrap();
        list.into_iter().map(|entry| format!("{}-{}", entry.network, entry.container_id)).collect::<Vec<_>>()
    };
    assert_eq!(names(None), ["lab-c7", "a-c7", "a-x-c7-y", "b-c8", "lab-c7"]);
    assert_eq!(names(Some("c7")), ["a-c7", "lab-c7"]);
    assert_eq!(names(Some("c9")), Vec::<String>::new());
    assert_eq!(Cache::new(Path::new("/nonexistent")).list(None), Ok(vec![]));
}
