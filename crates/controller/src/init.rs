//! `spiderpool-init` (spec/spiderpool.md 13.5): the objects that an installation starts with.
//!
//! Waits for the controller, because its webhooks complete what is made here. Objects that are there already stay as they are.

mod default_network;

use std::time::Duration;

use k8s_openapi::api::core::v1::Endpoints;
use kube::api::PostParams;
use kube::{Api, Client};
use polynic_api::spider::coordinator::Coordinator;
use polynic_api::spider::multus_config::MultusConfig;
use polynic_api::spider::pool::IPPool;
use polynic_api::spider::subnet::Subnet;
use polynic_api::spider::{CoordinatorSpec, PoolSpec, Route, SpiderKind, SubnetSpec};
use polynic_cluster::spider::{self, Stored};
use tokio::time::sleep;

pub use default_network::DefaultNetwork;
use polynic_runtime::configuration::{ConfigurationError, Environment, Variables};

/// Pause between two attempts.
const PAUSE: Duration = Duration::from_secs(2);
/// Attempts after which an object that is called invalid each time is given up: a webhook that was still about to change has had its time.
const REFUSALS: usize = 8;

/// What cannot be made, however often it is tried: the values of the installation are wrong.
#[derive(Debug, thiserror::Error)]
#[error("{kind} {name:?} is refused")]
pub struct Refused {
    kind: &'static str,
    name: String,
    #[source]
    why: Box<kube::Error>,
}

/// What is made.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// Namespace of the controller.
    pub namespace: String,
    /// The controller's Service.
    pub controller: String,
    /// The SpiderCoordinator.
    pub coordinator: Option<(String, CoordinatorSpec)>,
    /// Default SpiderSubnets.
    pub subnets: Vec<(String, SubnetSpec)>,
    /// Default pools.
    pub pools: Vec<(String, PoolSpec)>,
    /// Whether the default network gets a SpiderMultusConfig, from this directory.
    pub network: Option<DefaultNetwork>,
}

impl Plan {
    /// Reads the environment.
    ///
    /// # Errors
    /// A variable has no such value.
    pub fn read(environment: Environment<'_>) -> Result<Self, ConfigurationError> {
        let env = Variables(environment);
        let mut plan = Self {
            namespace: env.text("SPIDERPOOL_NAMESPACE", "kube-system"),
            controller: env.text("SPIDERPOOL_CONTROLLER_NAME", "spiderpool-controller"),
            coordinator: coordinator(&env)?,
            ..Self::default()
        };
        for version in [4, 6] {
            plan.add_family(&env, version);
        }
        if env.flag("SPIDERPOOL_INIT_ENABLE_MULTUS_CONFIG", false)? {
            let namespace = env.text("SPIDERPOOL_INIT_DEFAULT_CNI_NAMESPACE", &plan.namespace);
            plan.network = Some(DefaultNetwork {
                directory: env.text("SPIDERPOOL_INIT_DEFAULT_CNI_DIR", "/etc/cni/net.d").into(),
                name: env.text("SPIDERPOOL_INIT_DEFAULT_CNI_NAME", ""),
                namespace,
            });
        }
        Ok(plan)
    }

    /// The default pool of a family, and its SpiderSubnet, if they have names.
    fn add_family(&mut self, env: &Variables<'_>, version: i64) {
        let get = |name: &str| env.get(&format!("SPIDERPOOL_INIT_DEFAULT_IPV{version}_{name}"));
        let Some(cidr) = get("IPPOOL_SUBNET") else { return };
        let ips = get("IPPOOL_IPRANGES").map(|text| list(&text)).unwrap_or_default();
        let (ip_version, gateway) = (Some(version), get("IPPOOL_GATEWAY"));
        if let Some(name) = get("SUBNET_NAME") {
            let (subnet, ips, gateway) = (cidr.clone(), ips.clone(), gateway.clone());
            self.subnets
                .push((name, SubnetSpec { ip_version, subnet, ips, gateway, ..SubnetSpec::default() }));
        }
        if let Some(name) = get("IPPOOL_NAME") {
            let (subnet, default) = (cidr, Some(true));
            self.pools
                .push((name, PoolSpec { ip_version, subnet, ips, gateway, default, ..PoolSpec::default() }));
        }
    }

