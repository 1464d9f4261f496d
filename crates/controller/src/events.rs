//! Events of Spiderpool's objects (spec/spiderpool.md 13.7). Best effort: what they say is in the log as well.

use k8s_openapi::api::core::v1::ObjectReference;
use kube::Client;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// Something happened.
    Normal,
    /// Somebody should look.
    Warning,
}

/// Tells users about their objects. Copies share one recorder, which joins repetitions.
#[derive(Clone)]
pub struct Events(Recorder);

impl Events {
    /// Tells as `controller`, from the pod or process `instance`.
    pub fn new(client: Client, controller: &str, instance: Option<String>) -> Self {
        Self(Recorder::new(client, Reporter { controller: controller.to_owned(), instance }))
    }

    /// Tells about an object, and logs the same.
    pub async fn tell(&self, about: &ObjectReference, severity: Severity, reason: &str, note: &str) {
        let (kind, name) =
            (about.kind.as_deref().unwrap_or_default(), about.name.as_deref().unwrap_or_default());
        let type_ = match severity {
            Severity::Normal => EventType::Normal,
            Severity::Warning => EventType::Warning,
        };
        match severity {
            Severity::Normal => tracing::info!(kind, name, reason, "{note}"),
            Severity::Warning => tracing::warn!(kind, name, reason, "{note}"),
        }
        let event = Event {
            type_,
            reason: reason.to_owned(),
            note: Some(note.to_owned()),
            action: "Reconcile".to_owned(),
            secondary: None,
        };
        if let Err(error) = self.0.publish(&event, about).await {
            tracing::debug!(%error, "an Event was not written");
        }
    }
}
