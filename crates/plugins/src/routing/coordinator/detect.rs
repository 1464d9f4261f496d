//! Detection keys of coordinators up to 0.9.8 (spec/coordinator.md 5.3): newer ones leave detection to the IPAM plugin, and configurations
//! that still ask for it here get it.

use std::net::IpAddr;

use polynic_net::{Change, Family, IfName, IpNet, Place, Probe, Seek};
use serde::Deserialize;

use crate::routing::draft::Draft;
use crate::routing::view::View;
use polynic_cni::go_duration;

/// Milliseconds.
const DEFAULT_TIMEOUT: u64 = 100;
const DEFAULT_RETRIES: u32 = 1;

/// As written.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Keys {
    detect_gateway: bool,
    #[serde(rename = "detectIPConflict")]
    detect_ip_conflict: bool,
    detect_options: Option<OptionKeys>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct OptionKeys {
    retries: i64,
    interval: String,
    timeout: String,
}

/// What is asked, and how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Detect {
    gateway: bool,
    conflict: bool,
    timeout_ms: u64,
    retries: u32,
}

impl Detect {
    pub(super) fn read(keys: &Keys) -> Result<Self, String> {
        let options = keys.detect_options.as_ref();
        let duration = |key: &str, text: &str| match text {
            "" => Ok(None),
            text => go_duration::milliseconds(text).map(Some).ok_or_else(|| {
                format!("invalid detectOptions.{key} {text}: it must be a duration like 100ms")
            }),
        };
        let interval = options.map(|o| duration("interval", &o.interval)).transpose()?.flatten();
        let timeout = options.map(|o| duration("timeout", &o.timeout)).transpose()?.flatten();
        let retries = options.and_then(|o| u32::try_from(o.retries).ok()).filter(|n| *n > 0);
        Ok(Self {
            gateway: keys.detect_gateway,
            conflict: keys.detect_ip_conflict,
            timeout_ms: timeout.or(interval).unwrap_or(DEFAULT_TIMEOUT),
            retries: retries.unwrap_or(DEFAULT_RETRIES),
        })
    }

    /// Plans to ask for everything at the same time.
    pub(super) fn probe(self, draft: &mut Draft, view: View<'_>, nic: &IfName, addresses: &[IpNet]) {
        for ip in addresses.iter().map(IpNet::addr).filter(|_| self.conflict) {
            draft.plan.own(self.question(nic, ip, Seek::Nobody));
        }
        for from in addresses.iter().map(IpNet::addr).filter(|_| self.gateway) {
            let gateways = view.defaults(Family::of(from), nic).filter_map(|route| route.gw);
            for gateway in gateways {
                draft.plan.own(self.question(nic, gateway, Seek::Gateway { from }));
            }
        }
    }

    fn question(self, nic: &IfName, ip: IpAddr, seek: Seek) -> Change {
        let (interval_ms, count) = (self.timeout_ms, self.retries);
        Change::probe(Place::Pod, Probe { link: nic.clone(), ip, seek, interval_ms, count })
    }
}
