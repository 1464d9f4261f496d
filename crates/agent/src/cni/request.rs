//! From what a shim sent to a checked call (spec/multus.md 13.5 and 13.6). Texts of refusals are the replaced daemon's.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::sync::atomic::{AtomicU64, Ordering};

use polynic_attach::Config as AttachConfig;
use polynic_cni::{Invocation, Verb, json};
use polynic_wire::multus::CniRequest;

use super::Config;

/// A call, ready to be run.
#[derive(Clone, Debug)]
pub(crate) struct Prepared {
    pub(crate) verb: Verb,
    pub(crate) invocation: Invocation,
    pub(crate) config: AttachConfig,
    /// `namespace/name`, or empty for verbs that are about no pod.
    pub(crate) pod: String,
}

impl Prepared {
    /// Calls with the same key run one after the other: those of one pod, whichever sandbox it has, and GCs. Nobody who asks for the
    /// status waits for another who does.
    pub(crate) fn order(&self) -> String {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        match self.verb {
            _ if !self.pod.is_empty() => self.pod.clone(),
            Verb::Status => format!("STATUS {}", NUMBER.fetch_add(1, Ordering::Relaxed)),
            verb => verb.as_str().to_owned(),
        }
    }

    /// The begin of error texts.
    pub(crate) fn prefix(&self) -> String {
        let Invocation { container_id, netns, ifname, args, .. } = &self.invocation;
        let step = match self.verb {
            Verb::Add => format!("error configuring pod [{}] networking: ", self.pod),
            _ => String::new(),
        };
        format!(
            "ContainerID:{container_id:?} Netns:{netns:?} IfName:{ifname:?} Args:{args:?} Path:\"\" ERRORED: {step}"
        )
    }
}

/// What the process that serves the call adds to it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Surrounding {
    /// Its own environment, which plugins inherit.
    pub(crate) env: Vec<(OsString, OsString)>,
}

impl Surrounding {
    /// What plugins inherit: everything but the variables of the protocol.
    pub(crate) fn plugin_env(&self) -> Vec<(OsString, OsString)> {
        let mut vars = self.env.clone();
        vars.retain(|(name, _)| !name.to_string_lossy().starts_with("CNI_"));
        vars
    }
}

/// Checks a request for `/cni`.
pub(crate) fn prepare(request: &CniRequest, daemon: &Config, own: &Surrounding) -> Result<Prepared, String> {
    let sent = json::parse_object(&request.config)
        .map_err(|why| format!("failed to read the configuration: {why}"))?;
    let stdin = json::print_compact(&serde_json::Value::Object(daemon.laid_over(sent))).into_bytes();
    let call = call(request, own, stdin)?;
    let config = AttachConfig::of_call(call.verb, &call.invocation.stdin)
        .map_err(|why| polynic_cni::Error::from(why).to_string())?;
    Ok(Prepared { verb: call.verb, invocation: call.invocation, config, pod: call.pod })
}

/// A call without the configuration of the plugin.
pub(crate) struct Call {
    pub(crate) verb: Verb,
    pub(crate) invocation: Invocation,
    pub(crate) pod: String,
}

