//! `passthru`: does nothing, with which a chain of files begins (spec/multus.md 14.5). Its result is empty, whatever came before.

use polynic_cni::{Error, Invocation, Output, PluginConf, Success, Verb, Version};

use crate::{Context, Plugin, meta};

/// The plugin.
pub struct Passthru;

impl Plugin for Passthru {
    fn plugin_type(&self) -> &'static str {
        "passthru"
    }

    fn versions(&self) -> &'static [Version] {
        meta::since(Version::V0_3_0)
    }

    fn call(&self, _: &Context<'_>, verb: Verb, _: &Invocation, _: &PluginConf) -> Result<Output, Error> {
        Ok(if verb == Verb::Add { Output::Success(Success::default()) } else { Output::Empty })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use polynic_cni::dispatch;
    use polynic_kernel::FakeDoor;
    use serde_json::{Value, json};

    use crate::{Registry, testing};

    fn answer(verb: &str, version: &str) -> (i32, String) {
        let directory = tempfile::tempdir().unwrap();
        let registry = Registry::new(testing::host(&FakeDoor::default(), directory.path()));
        let prev = json!({"cniVersion": version, "interfaces": [{"name": "eth0"}], "ips": []});
        let conf =
            json!({"cniVersion": version, "name": "aux", "type": "passthru", "prevResult": prev}).to_string();
        let vars = [
            ("CNI_COMMAND", verb),
            ("CNI_CONTAINERID", "c1"),
            ("CNI_NETNS", "/run/netns/p"),
            ("CNI_IFNAME", "net1"),
        ];
        let vars = vars.into_iter().chain([("CNI_PATH", "/opt/cni/bin")]).map(|(k, v)| (k.into(), v.into()));
        let answer = dispatch(&registry.plugin("passthru").unwrap(), vars, &mut conf.as_bytes());
        (answer.code, answer.stdout)
    }

    #[test]
    fn it_answers_nothing_and_forwards_nothing() {
        for version in Passthru.versions() {
            let (code, text) = answer("ADD", version.as_str());
            let result: Value = serde_json::from_str(&text).unwrap();
            assert_eq!((code, &result["cniVersion"]), (0, &json!(version.as_str())));
            assert!(result.get("interfaces").is_none() && result.get("ips").is_none(), "{text}");
        }
        for verb in ["DEL", "CHECK"] {
            assert_eq!(answer(verb, "1.0.0"), (0, String::new()), "{verb}");
        }
        assert_eq!(answer("ADD", "0.2.0").0, 1);
    }
}
