//! The state machine against a server that loses, refuses and vanishes, on a clock that is moved by hand.

use super::*;
use proptest::prelude::*;

const MAC: Mac = Mac([2, 0, 0, 0, 0, 9]);
const SERVER_MAC: Mac = Mac([2, 0, 0, 0, 0, 1]);
const SERVER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn client(seed: u64) -> Client {
    let wishes =
        Wishes { provide: vec![(code::HOST_NAME, b"web".to_vec())], request: vec![1, 3], priority: None };
    let who = Identity { mac: MAC, client_id: "c1/lan/net1".into(), broadcast: false, wishes };
    Client::new(who, Timing::default(), seed)
}

/// What a server answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mood {
    Well,
    Refusing,
    Gone,
}

struct World {
    client: Client,
    now: Time,
    mood: Mood,
    /// The address that the server gives.
    address: Ipv4Addr,
    /// Every n-th message is lost; 0: none.
    lost: u64,
    sent: Vec<(Time, Message, Destination)>,
    news: Vec<Effect>,
}

impl World {
    fn new(seed: u64) -> Self {
        let address = Ipv4Addr::new(10, 0, 0, 50);
        let (sent, news) = (Vec::new(), Vec::new());
        Self { client: client(seed), now: seconds(100), mood: Mood::Well, address, lost: 0, sent, news }
    }

    fn start(&mut self) {
        let effects = self.client.start(self.now);
        self.take(effects);
    }

    fn take(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Send(message, to) => {
                    self.sent.push((self.now, message.clone(), to));
                    self.answer(&message);
                }
                news => self.news.push(news),
            }
        }
    }

    fn answer(&mut self, asked: &Message) {
        if self.mood == Mood::Gone || self.lost != 0 && (self.sent.len() as u64).is_multiple_of(self.lost) {
            return;
        }
        let kind = match asked.kind() {
            Some(Kind::Discover) => Kind::Offer,
            Some(Kind::Request) if self.mood == Mood::Refusing => Kind::Nak,
            Some(Kind::Request) => Kind::Ack,
            _ => return,
        };
        let mut reply = Message::reply(kind, asked, self.address);
        reply.options.set(code::SERVER, SERVER.octets().to_vec());
        reply.options.set(code::SUBNET_MASK, vec![255, 255, 255, 0]);
        reply.options.set(code::LEASE_TIME, 1000u32.to_be_bytes().to_vec());
        let effects = self.client.handle(self.now, Event::Received(Box::new(reply), SERVER_MAC));
        self.take(effects);
    }

    /// Lets time pass up to a moment.
    fn until(&mut self, end: Time) {
        while let Some(wake) = self.client.wake().filter(|wake| *wake <= end) {
            assert!(wake >= self.now, "woken in the past");
            self.now = wake;
            let effects = self.client.handle(wake, Event::Woken);
            self.take(effects);
        }
        self.now = end;
    }

    fn pass(&mut self, time: Duration) {
        self.until(self.now + time);
    }

    fn kinds(&self) -> Vec<Kind> {
        self.sent.iter().filter_map(|(_, message, _)| message.kind()).collect()
    }
}

#[test]
fn a_lease_is_asked_for_as_the_rfc_says() {
    let mut world = World::new(1);
    world.start();
    assert_eq!(world.kinds(), [Kind::Discover, Kind::Request]);
    assert!(matches!(&world.news[..], [Effect::Leased(lease)] if lease.address.addr() == world.address));
    for (_, message, to) in &world.sent {
        assert_eq!(*to, Destination::ALL);
        assert_eq!(message.ciaddr, Ipv4Addr::UNSPECIFIED);
        assert_eq!(message.options.get(code::CLIENT), Some(&b"\0c1/lan/net1"[..]));
        assert_eq!(message.options.get(code::HOST_NAME), Some(&b"web"[..]));
        assert_eq!(message.options.get(code::PARAMETERS), Some(&[1, 3][..]));
        assert_eq!(message.options.get(code::LONGEST), Some(&[5, 220][..]));
    }
    let request = &world.sent[1].1;
    assert_eq!(request.xid, world.sent[0].1.xid);
    assert_eq!(request.options.ip(code::REQUESTED_ADDRESS), Some(world.address));
    assert_eq!(request.options.ip(code::SERVER), Some(SERVER));
}

