//! A wire between a client and the API server, which can be cut and joined again.

use std::net::SocketAddr;

use kube::Client;
use kube::config::{KubeConfigOptions, Kubeconfig};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::support::Cluster;

pub struct Wire {
    address: SocketAddr,
    whole: watch::Sender<bool>,
}

impl Wire {
    pub async fn to(cluster: &Cluster) -> Self {
        let url = kubeconfig(cluster).clusters[0].cluster.as_ref().unwrap().server.clone().unwrap();
        let server: SocketAddr = url.trim_start_matches("https://").trim_end_matches('/').parse().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, whole) = (listener.local_addr().unwrap(), watch::Sender::new(true));
        let state = whole.subscribe();
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                tokio::spawn(carry(near, server, state.clone()));
            }
        });
        Self { address, whole }
    }

    /// Who speaks through the wire.
    pub async fn client(&self, cluster: &Cluster) -> Client {
        let mut config = kubeconfig(cluster);
        config.clusters[0].cluster.as_mut().unwrap().server = Some(format!("https://{}", self.address));
        let config =
            kube::Config::from_custom_kubeconfig(config, &KubeConfigOptions::default()).await.unwrap();
        Client::try_from(config).unwrap()
    }

    /// Ends all connections, and lets none through.
    pub fn cut(&self) {
        self.whole.send_replace(false);
    }

    pub fn join(&self) {
        self.whole.send_replace(true);
    }
}

fn kubeconfig(cluster: &Cluster) -> Kubeconfig {
    Kubeconfig::read_from(cluster.kubeconfig()).unwrap()
}

async fn carry(mut near: TcpStream, server: SocketAddr, mut whole: watch::Receiver<bool>) {
    if !*whole.borrow() {
        return;
    }
    let Ok(mut far) = TcpStream::connect(server).await else { return };
    tokio::select! {
        _ = copy_bidirectional(&mut near, &mut far) => {}
        _ = whole.wait_for(|whole| !whole) => {}
    }
}
