//! What the API shows.

use polynic_checker::check_cluster;
use serde_json::{Value, json};

use super::super::world::{PATIENCE, World};
use super::super::{Finding, eventually, pools, same};
use super::{POOL, each, spider};

const NAD: &str = "/apis/k8s.cni.cncf.io/v1/namespaces/default/network-attachment-definitions/macvlan-ens192";
const CONFIG: &str = "namespaces/default/spidermultusconfigs/macvlan-ens192";

/// The pod that comes before the cluster's networks are known.
pub const EARLY: &str = "early";

/// A network with `coordinator`, in a cluster in which nobody says which networks it has.
pub fn ask_too_early(world: &World) -> Finding {
    world.apply(super::OTHERS)?;
    world.remove("/apis/networking.k8s.io/v1/servicecidrs/kubernetes")?;
    let config = json!({"cniVersion": "0.3.1", "name": "early", "plugins": [
        {"type": "macvlan", "master": "ens192", "mode": "bridge", "ipam": {"type": "static", "addresses": [{"address": "10.6.0.99/16"}]}},
        {"type": "coordinator"},
    ]});
    world.define_network(EARLY, &config)?;
    world.create_pod(EARLY, Some(EARLY), None)
}

pub fn not_ready(world: &World) -> Finding {
    eventually(PATIENCE, || {
        let status = spider(world, "spidercoordinators/default")?["status"].clone();
        let reason = status["reason"].as_str().unwrap_or_default();
        match status["phase"] == "NotReady" && !reason.is_empty() {
            true => Ok(reason.to_owned()),
            false => Err(format!("its status is {status}")),
        }
    })
}

pub fn told_why(world: &World) -> Finding {
    let reason = not_ready(world)?;
    eventually(PATIENCE, || {
        let events = world.events(EARLY, "FailedCreatePodSandBox")?;
        let told = events.iter().find(|event| event.contains(&reason));
        told.cloned().ok_or_else(|| format!("no Event says {reason:?}: {events:?}"))
    })
}

/// What kubeadm would have written.
pub fn say(world: &World) -> Finding {
    let text = "apiVersion: kubeadm.k8s.io/v1beta4\nkind: ClusterConfiguration\nnetworking:\n  podSubnet: 10.233.64.0/18,fd00:10:233::/48\n  \
                serviceSubnet: 10.233.0.0/18,fd00:10:96::/112\n";
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "kubeadm-config", "namespace": "kube-system"},
                     "data": {"ClusterConfiguration": text}});
    world.apply(&map.to_string())
}

pub fn early_starts(world: &World) -> Finding {
    world.wait_running(&[EARLY])
}

pub fn synced(world: &World) -> Finding {
    eventually(PATIENCE, || synced_now(world))
}

fn synced_now(world: &World) -> Finding {
    let status = spider(world, "spidercoordinators/default")?["status"].clone();
    let holds =
        |key: &str, net: &str| status[key].as_array().is_some_and(|all| all.iter().any(|one| one == net));
    let fine = status["phase"] == "Synced"
        && holds("overlayPodCIDR", "10.233.64.0/18")
        && holds("serviceCIDR", "10.233.0.0/18");
    if fine { Ok(status.to_string()) } else { Err(format!("its status is {status}")) }
}

/// A pod that starts after the coordinator was told to ask Calico.
pub const ASKED: &str = "asked";

/// One more pool of Calico's that is in use, one that is not, and a coordinator that counts them.
pub fn ask_calico(world: &World) -> Finding {
    for (name, cidr, disabled) in [("more", MORE, false), ("retired", RETIRED, true)] {
        let spec = json!({"cidr": cidr, "disabled": disabled});
        let pool = json!({"apiVersion": "crd.projectcalico.org/v1", "kind": "IPPool", "metadata": {"name": name}, "spec": spec});
        world.apply(&pool.to_string())?;
    }
    let coordinator = json!({"apiVersion": "spiderpool.spidernet.io/v2beta1", "kind": "SpiderCoordinator",
                             "metadata": {"name": "default"}, "spec": {"podCIDRType": "calico"}});
    world.apply(&coordinator.to_string())?;
    calicos(world)?;
    world.create_pod(ASKED, Some("macvlan-ens192"), None)?;
    world.wait_running(&[ASKED])
}

const MORE: &str = "10.77.0.0/16";
const RETIRED: &str = "10.78.0.0/16";

pub fn calicos(world: &World) -> Finding {
    eventually(PATIENCE, || {
        let status = spider(world, "spidercoordinators/default")?["status"].clone();
        let networks = status["overlayPodCIDR"].as_array().cloned().unwrap_or_default();
        let has = |net: &str| networks.iter().any(|one| one == net);
        let fine = status["phase"] == "Synced" && has("10.233.64.0/18") && has(MORE) && !has(RETIRED);
        if fine { Ok(status.to_string()) } else { Err(format!("its status is {status}")) }
    })
}

pub fn owned(world: &World) -> Finding {
    let owner = world.get(NAD)?["metadata"]["ownerReferences"][0].clone();
    let fine = owner["kind"] == "SpiderMultusConfig"
        && owner["name"] == "macvlan-ens192"
        && owner["controller"] == true;
    if fine { Ok(owner.to_string()) } else { Err(format!("its owner is {owner}")) }
}

fn config(world: &World) -> Result<Value, String> {
    let text = world.get(NAD)?["spec"]["config"].as_str().unwrap_or_default().to_owned();
    serde_json::from_str(&text).map_err(|why| format!("{text}: {why}"))
}

