//! The texts of the Events that a pod gets (spec/multus.md 11 and spec/decisions.md "Explain yourself").

/// What an Event says, whoever sends it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodEvent {
    /// Whether it is news or trouble.
    pub severity: Severity,
    /// One word, for machines and `kubectl get events`.
    pub reason: &'static str,
    /// The sentence for people.
    pub message: String,
}

/// The `type` of an Event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// News.
    Normal,
    /// Trouble.
    Warning,
}

/// The source component of our Events.
pub const COMPONENT: &str = "multus";

impl Severity {
    /// As the API spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Severity::Normal => "Normal",
            Severity::Warning => "Warning",
        }
    }
}

impl PodEvent {
    /// A network was attached: `addresses` with prefix length, `network` is its display name or empty.
    pub fn added_interface(interface: &str, addresses: &[String], network: &str) -> PodEvent {
        let from = if network.is_empty() { String::new() } else { format!(" from {network}") };
        let message = format!("Add {interface} [{}]{from}", addresses.join(" "));
        PodEvent { severity: Severity::Normal, reason: "AddedInterface", message }
    }

    /// A NAD could not be read.
    pub fn no_network_found(name: &str, namespace: &str, cause: &str) -> PodEvent {
        PodEvent::warning("NoNetworkFound", no_network_found(name, namespace, cause))
    }

    /// An attachment failed; nothing of it is left.
    pub fn add_failed(cause: &str) -> PodEvent {
        PodEvent::warning("FailedAttachNetwork", cause.to_owned())
    }

    /// Something that the pod asked for is not delivered, because no plugin of the network declares the capability.
    pub fn missing_capability(network: &str, interface: &str, capabilities: &[&str]) -> PodEvent {
        let message = format!(
            "network {network} ({interface}) has no plugin with capability {}: the request is not delivered",
            capabilities.join(", ")
        );
        PodEvent::warning("MissingCapability", message)
    }

    /// A network asks for a device of a resource of which the pod has none left.
    pub fn missing_device(network: &str, interface: &str, resource: &str) -> PodEvent {
        let message = format!(
            "network {network} ({interface}) asks for a device of resource {resource}, of which the pod has none left: it is attached without"
        );
        PodEvent::warning("MissingDevice", message)
    }

    /// A network of a running pod could not be attached; nothing of it is left.
    pub fn add_interface_failed(cause: &str) -> PodEvent {
        PodEvent::warning("FailedAddingInterface", cause.to_owned())
    }

    /// A network of a running pod cannot be attached until the pod asks otherwise.
    pub fn interface_rejected(pod: &str, network: &str, cause: &str) -> PodEvent {
        PodEvent::warning("InterfaceAddRejected", format!("pod {pod}: network {network}: {cause}"))
    }

    /// A network of a running pod was detached.
    pub fn removed_interface(pod: &str, interface: &str, network: &str) -> PodEvent {
        let message = format!("pod {pod}: removed interface {interface} from network {network}");
        PodEvent { severity: Severity::Normal, reason: "RemovedInterface", message }
    }

    /// A network of a running pod could not be detached; that is tried again.
    pub fn remove_interface_failed(pod: &str, interface: &str, network: &str, cause: &str) -> PodEvent {
        let message = format!("pod {pod}: interface {interface}, network {network}: {cause}");
        PodEvent::warning("FailedRemovingInterface", message)
    }

    fn warning(reason: &'static str, message: String) -> PodEvent {
        PodEvent { severity: Severity::Warning, reason, message }
    }
}

/// The sentence for a NAD that could not be read; it is the text of the Event and of the ADD error.
pub fn no_network_found(name: &str, namespace: &str, cause: &str) -> String {
    format!("cannot find a network-attachment-definition ({name}) in namespace ({namespace}): {cause}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_added_interface_lists_its_addresses() {
        let event = PodEvent::added_interface(
            "net1",
            &["10.0.0.2/24".to_owned(), "fd00::2/64".to_owned()],
            "blue/lan",
        );
        assert_eq!((event.severity.as_str(), event.reason), ("Normal", "AddedInterface"));
        assert_eq!(event.message, "Add net1 [10.0.0.2/24 fd00::2/64] from blue/lan");
        assert_eq!(PodEvent::added_interface("eth0", &[], "").message, "Add eth0 []");
    }

    #[test]
    fn a_missing_nad_names_itself_and_the_cause() {
        let event = PodEvent::no_network_found("lan", "blue", "not found");
        assert_eq!((event.severity.as_str(), event.reason), ("Warning", "NoNetworkFound"));
        assert_eq!(
            event.message,
            "cannot find a network-attachment-definition (lan) in namespace (blue): not found"
        );
    }

    #[test]
    fn a_missing_capability_names_network_interface_and_capability() {
        let event = PodEvent::missing_capability("blue/lan", "net1", &["ips", "mac"]);
        assert!(event.message.contains("blue/lan") && event.message.contains("net1"));
        assert!(event.message.contains("ips, mac"), "{}", event.message);
    }
}
