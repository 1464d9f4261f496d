//! How the API server reaches the kubelets: through a socket that is opened in the node's network, on its loopback address. As with the nodes' way
//! to the API server, no route and no wire is involved.

use std::io;
use std::net::{Ipv4Addr, TcpStream};

use polynic_apiserver::{Connecting, Kubelets};
use polynic_kernel::netns::{Netns, Pod};

use crate::kubelet::streams::PORT;
use crate::registry;
use crate::state::State;

/// The kubelets of a lab, found by its records.
#[derive(Clone, Debug)]
pub struct Reach(pub State);

impl Kubelets for Reach {
    fn connect(&self, node: &str) -> Connecting {
        let (state, node) = (self.0.clone(), node.to_owned());
        Box::pin(async move {
            let opened = tokio::task::spawn_blocking(move || open(&state, &node)).await;
            let stream = opened.map_err(io::Error::other)??;
            stream.set_nonblocking(true)?;
            tokio::net::TcpStream::from_std(stream)
        })
    }
}

fn open(state: &State, node: &str) -> io::Result<TcpStream> {
    let holder = registry::host(state, node).map_err(io::Error::other)?;
    if !holder.is_alive() {
        return Err(io::Error::other("the node is down"));
    }
    let network = Netns::<Pod>::of_process(holder.pid).map_err(io::Error::other)?;
    network.run(|| TcpStream::connect((Ipv4Addr::LOCALHOST, PORT)))?
}