pub fn chain(world: &World) -> Finding {
    let config = config(world)?;
    let plugins = config["plugins"].as_array().cloned().unwrap_or_default();
    let types: Vec<&str> = plugins.iter().filter_map(|plugin| plugin["type"].as_str()).collect();
    same(&types, &vec!["macvlan", "coordinator"])?;
    let macvlan = &plugins[0];
    same(&macvlan["master"], &json!("ens192"))?;
    same(&macvlan["mode"], &json!("bridge"))?;
    same(&macvlan["ipam"]["type"], &json!("spiderpool"))?;
    same(&macvlan["ipam"]["default_ipv4_ippool"], &json!([POOL]))
}

pub fn endpoints(world: &World) -> Finding {
    each(world, |world, pod| {
        let found = pools::endpoint(world, pod, "net1")?;
        let node = world.sandbox(pod)?.node;
        same(&found["item"]["ipv4Pool"], &json!(POOL))?;
        same(&found["node"], &json!(node))?;
        let address = world.look(super::super::world::Place::Pod(pod))?;
        let address = address.address("net1", polynic_net::Family::V4)?;
        same(&found["item"]["ipv4"], &json!(format!("{address}/16")))
    })
}

pub fn counted(world: &World) -> Finding {
    eventually(PATIENCE, || {
        let status = spider(world, &format!("spiderippools/{POOL}"))?["status"].clone();
        same(&(status["allocatedIPCount"].as_u64(), status["totalIPCount"].as_u64()), &(Some(2), Some(101)))
    })
}

/// The independent checker over the cluster's objects. What is about to be put right by itself is waited for.
pub fn well(world: &World) -> Finding {
    eventually(PATIENCE, || {
        let survey = world.survey()?;
        let violations = check_cluster(&survey.cluster);
        match violations.first() {
            None => Ok(format!(
                "{} pools, {} endpoints",
                survey.cluster.pools.len(),
                survey.cluster.endpoints.len()
            )),
            Some(violation) => Err(violation.to_string()),
        }
    })
}

/// The columns that `kubectl get se` and `kubectl get sp` show.
pub fn columns(world: &World) -> Finding {
    let endpoints =
        world.columns("/apis/spiderpool.spidernet.io/v2beta1/namespaces/default/spiderendpoints")?;
    let wanted = ["Name", "Interface", "IPv4Pool", "IPv4", "IPv6Pool", "IPv6", "Node"];
    let same_words = |found: &[String], wanted: &[&str]| {
        let upper = |word: &str| word.to_uppercase();
        found.iter().map(|word| upper(word)).eq(wanted.iter().map(|word| upper(word)))
    };
    if !same_words(&endpoints, &wanted) {
        return Err(format!("SpiderEndpoints are shown as {endpoints:?}, not {wanted:?}"));
    }
    let pools = world.columns("/apis/spiderpool.spidernet.io/v2beta1/spiderippools")?;
    let has = |word: &str| pools.iter().any(|column| column.to_lowercase().contains(word));
    match has("allocated") && has("total") {
        true => Ok(format!("{}; {}", endpoints.join(" "), pools.join(" "))),
        false => Err(format!("SpiderIPPools are shown as {pools:?}")),
    }
}

/// Another MTU; and a SpiderMultusConfig whose NAD somebody made by hand before.
pub fn edit(world: &World) -> Finding {
    world.define_network("by-hand", &json!({"cniVersion": "0.3.1", "name": "by-hand", "type": "ptp"}))?;
    // Adoption of a NAD without an owner is the contract if it says the same; one that another controller owns is not touched.
    world.own_by_another("by-hand")?;
    world.merge(
        &format!("/apis/spiderpool.spidernet.io/v2beta1/{CONFIG}"),
        &json!({"spec": {"macvlan": {"mtu": 1400}}}),
    )?;
    let taken = "
apiVersion: spiderpool.spidernet.io/v2beta1
kind: SpiderMultusConfig
metadata: {name: by-hand}
spec: {cniType: macvlan, macvlan: {master: [ens192]}}
";
    world.define_network("unowned", &json!({"cniVersion": "0.3.1", "name": "unowned", "type": "ptp"}))?;
    // They may be refused at once, by the webhook, or later, by the controller.
    let mut said = Vec::new();
    for taken in [taken, &taken.replace("by-hand", "unowned")] {
        said.push(world.apply(taken).unwrap_or_else(|refused| format!("refused: {refused}")));
    }
    Ok(said.join("; "))
}

pub fn follows(world: &World) -> Finding {
    eventually(PATIENCE, || same(&config(world)?["plugins"][0]["mtu"], &json!(1400)))
}

pub fn by_hand_stays(world: &World) -> Finding {
    for name in ["by-hand", "unowned"] {
        let path =
            format!("/apis/k8s.cni.cncf.io/v1/namespaces/default/network-attachment-definitions/{name}");
        let text = world.get(&path)?["spec"]["config"].as_str().unwrap_or_default().to_owned();
        if !text.contains("ptp") {
            return Err(format!("{name} is {text}"));
        }
    }
    Ok("one that another controller owns, and one that nobody owns".to_owned())
}

pub fn no_endpoints(world: &World) -> Finding {
    eventually(PATIENCE, || {
        let survey = world.survey()?;
        match survey.cluster.endpoints.first() {
            None => Ok("none is left".to_owned()),
            Some(endpoint) => Err(format!("{} is still there", endpoint.key)),
        }
    })
}

pub fn delete_config(world: &World) -> Finding {
    world.remove(&format!("/apis/spiderpool.spidernet.io/v2beta1/{CONFIG}"))
}

pub fn no_nad(world: &World) -> Finding {
    eventually(PATIENCE, || match world.get(NAD) {
        Err(why) if why.contains("404") || why.contains("not found") => Ok("it is gone".to_owned()),
        Err(why) => Err(why),
        Ok(_) => Err("the NAD is still there".to_owned()),
    })
}
