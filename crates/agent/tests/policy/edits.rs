//! Edits while packets flow.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use crate::lan::{Lan, bound, unspecified};
use crate::packets::{Rendering, key, pod};

const EDITS: u64 = 500;
const TARGET: &str = "10.60.0.1:5000";

/// Different each time, and always: pod 2 may, pod 3 may not.
fn edit(rendering: &mut Rendering, number: u64) {
    let mut from = vec![json!({"podSelector": {"matchLabels": {"number": "2"}}})];
    // Blocks that overlap each other and change with each edit, beside pod 3.
    for part in 0..number % 5 {
        let cidr = format!("10.{}.0.0/{}", 61 + part, 8 + 4 * ((number + part) % 3));
        from.push(json!({"ipBlock": {"cidr": cidr, "except": ["10.60.0.3/32", "10.60.0.2/32"]}}));
    }
    let ports: Vec<Value> = match number % 3 {
        0 => vec![],
        1 => vec![json!({"protocol": "UDP", "port": 5000})],
        _ => vec![json!({"protocol": "UDP", "port": 4000 + number, "endPort": 5000}), json!({"port": 80})],
    };
    rendering.policy("in", json!({"podSelector": {}, "ingress": [{"from": from, "ports": ports}]}));
    match number % 7 {
        0 => rendering.policy("other", json!({"podSelector": {}, "policyTypes": ["Ingress"]})),
        3 => rendering.index().remove_policy(&polynic_policy::PolicyKey::new("shop", "other"), 0),
        5 => rendering.policy("other", json!({"podSelector": {}, "egress": [{}], "ingress": []})),
        _ => {}
    }
    // A crowd of pods that come and go among the peers of a third policy.
    let mut peer = pod(100 + (number % 50) as usize);
    peer.labels.insert("crowd".into(), (number % 2).to_string());
    peer.node = "far".into();
    rendering.index().set_pod(key(100 + (number % 50) as usize), peer);
    let crowd = json!({"podSelector": {"matchLabels": {"crowd": "1"}}});
    rendering.policy("crowd", json!({"podSelector": {}, "ingress": [{"from": [crowd]}]}));
}

#[test]
fn five_hundred_edits_under_traffic_pass_nothing_forbidden_and_drop_nothing_allowed() {
    let Some(lan) = Lan::new(3) else { return };
    let mut rendering = Rendering::new(&lan);
    assert!(lan.udp(2, 1, TARGET) && lan.udp(3, 1, TARGET), "without policies all passes");
    edit(&mut rendering, 1);
    rendering.enforce();
    let stop = Arc::new(AtomicBool::new(false));
    let (allowed, forbidden) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let target: SocketAddr = TARGET.parse().unwrap();
    let server = lan.pod(1).netns.run(move || bound(target)).unwrap().unwrap();
    let answering = {
        let (stop, forbidden) = (stop.clone(), forbidden.clone());
        std::thread::spawn(move || {
            let mut buffer = [0; 16];
            while !stop.load(Ordering::Relaxed) {
                let Ok((length, source)) = server.recv_from(&mut buffer) else { continue };
                if source.ip() == "10.60.0.2".parse::<std::net::IpAddr>().unwrap() {
                    server.send_to(&buffer[..length], source).unwrap();
                } else {
                    forbidden.fetch_add(1, Ordering::Relaxed);
                }
            }
        })
    };
    // Every exchange is a new connection: only its first packet is judged by the rules, and each must pass.
    let asking = {
        let (netns, stop, allowed) = (lan.pod(2).netns.clone(), stop.clone(), allowed.clone());
        std::thread::spawn(move || {
            netns.enter().unwrap();
            let mut lost = 0;
            while !stop.load(Ordering::Relaxed) {
                let client = bound(unspecified(target)).unwrap();
                client.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
                client.send_to(b"ping", target).unwrap();
                match client.recv_from(&mut [0; 16]) {
                    Ok(_) => drop(allowed.fetch_add(1, Ordering::Relaxed)),
                    Err(_) => lost += 1,
                }
            }
            lost
        })
    };
    let pestering = lan.pester(3, TARGET, &stop);
    for number in 0..EDITS {
        // Traffic goes on between any two edits.
        let seen = allowed.load(Ordering::Relaxed);
        edit(&mut rendering, number);
        rendering.enforce();
        crate::lan::until("an exchange after an edit", || allowed.load(Ordering::Relaxed) > seen);
    }
    stop.store(true, Ordering::Relaxed);
    let (lost, sent) = (asking.join().unwrap(), pestering.join().unwrap());
    answering.join().unwrap();
    let passed = allowed.load(Ordering::Relaxed);
    println!("{EDITS} edits: {passed} allowed exchanges, {lost} lost; {sent} forbidden datagrams");
    assert_eq!((lost, forbidden.load(Ordering::Relaxed)), (0, 0), "lost, forbidden that passed");
    assert!(passed >= EDITS && sent > EDITS, "{passed} allowed, {sent} forbidden");
}
