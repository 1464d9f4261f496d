//! Who reaches whom.

use std::net::IpAddr;

use polynic_explain::Works;
use polynic_net::Family;

use super::super::world::{PATIENCE, Place::Pod, World};
use super::super::{Finding, eventually, explained, packet};
use super::{OTHERS, STRANGER, WEB};

/// The addresses that a pod has on secondary networks: two on the macvlan, one of flannel.
pub fn targets(world: &World, pod: &str) -> Result<[IpAddr; 3], String> {
    let view = world.look(Pod(pod))?;
    Ok([
        view.address("net1", Family::V4)?,
        view.address("net1", Family::V6)?,
        view.address("net2", Family::V4)?,
    ])
}

/// Whether an address is of the macvlan's network.
pub fn is_lan(ip: IpAddr) -> bool {
    ip.to_string().starts_with("10.60.0.") || ip.is_ipv6()
}

/// Exactly those reach web's addresses of whom `may` says so, once the last edit has got through.
pub fn exactly(world: &World, may: impl Fn(&str, IpAddr) -> bool) -> Finding {
    let all = targets(world, WEB)?;
    let mut asking = Vec::new();
    for who in OTHERS {
        let network = world.network(Pod(who))?;
        let wanted = all.map(|to| (to, may(who, to)));
        // The silent ones take their time: all ask at once.
        asking.push(std::thread::spawn(move || {
            wanted.into_iter().try_for_each(|(to, wanted)| {
                let answered = || match wanted {
                    true => packet::ping(&network, None, to).map(|_| String::new()),
                    false => packet::silence(&network, to),
                };
                eventually(PATIENCE, answered).map(drop).map_err(|why| format!("{who}: {why}"))
            })
        }));
    }
    for asked in asking {
        asked.join().map_err(|_| "a thread that asks failed".to_owned())??;
    }
    let through = OTHERS.iter().flat_map(|who| all.map(|to| may(who, to))).filter(|may| *may).count();
    Ok(format!("{through} of {} ways are open", OTHERS.len() * all.len()))
}

/// No pod has the table that policies make.
pub fn no_tables(world: &World) -> Finding {
    eventually(PATIENCE, || {
        world.forget();
        let scene = world.scene()?;
        let has_it = |name: &str| {
            let site = scene.find(&World::site_name(Pod(name))).and_then(|at| scene.sites.get(at));
            let chains = site.map(|site| site.stack.ruleset.chains.as_slice()).unwrap_or_default();
            chains.iter().any(|chain| chain.table.name == "multi_networkpolicy")
        };
        match OTHERS.into_iter().chain([WEB]).find(|name| has_it(name)) {
            Some(pod) => Err(format!("{pod} still has it")),
            None => Ok("six pods".to_owned()),
        }
    })
}

/// A packet of somebody who is not allowed in is dropped in the pod, by the policy.
pub fn explained(world: &World) -> Finding {
    world.forget();
    for to in targets(world, WEB)? {
        let answer = explained::ask(world, Pod(STRANGER), None, to, None)?;
        let named = answer.findings.iter().any(|finding| finding.what.contains("default/web-in isolates it"));
        if answer.works != Works::No || !named {
            return Err(format!("the policy is not named:\n{answer}"));
        }
    }
    Ok("default/web-in".to_owned())
}
