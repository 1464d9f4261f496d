//! CHECK (spec/multus.md 8.3): what is cached for the container, or the inline delegates; no API server needed.

use polynic_cni::{Error, Invocation, Version};

use crate::add::pod_text;
use crate::cause;
use crate::config::Config;
use crate::context::Context;
use crate::delegate_conf::DelegateConf;
use crate::pod_args::PodArgs;
use crate::runtime_conf::Call;
use crate::scratch::Scratch;

/// Checks every delegate of the container in order; the first error ends it.
///
/// Delegates older than 0.4.0 cannot be checked: an error for one of our own configuration, as ever, while a NAD of that age does not
/// make its pod unhealthy.
pub fn check(context: &Context<'_>, invocation: &Invocation, config: &Config) -> Result<(), Error> {
    let args = PodArgs::parse(&invocation.args, context.forward)?;
    let cached = Scratch::new(&config.cni_dir, &invocation.container_id).read();
    let cached = cached.unwrap_or_else(|why| {
        context.log.error(&cause::chain(&why));
        None
    });
    let delegates = cached.unwrap_or_else(|| config.delegates.clone());
    let Config { runtime_config, device_files, .. } = config;
    let call = Call { invocation, args: &args, supplied: runtime_config, device_files };
    let runtime = context.runtime(invocation, config);
    for (index, delegate) in delegates.iter().enumerate() {
        if index >= config.delegates.len() && is_too_old(delegate) {
            continue;
        }
        let checked = runtime.check_list(&delegate.list, &call.conf(index, delegate));
        checked.map_err(|why| why.within(format!("[{}:{}]", pod_text(&args.pod()), delegate.list.name)))?;
    }
    Ok(())
}

fn is_too_old(delegate: &DelegateConf) -> bool {
    delegate.list.version().is_ok_and(|version| version < Version::V0_4_0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::World;
    use polynic_cni::Verb;
    use serde_json::json;

    #[test]
    fn all_cached_delegates_are_checked_without_the_api_server() {
        let world =
            World::new(json!({"delegates": [{"cniVersion": "1.0.0", "name": "fabric", "type": "fabric"}]}));
        world.pod("a,b");
        world.nad("a", json!({"cniVersion": "0.4.0", "type": "a"}));
        world.nad("b", json!({"cniVersion": "0.3.1", "type": "b"}));
        world.add().unwrap();
        let asked = world.api_calls();
        world.plugin.forget();
        check(&world.context(), &world.invocation(), &world.config()).unwrap();
        assert_eq!(world.plugin.calls(), ["CHECK fabric eth0", "CHECK a net1"]);
        assert_eq!(world.api_calls(), asked);
    }

    #[test]
    fn configurations_come_back_whole() {
        let own =
            json!({"cniVersion": "1.0.0", "name": "fabric", "type": "fabric", "keep": {"deep": [1, null]}});
        let world = World::new(json!({"delegates": [own]}));
        world.pod("a");
        let list = json!({"cniVersion": "1.0.0", "plugins": [{"type": "a", "custom": "x"}, {"type": "b", "more": {"y": 2.5}}]});
        world.nad("a", list);
        world.add().unwrap();
        world.plugin.forget();
        world.cluster.nads.borrow_mut().clear();
        check(&world.context(), &world.invocation(), &world.config()).unwrap();
        assert_eq!(world.plugin.stdin(0)["keep"], json!({"deep": [1, null]}));
        assert_eq!(world.plugin.stdin(1)["custom"], "x");
        assert_eq!(world.plugin.stdin(2)["more"], json!({"y": 2.5}));
    }

    #[test]
    fn an_old_inline_delegate_cannot_be_checked() {
        let world =
            World::new(json!({"delegates": [{"cniVersion": "0.3.1", "name": "fabric", "type": "fabric"}]}));
        let error = check(&world.context(), &world.invocation(), &world.config()).unwrap_err();
        assert!(error.msg.contains("does not support the CHECK command"), "{error}");
    }

    #[test]
    fn the_first_error_names_pod_and_network() {
        let world =
            World::new(json!({"delegates": [{"cniVersion": "1.0.0", "name": "fabric", "type": "fabric"}]}));
        world.plugin.fail_nth(Verb::Check, 0, Error::new(100, "address is gone", ""));
        let error = check(&world.context(), &world.invocation(), &world.config()).unwrap_err();
        assert_eq!(error, Error::new(100, "[blue/pod-1/uid-1:fabric]: address is gone", ""));
    }
}
