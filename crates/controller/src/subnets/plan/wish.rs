//! What applications ask for: one pool for each interface and family.

use polynic_api::admission::{Rules, effective_set};
use polynic_api::meta::LabelSelector;
use polynic_api::spider::subnet::ControlledPool;
use polynic_api::spider::{FINALIZER, PoolSpec, SpiderIPPool, SpiderSubnet, label};
use polynic_ipam::annotation;
use polynic_ipam::auto_pool::{
    AutoPool, Care, IpNumber, app_labels, ip_number, number_annotation, reclaim, refusal,
};
use polynic_net::{Family, IntervalSet};

use super::{Gone, Plan, Step, World, pool_rules};
use crate::subnets::Application;

/// One pool that an application asks for.
pub(super) struct Wish<'a> {
    application: &'a Application,
    nic: String,
    pub(super) family: Family,
    /// The subnet it is from: that of the pool that is there, or else the one asked for.
    pub(super) subnet: String,
    number: IpNumber,
    pub(super) size: u32,
    reclaim: bool,
    /// The pool that is there already.
    pub(super) pool: Option<&'a SpiderIPPool>,
}

/// All wishes; what cannot be understood is a problem of the plan.
pub(super) fn wishes<'a>(
    world: &'a World,
    default_number: u32,
    rules: Rules,
    plan: &mut Plan,
) -> Vec<Wish<'a>> {
    let mut all = Vec::new();
    for application in &world.applications {
        match of_application(application, world, default_number, rules) {
            Ok(wishes) => all.extend(wishes),
            Err(why) => plan.problems.push(format!("{}: {why}", who(application))),
        }
    }
    for (wish, wanted) in &all {
        if let Some(pool) = wish.pool.filter(|_| wish.subnet != *wanted) {
            let text = format!(
                "{} asks for SpiderSubnet {wanted}, but this pool is from {}: nothing is changed",
                wish.who(),
                wish.subnet
            );
            plan.changed_subnets.push((pool.metadata.name.clone(), text));
        }
    }
    all.into_iter().map(|(wish, _)| wish).collect()
}

/// Each wish with the subnet that is asked for.
fn of_application<'a>(
    application: &'a Application,
    world: &'a World,
    default_number: u32,
    rules: Rules,
) -> Result<Vec<(Wish<'a>, String)>, String> {
    let annotations = &application.annotations;
    let items = annotation::subnets(annotations).map_err(|why| why.to_string())?.unwrap_or_default();
    let number = ip_number(annotations).map_err(|why| why.to_string())?;
    if let Some(why) = refusal(&application.controller, number) {
        return Err(why);
    }
    let number = number.unwrap_or(IpNumber::Flexible(default_number));
    let reclaim = reclaim(annotations).map_err(|why| why.to_string())?;
    let mut wishes = Vec::new();
    for item in &items {
        let nic = item.nic.as_deref().unwrap_or_default();
        for (family, names, in_use) in
            [(Family::V4, &item.ipv4, rules.ipv4), (Family::V6, &item.ipv6, rules.ipv6)]
        {
            let Some(wanted) = names.first().filter(|_| in_use) else { continue };
            let pool = find(application, nic, family, world);
            let subnet = pool.and_then(|pool| pool.metadata.label(label::OWNER_SUBNET)).unwrap_or(wanted);
            let (nic, subnet) = (nic.to_owned(), subnet.to_owned());
            let size = number.size(application.replicas);
            wishes.push((
                Wish { application, nic, family, subnet, number, size, reclaim, pool },
                wanted.clone(),
            ));
        }
    }
    Ok(wishes)
}

/// The pool of an application: its own, or one that was kept from an earlier application of that name.
fn find<'a>(
    application: &Application,
    nic: &str,
    family: Family,
    world: &'a World,
) -> Option<&'a SpiderIPPool> {
    let auto = AutoPool { namespace: &application.namespace, app: &application.controller, nic, family };
    let labels = auto.owner_labels();
    let is_named = |pool: &&SpiderIPPool| {
        let mut others = labels.iter().filter(|(key, _)| *key != label::OWNER_APPLICATION_UID);
        others.all(|(key, value)| pool.metadata.label(key) == Some(value))
    };
    let named = || world.pools.iter().filter(is_named);
    let own = |pool: &&SpiderIPPool| auto.is(&pool.metadata.labels);
    let kept = |pool: &&SpiderIPPool| {
        pool.metadata.label(label::IPPOOL_RECLAIM) == Some("false") && !pool.metadata.is_terminating()
    };
    named().find(own).or_else(|| named().find(kept))
}

