//! The plugin's credentials: the service account of our pod, as a kubeconfig on the node.

use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::files::{self, FileError};

/// Where a pod finds its service account.
pub const SERVICE_ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// Why there are no credentials.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    /// The pod does not know its API server.
    #[error("the environment variable {0} is not set: this is no pod of a cluster")]
    Variable(&'static str),
    /// A file of the service account is missing.
    #[error("the service account has no {}", .0.display())]
    Missing(PathBuf),
    /// A file cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
}

/// How the API server is reached, and as whom.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// URL of the API server.
    pub server: String,
    /// The authority to trust, in PEM; without one the server is not verified.
    pub authority: Option<Vec<u8>>,
    /// The bearer token.
    pub token: String,
}

impl Credentials {
    /// Those of this pod, from its environment and its service account's directory.
    ///
    /// # Errors
    /// A variable or a file is missing.
    pub fn of_pod(
        environment: &dyn Fn(&str) -> Option<String>,
        directory: &Path,
        skip_tls_verify: bool,
    ) -> Result<Self, CredentialsError> {
        let variable = |name| {
            environment(name).filter(|value| !value.is_empty()).ok_or(CredentialsError::Variable(name))
        };
        let protocol = variable("KUBERNETES_SERVICE_PROTOCOL").unwrap_or_else(|_| "https".to_owned());
        let (host, port) = (variable("KUBERNETES_SERVICE_HOST")?, variable("KUBERNETES_SERVICE_PORT")?);
        let host = if host.contains(':') { format!("[{host}]") } else { host };
        let read = |name| {
            let path = directory.join(name);
            files::read(&path)?.ok_or(CredentialsError::Missing(path))
        };
        Ok(Self {
            server: format!("{protocol}://{host}:{port}"),
            token: String::from_utf8_lossy(&read("token")?).trim().to_owned(),
            authority: if skip_tls_verify { None } else { Some(read("ca.crt")?) },
        })
    }

    /// The kubeconfig.
    pub fn kubeconfig(&self) -> String {
        let trust = match &self.authority {
            Some(pem) => format!("certificate-authority-data: {}", STANDARD.encode(pem)),
            None => "insecure-skip-tls-verify: true".to_owned(),
        };
        let (server, token) = (&self.server, &self.token);
        format!(
            "# Kubeconfig file for Multus CNI plugin.\napiVersion: v1\nkind: Config\nclusters:\n- name: local\n  cluster:\n    \
             server: {server}\n    {trust}\nusers:\n- name: multus\n  user:\n    token: \"{token}\"\ncontexts:\n- name: multus-context\n  \
             context:\n    cluster: local\n    user: multus\ncurrent-context: multus-context\n"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn pod(host: &str, skip: bool, files: &[&str]) -> Result<String, String> {
        let directory = tempfile::tempdir().unwrap();
        for name in files {
            fs::write(directory.path().join(name), format!("{name} of the pod\n")).unwrap();
        }
        let environment = |name: &str| match name {
            "KUBERNETES_SERVICE_HOST" => Some(host.to_owned()),
            "KUBERNETES_SERVICE_PORT" => Some("443".to_owned()),
            _ => None,
        };
        let credentials = Credentials::of_pod(&environment, directory.path(), skip);
        credentials.map(|credentials| credentials.kubeconfig()).map_err(|why| why.to_string())
    }

    #[test]
    fn the_kubeconfig_has_the_replaced_programs_structure() {
        let text = pod("10.96.0.1", false, &["token", "ca.crt"]).unwrap();
        let expected = "# Kubeconfig file for Multus CNI plugin.\napiVersion: v1\nkind: Config\nclusters:\n- name: local\n  cluster:\n    \
            server: https://10.96.0.1:443\n    certificate-authority-data: Y2EuY3J0IG9mIHRoZSBwb2QK\nusers:\n- name: multus\n  user:\n    \
            token: \"token of the pod\"\ncontexts:\n- name: multus-context\n  context:\n    cluster: local\n    user: multus\n\
            current-context: multus-context\n";
        assert_eq!(text, expected);
    }

    #[test]
    fn addresses_of_ipv6_stand_in_brackets_and_verification_can_be_skipped() {
        let text = pod("fd00::1", true, &["token"]).unwrap();
        assert!(
            text.contains("server: https://[fd00::1]:443\n    insecure-skip-tls-verify: true\n"),
            "{text}"
        );
    }

    #[test]
    fn what_is_missing_is_named() {
        assert!(pod("h", false, &["token"]).unwrap_err().ends_with("ca.crt"));
        assert!(pod("h", false, &["ca.crt"]).unwrap_err().ends_with("token"));
        assert!(pod("", false, &["token", "ca.crt"]).unwrap_err().contains("KUBERNETES_SERVICE_HOST"));
    }
}
