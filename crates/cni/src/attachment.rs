//! Who holds something of a network: the identity that GC compares (spec/cni.md 2).

use serde::{Deserialize, Serialize};

/// One attachment within a network.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(default)]
pub struct Attachment {
    /// `CNI_CONTAINERID`.
    #[serde(rename = "containerID")]
    pub container_id: String,
    /// `CNI_IFNAME`.
    pub ifname: String,
}

/// The key that libcni and the published text use for the list of valid attachments.
pub const VALID_ATTACHMENTS: &str = "cni.dev/valid-attachments";

/// The key of early drafts; runtimes send both, with the same value.
pub const ATTACHMENTS: &str = "cni.dev/attachments";