    /// Waits for the controller, and makes everything. What fails is tried again for ever, but for what makes no sense.
    ///
    /// # Errors
    /// An object is invalid, and stays so.
    pub async fn carry_out(&self, client: &Client) -> Result<(), Refused> {
        self.wait_for_controller(client).await;
        if let Some((name, spec)) = &self.coordinator {
            make::<Coordinator>(client, Stored::new(name, spec.clone())).await?;
        }
        for (name, spec) in &self.subnets {
            make::<Subnet>(client, Stored::new(name, spec.clone())).await?;
        }
        for (name, spec) in &self.pools {
            make::<IPPool>(client, Stored::new(name, spec.clone())).await?;
        }
        if let Some(network) = &self.network {
            make::<MultusConfig>(client, network.config()).await?;
        }
        Ok(())
    }

    async fn wait_for_controller(&self, client: &Client) {
        let api: Api<Endpoints> = Api::namespaced(client.clone(), &self.namespace);
        loop {
            match api.get_opt(&self.controller).await {
                Ok(Some(endpoints)) if has_address(&endpoints) => return,
                Ok(_) => tracing::info!(service = self.controller, "waiting for the controller"),
                Err(error) => tracing::warn!(%error, "waiting for the API server"),
            }
            sleep(PAUSE).await;
        }
    }
}

fn has_address(endpoints: &Endpoints) -> bool {
    let mut subsets = endpoints.subsets.iter().flatten();
    subsets.any(|subset| subset.addresses.as_ref().is_some_and(|addresses| !addresses.is_empty()))
}

fn coordinator(env: &Variables<'_>) -> Result<Option<(String, CoordinatorSpec)>, ConfigurationError> {
    let get = |name: &str| env.get(&format!("SPIDERPOOL_INIT_DEFAULT_COORDINATOR_{name}"));
    let Some(name) = get("NAME") else { return Ok(None) };
    let mtu = get("VETH_MTU").map(|value| {
        let wrong = |_| ConfigurationError::Variable {
            name: "SPIDERPOOL_INIT_DEFAULT_COORDINATOR_VETH_MTU",
            value: value.clone(),
            wanted: "number",
        };
        value.parse::<i64>().map_err(wrong)
    });
    let routes = get("POLICY_ROUTES").map(|text| {
        let wrong = |_| ConfigurationError::Variable {
            name: "SPIDERPOOL_INIT_DEFAULT_COORDINATOR_POLICY_ROUTES",
            value: text.clone(),
            wanted: "JSON list of routes",
        };
        serde_json::from_str::<Vec<Route>>(&text).map_err(wrong)
    });
    let spec = CoordinatorSpec {
        mode: get("MODE"),
        pod_cidr_type: Some(get("POD_CIDR_TYPE").unwrap_or_else(|| "auto".to_owned())),
        tune_pod_routes: Some(env.flag("SPIDERPOOL_INIT_DEFAULT_COORDINATOR_TUNE_POD_ROUTES", true)?),
        hijack_cidr: get("HIJACK_CIDR").map(|text| list(&text)),
        policy_routes: routes.transpose()?,
        veth_link_address: get("VETH_LINK_ADDRESS"),
        veth_mtu: mtu.transpose()?,
        ..CoordinatorSpec::default()
    };
    Ok(Some((name, spec)))
}

/// A JSON list, or a comma list.
fn list(text: &str) -> Vec<String> {
    serde_json::from_str(text).unwrap_or_else(|_| {
        let items = text.split(',').map(|item| item.trim().trim_matches(['[', ']', '"', ' ']));
        items.filter(|item| !item.is_empty()).map(str::to_owned).collect()
    })
}

