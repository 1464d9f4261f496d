//! What is wrong with what was seen on a node.

use std::collections::BTreeSet;
use std::path::Path;

use polynic_cni::json::get_ci;
use serde_json::Value;

use super::{Configuration, Finding, Seen, Severity};

/// Plugins by whose types a configuration is known to be the one that multus wraps others in.
const MULTUS: [&str; 2] = ["multus", "multus-shim"];

/// All that is wrong, worst first.
pub fn findings(seen: &Seen) -> Vec<Finding> {
    let mut found: Vec<Finding> = programs(seen).into_iter().collect();
    found.extend(configurations(seen));
    found.extend(missing_plugins(seen));
    found.extend(seen.unreadable.iter().map(|(path, why)| {
        let remedy = "see whether the installing pod (thin_entrypoint, or the agent) runs on this node: it writes the file";
        wrong(path, format!("a plugin needs it and cannot read it ({why}): pods cannot be looked up"), remedy)
    }));
    found.extend(seen.unwritable.iter().map(|(path, why)| {
        wrong(
            path,
            format!("nothing can be written there ({why}): pods are not attached"),
            "make room, or mount it writable",
        )
    }));
    found.extend(seen.silent.iter().map(|(path, why)| {
        let what = format!(
            "no daemon answers ({why}): new pods wait for it, then fail with code 11; deletions go on"
        );
        wrong(path, what, "start the node agent, and read its log")
    }));
    let waiting = seen.waiting.iter().filter(|(_, count)| *count > 0);
    found.extend(waiting.map(|(path, count)| Finding {
        severity: Severity::Leftover,
        object: path.display().to_string(),
        what: format!("{count} of what pods left could not be taken back yet"),
        remedy: "nothing, if a node agent runs: it tries again, and its log says why it waits".to_owned(),
    }));
    found.sort_by_key(|finding| finding.severity);
    found
}

fn wrong(object: &Path, what: String, remedy: &str) -> Finding {
    let object = object.display().to_string();
    Finding { severity: Severity::Wrong, object, what, remedy: remedy.to_owned() }
}

fn programs(seen: &Seen) -> Option<Finding> {
    let why = seen.plugins.as_ref().err()?;
    let remedy = "see whether the installing pod runs on this node, or call: polynic install DIRECTORY";
    Some(wrong(
        &seen.programs,
        format!("the plugins' directory cannot be read ({why}): no pod is attached"),
        remedy,
    ))
}

/// The runtime takes the first file, whatever comes after it.
fn configurations(seen: &Seen) -> Option<Finding> {
    let all = match &seen.configurations {
        Ok(all) => all,
        Err(why) => {
            let what =
                format!("the configurations' directory cannot be read ({why}): the node has no network");
            return Some(wrong(&seen.directory, what, "install the default network, then multus"));
        }
    };
    let Some((name, first)) = all.first() else {
        let what = "no configuration: the runtime reports that the node's network is not ready".to_owned();
        return Some(wrong(&seen.directory, what, "install the default network, then multus"));
    };
    let path = seen.directory.join(name);
    let multus = all.iter().find(|(_, conf)| conf.as_ref().is_ok_and(is_multus));
    match (first, multus) {
        (Err(why), _) => {
            let what = format!("{why}; it is the first file, so the runtime fails by it");
            Some(wrong(&path, what, "correct it, or move it away"))
        }
        (_, Some((multus, _))) if multus != name => {
            let what = format!("it comes before {multus}, so pods get the default network alone");
            Some(wrong(&path, what, "give it a later name, or remove it"))
        }
        (_, None) => {
            let what = "no configuration of multus: pods get the default network alone".to_owned();
            let remedy = "see whether multus' pod runs on this node: it writes 00-multus.conf";
            Some(wrong(&seen.directory, what, remedy))
        }
        _ => None,
    }
}

/// Types of plugins that are named and not installed.
fn missing_plugins(seen: &Seen) -> Vec<Finding> {
    let (Ok(installed), Ok(configurations)) = (&seen.plugins, &seen.configurations) else {
        return Vec::new();
    };
    let lacks = |(name, conf): &Configuration| {
        let conf = conf.as_ref().ok()?;
        let all: BTreeSet<&str> = plugins(conf).into_iter().flat_map(types).collect();
        let missing: Vec<&str> =
            all.into_iter().filter(|kind| !installed.iter().any(|one| one == kind)).collect();
        (!missing.is_empty()).then(|| {
            let what = format!(
                "it names plugins that are not in {}: {}",
                seen.programs.display(),
                missing.join(", ")
            );
            wrong(
                &seen.directory.join(name),
                what,
                "install them; polynic install DIRECTORY NAME puts ours there",
            )
        })
    };
    // What comes after the default network's is nobody's business before a pod asks for it.
    let defaults = configurations.iter().find(|(_, conf)| !conf.as_ref().is_ok_and(is_multus));
    let first = configurations.first().filter(|first| defaults.is_none_or(|default| default.0 != first.0));
    first.into_iter().chain(defaults).filter_map(lacks).collect()
}