/// Checks the variables, and everything else by the protocol's rules.
pub(crate) fn call(request: &CniRequest, own: &Surrounding, stdin: Vec<u8>) -> Result<Call, String> {
    let env = &request.env;
    let command = env.get("CNI_COMMAND").ok_or("unexpected or missing CNI_COMMAND")?;
    let verb = Verb::from_word(command).filter(|verb| *verb != Verb::Version);
    let verb = verb.ok_or_else(|| format!("unknown cmd type: {command}"))?;
    let attaches = matches!(verb, Verb::Add | Verb::Del | Verb::Check);
    let (args, pod) = if attaches { (args(env)?, pod(env)?) } else { Default::default() };
    let mut vars = own.plugin_env();
    let mut set = |name: &str, value: &str| vars.push((name.into(), value.into()));
    set("CNI_COMMAND", verb.as_str());
    if attaches {
        for name in ["CNI_CONTAINERID", "CNI_NETNS"] {
            set(name, env.get(name).ok_or_else(|| format!("missing {name}"))?);
        }
        set(
            "CNI_IFNAME",
            env.get("CNI_IFNAME").filter(|name| !name.is_empty()).map_or("eth0", String::as_str),
        );
        set("CNI_ARGS", &args);
    }
    // The protocol insists on a path; delegates get `binDir` and our own.
    set("CNI_PATH", "/");
    let checked = Invocation::from_env(vars, &mut stdin.as_slice());
    let (verb, invocation) = checked.map_err(|why| why.to_string())?;
    let own_path = own.env.iter().find(|(name, _)| name == "CNI_PATH");
    let path = own_path.map(|(_, path)| path.to_string_lossy().into_owned()).unwrap_or_default();
    Ok(Call { verb, invocation: Invocation { path, ..invocation }, pod })
}

/// The pairs that delegates know, from `CNI_ARGS`.
fn args(env: &BTreeMap<String, String>) -> Result<String, String> {
    let pairs = pairs(env)?;
    let text = |key: &str| pairs.get(key).copied().unwrap_or_default();
    let known = ["K8S_POD_NAMESPACE", "K8S_POD_NAME", "K8S_POD_INFRA_CONTAINER_ID", "K8S_POD_UID"];
    let known: Vec<String> = known.iter().map(|key| format!("{key}={}", text(key))).collect();
    Ok(format!("IgnoreUnknown=true;{}", known.join(";")))
}

fn pod(env: &BTreeMap<String, String>) -> Result<String, String> {
    let pairs = pairs(env)?;
    let text = |key: &str| {
        pairs.get(key).copied().filter(|text| !text.is_empty()).ok_or_else(|| format!("missing {key}"))
    };
    Ok(format!("{}/{}", text("K8S_POD_NAMESPACE")?, text("K8S_POD_NAME")?))
}

