use std::os::unix::fs::PermissionsExt;

use proptest::prelude::*;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;

fn scratch() -> (TempDir, Scratch) {
    let directory = tempfile::tempdir().unwrap();
    let scratch = Scratch::new(&directory.path().join("multus"), "c7");
    (directory, scratch)
}

fn delegates() -> Vec<DelegateConf> {
    let single = json!({"cniVersion": "0.3.1", "name": "fabric", "type": "fabric", "capabilities": {"mac": true},
                        "ipam": {"type": "host-local", "subnet": "10.0.0.0/24"}, "x": 1});
    let list = json!({"cniVersion": "1.0.0", "name": "lan", "disableCheck": true,
                      "plugins": [{"type": "a", "k": [1]}, {"type": "b"}]});
    let mut list = DelegateConf::inline(list.as_object().unwrap()).unwrap();
    list.display_name = "blue/lan".into();
    list.filter = Filter { v4: false, v6: true };
    list.request = Request {
        interface: "lan0".into(),
        mac: "02:00:00:00:00:01".into(),
        ips: vec!["10.0.0.9".into()],
        infiniband_guid: "g".into(),
        device_id: "d".into(),
        default_route: Some(vec!["10.0.0.1".parse().unwrap()]),
        ..Request::default()
    };
    vec![DelegateConf::inline(single.as_object().unwrap()).unwrap(), list]
}

#[test]
fn the_file_has_the_fields_of_the_contract() {
    let (_directory, scratch) = scratch();
    let delegates = delegates();
    scratch.write(&delegates).unwrap();
    let file: Value = serde_json::from_slice(&fs::read(&scratch.path).unwrap()).unwrap();
    let bytes = |index: usize| STANDARD.encode(&delegates[index].list.bytes);
    let wanted = json!([
        {"Conf": {"cniVersion": "0.3.1", "name": "fabric", "type": "fabric", "capabilities": {"mac": true},
                  "ipam": {"type": "host-local"}},
         "ConfList": {}, "Name": "fabric", "IsFilterV4Gateway": false, "IsFilterV6Gateway": false, "Bytes": bytes(0)},
        {"Conf": {"cniVersion": "1.0.0", "name": "lan", "ipam": {}},
         "ConfList": {"cniVersion": "1.0.0", "name": "lan", "disableCheck": true,
                      "plugins": [{"type": "a", "ipam": {}}, {"type": "b", "ipam": {}}]},
         "Name": "blue/lan", "ifnameRequest": "lan0", "macRequest": "02:00:00:00:00:01", "infinibandGUIDRequest": "g",
         "ipRequest": ["10.0.0.9"], "default-route": ["10.0.0.1"], "IsFilterV4Gateway": false, "IsFilterV6Gateway": true,
         "deviceID": "d", "Bytes": bytes(1)},
    ]);
    assert_eq!(file, wanted);
}

#[test]
fn what_is_ours_stands_beside_and_reads_back() {
    let (_directory, scratch) = scratch();
    let route = Route::new("0.0.0.0/0".parse().unwrap(), &"eth0".parse().unwrap());
    let mut delegates = delegates();
    delegates[0].origin = Some(Origin::Configured);
    delegates[0].given_up = vec![route.via("10.0.0.1".parse().unwrap())];
    delegates[1].origin = Some(Origin::Selected);
    scratch.write(&delegates).unwrap();
    assert_eq!(scratch.read().unwrap(), Some(delegates));
    let file = fs::read_to_string(&scratch.path).unwrap();
    assert!(
        file.contains(r#""polynicOrigin":"configured""#) && file.contains(r#""polynicOrigin":"selected""#),
        "{file}"
    );
}

#[test]
fn what_is_written_reads_back() {
    let (_directory, scratch) = scratch();
    scratch.write(&delegates()).unwrap();
    assert_eq!(scratch.read().unwrap(), Some(delegates()));
}

#[test]
fn the_file_is_for_root_and_nothing_else_is_left() {
    let (_directory, scratch) = scratch();
    scratch.write(&delegates()).unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let directory = scratch.path.parent().unwrap();
    assert_eq!((mode(&scratch.path), mode(directory)), (0o600, 0o700));
    assert_eq!(fs::read_dir(directory).unwrap().count(), 1);
    fs::write(directory.join("notes"), "somebody else's").unwrap();
    assert_eq!(Scratch::containers(directory), ["c7"]);
}

#[test]
fn no_file_and_an_empty_list_tell_nothing() {
    let (_directory, scratch) = scratch();
    assert_eq!(scratch.read().unwrap(), None);
    for empty in ["[]", "null"] {
        scratch.restore(Some(empty.as_bytes())).unwrap();
        assert_eq!(scratch.read().unwrap(), None);
    }
}

#[test]
fn broken_files_are_errors_that_name_the_file() {
    let (_directory, scratch) = scratch();
    for broken in ["", "[{", "{}", "[7]", r#"[{"Bytes":"!"}]"#, r#"[{"Bytes":""}]"#, r#"[{"Bytes":"e30="}]"#]
    {
        scratch.restore(Some(broken.as_bytes())).unwrap();
        let error = scratch.read().unwrap_err().to_string();
        assert!(error.contains("multus/c7"), "{broken}: {error}");
    }
}

#[test]
fn restoring_nothing_removes() {
    let (_directory, scratch) = scratch();
    scratch.write(&delegates()).unwrap();
    scratch.restore(None).unwrap();
    scratch.remove().unwrap();
    assert_eq!(scratch.bytes().unwrap(), None);
}

proptest! {
    #[test]
    fn mutated_files_never_panic(at in any::<prop::sample::Index>(), piece in "\\PC{0,4}", cut: bool) {
        let (_directory, scratch) = scratch();
        scratch.write(&delegates()).unwrap();
        let mut text: Vec<char> = fs::read_to_string(&scratch.path).unwrap().chars().collect();
        let at = at.index(text.len());
        text.splice(at..at + 1, piece.chars());
        if cut {
            text.truncate(at);
        }
        scratch.restore(Some(text.into_iter().collect::<String>().as_bytes())).unwrap();
        let _ = scratch.read();
    }
}
