use std::path::PathBuf;

use proptest::prelude::*;
use serde_json::json;
use tempfile::TempDir;

use super::*;

fn spec(config: &Value) -> Result<DelegateConf, DelegateError> {
    DelegateConf::from_spec(&config.to_string(), "lan", "blue/lan".into())
}

fn bytes(delegate: &DelegateConf) -> Value {
    serde_json::from_slice(&delegate.list.bytes).unwrap()
}

#[test]
fn a_nad_gives_its_name_to_a_nameless_configuration() {
    for nameless in
        [json!({"type": "t"}), json!({"type": "t", "name": ""}), json!({"type": "t", "NAME": null})]
    {
        let delegate = spec(&nameless).unwrap();
        assert_eq!((delegate.list.name.as_str(), delegate.display_name.as_str()), ("lan", "blue/lan"));
        assert_eq!(bytes(&delegate), json!({"name": "lan", "type": "t"}));
    }
    let list = spec(&json!({"plugins": [{"type": "t"}]})).unwrap();
    assert_eq!((list.list.name.as_str(), list.is_list), ("lan", true));
}

#[test]
fn an_own_name_is_kept_and_so_is_the_text() {
    let text = r#"{ "type": "t", "name": "own",  "x": 1 }"#;
    let delegate = DelegateConf::from_spec(text, "lan", "blue/lan".into()).unwrap();
    assert_eq!(delegate.list.name, "own");
    assert_eq!(delegate.list.bytes, text.as_bytes());
    assert!(!delegate.is_list);
}

#[test]
fn a_missing_version_stays_empty() {
    assert_eq!(spec(&json!({"type": "t"})).unwrap().list.cni_version, "");
}

#[test]
fn spec_config_is_a_json_object() {
    for broken in ["", "{", "[]", "7", "\"x\""] {
        let error = DelegateConf::from_spec(broken, "lan", "blue/lan".into()).unwrap_err();
        assert!(error.to_string().starts_with("failed to unmarshal Spec.Config"), "{error}");
    }
}

fn with_args(config: Value) -> Result<Value, DelegateError> {
    let args = json!({"a": 1, "b": {"c": 2}}).as_object().cloned();
    let element = SelectionElement { cni_args: args, ..SelectionElement::default() };
    spec(&config)?.selected(&element).map(|delegate| bytes(&delegate))
}

#[test]
fn cni_args_merge_into_a_single_configuration() {
    let edited =
        with_args(json!({"type": "t", "args": {"cni": {"a": 0, "z": 9}, "other": 1}, "x": [1.5]})).unwrap();
    let wanted = json!({"name": "lan", "type": "t", "x": [1.5],
                        "args": {"cni": {"a": 1, "b": {"c": 2}, "z": 9}, "other": 1}});
    assert_eq!(edited, wanted);
}

#[test]
fn cni_args_merge_into_every_plugin_of_a_list() {
    let edited =
        with_args(json!({"name": "n", "plugins": [{"type": "t"}, {"type": "u", "args": null}]})).unwrap();
    let args = json!({"cni": {"a": 1, "b": {"c": 2}}});
    assert_eq!(edited["plugins"], json!([{"type": "t", "args": args}, {"type": "u", "args": args}]));
    assert_eq!(edited.get("args"), None);
}

#[test]
fn cni_args_reach_what_is_written_in_an_odd_case() {
    let args = json!({"a": 1, "b": {"c": 2}});
    let edited = with_args(json!({"name": "n", "Plugins": [{"type": "t"}, {"Type": "u"}]})).unwrap();
    let plugins = [&edited["plugins"], &edited["Plugins"]].into_iter().find(|list| list.is_array()).unwrap();
    assert_eq!((&plugins[0]["args"]["cni"], &plugins[1]["args"]["cni"]), (&args, &args));
    let edited = with_args(json!({"type": "t", "Args": {"CNI": {"a": 0, "z": 9}}})).unwrap();
    assert_eq!(edited["Args"], json!({"CNI": {"a": 1, "b": {"c": 2}, "z": 9}}));
    assert_eq!(edited.get("args"), None);
}

#[test]
fn args_that_are_no_object_are_an_error() {
    for broken in [json!({"type": "t", "args": 7}), json!({"type": "t", "args": {"cni": []}})] {
        assert!(with_args(broken).unwrap_err().to_string().starts_with("cannot merge cni-args"));
    }
}

#[test]
fn interfaces_are_named_by_their_place() {
    let named = |name: &str| {
        let element = SelectionElement { interface: name.into(), ..SelectionElement::default() };
        spec(&json!({"type": "t"})).unwrap().selected(&element).unwrap()
    };
    let list = ["", "", "foo", ""].map(named);
    let names: Vec<String> =
        list.iter().enumerate().map(|(index, delegate)| delegate.interface_at(index, "eth0")).collect();
    assert_eq!(names, ["eth0", "net1", "foo", "net3"]);
    assert_eq!(named("prim").interface_at(0, "eth0"), "prim");
}

fn file(directory: &TempDir, name: &str, content: &str) -> PathBuf {
    let path = directory.path().join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, content).unwrap();
    path
}

#[test]
fn a_list_from_a_file_takes_what_lies_beside_it() {
    let directory = tempfile::tempdir().unwrap();
    let list = file(&directory, "10-x.conflist", r#"{"name":"net","plugins":[{"type":"a"}],"extra":1}"#);
    file(&directory, "net/20.conf", r#"{"type":"c"}"#);
    file(&directory, "net/10.conf", r#"{"type":"b","deep":{"k":1}}"#);
    let delegate = DelegateConf::from_file(&list).unwrap();
    let wanted = json!({"name": "net", "extra": 1,
                        "plugins": [{"type": "a"}, {"type": "b", "deep": {"k": 1}}, {"type": "c"}]});
    assert_eq!(bytes(&delegate), wanted);
    assert_eq!(delegate.display_name, "net");
    assert_eq!(DelegateConf::from_bytes(&delegate.list.bytes).unwrap().list.plugins, delegate.list.plugins);
}

#[test]
fn other_files_hold_a_single_configuration() {
    let directory = tempfile::tempdir().unwrap();
    let single = file(&directory, "10-x.conf", r#"{"name":"net","type":"a"}"#);
    assert!(!DelegateConf::from_file(&single).unwrap().is_list);
    for wrong in [r#"{"name":"net","plugins":[{"type":"a"}]}"#, r#"{"name":"net"}"#] {
        let error = DelegateConf::from_file(&file(&directory, "10-y.conf", wrong)).unwrap_err().to_string();
        assert!(error.ends_with("no 'type'; perhaps this is supposed to be a .conflist?"), "{error}");
    }
    assert!(DelegateConf::from_file(&directory.path().join("none.conf")).is_err());
    let error = DelegateConf::from_file(&directory.path().join("none.conflist")).unwrap_err().to_string();
    assert!(error.ends_with("is not a regular file"), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn mutated_configurations_never_panic(at in any::<prop::sample::Index>(), piece in "\\PC{0,6}") {
        let mut text: Vec<char> = r#"{"name":"n","plugins":[{"type":"a","args":{"cni":{}}}],"disableCheck":"true"}"#.chars().collect();
        let at = at.index(text.len());
        text.splice(at..at + 1, piece.chars());
        let text: String = text.into_iter().collect();
        if let Ok(delegate) = DelegateConf::from_spec(&text, "lan", "blue/lan".into()) {
            let args = json!({"a": 1}).as_object().cloned();
            let _ = delegate.selected(&SelectionElement { cni_args: args, ..SelectionElement::default() });
        }
    }
}