/// The application that an automatic pool names.
pub(super) fn owner_of(pool: &SpiderIPPool) -> Option<Gone> {
    let of = |key: &str| pool.metadata.label(key).map(str::to_owned);
    Some(Gone {
        namespace: of(label::OWNER_APPLICATION_NAMESPACE)?,
        api_version: of(label::OWNER_APPLICATION_GV)?.replacen('_', "/", 1),
        kind: of(label::OWNER_APPLICATION_KIND)?,
        name: of(label::OWNER_APPLICATION_NAME)?,
        uid: of(label::OWNER_APPLICATION_UID)?,
    })
}

/// The application of a pool as SpiderSubnets write it.
pub(super) fn application_of(pool: &SpiderIPPool) -> Option<String> {
    let owner = owner_of(pool)?;
    Some(format!("{}_{}_{}_{}", owner.api_version.replace('/', "_"), owner.kind, owner.namespace, owner.name))
}

/// Addresses that pods have of a pool; a status that cannot be read keeps everything.
pub(super) fn allocated(pool: &SpiderIPPool, family: Family) -> IntervalSet {
    let addresses = pool.status.as_ref().map(|status| status.allocated_addresses()).transpose();
    match addresses {
        Ok(addresses) => IntervalSet::of_addresses(family, addresses.unwrap_or_default()),
        Err(_) => effective_set(family, &pool.spec.ips, &pool.spec.exclude_ips),
    }
}

fn who(application: &Application) -> String {
    format!("{} {}/{}", application.controller.kind, application.namespace, application.controller.name)
}

impl Wish<'_> {
    fn auto(&self) -> AutoPool<'_> {
        AutoPool {
            namespace: &self.application.namespace,
            app: &self.application.controller,
            nic: &self.nic,
            family: self.family,
        }
    }

    pub(super) fn who(&self) -> String {
        who(self.application)
    }

    pub(super) fn application(&self) -> String {
        self.auto().application()
    }

    pub(super) fn pool_name(&self) -> String {
        self.pool.map_or_else(|| self.auto().name(), |pool| pool.metadata.name.clone())
    }

    /// Addresses that pods have.
    pub(super) fn allocated(&self) -> IntervalSet {
        self.pool.map_or_else(|| IntervalSet::empty(self.family), |pool| allocated(pool, self.family))
    }

    /// How the pool gets what the subnet has noted for it.
    pub(super) fn step(&self, subnet: &SpiderSubnet, entry: &ControlledPool) -> Option<Step> {
        let Some(there) = self.pool else {
            return Some(Step::CreatePool(Box::new(self.new_pool(subnet, entry))));
        };
        // One that is being deleted comes back when it is gone.
        if there.metadata.is_terminating() {
            return None;
        }
        let mut pool = there.clone();
        self.mark(&mut pool, subnet);
        let set = |ips: &[String]| effective_set(self.family, ips, &[]);
        if set(&pool.spec.ips) != set(&entry.ips) {
            pool.spec.ips = entry.ips.clone();
        }
        (pool != *there).then(|| Step::UpdatePool(Box::new(pool)))
    }

    fn new_pool(&self, subnet: &SpiderSubnet, entry: &ControlledPool) -> SpiderIPPool {
        let app = &self.application.controller;
        let affinity = LabelSelector {
            match_labels: app_labels(&self.application.namespace, app).into_iter().collect(),
            match_expressions: Vec::new(),
        };
        let spec = PoolSpec {
            ip_version: subnet.spec.ip_version,
            subnet: subnet.spec.subnet.clone(),
            ips: entry.ips.clone(),
            gateway: subnet.spec.gateway.clone(),
            routes: subnet.spec.routes.clone(),
            pod_affinity: Some(affinity),
            ..PoolSpec::default()
        };
        let mut pool = SpiderIPPool::new(&self.pool_name(), spec);
        pool.metadata.finalizers = vec![FINALIZER.to_owned()];
        pool.metadata.owner_references = vec![pool_rules::owner_reference(subnet)];
        self.mark(&mut pool, subnet);
        pool
    }

    /// Labels and the annotation, as they follow from the application today.
    fn mark(&self, pool: &mut SpiderIPPool, subnet: &SpiderSubnet) {
        let cidr = label::of_cidr(&subnet.spec.subnet);
        let care = Care { subnet: &subnet.metadata.name, cidr: &cidr, reclaim: self.reclaim };
        pool.metadata.labels.extend(self.auto().labels(&care));
        pool.metadata.annotations.extend([number_annotation(self.number)]);
    }
}
