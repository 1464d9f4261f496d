//! Answers over UDP. A socket for each address: only so do answers come from where the question went to, whatever the routes say.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use polynic_kernel::{Door, RealDoor};
use polynic_net::Needs;
use tokio::net::UdpSocket;
use tokio::task::JoinHandle;

use super::Stand;

/// How often new addresses are looked for: networks can be attached to a running pod.
const GLANCE: Duration = Duration::from_secs(1);
const LARGEST: usize = 65_536;

/// Answers on a port of all addresses, those that come later included.
pub async fn listen(port: u16, stand: Stand) {
    let mut open: BTreeMap<IpAddr, JoinHandle<()>> = BTreeMap::new();
    loop {
        let addresses = tokio::task::spawn_blocking(addresses).await.ok().flatten();
        if let Some(addresses) = addresses {
            open.retain(|ip, task| {
                addresses.contains(ip) || {
                    task.abort();
                    false
                }
            });
            for ip in addresses {
                if !open.contains_key(&ip)
                    && let Ok(socket) = UdpSocket::bind(SocketAddr::new(ip, port)).await
                {
                    open.insert(ip, tokio::spawn(answer(socket, stand.clone())));
                }
            }
        }
        tokio::time::sleep(GLANCE).await;
    }
}

/// All addresses of this network that are good beyond one link.
fn addresses() -> Option<Vec<IpAddr>> {
    let mut kernel = RealDoor::default().open(None).ok()?;
    let mut needs = Needs::default();
    needs.host.all_addresses = true;
    let facts = kernel.observe(&needs).ok()?;
    let link_local = |ip: &IpAddr| matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local());
    Some(facts.host.addresses.iter().map(|address| address.net.addr()).filter(|ip| !link_local(ip)).collect())
}

async fn answer(socket: UdpSocket, stand: Stand) {
    let mut buffer = vec![0; LARGEST];
    loop {
        // An error here is about an earlier answer that could not be delivered.
        let Ok((count, client)) = socket.recv_from(&mut buffer).await else { continue };
        let text = String::from_utf8_lossy(&buffer[..count]).trim_end().to_owned();
        stand.log.line(&format!("{client} says {text:?} over UDP"));
        let _ = socket.send_to(format!("{} {client}: {text}\n", stand.pod).as_bytes(), client).await;
    }
}
