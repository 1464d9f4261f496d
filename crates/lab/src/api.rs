//! The lab's use of the embedded API server, and clients of it.

use std::net::TcpListener;
use std::path::Path;

use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};

use crate::error::{Error, Result};
use crate::state::State;

/// Starts the server on all `listeners`; returns the administrator's kubeconfig.
pub async fn serve(state: &State, listeners: Vec<TcpListener>) -> Result<String> {
    let _ = (state, listeners);
    Err(Error::Start("no API server yet".to_owned()))
}

/// What a cluster has before anybody uses it.
pub async fn seed(client: &Client) -> Result<()> {
    let _ = client;
    Ok(())
}

/// A client with the credentials of a kubeconfig file.
pub async fn client(kubeconfig: &Path) -> Result<Client> {
    let bad = |why: String| Error::Input(format!("{}: {why}", kubeconfig.display()));
    let parsed = Kubeconfig::read_from(kubeconfig).map_err(|why| bad(why.to_string()))?;
    let config = Config::from_custom_kubeconfig(parsed, &KubeConfigOptions::default()).await;
    Client::try_from(config.map_err(|why| bad(why.to_string()))?).map_err(Error::api("connect to the API server"))
}
