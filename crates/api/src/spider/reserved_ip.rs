//! SpiderReservedIP: addresses that no pool hands out (spec/spiderpool.md 2.3).

use serde::{Deserialize, Serialize};

use crate::meta::or_default;
use crate::spider::{Nothing, Object, SpiderKind};

/// The kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReservedIP;

/// Addresses that stay free.
pub type SpiderReservedIP = Object<ReservedIP>;

impl SpiderKind for ReservedIP {
    const KIND: &'static str = "SpiderReservedIP";
    const PLURAL: &'static str = "spiderreservedips";
    const SINGULAR: &'static str = "spiderreservedip";
    const SHORT_NAME: &'static str = "sr";
    const NAMESPACED: bool = false;
    const CRD: &'static str = include_str!("../../crds/spiderpool.spidernet.io_spiderreservedips.yaml");
    type Spec = ReservedIPSpec;
    type Status = Nothing;
}

/// Which addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ReservedIPSpec {
    /// 4 or 6; the webhook derives it from the first entry.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ip_version: Option<i64>,
    /// Single addresses or `first-last`.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub ips: Vec<String>,
}