/// Makes an object unless it is there, as often as it takes.
async fn make<K: SpiderKind>(client: &Client, object: Stored<K>) -> Result<(), Refused> {
    let name = object.metadata.name.clone().unwrap_or_default();
    let api: Api<Stored<K>> = match object.metadata.namespace.as_deref() {
        Some(namespace) => spider::namespaced(client.clone(), namespace),
        None => spider::all(client.clone()),
    };
    let mut refusals = 0;
    loop {
        match api.create(&PostParams::default(), &object).await {
            Ok(_) => {
                tracing::info!(kind = K::KIND, name, "created");
                return Ok(());
            }
            Err(why) if has_code(&why, 409) => {
                tracing::info!(kind = K::KIND, name, "is there already");
                return Ok(());
            }
            Err(why) => {
                tracing::warn!(kind = K::KIND, name, error = %why, "cannot be created yet");
                refusals = if has_code(&why, 422) { refusals + 1 } else { 0 };
                if refusals >= REFUSALS {
                    return Err(Refused { kind: K::KIND, name, why: Box::new(why) });
                }
            }
        }
        sleep(PAUSE).await;
    }
}

fn has_code(error: &kube::Error, code: u16) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == code)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(variables: &[(&str, &str)]) -> Plan {
        let variables: Vec<(String, String)> = variables
            .iter()
            .map(|(name, value)| (format!("SPIDERPOOL_{name}"), (*value).to_owned()))
            .collect();
        Plan::read(&move |name: &str| {
            variables.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone())
        })
        .unwrap()
    }

    #[test]
    fn without_names_nothing_is_made() {
        let plan = plan(&[]);
        assert!(
            plan.coordinator.is_none()
                && plan.pools.is_empty()
                && plan.subnets.is_empty()
                && plan.network.is_none()
        );
    }

    #[test]
    fn pools_are_default_and_have_a_subnet_if_that_has_a_name() {
        let plan = plan(&[
            ("INIT_DEFAULT_IPV4_IPPOOL_NAME", "default-v4-ippool"),
            ("INIT_DEFAULT_IPV4_IPPOOL_SUBNET", "10.6.0.0/16"),
            ("INIT_DEFAULT_IPV4_IPPOOL_IPRANGES", "[\"10.6.0.1-10.6.0.9\",\"10.6.0.20\"]"),
            ("INIT_DEFAULT_IPV4_IPPOOL_GATEWAY", "10.6.0.254"),
            ("INIT_DEFAULT_IPV4_SUBNET_NAME", "default-v4-subnet"),
            ("INIT_DEFAULT_IPV6_IPPOOL_NAME", "not made: it has no subnet"),
        ]);
        let [(name, pool)] = plan.pools.as_slice() else { panic!("{plan:?}") };
        assert_eq!(
            (name.as_str(), pool.default, pool.ip_version),
            ("default-v4-ippool", Some(true), Some(4))
        );
        assert_eq!(pool.ips, ["10.6.0.1-10.6.0.9", "10.6.0.20"]);
        assert_eq!(plan.subnets[0].1.gateway.as_deref(), Some("10.6.0.254"));
    }

    #[test]
    fn the_coordinator_is_as_the_chart_says() {
        let plan = plan(&[
            ("INIT_DEFAULT_COORDINATOR_NAME", "default"),
            ("INIT_DEFAULT_COORDINATOR_MODE", "overlay"),
            ("INIT_DEFAULT_COORDINATOR_HIJACK_CIDR", "169.254.0.0/16, 10.1.0.0/16"),
            ("INIT_DEFAULT_COORDINATOR_POLICY_ROUTES", "[{\"dst\":\"10.2.0.0/16\",\"gw\":\"10.0.0.1\"}]"),
            ("INIT_DEFAULT_COORDINATOR_VETH_MTU", "1400"),
        ]);
        let (name, spec) = plan.coordinator.unwrap();
        assert_eq!(
            (name.as_str(), spec.mode.as_deref(), spec.pod_cidr_type.as_deref()),
            ("default", Some("overlay"), Some("auto"))
        );
        assert_eq!(spec.hijack_cidr.unwrap(), ["169.254.0.0/16", "10.1.0.0/16"]);
        assert_eq!((spec.policy_routes.unwrap().len(), spec.veth_mtu), (1, Some(1400)));
    }
}
