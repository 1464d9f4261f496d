//! Datagrams that somebody sends all the time, and how many a pod has received since its namespace was made.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use super::super::world::{PATIENCE, Place, World};
use super::super::{Finding, eventually};

/// A pause after a datagram to each target.
const PAUSE: Duration = Duration::from_millis(2);

/// Somebody who sends until this is dropped.
pub struct Flood {
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

impl Flood {
    /// Starts to send from a place to all targets.
    pub fn start(world: &World, from: Place<'_>, targets: Vec<SocketAddr>) -> Result<Flood, String> {
        let (stop, sent) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let [v4, v6] = [IpAddr::V4(Ipv4Addr::UNSPECIFIED), Ipv6Addr::UNSPECIFIED.into()];
        let sockets = world.network(from)?.run(move || [UdpSocket::bind((v4, 0)), UdpSocket::bind((v6, 0))]);
        let [v4, v6] = sockets.map_err(|why| format!("enter a namespace: {why}"))?;
        let (v4, v6) = (v4.map_err(|why| why.to_string())?, v6.map_err(|why| why.to_string())?);
        v4.set_broadcast(true).map_err(|why| why.to_string())?;
        let thread = {
            let (stop, sent) = (stop.clone(), sent.clone());
            std::thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    for target in &targets {
                        let socket = if target.is_ipv4() { &v4 } else { &v6 };
                        // Nobody may be there yet.
                        let went = socket.send_to(b"unwanted", target).is_ok();
                        sent.fetch_add(u64::from(went), Ordering::Relaxed);
                    }
                    std::thread::sleep(PAUSE);
                }
            })
        };
        Ok(Flood { stop, sent, thread: Some(thread) })
    }

    /// How many datagrams were sent.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Waits until so many more are sent.
    pub fn wait_for(&self, more: u64) -> Finding {
        let wanted = self.sent() + more;
        eventually(PATIENCE, || match self.sent() {
            sent if sent >= wanted => Ok(format!("{sent} datagrams are sent")),
            sent => Err(format!("only {sent} datagrams are sent")),
        })
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// How many datagrams have come past the firewall since the namespace was made, whether somebody listens or not.
pub fn received(world: &World, place: Place<'_>) -> Result<u64, String> {
    let read = || -> std::io::Result<u64> {
        let v4 = std::fs::read_to_string("/proc/thread-self/net/snmp")?;
        let v6 = std::fs::read_to_string("/proc/thread-self/net/snmp6").unwrap_or_default();
        Ok(counted_v4(&v4) + counted_v6(&v6))
    };
    let counted = world.network(place)?.run(read).and_then(|count| count);
    counted.map_err(|why| format!("read the counters of {place:?}: {why}"))
}

/// What UDP got from IP (RFC 4113 and the kernel's own): with a listener, without, broken, and multicast or broadcast without a listener.
const COUNTERS: [&str; 4] = ["InDatagrams", "NoPorts", "InErrors", "IgnoredMulti"];

/// `Udp: InDatagrams NoPorts ...` and below it `Udp: 0 0 ...`.
fn counted_v4(text: &str) -> u64 {
    let mut lines = text.lines().filter_map(|line| line.strip_prefix("Udp:"));
    let (names, values) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
    let pairs = names.split_whitespace().zip(values.split_whitespace());
    pairs.filter(|(name, _)| COUNTERS.contains(name)).filter_map(|(_, n)| n.parse::<u64>().ok()).sum()
}

/// `Udp6InDatagrams 0`, one a line.
fn counted_v6(text: &str) -> u64 {
    let pairs = text.lines().filter_map(|line| line.strip_prefix("Udp6")?.split_once(char::is_whitespace));
    pairs.filter(|(name, _)| COUNTERS.contains(name)).filter_map(|(_, n)| n.trim().parse::<u64>().ok()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_came_past_the_firewall_is_counted() {
        let v4 = "Tcp: A\nTcp: 9\nUdp: InDatagrams NoPorts InErrors OutDatagrams IgnoredMulti\nUdp: 1 20 300 7 4000\nUdpLite: InDatagrams\nUdpLite: 5\n";
        assert_eq!(counted_v4(v4), 4321);
        assert_eq!(
            counted_v6("Ip6InReceives 9\nUdp6InDatagrams    \t2\nUdp6NoPorts  30\nUdp6OutDatagrams 7\n"),
            32
        );
    }
}
