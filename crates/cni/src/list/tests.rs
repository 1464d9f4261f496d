use std::fs;
use std::sync::Mutex;

use serde_json::json;
use tempfile::TempDir;

use super::*;
use crate::attachment::Attachment;
use crate::gate::VersionInfo;
use crate::json;
use crate::result::Ip;

/// Records every call; a plugin of type `fail-VERB` refuses that verb.
#[derive(Default)]
struct Recorder {
    calls: Mutex<Vec<(String, Verb, Invocation)>>,
}

impl Delegate for Recorder {
    fn call(&self, plugin_type: &str, verb: Verb, invocation: &Invocation) -> Result<Output, Error> {
        let mut calls = self.calls.lock().unwrap();
        calls.push((plugin_type.to_owned(), verb, invocation.clone()));
        if plugin_type == format!("fail-{verb}") {
            return Err(Error::new(50, "no", "why"));
        }
        let address = format!("192.0.2.{}/24", calls.len());
        Ok(match verb {
            Verb::Add => Output::Success(Success {
                cni_version: Version::V1_0_0,
                ips: vec![Ip::new(address.parse().unwrap())],
                ..Success::default()
            }),
            Verb::Version => Output::Version(VersionInfo::of(&Version::ALL[4..])),
            _ => Output::Empty,
        })
    }

    fn find(&self, plugin_type: &str, path: &str) -> Result<(), Error> {
        if plugin_type == "missing" { Err(Error::internal(format!("not in {path}"))) } else { Ok(()) }
    }
}

struct Lab {
    recorder: Recorder,
    cache: TempDir,
}

impl Lab {
    fn new() -> Lab {
        Lab { recorder: Recorder::default(), cache: tempfile::tempdir().unwrap() }
    }

    fn runtime(&self) -> Runtime<'_> {
        Runtime::new(self.cache.path(), "/bin/cni", &self.recorder)
    }

    /// What was called since the last question.
    fn calls(&self) -> Vec<(String, Verb, Invocation)> {
        std::mem::take(&mut *self.recorder.calls.lock().unwrap())
    }

    fn words(&self) -> Vec<String> {
        self.calls().iter().map(|(plugin_type, verb, _)| format!("{verb} {plugin_type}")).collect()
    }

    fn cached(&self) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.cache.path().join("results")) else { return vec![] };
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }
}

fn list(version: &str, types: &[&str]) -> ConfList {
    let plugins: Vec<_> = types.iter().map(|name| json!({"type": name})).collect();
    let list = json!({"name": "lab", "cniVersion": version, "plugins": plugins});
    ConfList::parse(list.to_string().as_bytes()).unwrap()
}

fn conf() -> RuntimeConf {
    RuntimeConf {
        container_id: "c7".into(),
        netns: "/run/netns/c7".into(),
        ifname: "net1".into(),
        args: vec![("IgnoreUnknown".into(), "1".into()), ("K".into(), "v".into())],
        capability_args: json!({"mac": "02:00:00:00:00:07", "ips": []}).as_object().cloned().unwrap(),
    }
}

fn stdin(call: &(String, Verb, Invocation)) -> Value {
    json::parse(&call.2.stdin).unwrap()
}

#[test]
fn add_goes_forward_and_hands_on_the_result() {
    let lab = Lab::new();
    let result = lab.runtime().add_list(&list("1.0.0", &["a", "b"]), &conf()).unwrap();
    assert_eq!(result.ips[0].address, "192.0.2.2/24".parse().unwrap());
    let calls = lab.calls();
    assert_eq!(stdin(&calls[0]), json!({"cniVersion": "1.0.0", "name": "lab", "type": "a"}));
    let previous = json!({"cniVersion": "1.0.0", "ips": [{"address": "192.0.2.1/24"}]});
    let second = json!({"cniVersion": "1.0.0", "name": "lab", "type": "b", "prevResult": previous});
    assert_eq!(stdin(&calls[1]), second);
    let call = &calls[1].2;
    assert_eq!((call.container_id.as_str(), call.netns.as_str()), ("c7", "/run/netns/c7"));
    assert_eq!(
        (call.ifname.as_str(), call.args.as_str(), call.path.as_str()),
        ("net1", "IgnoreUnknown=1;K=v", "/bin/cni")
    );
    assert_eq!(lab.cached(), ["lab-c7-net1"]);
}