fn is_multus(conf: &Value) -> bool {
    plugins(conf).iter().any(|plugin| MULTUS.contains(&kind(plugin)))
}

/// The plugins of a configuration, single or list, with those that multus has in itself.
pub(super) fn plugins(conf: &Value) -> Vec<&Value> {
    let Some(map) = conf.as_object() else { return Vec::new() };
    let inner = ["plugins", "delegates"].into_iter().filter_map(|key| get_ci(map, key)?.as_array());
    let inner: Vec<&Value> = inner.flatten().flat_map(plugins).collect();
    let own = get_ci(map, "type").map(|_| conf);
    own.into_iter().chain(inner).collect()
}

fn kind(plugin: &Value) -> &str {
    plugin.as_object().and_then(|map| get_ci(map, "type")?.as_str()).unwrap_or_default()
}

/// Its own type and its IPAM's.
fn types(plugin: &Value) -> Vec<&str> {
    let ipam = plugin.as_object().and_then(|map| get_ci(map, "ipam")).map_or("", kind);
    [kind(plugin), ipam].into_iter().filter(|name| !name.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// A node on which all is well.
    fn seen() -> Seen {
        let shim = json!({"type": "multus-shim", "name": "multus-cni-network"});
        let calico = json!({"name": "k8s-pod-network", "plugins": [{"type": "calico", "ipam": {"type": "calico-ipam"}}]});
        Seen {
            programs: "/opt/cni/bin".into(),
            plugins: Ok(["multus-shim", "calico", "calico-ipam"].map(str::to_owned).to_vec()),
            directory: "/etc/cni/net.d".into(),
            configurations: Ok(vec![
                ("00-multus.conf".to_owned(), Ok(shim)),
                ("10-calico.conflist".to_owned(), Ok(calico)),
            ]),
            waiting: vec![("/var/lib/polynic/deletions".into(), 0)],
            ..Seen::default()
        }
    }

    fn found(change: impl FnOnce(&mut Seen)) -> Vec<String> {
        let mut seen = seen();
        change(&mut seen);
        findings(&seen).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_node_on_which_all_is_well_has_no_findings() {
        assert_eq!(found(|_| ()), Vec::<String>::new());
    }

    #[test]
    fn the_first_configuration_is_what_counts() {
        let put = |name: &'static str, conf: Result<Value, String>| {
            found(move |seen| seen.configurations.as_mut().unwrap().insert(0, (name.to_owned(), conf)))
        };
        assert!(
            put("00-a.conf", Err("it is no JSON: x".into()))[0]
                .contains("/etc/cni/net.d/00-a.conf: it is no JSON")
        );
        let before = put("00-a.conf", Ok(json!({"type": "calico"})));
        assert!(before[0].contains("comes before 00-multus.conf"), "{before:?}");
    }

    #[test]
    fn a_node_without_multus_or_without_anything_is_told_apart() {
        let alone = found(|seen| drop(seen.configurations.as_mut().unwrap().remove(0)));
        assert!(alone[0].contains("the default network alone"), "{alone:?}");
        let empty = found(|seen| seen.configurations = Ok(Vec::new()));
        assert!(empty[0].contains("not ready"), "{empty:?}");
        let gone = found(|seen| seen.plugins = Err("No such file or directory".to_owned()));
        assert!(gone[0].starts_with("wrong    /opt/cni/bin: ") && gone[0].contains("Remedy: "), "{gone:?}");
    }

    #[test]
    fn a_plugin_that_is_not_installed_is_named_with_the_file_that_wants_it() {
        let missing = found(|seen| seen.plugins = Ok(vec!["multus-shim".to_owned()]));
        assert!(
            missing[0].contains("10-calico.conflist") && missing[0].contains("calico, calico-ipam"),
            "{missing:?}"
        );
        let inner = json!({"type": "multus", "delegates": [{"name": "d", "plugins": [{"type": "gone"}]}]});
        let inner = found(|seen| seen.configurations.as_mut().unwrap()[0].1 = Ok(inner));
        assert!(inner[0].contains("gone, multus"), "{inner:?}");
        let late = ("87-podman.conflist".to_owned(), Ok(json!({"type": "podman"})));
        assert_eq!(found(|seen| seen.configurations.as_mut().unwrap().push(late)), Vec::<String>::new());
    }

    #[test]
    fn what_waits_comes_last() {
        let both = found(|seen| {
            seen.waiting[0].1 = 3;
            seen.silent.push(("/run/multus/multus.sock".into(), "Connection refused".to_owned()));
        });
        assert!(both[0].contains("multus.sock: no daemon answers (Connection refused)"), "{both:?}");
        assert!(both[1].starts_with("leftover /var/lib/polynic/deletions: 3 "), "{both:?}");
    }
}
