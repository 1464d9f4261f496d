use std::fs;
use std::path::Path;

use super::*;
use crate::error::Error;

fn parse(value: Value) -> Result<ConfList, String> {
    ConfList::parse(value.to_string().as_bytes()).map_err(|why| Error::from(why).msg)
}

fn lab(changes: Value) -> Value {
    let mut list = json!({"cniVersion": "1.0.0", "name": "lab", "plugins": [{"type": "x"}]});
    for (key, value) in changes.as_object().unwrap() {
        list[key] = value.clone();
    }
    list
}

#[test]
fn a_list_is_read_with_its_plugins_as_written() {
    let plugin = json!({"type": "x", "name": "own", "capabilities": {"mac": true}, "deep": {"n": 9007199254740993_u64}});
    let list = parse(lab(json!({"plugins": [plugin], "unknown": 1}))).unwrap();
    assert_eq!((list.name.as_str(), list.version()), ("lab", Ok(Version::V1_0_0)));
    assert_eq!((list.plugins[0].plugin_type.as_str(), list.plugins[0].name.as_str()), ("x", "own"));
    assert_eq!(list.plugins[0].capabilities.get("mac"), Some(&true));
    assert_eq!(Value::Object(list.plugins[0].raw.clone()), plugin);
    assert!(!list.disable_check && !list.disable_gc && !list.load_only_inlined_plugins);
}

#[test]
fn each_wrong_key_has_its_text() {
    let message = |change: Value| {
        let text = parse(lab(change)).unwrap_err();
        text.strip_prefix("error parsing configuration list: ").map(str::to_owned).ok_or(text)
    };
    for (change, expected) in [
        (json!({"name": null}), "invalid name type <nil>"),
        (json!({"name": 5}), "invalid name type float64"),
        (json!({"cniVersion": {}}), "invalid cniVersion type map[string]interface {}"),
        (json!({"cniVersions": "1.0.0"}), "invalid type for cniVersions: string"),
        (json!({"cniVersions": ["1.0.0", true]}), "invalid type for cniVersions index 1: bool"),
        (
            json!({"cniVersions": ["1.x"]}),
            "invalid cniVersions entry 1.x at index 0: invalid version \"1.x\": failed to convert part \"x\" to a number",
        ),
        (json!({"plugins": {}}), "invalid 'plugins' type map[string]interface {}"),
        (json!({"plugins": []}), "no plugins in list"),
        (json!({"disableCheck": "yes"}), "invalid value \"yes\" for disableCheck"),
        (json!({"disableGC": 1}), "invalid type float64 for disableGC"),
    ] {
        assert_eq!(message(change), Ok(expected.to_owned()));
    }
    let no_name = parse(json!({"plugins": [{"type": "x"}]})).unwrap_err();
    assert_eq!(no_name, "error parsing configuration list: no name");
    let inlined = parse(json!({"name": "lab", "loadOnlyInlinedPlugins": true})).unwrap_err();
    let text = "error parsing configuration list: `loadOnlyInlinedPlugins` is true, and no 'plugins' key";
    assert_eq!(inlined, text);
}

#[test]
fn a_plugin_without_type_is_refused() {
    let text = "failed to parse plugin config 1: error parsing configuration: missing 'type'";
    assert_eq!(parse(lab(json!({"plugins": [{"type": "x"}, {"name": "y"}]}))), Err(text.to_owned()));
    assert!(parse(lab(json!({"plugins": ["x"]}))).is_err());
}

#[test]
fn switches_may_be_texts() {
    for on in [json!(true), json!("true"), json!("TRUE")] {
        let list =
            parse(lab(json!({"disableCheck": on, "disableGC": on, "loadOnlyInlinedPlugins": on}))).unwrap();
        assert!(list.disable_check && list.disable_gc && list.load_only_inlined_plugins);
    }
    assert!(!parse(lab(json!({"disableCheck": "False"}))).unwrap().disable_check);
}

#[test]
fn the_highest_known_version_is_chosen() {
    let chosen = |change| parse(lab(change)).unwrap().cni_version;
    assert_eq!(chosen(json!({"cniVersions": ["0.3.1", "1.1.0", "1.0.0"]})), "1.1.0");
    assert_eq!(chosen(json!({"cniVersions": ["9.0.0", "0.4.0"]})), "1.0.0");
    assert_eq!(chosen(json!({"cniVersion": "9.0.0", "cniVersions": ["8.0.0"]})), "9.0.0");
    assert_eq!(chosen(json!({"cniVersion": "", "cniVersions": ["0.4.0"]})), "0.4.0");
    assert_eq!(chosen(json!({"cniVersions": []})), "1.0.0");
    assert_eq!(
        parse(json!({"name": "a", "plugins": [{"type": "x"}]})).unwrap().version(),
        Ok(Version::V0_1_0)
    );
}