#[test]
fn a_lease_is_renewed_at_its_server_after_half_of_its_time() {
    let mut world = World::new(1);
    world.start();
    world.sent.clear();
    world.pass(seconds(499));
    assert!(world.sent.is_empty());
    world.pass(seconds(2));
    let (at, message, to) = &world.sent[0];
    assert_eq!((*at, message.kind()), (seconds(600), Some(Kind::Request)));
    assert_eq!(*to, Destination { mac: SERVER_MAC, ip: SERVER });
    assert_eq!(message.ciaddr, world.address);
    assert_eq!(message.options.get(code::REQUESTED_ADDRESS), None);
    assert_eq!(message.options.get(code::SERVER), None);
    assert_eq!(world.news.len(), 2);
    world.pass(seconds(5000));
    assert_eq!(world.sent.len(), 11, "every 500 seconds");
}

#[test]
fn a_silent_server_is_asked_again_then_all_are_and_then_the_lease_ends() {
    let mut world = World::new(1);
    world.start();
    world.mood = Mood::Gone;
    world.sent.clear();
    world.news.clear();
    world.pass(seconds(999));
    let unicast: Vec<u64> =
        world.sent.iter().filter(|s| s.2 != Destination::ALL).map(|s| s.0.as_secs() - 100).collect();
    let broadcast: Vec<u64> =
        world.sent.iter().filter(|s| s.2 == Destination::ALL).map(|s| s.0.as_secs() - 100).collect();
    assert_eq!(unicast[0], 500);
    assert!(unicast.len() > 1 && unicast.iter().all(|at| *at < 850), "{unicast:?}");
    assert_eq!(broadcast[0], 850);
    assert!(world.sent.iter().all(|(_, message, _)| message.ciaddr == world.address));
    assert!(world.news.is_empty());
    world.pass(seconds(2));
    assert!(matches!(&world.news[..], [Effect::Lost { why: Loss::Expired, .. }]));
    assert_eq!(world.sent.last().unwrap().1.kind(), Some(Kind::Discover));
    // It goes on trying, and takes what a server that comes back gives.
    world.pass(seconds(3000));
    world.mood = Mood::Well;
    world.address = Ipv4Addr::new(10, 0, 0, 77);
    world.pass(seconds(80));
    assert!(
        matches!(world.news.last(), Some(Effect::Leased(lease)) if lease.address.addr() == world.address)
    );
}

#[test]
fn a_refused_renewal_takes_the_address_away_at_once() {
    let mut world = World::new(1);
    world.start();
    world.news.clear();
    world.mood = Mood::Refusing;
    world.pass(seconds(501));
    assert!(matches!(&world.news[..], [Effect::Lost { why: Loss::Refused, .. }]));
    world.mood = Mood::Well;
    world.pass(seconds(80));
    assert!(matches!(world.news.last(), Some(Effect::Leased(_))));
}

#[test]
fn the_first_lease_is_given_up_in_time() {
    for mood in [Mood::Gone, Mood::Refusing] {
        let mut world = World::new(1);
        world.mood = mood;
        world.start();
        world.pass(seconds(207));
        assert!(world.news.is_empty());
        world.pass(seconds(12));
        assert_eq!(world.news, [Effect::GaveUp("no more tries".into())], "{mood:?}");
        assert_eq!(world.client.wake(), None);
    }
}

#[test]
fn an_address_from_before_is_asked_for_first() {
    let mut world = World::new(1);
    let effects = world.client.reboot(world.now, Ipv4Addr::new(10, 0, 0, 50));
    world.take(effects);
    assert_eq!(world.kinds(), [Kind::Request]);
    assert_eq!(world.sent[0].1.options.ip(code::REQUESTED_ADDRESS), Some(world.address));
    assert_eq!(world.sent[0].1.options.get(code::SERVER), None);
    assert!(matches!(&world.news[..], [Effect::Leased(_)]));
    let mut world = World::new(1);
    world.mood = Mood::Refusing;
    let effects = world.client.reboot(world.now, Ipv4Addr::new(10, 9, 0, 50));
    world.take(effects);
    assert_eq!(world.kinds()[..2], [Kind::Request, Kind::Discover]);
}

