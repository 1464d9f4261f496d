//! GC (spec/multus.md 8.5): what belongs to no container that the runtime still knows.

use std::collections::BTreeSet;
use std::time::SystemTime;

use polynic_cni::cache::Cache;
use polynic_cni::{Attachment, Error, Invocation};

use crate::cause;
use crate::config::Config;
use crate::context::Context;
use crate::del::del;
use crate::leftovers::sweep;
use crate::readiness;
use crate::scratch::Scratch;
use crate::select;

/// Deletes the containers that the runtime does not list any more from all their networks, then lets the master network's plugins collect
/// what they hold. Without a list nothing is known to be stale.
///
/// Goes on after errors; the error has them all.
pub fn gc(context: &Context<'_>, invocation: &Invocation, config: &Config) -> Result<(), Error> {
    readiness::wait(config.readiness_file.as_deref(), context.readiness)?;
    sweep(&config.cni_dir, SystemTime::now());
    let mut errors = Vec::new();
    for container in stale(config) {
        let stale = Invocation { container_id: container.clone(), ..of(config, invocation, &container) };
        let deleted = del(context, &stale, config);
        errors.extend(deleted.err().map(|why| format!("stale container {container}: {why}")));
    }
    errors.extend(collect(context, invocation, config).err().map(|why| why.to_string()));
    if errors.is_empty() { Ok(()) } else { Err(Error::internal(errors.join("\n"))) }
}

fn collect(context: &Context<'_>, invocation: &Invocation, config: &Config) -> Result<(), Error> {
    let master =
        select::master(config, context.cluster).map_err(|why| Error::internal(cause::chain(&why)))?;
    let valid = valid(config)?;
    context.runtime(invocation, config).gc_list(&master.list, Some(&valid))
}

/// Containers of our caches that the runtime does not list.
fn stale(config: &Config) -> Vec<String> {
    let Some(listed) = &config.valid_attachments else { return Vec::new() };
    let cached = Cache::new(&config.cni_dir).list(None).unwrap_or_default();
    let mut known: BTreeSet<String> = cached.into_iter().map(|entry| entry.container_id).collect();
    known.extend(Scratch::containers(&config.cni_dir));
    known.retain(|id| listed.iter().all(|attachment| attachment.container_id != *id));
    known.into_iter().collect()
}

/// The call with which the runtime would delete the container, as far as the cache tells.
fn of(config: &Config, invocation: &Invocation, container: &str) -> Invocation {
    let cached = Cache::new(&config.cni_dir).list(Some(container)).unwrap_or_default();
    let first = cached.iter().find(|entry| entry.ifname == "eth0").or(cached.first());
    let (netns, args) =
        first.map(|entry| (entry.netns.clone(), polynic_cni::args::join(&entry.args))).unwrap_or_default();
    Invocation { netns, args, ifname: "eth0".to_owned(), ..invocation.clone() }
}

/// Every attachment that is cached, and what the runtime lists.
fn valid(config: &Config) -> Result<Vec<Attachment>, Error> {
    let cached = Cache::new(&config.cni_dir).list(None)?;
    let cached =
        cached.into_iter().map(|entry| Attachment { container_id: entry.container_id, ifname: entry.ifname });
    let all: BTreeSet<Attachment> =
        cached.chain(config.valid_attachments.iter().flatten().cloned()).collect();
    Ok(all.into_iter().collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::World;
    use serde_json::{Value, json};

    fn world() -> World {
        let world =
            World::new(json!({"delegates": [{"cniVersion": "1.1.0", "name": "fabric", "type": "fabric"}]}));
        world.pod("a");
        world.nad("a", json!({"cniVersion": "1.0.0", "type": "a"}));
        world.add().unwrap();
        world.plugin.forget();
        world
    }

    fn run(world: &World, valid: Option<Value>) -> Result<(), Error> {
        let mut conf = world.conf.clone();
        if let Some(valid) = valid {
            conf["cni.dev/valid-attachments"] = valid;
        }
        gc(&world.context(), &world.invocation(), &Config::parse(conf.to_string().as_bytes()).unwrap())
    }

    #[test]
    fn without_a_list_nothing_is_stale() {
        let world = world();
        run(&world, None).unwrap();
        assert_eq!(world.plugin.calls(), ["GC fabric "]);
        let valid = json!([{"containerID": "c7", "ifname": "eth0"}, {"containerID": "c7", "ifname": "net1"}]);
        assert_eq!(world.plugin.last_stdin()["cni.dev/valid-attachments"], valid);
        assert_eq!(world.plugin.last_stdin()["cni.dev/attachments"], valid);
    }

    #[test]
    fn containers_that_are_not_listed_are_deleted_from_all_networks() {
        let world = world();
        run(&world, Some(json!([{"containerID": "c8", "ifname": "eth0"}]))).unwrap();
        assert_eq!(world.plugin.calls(), ["DEL a net1", "DEL fabric eth0", "GC fabric "]);
        assert!(!world.scratch().exists());
        let valid = json!([{"containerID": "c8", "ifname": "eth0"}]);
        assert_eq!(world.plugin.last_stdin()["cni.dev/valid-attachments"], valid);
    }

    #[test]
    fn listed_containers_stay() {
        let world = world();
        run(&world, Some(json!([{"containerID": "c7", "ifname": "eth0"}]))).unwrap();
        assert_eq!(world.plugin.calls(), ["GC fabric "]);
        assert!(world.scratch().exists());
    }

    #[test]
    fn missing_caches_are_empty_ones() {
        let world =
            World::new(json!({"delegates": [{"cniVersion": "1.1.0", "name": "fabric", "type": "fabric"}]}));
        run(&world, None).unwrap();
        assert_eq!(world.plugin.last_stdin()["cni.dev/valid-attachments"], json!([]));
    }

    #[test]
    fn the_readiness_file_is_waited_for_as_by_an_add() {
        let mut world = world();
        world.conf["readinessindicatorfile"] = json!(world.directory.path().join("ready"));
        let error = gc(&world.context(), &world.invocation(), &world.config()).unwrap_err();
        assert!(error.msg.contains("still waiting for readinessindicatorfile"), "{error}");
        std::fs::write(world.directory.path().join("ready"), "").unwrap();
        gc(&world.context(), &world.invocation(), &world.config()).unwrap();
    }
}
