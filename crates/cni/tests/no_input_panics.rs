//! No input may panic: mutated configurations, environments, results and cache files get an answer, never a
//! crash.

#![allow(clippy::unwrap_used)] // a test file whose strategies are functions outside of #[test]

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use polynic_cni::cache::Entry;
use polynic_cni::{
    Answer, ConfList, Error, Exec, Invocation, Output, PluginConf, PluginMain, Success, Verb, Version, args,
    dispatch, invoke, json,
};
use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::Value;

/// A plugin that reads all it can and answers with the prevResult or an empty result.
struct Curious;

impl PluginMain for Curious {
    fn name(&self) -> &str {
        "curious"
    }

    fn about_version(&self) -> &str {
        "v0"
    }

    fn versions(&self) -> &[Version] {
        &Version::ALL
    }

    fn implements(&self, _: Verb) -> bool {
        true
    }

    fn call(&self, _: Verb, invocation: &Invocation, conf: &PluginConf) -> Result<Output, Error> {
        args::parse(&invocation.args, &["K"])?;
        conf.valid_attachments()?;
        conf.ipam();
        conf.args_cni();
        conf.prev_result().map(|result| Output::Success(result.unwrap_or_default()))
    }
}

const SEEDS: [&str; 5] = [
    r#"{"cniVersion":"1.0.0","name":"lab","type":"x","capabilities":{"mac":true},"ipam":{"type":"static"},
        "dns":{"nameservers":["192.0.2.1"]},"args":{"cni":{"ips":["192.0.2.9"]}},"cni.dev/attachments":[{"containerID":"c"}],
        "prevResult":{"cniVersion":"1.0.0","interfaces":[{"name":"e","mtu":1}],"ips":[{"address":"192.0.2.9/24",
        "interface":0}],"routes":[{"dst":"::/0","gw":"fe80::1","table":7,"scope":253}]}}"#,
    r#"{"name":"lab","cniVersion":"0.3.1","cniVersions":["0.4.0","1.1.0"],"disableCheck":"true",
        "plugins":[{"type":"x","capabilities":{"ips":true}},{"type":"y"}]}"#,
    r#"{"cniVersion":"0.2.0","name":"lab","type":"x","prevResult":{"ip4":{"ip":"192.0.2.9/24","gateway":"192.0.2.1",
        "routes":[{"dst":"0.0.0.0/0"}]},"ip6":{"ip":"::ffff:192.0.2.1/120"},"dns":{}}}"#,
    r#"{"cniVersion":"0.4.0","interfaces":[{"name":"net1","sandbox":"/x"}],"ips":[{"version":"6","interface":-1,
        "address":"2001:db8::9/64"}],"routes":[{"dst":"::/0"}],"dns":{"domain":"a"}}"#,
    r#"{"kind":"cniCacheV1","containerId":"c7","config":"eyJjbmkuLi4=","ifName":"net1","networkName":"lab",
        "cniArgs":[["IgnoreUnknown","1"]],"capabilityArgs":{"mac":"x"},"result":{"cniVersion":"1.0.0"}}"#,
];

/// A replacement for some part of a document: wrong types, edge values, odd texts.
fn odd_value() -> impl Strategy<Value = Value> {
    let texts = [
        "",
        "/",
        "::/0",
        "0.0.0.0/33",
        "192.0.2.1",
        "1.0.0",
        "0.1.0",
        "9.9.9.9",
        "\u{0}",
        "true",
        "-1",
        "::ffff:1.2.3.4/1",
    ];
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        prop::sample::select(texts.to_vec()).prop_map(Value::from).boxed(),
        ".{0,12}".prop_map(Value::from),
        Just(Value::Array(vec![])),
        Just(serde_json::json!([[], {}, null])),
        Just(serde_json::json!({"type": 5, "": null})),
    ]
}

/// Replaces the `at`-th value of a document, counted depth first.
fn replace(value: &mut Value, at: &mut usize, with: &Value) {
    if *at == 0 {
        *value = with.clone();
    }
    *at = at.wrapping_sub(1);
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| replace(item, at, with)),
        Value::Object(map) => map.values_mut().for_each(|item| replace(item, at, with)),
        _ => {}
    }
}

/// A seed with some values replaced, then some bytes.
fn document() -> impl Strategy<Value = Vec<u8>> {
    let values = vec((0..40_usize, odd_value()), 0..4);
    let bytes = vec((any::<prop::sample::Index>(), any::<u8>()), 0..3);
    (0..SEEDS.len(), values, bytes, any::<bool>()).prop_map(|(seed, values, bytes, damage)| {
        let mut document: Value = serde_json::from_str(SEEDS[seed]).unwrap();
        for (mut at, with) in values {
            replace(&mut document, &mut at, &with);
        }
        let mut text = document.to_string().into_bytes();
        for (index, byte) in bytes.iter().filter(|_| damage) {
            let at = index.index(text.len());
            text[at] = *byte;
        }
        text
    })
}

