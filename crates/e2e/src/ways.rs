//! By which links packets go: a burst of datagrams and replies, and the links' counters before and after.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::Duration;

use polynic_kernel::netns::Netns;

/// How long one try waits.
const PATIENCE: Duration = Duration::from_millis(150);
/// The first packets may be lost to neighbour discovery, and addresses of new links take seconds to become usable.
const TRIES: u32 = 40;
/// More than what a link sends by itself meanwhile (neighbour discovery, group membership).
const BURST: u64 = 24;

/// The links by which datagrams left and their replies came back, each seen from where it was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ways {
    /// The link by which the asking namespace sent.
    pub there: String,
    /// The link by which the answering namespace replied.
    pub back: String,
}

/// Sends a burst from one namespace to an address of another, which replies to each; `source` is the asking address, if it
/// is not the kernel's choice.
///
/// # Errors
/// Says which direction did not work.
pub fn ways<A: 'static, B: 'static>(
    from: &Netns<A>,
    source: Option<&str>,
    to: &Netns<B>,
    address: &str,
) -> Result<Ways, String> {
    let address: IpAddr = address.parse().unwrap();
    let any = if address.is_ipv4() { "0.0.0.0" } else { "::" };
    let source = SocketAddr::new(source.unwrap_or(any).parse().unwrap(), 0);
    let at = SocketAddr::new(address, 0);
    let server = to.run(move || (0..TRIES).find_map(|_| socket(at).ok())).unwrap();
    let server = server.ok_or_else(|| format!("{address} cannot be bound to"))?;
    let client = from.run(move || (0..TRIES).find_map(|_| socket(source).ok())).unwrap();
    let client = client.ok_or_else(|| format!("{source} cannot be bound to"))?;
    let target = server.local_addr().unwrap();
    let mut outcome = Err(String::new());
    for _ in 0..TRIES {
        outcome = exchange(&client, &server, target);
        if outcome.is_ok() {
            break;
        }
    }
    outcome?;
    let before = (sent(from), sent(to));
    for _ in 0..BURST {
        exchange(&client, &server, target)?;
    }
    let after = (sent(from), sent(to));
    Ok(Ways { there: busiest(&before.0, &after.0), back: busiest(&before.1, &after.1) })
}

fn socket(at: SocketAddr) -> std::io::Result<UdpSocket> {
    let socket = UdpSocket::bind(at).inspect_err(|_| std::thread::sleep(PATIENCE))?;
    socket.set_read_timeout(Some(PATIENCE))?;
    Ok(socket)
}

fn exchange(client: &UdpSocket, server: &UdpSocket, target: SocketAddr) -> Result<(), String> {
    let mut buffer = [0; 16];
    client.send_to(b"ping", target).map_err(|e| {
        std::thread::sleep(PATIENCE);
        format!("cannot send to {target}: {e}")
    })?;
    let (_, source) = server.recv_from(&mut buffer).map_err(|_| format!("nothing arrives at {target}"))?;
    server.send_to(b"pong", source).map_err(|e| format!("{target} cannot reply to {source}: {e}"))?;
    client.recv_from(&mut buffer).map(drop).map_err(|_| format!("no reply from {target} to {source}"))
}

/// Packets sent so far by each link of a namespace.
fn sent<P: 'static>(netns: &Netns<P>) -> BTreeMap<String, u64> {
    let text = netns.run(|| std::fs::read_to_string("/proc/thread-self/net/dev").unwrap()).unwrap();
    let line = |line: &str| {
        let (name, counters) = line.split_once(':')?;
        Some((name.trim().to_owned(), counters.split_whitespace().nth(9)?.parse().ok()?))
    };
    text.lines().filter_map(line).collect()
}

/// The link that has sent the burst; empty if none has.
fn busiest(before: &BTreeMap<String, u64>, after: &BTreeMap<String, u64>) -> String {
    let more = |name: &String| after[name] - before.get(name).unwrap_or(&0);
    let sent = after.keys().filter(|name| *name != "lo" && more(name) >= BURST);
    sent.max_by_key(|name| more(name)).cloned().unwrap_or_default()
}