#[test]
fn prev_result_is_in_the_version_of_the_list() {
    let lab = Lab::new();
    lab.runtime().add_list(&list("0.3.1", &["a", "b"]), &conf()).unwrap();
    let previous =
        json!({"cniVersion": "0.3.1", "dns": {}, "ips": [{"version": "4", "address": "192.0.2.1/24"}]});
    assert_eq!(stdin(&lab.calls()[1])["prevResult"], previous);
}

#[test]
fn requests_keep_unknown_keys_and_get_declared_capabilities_sorted() {
    let plugin = json!({"type": "a", "name": "own", "zeta": 9007199254740993_u64, "alpha": {"y": 1, "b": 2.0},
        "capabilities": {"mac": true, "ips": false, "other": true}, "runtimeConfig": {"old": 1}});
    let text = json!({"name": "lab", "plugins": [plugin]}).to_string();
    let list = ConfList::parse(text.as_bytes()).unwrap();
    let lab = Lab::new();
    lab.runtime().add_list(&list, &conf()).unwrap();
    let expected = concat!(
        r#"{"alpha":{"b":2,"y":1},"capabilities":{"ips":false,"mac":true,"other":true},"cniVersion":"","#,
        r#""name":"lab","runtimeConfig":{"mac":"02:00:00:00:00:07"},"type":"a","zeta":9007199254740993}"#
    );
    assert_eq!(String::from_utf8(lab.calls()[0].2.stdin.clone()).unwrap(), expected);
    let nothing = RuntimeConf { capability_args: JsonMap::new(), ..conf() };
    lab.runtime().add_list(&list, &nothing).unwrap();
    assert_eq!(stdin(&lab.calls()[0])["runtimeConfig"], json!({"old": 1}));
}

#[test]
fn a_failing_add_stops_and_caches_nothing() {
    let lab = Lab::new();
    let error = lab.runtime().add_list(&list("1.0.0", &["a", "fail-ADD", "b"]), &conf()).unwrap_err();
    assert_eq!(error, Error::new(50, "plugin type=\"fail-ADD\" failed (add): no; why", ""));
    assert_eq!(lab.words(), ["ADD a", "ADD fail-ADD"]);
    assert!(lab.cached().is_empty());
    let mut named = list("1.0.0", &["fail-ADD"]);
    named.plugins[0].name = "own".into();
    let error = lab.runtime().add_list(&named, &conf()).unwrap_err();
    assert_eq!(error.msg, "plugin type=\"fail-ADD\" name=\"own\" failed (add): no; why");
}

#[test]
fn add_checks_plugin_then_names() {
    let lab = Lab::new();
    let message =
        |types: &[&str], conf: &RuntimeConf| lab.runtime().add_list(&list("1.0.0", types), conf).unwrap_err();
    let unnamed = RuntimeConf { container_id: String::new(), ..conf() };
    assert!(message(&["missing"], &unnamed).msg.ends_with("failed (add): not in /bin/cni"));
    assert_eq!(message(&["a"], &unnamed).code, 3);
    assert_eq!(message(&["a"], &RuntimeConf { container_id: "-".into(), ..conf() }).code, 4);
    assert_eq!(message(&["a"], &RuntimeConf { ifname: "a/b".into(), ..conf() }).code, 4);
    assert!(lab.words().is_empty());
}

