//! Explain's lookup against the kernel's own: random rules, tables and routes in namespaces of the test's own, and random packets, of which
//! both have to say the same. `POLYNIC_SEED` replays a failing world.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test's helpers fail like the test")]

mod compare;
mod random;
mod talk;
mod world;

use polynic_kernel::netns::{Host, Netns};
use polynic_kernel::survey::Surveyor;

use random::Random;

/// Worlds, and packets in each: 10,000 cases.
const WORLDS: u64 = 100;
const PACKETS: usize = 100;

#[ctor::ctor(unsafe)]
fn private() {
    polynic_kernel::testing::enter_before_main();
}

#[test]
fn the_kernel_says_the_same_of_ten_thousand_random_packets() {
    let replayed = std::env::var("POLYNIC_SEED").ok().and_then(|seed| seed.parse().ok());
    let seeds = replayed.map_or(1..=WORLDS, |seed: u64| seed..=seed);
    let (mut ways, mut refusals) = (0, 0);
    for seed in seeds {
        let Some(_scratch) = polynic_kernel::testing::scratch_netns() else { return };
        let mut random = Random::new(seed);
        world::build(&mut random);
        let mut surveyor = Surveyor::open(&Netns::<Host>::current().unwrap()).unwrap();
        let stack = world::settled(&mut surveyor);
        for _ in 0..PACKETS {
            let flow = world::packet(&mut random, &stack);
            let answer = surveyor.ask_route(&compare::question(&flow)).unwrap();
            match compare::difference(&stack, &flow, &answer) {
                None if matches!(answer, polynic_kernel::survey::RouteAnswer::Refused(_)) => refusals += 1,
                None => ways += 1,
                Some(why) => panic!("POLYNIC_SEED={seed}: {flow:?}: {why}"),
            }
        }
    }
    // Both answers have to be common, or the worlds are too poor to tell anything.
    assert!(replayed.is_some() || (ways > 3000 && refusals > 1000), "{ways} ways, {refusals} refusals");
}