#[test]
fn after_a_restart_the_lease_is_confirmed_soon_or_taken_up_where_it_was() {
    let mut world = World::new(1);
    world.start();
    let held = world.client.held().unwrap().clone();
    for (later, first, to_all) in [
        (10, Some(Kind::Request), false),
        (870, Some(Kind::Request), true),
        (2000, Some(Kind::Discover), true),
    ] {
        let mut again = World::new(2);
        again.now += seconds(later);
        again.client.resume(again.now, held.clone());
        again.pass(CONFIRM_WITHIN);
        assert_eq!(again.sent[0].1.kind(), first);
        assert_eq!(again.sent[0].2 == Destination::ALL, to_all, "{later}");
        assert!(matches!(again.news.last(), Some(Effect::Leased(_))));
    }
}

#[test]
fn a_lease_for_ever_is_never_renewed() {
    let mut world = World::new(1);
    world.start();
    let mut held = world.client.held().unwrap().clone();
    held.lease.seconds = u32::MAX;
    world.client.resume(world.now, held);
    world.mood = Mood::Gone;
    world.news.clear();
    world.pass(seconds(4_000_000));
    assert!(world.news.is_empty());
}

#[test]
fn a_release_names_server_and_address() {
    let mut world = World::new(1);
    assert_eq!(world.client.release(), None);
    world.start();
    let (message, to) = world.client.release().unwrap();
    assert_eq!((message.kind(), message.ciaddr), (Some(Kind::Release), world.address));
    assert_eq!(message.options.ip(code::SERVER), Some(SERVER));
    assert_eq!(message.options.get(code::CLIENT), Some(&b"\0c1/lan/net1"[..]));
    assert_eq!(to, Destination { mac: SERVER_MAC, ip: SERVER });
    assert_eq!((world.client.wake(), world.client.held()), (None, None));
}

#[test]
fn other_peoples_answers_are_ignored() {
    let mut world = World::new(1);
    world.mood = Mood::Gone;
    world.start();
    let asked = world.sent[0].1.clone();
    let mut offer = Message::reply(Kind::Offer, &asked, world.address);
    offer.options.set(code::SERVER, SERVER.octets().to_vec());
    let other_xid = Message { xid: !asked.xid, ..offer.clone() };
    let other_mac = Message { chaddr: Mac([6; 6]), ..offer.clone() };
    let no_address = Message { yiaddr: Ipv4Addr::UNSPECIFIED, ..offer.clone() };
    let asked_too = Message { op: Op::Request, ..offer };
    for message in
        [other_xid, other_mac, no_address, asked_too, Message::reply(Kind::Ack, &asked, world.address)]
    {
        let effects = world.client.handle(world.now, Event::Received(Box::new(message), SERVER_MAC));
        assert_eq!(effects, []);
    }
}

proptest! {
    /// Whatever is lost, whenever the server goes and comes back: no address is used longer than it was leased, none is used
    /// after a refusal, no message is sent in a hurry, and in the end there is a lease again.
    #[test]
    fn with_a_server_that_comes_and_goes(
        seed: u64,
        lost in 2..7u64,
        phases in prop::collection::vec((prop::sample::select(vec![Mood::Well, Mood::Refusing, Mood::Gone]), 1..3000u64), 1..12),
    ) {
        let mut world = World::new(seed);
        world.lost = lost;
        world.start();
        for (mood, time) in phases {
            world.mood = mood;
            if mood == Mood::Refusing {
                world.address = Ipv4Addr::from(u32::from(world.address) + 1);
            }
            world.pass(seconds(time));
            if let Some(held) = world.client.held() {
                prop_assert!(held.ends_at().unwrap() >= world.now, "held after its end");
            }
        }
        if matches!(world.news.last(), Some(Effect::GaveUp(_))) {
            prop_assert!(world.news.len() == 1, "given up though there was a lease: {:?}", world.news);
            return Ok(());
        }
        world.mood = Mood::Well;
        world.pass(seconds(3000));
        prop_assert!(world.client.held().is_some());
        for pair in world.sent.windows(2) {
            let same = pair[0].1.xid == pair[1].1.xid && pair[0].1.kind() == pair[1].1.kind();
            prop_assert!(!same || pair[1].0 - pair[0].0 >= seconds(3), "repeated too soon");
        }
        prop_assert!((world.sent.len() as u64) < 40 + world.now.as_secs() / 20, "{} messages", world.sent.len());
    }
}
