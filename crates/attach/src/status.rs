//! STATUS (spec/multus.md 8.4): can the master network serve an ADD?

use polynic_cni::{Error, Invocation};

use crate::cause;
use crate::config::Config;
use crate::context::Context;
use crate::readiness;
use crate::select;

/// Asks the plugins of the master network. Their error comes back unchanged, code 50 or 51 included; what keeps us from asking is code 50.
pub fn status(context: &Context<'_>, invocation: &Invocation, config: &Config) -> Result<(), Error> {
    readiness::wait(config.readiness_file.as_deref(), context.readiness)
        .map_err(|why| Error::not_available(why.to_string()))?;
    let master = select::master(config, context.cluster)
        .map_err(|why| Error::not_available(format!("Multus: {}", cause::chain(&why))))?;
    context.runtime(invocation, config).status_list(&master.list)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::World;
    use polynic_cni::Verb;
    use serde_json::json;

    fn run(world: &World) -> Result<(), Error> {
        status(&world.context(), &world.invocation(), &world.config())
    }

    #[test]
    fn only_the_master_is_asked() {
        let two = json!({"delegates": [{"cniVersion": "1.1.0", "name": "a", "type": "a"},
                                       {"cniVersion": "1.1.0", "name": "b", "type": "b"}]});
        let world = World::new(two);
        assert_eq!(run(&world), Ok(()));
        assert_eq!(world.plugin.calls(), ["STATUS a "]);
    }

    #[test]
    fn a_plugins_code_reaches_the_runtime_unchanged() {
        let world = World::new(json!({"delegates": [{"cniVersion": "1.1.0", "name": "a", "type": "a"}]}));
        let busy = Error::new(50, "pool is exhausted", "d");
        world.plugin.fail_nth(Verb::Status, 0, busy.clone());
        assert_eq!(run(&world), Err(busy));
    }

    #[test]
    fn older_networks_are_available_without_asking() {
        let world = World::new(json!({"delegates": [{"cniVersion": "1.0.0", "name": "a", "type": "a"}]}));
        assert_eq!(run(&world), Ok(()));
        assert!(world.plugin.calls().is_empty());
    }

    #[test]
    fn the_readiness_file_is_waited_for_as_by_an_add() {
        let mut world = World::new(json!({"delegates": [{"cniVersion": "1.1.0", "name": "a", "type": "a"}]}));
        world.conf["readinessindicatorfile"] = json!(world.directory.path().join("ready"));
        let error = run(&world).unwrap_err();
        assert!(error.msg.contains("still waiting for readinessindicatorfile"), "{error}");
        assert!(world.plugin.calls().is_empty());
        std::fs::write(world.directory.path().join("ready"), "").unwrap();
        assert_eq!(run(&world), Ok(()));
    }

    #[test]
    fn a_cluster_network_that_cannot_be_found_is_code_50() {
        let world = World::new(json!({"clusterNetwork": "nowhere"}));
        let error = run(&world).unwrap_err();
        assert_eq!(error.code, 50);
        assert!(
            error.msg.contains("failed to get clusterNetwork nowhere in namespace kube-system"),
            "{error}"
        );
    }
}