#[test]
fn del_goes_backward_with_the_cached_result_and_forgets_it() {
    let lab = Lab::new();
    let list = list("1.0.0", &["a", "b"]);
    lab.runtime().add_list(&list, &conf()).unwrap();
    lab.calls();
    lab.runtime().del_list(&list, &conf()).unwrap();
    let calls = lab.calls();
    assert_eq!((calls[0].0.as_str(), calls[1].0.as_str()), ("b", "a"));
    for call in &calls {
        assert_eq!(stdin(call)["prevResult"]["ips"], json!([{"address": "192.0.2.2/24"}]));
    }
    assert!(lab.cached().is_empty());
    lab.runtime().del_list(&list, &conf()).unwrap();
    assert_eq!(stdin(&lab.calls()[0]).get("prevResult"), None);
}

#[test]
fn del_before_0_4_has_no_prev_result() {
    let lab = Lab::new();
    let list = list("0.3.1", &["a"]);
    lab.runtime().add_list(&list, &conf()).unwrap();
    lab.calls();
    lab.runtime().del_list(&list, &conf()).unwrap();
    assert_eq!(stdin(&lab.calls()[0]).get("prevResult"), None);
    assert!(lab.cached().is_empty());
}

#[test]
fn a_failing_del_stops_and_keeps_the_cache() {
    let lab = Lab::new();
    let list = list("1.0.0", &["a", "fail-DEL", "b"]);
    lab.runtime().add_list(&list, &conf()).unwrap();
    lab.calls();
    let error = lab.runtime().del_list(&list, &conf()).unwrap_err();
    assert_eq!(error.msg, "plugin type=\"fail-DEL\" failed (delete): no; why");
    assert_eq!(lab.words(), ["DEL b", "DEL fail-DEL"]);
    assert_eq!(lab.cached(), ["lab-c7-net1"]);
}

#[test]
fn a_corrupt_cache_stops_check_but_not_del() {
    let lab = Lab::new();
    let list = list("1.0.0", &["a"]);
    lab.runtime().add_list(&list, &conf()).unwrap();
    fs::write(lab.cache.path().join("results/lab-c7-net1"), "").unwrap();
    lab.calls();
    let error = lab.runtime().check_list(&list, &conf()).unwrap_err();
    assert!(error.msg.starts_with("failed to get network \"lab\" cached result: "), "{error}");
    lab.runtime().del_list(&list, &conf()).unwrap();
    assert_eq!(lab.words(), ["DEL a"]);
    assert!(lab.cached().is_empty());
}

#[test]
fn check_wants_0_4_and_respects_the_switch_after_that() {
    let lab = Lab::new();
    let mut old = list("0.3.1", &["a"]);
    old.disable_check = true;
    let text = "configuration version \"0.3.1\" does not support the CHECK command";
    assert_eq!(lab.runtime().check_list(&old, &conf()), Err(Error::internal(text)));
    let mut disabled = list("1.0.0", &["a"]);
    disabled.disable_check = true;
    assert_eq!(lab.runtime().check_list(&disabled, &conf()), Ok(()));
    assert!(lab.words().is_empty());
    let failing = list("1.0.0", &["a", "fail-CHECK", "b"]);
    assert_eq!(lab.runtime().check_list(&failing, &conf()), Err(Error::new(50, "no", "why")));
    assert_eq!(lab.words(), ["CHECK a", "CHECK fail-CHECK"]);
}

#[test]
fn status_keeps_the_code_and_has_no_attachment() {
    let lab = Lab::new();
    assert_eq!(lab.runtime().status_list(&list("1.0.0", &["fail-STATUS"])), Ok(()));
    assert!(lab.words().is_empty());
    assert_eq!(
        lab.runtime().status_list(&list("1.1.0", &["a", "fail-STATUS"])),
        Err(Error::new(50, "no", "why"))
    );
    let calls = lab.calls();
    assert_eq!(stdin(&calls[0]), json!({"cniVersion": "1.1.0", "name": "lab", "type": "a"}));
    let expected =
        Invocation { path: "/bin/cni".into(), stdin: calls[0].2.stdin.clone(), ..Invocation::default() };
    assert_eq!(calls[0].2, expected);
}