fn variable() -> impl Strategy<Value = (OsString, OsString)> {
    let names = [
        "CNI_COMMAND",
        "CNI_COMMAND",
        "CNI_CONTAINERID",
        "CNI_NETNS",
        "CNI_IFNAME",
        "CNI_ARGS",
        "CNI_PATH",
        "CNI_NETNS_OVERRIDE",
        "X",
    ];
    let texts = [
        "ADD",
        "DEL",
        "CHECK",
        "GC",
        "STATUS",
        "VERSION",
        "c7",
        "net1",
        "/run/ns",
        "K=v;IgnoreUnknown=1",
        "",
        "a=b=c;",
    ];
    let value = prop_oneof![
        prop::sample::select(texts.to_vec()).prop_map(|text| text.as_bytes().to_vec()).boxed(),
        vec(any::<u8>(), 0..20).boxed(),
    ];
    (prop::sample::select(names.to_vec()), value)
        .prop_map(|(name, value)| (name.into(), OsString::from_vec(value)))
}

/// Exit code and stdout belong together, and a failure is an error object that says something.
fn check_answer(answer: &Answer) -> Result<(), TestCaseError> {
    if answer.code == 0 {
        return Ok(());
    }
    let error =
        Error::from_json(answer.stdout.as_bytes()).map_err(|why| TestCaseError::fail(why.to_string()))?;
    prop_assert!(!error.msg.is_empty() && error.code != 0);
    prop_assert!(!error.msg.contains("panicked"), "{}", error.msg);
    Ok(())
}

fn complete(command: &str) -> Vec<(OsString, OsString)> {
    let pairs = [
        ("CNI_COMMAND", command),
        ("CNI_CONTAINERID", "c7"),
        ("CNI_NETNS", "/run/ns"),
        ("CNI_IFNAME", "net1"),
        ("CNI_PATH", "/nonexistent"),
    ];
    pairs.map(|(name, value)| (name.into(), value.into())).into()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_environment_gets_an_answer(vars in vec(variable(), 0..9), stdin in document()) {
        check_answer(&dispatch(&Curious, vars, &mut stdin.as_slice()))?;
    }

    #[test]
    fn any_config_gets_an_answer(verb in prop::sample::select(&Verb::ALL[..]), stdin in document()) {
        check_answer(&dispatch(&Curious, complete(verb.as_str()), &mut stdin.as_slice()))?;
        let invocation = Invocation { stdin, ..Invocation::default() };
        let _ = invoke(&Curious, verb, &invocation);
        let _ = polynic_cni::delegate_ipam(&Exec::default(), "x", verb, &invocation);
    }

    #[test]
    fn any_list_and_cache_file_is_read_or_refused(bytes in document()) {
        if let Ok(list) = ConfList::parse_any(&bytes) {
            let _ = list.version();
        }
        if let Ok(entry) = Entry::from_json(&bytes) {
            let text = entry.to_json();
            prop_assert_eq!(Entry::from_json(text.as_bytes()).unwrap().to_json(), text);
        }
    }

    #[test]
    fn any_result_that_reads_prints_and_reads_back(
        bytes in document(),
        version in prop::sample::select(&Version::ALL[..]),
    ) {
        let Ok(result) = Success::parse(&bytes, version) else { return Ok(()) };
        let own = result.print(result.cni_version).unwrap();
        prop_assert_eq!(Success::parse(own.as_bytes(), version), Ok(result.clone()));
        if let Ok(converted) = result.print(version) {
            prop_assert_eq!(Success::parse(converted.as_bytes(), version).unwrap().print(version), Ok(converted));
        }
    }

    #[test]
    fn any_error_object_prints_and_reads_back(code: u32, msg: String, details: String) {
        let error = Error::new(code, msg, details);
        prop_assert_eq!(Error::from_json(error.to_json().as_bytes()), Ok(error));
    }

    #[test]
    fn any_args_are_read_or_refused(text in "[A-Za-z=;]{0,30}|(IgnoreUnknown=[a-z01]{0,5};?|K=.{0,4};?){0,4}") {
        if let Ok(parsed) = args::parse(&text, &["K"]) {
            let pairs: Vec<_> = parsed.pairs().iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
            prop_assert_eq!(args::join(&pairs), text);
        }
    }

    #[test]
    fn sorted_printing_loses_nothing(value in odd_value(), bytes in document()) {
        for value in [Some(value), json::parse(&bytes).ok()].into_iter().flatten() {
            let again = json::parse(json::print_sorted(&value).as_bytes()).unwrap();
            prop_assert_eq!(json::print_sorted(&again), json::print_sorted(&value));
        }
    }
}