#[test]
fn a_single_configuration_becomes_a_list() {
    let single = json!({"name": "lab", "cniVersion": "0.4.0", "type": "x", "mtu": 9});
    let list = ConfList::parse_any(single.to_string().as_bytes()).unwrap();
    assert_eq!((list.name.as_str(), list.cni_version.as_str(), list.plugins.len()), ("lab", "0.4.0", 1));
    assert_eq!(Value::Object(list.plugins[0].raw.clone()), single);
    let expected = json!({"name": "lab", "cniVersion": "0.4.0", "plugins": [single]});
    assert_eq!(json::parse(&list.bytes), Ok(expected.clone()));
    assert_eq!(ConfList::parse_any(expected.to_string().as_bytes()).unwrap().plugins, list.plugins);
    let error = Error::from(ConfList::parse_single(br#"{"name":"lab"}"#).unwrap_err());
    assert_eq!(error, Error::internal("error parsing configuration: missing 'type'"));
}

/// A directory with files: path below it and content.
fn directory(files: &[(&str, &str)]) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    for (name, content) in files {
        let path = directory.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    directory
}

fn types(list: &ConfList) -> Vec<&str> {
    list.plugins.iter().map(|plugin| plugin.plugin_type.as_str()).collect()
}

const LAB: &str = r#"{"name":"lab","cniVersion":"1.0.0","plugins":[{"type":"x"}]}"#;

#[test]
fn plugins_beside_the_list_come_after_the_inlined_ones() {
    let files = [
        ("a.conflist", LAB),
        ("lab/20.conf", r#"{"type":"z"}"#),
        ("lab/10.conf", r#"{"type":"y"}"#),
        ("lab/README", "no"),
        ("lab/dir.conf/x", "no"),
    ];
    let directory = directory(&files);
    assert_eq!(types(&load(&directory.path().join("a.conflist")).unwrap()), ["x", "y", "z"]);
    fs::write(directory.path().join("a.conflist"), r#"{"name":"lab"}"#).unwrap();
    assert_eq!(types(&load(&directory.path().join("a.conflist")).unwrap()), ["y", "z"]);
    let inlined = LAB.replacen('{', r#"{"loadOnlyInlinedPlugins":"true","#, 1);
    fs::write(directory.path().join("a.conflist"), inlined).unwrap();
    assert_eq!(types(&load(&directory.path().join("a.conflist")).unwrap()), ["x"]);
}

#[test]
fn a_broken_plugin_beside_the_list_is_an_error_and_none_at_all_too() {
    let directory =
        directory(&[("a.conflist", LAB), ("lab/10.conf", "{}"), ("b.conflist", r#"{"name":"empty"}"#)]);
    let error = Error::from(load(&directory.path().join("a.conflist")).unwrap_err());
    assert!(error.msg.ends_with("lab/10.conf: error parsing configuration: missing 'type'"), "{error}");
    let error = Error::from(load(&directory.path().join("b.conflist")).unwrap_err());
    assert!(error.msg.ends_with("b.conflist: no plugin configs found"), "{error}");
}

#[test]
fn a_name_never_leads_out_of_the_directory() {
    let files = [
        ("conf/a.conflist", r#"{"name":"../secret","plugins":[{"type":"x"}]}"#),
        ("secret/1.conf", r#"{"type":"y"}"#),
    ];
    let directory = directory(&files);
    assert_eq!(types(&load(&directory.path().join("conf/a.conflist")).unwrap()), ["x"]);
}

#[test]
fn lists_are_found_before_single_configurations() {
    let single = r#"{"name":"lab","type":"single"}"#;
    let other = r#"{"name":"other","type":"o"}"#;
    let directory =
        directory(&[("00.conf", single), ("50.conflist", LAB), ("60.json", other), ("70.conf", other)]);
    assert_eq!(types(&find(directory.path(), "lab").unwrap()), ["x"]);
    assert_eq!(types(&find(directory.path(), "other").unwrap()), ["o"]);
    let missing = Error::from(find(directory.path(), "none").unwrap_err()).msg;
    assert_eq!(missing, format!("no net configuration with name \"none\" in {}", directory.path().display()));
    fs::write(directory.path().join("10.conflist"), "{").unwrap();
    assert!(matches!(find(directory.path(), "lab"), Err(LoadError::File { .. })));
}

#[test]
fn a_directory_without_networks_is_named() {
    let directory = directory(&[("README", "")]);
    let message = |path: &Path| Error::from(find(path, "lab").unwrap_err()).msg;
    let text = |path: &Path| format!("no net configurations found in {}", path.display());
    assert_eq!(message(directory.path()), text(directory.path()));
    let gone = directory.path().join("gone");
    assert_eq!(message(&gone), text(&gone));
    assert!(matches!(first_loadable(&gone), Err(LoadError::NoneInDirectory(_))));
}

#[test]
fn container_runtimes_take_the_first_file_that_loads() {
    let directory = directory(&[("00.conf", "{"), ("10.txt", LAB), ("20.conflist", LAB), ("30.conf", "{}")]);
    let (path, list) = first_loadable(directory.path()).unwrap();
    assert_eq!((path, list.name.as_str()), (directory.path().join("20.conflist"), "lab"));
    fs::remove_file(directory.path().join("20.conflist")).unwrap();
    let error = Error::from(first_loadable(directory.path()).unwrap_err());
    assert!(error.msg.contains("00.conf"), "{error}");
}