#[test]
fn gc_deletes_what_is_not_listed_and_tells_the_plugins() {
    let lab = Lab::new();
    let list = list("1.1.0", &["a"]);
    for id in ["c7", "c8"] {
        lab.runtime().add_list(&list, &RuntimeConf { container_id: id.into(), ..conf() }).unwrap();
    }
    lab.calls();
    let valid = [Attachment { container_id: "c8".into(), ifname: "net1".into() }];
    lab.runtime().gc_list(&list, Some(&valid)).unwrap();
    let calls = lab.calls();
    assert_eq!((calls[0].1, calls[0].2.container_id.as_str()), (Verb::Del, "c7"));
    assert_eq!(
        (calls[0].2.netns.as_str(), calls[0].2.args.as_str()),
        ("/run/netns/c7", "IgnoreUnknown=1;K=v")
    );
    let sent = json!([{"containerID": "c8", "ifname": "net1"}]);
    assert_eq!(calls[1].1, Verb::Gc);
    assert_eq!(stdin(&calls[1])["cni.dev/valid-attachments"], sent);
    assert_eq!(stdin(&calls[1])["cni.dev/attachments"], sent);
    assert_eq!(lab.cached(), ["lab-c8-net1"]);
    lab.runtime().gc_list(&list, None).unwrap();
    let calls = lab.calls();
    assert_eq!(calls.iter().map(|call| call.1).collect::<Vec<_>>(), [Verb::Del, Verb::Gc]);
    assert_eq!(stdin(&calls[1]).get("cni.dev/valid-attachments"), None);
}

#[test]
fn gc_goes_on_after_errors_and_can_be_disabled() {
    let lab = Lab::new();
    let mut list = list("1.1.0", &["fail-GC", "fail-DEL", "b"]);
    lab.runtime().add_list(&list, &conf()).unwrap();
    lab.calls();
    let error = lab.runtime().gc_list(&list, Some(&[])).unwrap_err();
    let texts: Vec<&str> = error.msg.lines().collect();
    let stale =
        "failed to delete stale attachment c7 net1: plugin type=\"fail-DEL\" failed (delete): no; why";
    assert_eq!(texts, [stale, "failed to GC plugin fail-GC: no; why"]);
    assert_eq!(lab.words(), ["DEL b", "DEL fail-DEL", "GC fail-GC", "GC fail-DEL", "GC b"]);
    list.disable_gc = true;
    assert_eq!(lab.runtime().gc_list(&list, None), Ok(()));
    assert!(lab.words().is_empty());
}

#[test]
fn validation_wants_every_plugin_to_speak_the_lists_version() {
    let lab = Lab::new();
    let mut good = list("0.4.0", &["a", "b"]);
    good.plugins[1].capabilities = [("mac".to_owned(), true), ("ips".to_owned(), false)].into();
    let capabilities = lab.runtime().validate_list(&good).unwrap();
    assert_eq!(capabilities.into_iter().collect::<Vec<_>>(), ["mac"]);
    let error = lab.runtime().validate_list(&list("", &["a", "missing"])).unwrap_err();
    assert_eq!(error.msg, "plugin a does not support config version \"0.1.0\"\nnot in /bin/cni");
}

#[test]
fn the_cached_config_comes_with_its_parameters() {
    let lab = Lab::new();
    let list = list("1.0.0", &["a"]);
    let bare = RuntimeConf { args: vec![], capability_args: JsonMap::new(), ..conf() };
    assert_eq!(lab.runtime().cached_config(&list, &bare), Ok(None));
    lab.runtime().add_list(&list, &conf()).unwrap();
    assert_eq!(lab.runtime().cached_config(&list, &bare), Ok(Some((list.bytes.clone(), conf()))));
}

#[test]
fn a_list_without_plugins_is_an_error() {
    let lab = Lab::new();
    let empty = ConfList { name: "lab".into(), ..ConfList::default() };
    assert!(lab.runtime().add_list(&empty, &conf()).unwrap_err().msg.contains("\"lab\" has no plugins"));
}
