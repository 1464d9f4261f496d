//! Chained plugins that route: they let the node, the cluster's networks and a pod's further interfaces reach each other both ways
//! (spec/coordinator.md).

use crate::ChainedPlugin;

/// Every built-in chained plugin of this family.
pub const ALL: [&dyn ChainedPlugin; 0] = [];