fn pairs(env: &BTreeMap<String, String>) -> Result<BTreeMap<&str, &str>, String> {
    let text = env.get("CNI_ARGS").ok_or("missing CNI_ARGS")?;
    let pair = |item| match str::split(item, '=').collect::<Vec<_>>().as_slice() {
        [key, value] => Ok((*key, *value)),
        _ => Err(format!("invalid CNI_ARG '{item}'")),
    };
    text.split(';').map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const ARGS: &str = "IgnoreUnknown=1;K8S_POD_NAMESPACE=blue;K8S_POD_NAME=p;K8S_POD_UID=u;X=7";

    fn request(pairs: &[(&str, &str)]) -> CniRequest {
        let usual = [
            ("CNI_COMMAND", "ADD"),
            ("CNI_CONTAINERID", "c1"),
            ("CNI_NETNS", "/ns"),
            ("CNI_ARGS", ARGS),
            ("CNI_PATH", "/theirs"),
            ("HOME", "/theirs"),
        ];
        let mut env: BTreeMap<String, String> =
            usual.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        for (name, value) in pairs {
            match *value {
                "-" => drop(env.remove(*name)),
                value => drop(env.insert((*name).to_owned(), value.to_owned())),
            }
        }
        let config =
            json!({"cniVersion": "1.1.0", "name": "n", "type": "multus-shim", "clusterNetwork": "fabric"});
        CniRequest { env, config: config.to_string().into_bytes(), attributes: None }
    }

    fn prepared(pairs: &[(&str, &str)]) -> Result<Prepared, String> {
        let daemon = Config::read(br#"{"namespaceIsolation": true}"#, &|_| None).unwrap();
        let own = [("CNI_PATH", "/ours"), ("HOME", "/root")];
        let own = own.map(|(name, value)| (name.into(), value.into())).into();
        prepare(&request(pairs), &daemon, &Surrounding { env: own })
    }

    #[test]
    fn delegates_get_the_known_pairs_and_our_own_path_and_environment() {
        let call = prepared(&[]).unwrap();
        let invocation = &call.invocation;
        let args = "IgnoreUnknown=true;K8S_POD_NAMESPACE=blue;K8S_POD_NAME=p;K8S_POD_INFRA_CONTAINER_ID=;K8S_POD_UID=u";
        assert_eq!((invocation.args.as_str(), invocation.path.as_str()), (args, "/ours"));
        assert_eq!(invocation.env, [("HOME".into(), OsString::from("/root"))]);
        assert_eq!((invocation.ifname.as_str(), call.pod.as_str()), ("eth0", "blue/p"));
        assert!(call.config.namespace_isolation);
        assert!(
            call.prefix().ends_with("ERRORED: error configuring pod [blue/p] networking: "),
            "{}",
            call.prefix()
        );
    }

    #[test]
    fn what_is_missing_or_wrong_is_refused_by_name() {
        for (pairs, text) in [
            (&[("CNI_COMMAND", "-")][..], "CNI_COMMAND"),
            (&[("CNI_COMMAND", "VERSION")], "unknown cmd type: VERSION"),
            (&[("CNI_CONTAINERID", "-")], "missing CNI_CONTAINERID"),
            (&[("CNI_CONTAINERID", "../x")], "invalid characters"),
            (&[("CNI_NETNS", "-")], "missing CNI_NETNS"),
            (&[("CNI_ARGS", "-")], "missing CNI_ARGS"),
            (&[("CNI_ARGS", "a=b=c")], "invalid CNI_ARG 'a=b=c'"),
            (&[("CNI_ARGS", "K8S_POD_NAMESPACE=blue")], "missing K8S_POD_NAME"),
            (&[("CNI_IFNAME", "a/b")], "interface name"),
        ] {
            let error = prepared(pairs).unwrap_err();
            assert!(error.contains(text), "{text}: {error}");
        }
    }

    #[test]
    fn a_del_may_have_no_namespace_and_gc_needs_no_pod() {
        assert_eq!(prepared(&[("CNI_COMMAND", "DEL"), ("CNI_NETNS", "")]).unwrap().verb, Verb::Del);
        let order = |verb| {
            let pairs =
                [("CNI_COMMAND", verb), ("CNI_ARGS", "-"), ("CNI_CONTAINERID", "-"), ("CNI_NETNS", "-")];
            prepared(&pairs).unwrap().order()
        };
        assert_eq!((order("GC"), order("GC")), ("GC".to_owned(), "GC".to_owned()));
        assert_ne!(order("STATUS"), order("STATUS"), "they do not wait for each other");
    }

    /// A CHECK, whose `prevResult` the runtime has cached as it was answered, and the same as a DEL.
    fn with_previous(previous: serde_json::Value) -> [Result<Prepared, String>; 2] {
        let daemon = Config::read(br#"{"cniVersion": "0.3.1"}"#, &|_| None).unwrap();
        let config = json!({"cniVersion": "1.0.0", "name": "n", "type": "multus-shim", "clusterNetwork": "fabric",
                            "prevResult": previous});
        ["CHECK", "DEL"].map(|verb| {
            let call = request(&[("CNI_COMMAND", verb)]);
            let request = CniRequest { config: config.to_string().into_bytes(), ..call };
            prepare(&request, &daemon, &Surrounding::default())
        })
    }

    #[test]
    fn a_previous_result_may_be_of_another_version_than_ours() {
        let previous = json!({"cniVersion": "1.0.0", "ips": [{"address": "10.9.0.2/24"}]});
        let [check, del] = with_previous(previous);
        assert_eq!((check.unwrap().verb, del.unwrap().verb), (Verb::Check, Verb::Del));
    }

    #[test]
    fn only_a_del_needs_no_previous_result_that_makes_sense() {
        let [check, del] = with_previous(json!({"cniVersion": "1.0.0", "ips": [{"address": "x"}]}));
        assert!(check.unwrap_err().contains("prevResult"));
        assert_eq!(del.unwrap().verb, Verb::Del);
    }
}
