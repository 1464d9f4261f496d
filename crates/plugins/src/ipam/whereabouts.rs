//! `whereabouts`: addresses from cluster-wide ranges, by the objects of the replaced program (spec/whereabouts.md).
//!
//! The plugin reads configurations and prints results; whoever can speak to the API server does the rest: this process, or the node agent
//! in which it runs, where those who want addresses of one pool at the same time share one write.

mod config;

use std::net::IpAddr;
use std::time::{Duration, Instant};

use polynic_cni::{Error, Invocation, Ip, Output, PluginConf, Success, Verb};
use polynic_net::{Family, IpNet};
use polynic_wire::whereabouts::WhereaboutsRequest;

use crate::ipam::Ipam;
use crate::log::Log;
use crate::{Call, Context, Plugin};
use config::Config;

/// Its type.
const TYPE: &str = "whereabouts";
/// Limits of the replaced plugin (spec/whereabouts.md 4).
const ADD_PATIENCE: Duration = Duration::from_secs(120);
const DEL_PATIENCE: Duration = Duration::from_secs(60);
const CHECK_PATIENCE: Duration = Duration::from_secs(20);

/// The plugin.
pub struct Whereabouts {
    /// Directories in which the flat file is looked for, in this order.
    pub directories: &'static [&'static str],
}

/// Where the replaced plugin looks (spec/whereabouts.md 2).
pub const DIRECTORIES: &[&str] = &["/etc/kubernetes/cni/net.d", "/etc/cni/net.d", "/host/etc/cni/net.d"];

impl Ipam for Whereabouts {}

impl Plugin for Whereabouts {
    fn plugin_type(&self) -> &'static str {
        TYPE
    }

    fn call(
        &self,
        context: &Context<'_>,
        verb: Verb,
        invocation: &Invocation,
        conf: &PluginConf,
    ) -> Result<Output, Error> {
        let call = Call::new(TYPE, invocation, conf)?;
        let mut log = self.log(context, &call, verb);
        if let Some(log) = &mut log {
            log.begin(&call, verb);
        }
        let answer = match verb {
            Verb::Add => self.add(context, &call).map(Output::Success),
            Verb::Del => self.del(context, &call).map(|()| Output::Empty),
            Verb::Check => self.check(context, &call).map(|()| Output::Empty),
            Verb::Status => self.status(&call).map(|()| Output::Empty),
            // What pods left is collected by the cluster, which knows of pods.
            Verb::Gc | Verb::Version => Ok(Output::Empty),
        };
        let answer = answer.map_err(|e| call.explain(e));
        if let Some(log) = &mut log {
            log.outcome(&call, verb, &answer);
        }
        // An address that cannot be given back now is collected when its pod is gone: the replaced plugin answers success whatever
        // happens.
        answer.or_else(|e| match verb {
            Verb::Del => {
                (context.warn)(&format!("{}: the address is not given back now: {}", call.whom(), e.msg));
                Ok(Output::Empty)
            }
            _ => Err(e),
        })
    }
}

impl Whereabouts {
    /// One that cannot be written must not keep a pod from its network: that is a warning.
    fn log(&self, context: &Context<'_>, call: &Call<'_>, verb: Verb) -> Option<Log> {
        let has_log = matches!(verb, Verb::Add | Verb::Del | Verb::Check);
        let options = has_log.then(|| config::log(call, self.directories))??;
        let file = options.file.display().to_string();
        let open = Log::open(options);
        open.inspect_err(|e| (context.warn)(&format!("cannot log to {file}: {e}"))).ok()
    }

    fn add(&self, context: &Context<'_>, call: &Call<'_>) -> Result<Success, Error> {
        let config = Config::read(call, self.directories)?;
        let podref = config::podref(call).ok_or_else(|| call.error("K8S_POD_NAME is missing in CNI_ARGS"))?;
        refuse_two_of_a_family(call, &config)?;
        let request = request(call, &config, podref);
        let found = context.addresses.whereabouts().allocate(&request, Instant::now() + ADD_PATIENCE);
        let found = found.map_err(|why| Error::internal(format!("error at storage engine: {why}")))?;
        result(call, &config, &found)
    }

    fn del(&self, context: &Context<'_>, call: &Call<'_>) -> Result<(), Error> {
        let config = Config::read(call, self.directories)?;
        let request = request(call, &config, config::podref(call).unwrap_or_default());
        let released = context.addresses.whereabouts().release(&request, Instant::now() + DEL_PATIENCE);
        released.map_err(|why| call.error(why))
    }

    fn check(&self, context: &Context<'_>, call: &Call<'_>) -> Result<(), Error> {
        let config = Config::read(call, self.directories)?;
        let request = request(call, &config, config::podref(call).unwrap_or_default());
        let checked = context.addresses.whereabouts().check(&request, Instant::now() + CHECK_PATIENCE);
        checked.map_err(|why| Error::internal(format!("whereabouts: {why}")))
    }

    /// Without configuration or credentials no ADD could work.
    fn status(&self, call: &Call<'_>) -> Result<(), Error> {
        let config = Config::read(call, self.directories).map_err(|e| Error::not_available(e.msg))?;
        match config.kubeconfig.exists() {
            true => Ok(()),
            false => {
                let missing = format!("whereabouts: there is no kubeconfig {}", config.kubeconfig.display());
                Err(Error::not_available(missing))
            }
        }
    }
}

fn request(call: &Call<'_>, config: &Config, podref: String) -> WhereaboutsRequest {
    WhereaboutsRequest {
        kubeconfig: config.kubeconfig.clone(),
        container_id: call.container_id().to_owned(),
        ifname: call.ifname.to_string(),
        podref,
        network_name: config.network_name.clone(),
        ranges: config.ranges.clone(),
        overlapping: config.overlapping,
        slice: config.slice.clone(),
    }
}

/// One address of each range in order with the range's prefix, then the fixed ones.
fn result(call: &Call<'_>, config: &Config, found: &[IpAddr]) -> Result<Success, Error> {
    let mut ips = Vec::new();
    for (ip, range) in found.iter().zip(&config.ranges) {
        // `first-last/length` has its length at the end as well.
        let length = range.range.rsplit_once('/').and_then(|(_, length)| length.trim().parse().ok());
        let net = length.and_then(|length| IpNet::new(*ip, length).ok());
        let net = net.ok_or_else(|| call.error(format!("invalid CIDR {:?}", range.range)))?;
        ips.push(Ip { gateway: config.gateway, ..Ip::new(net) });
    }
    ips.extend(config.fixed.iter().cloned());
    Ok(Success { ips, routes: config.routes.clone(), dns: config.dns.clone(), ..Success::default() })
}

fn refuse_two_of_a_family(call: &Call<'_>, config: &Config) -> Result<(), Error> {
    let version = call.conf.cni_version;
    let of_ranges =
        config.ranges.iter().map(|range| if range.range.contains(':') { Family::V6 } else { Family::V4 });
    let of_fixed = config.fixed.iter().map(|ip| Family::of(ip.address.addr()));
    let families: Vec<Family> = of_ranges.chain(of_fixed).collect();
    let several =
        [Family::V4, Family::V6].iter().any(|one| families.iter().filter(|f| *f == one).count() > 1);
    if version < polynic_cni::Version::V0_3_0 && several {
        return Err(
            call.error(format!("CNI version {version} does not support more than 1 address per family"))
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests;
