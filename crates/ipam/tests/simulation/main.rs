//! Thousands of pods come and go on nodes whose API server, caches and agents fail all the time; after every step an
//! independent checker looks at what there is.
//!
//! Every world follows from its seed. A failure prints it; `POLYNIC_SIM_SEED=<seed> cargo test -p polynic-ipam --test
//! simulation replay -- --nocapture` runs that world again, with `POLYNIC_SIM_TRACE=1` it tells everything that happens, and
//! `POLYNIC_SIM_OPERATIONS` makes the runs longer or shorter.

#![cfg(test)]

mod judge;

use judge::{dangers, everything};
use polynic_ipam::sim::{Faults, Sabotage, Tally, World, WorldOptions};

/// Requests and API calls of all worlds of one test run.
const OPERATIONS: u64 = 1_000_000;

/// Worlds of a test run. Short ones reach more different beginnings, long ones more history.
const WORLDS: u64 = 40;

fn options(seed: u64) -> WorldOptions {
    WorldOptions {
        seed,
        nodes: 2 + (seed % 5) as usize,
        names: 8 + (seed % 13) as usize,
        faults: if seed.is_multiple_of(8) { Faults::NONE } else { Faults::MANY },
        sabotage: Sabotage::None,
        blind_collector: false,
        narrator: from_env("POLYNIC_SIM_TRACE").map(|_| (|line| println!("{line}")) as fn(&str)),
    }
}

fn from_env(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// Steps until a condition holds; the first complaint ends it.
fn run_until(world: &mut World, done: impl Fn(&World) -> bool) -> Result<(), String> {
    while !done(world) {
        if !world.step() {
            return Err("nothing is left to happen".to_owned());
        }
        if let Some(broken) = world.broken() {
            return Err(broken.to_owned());
        }
        if world.has_changed() {
            dangers(world)?;
        }
    }
    Ok(())
}

/// The life of a world: lively, then calm, then empty.
fn live(options: WorldOptions, operations: u64) -> Result<Tally, String> {
    let mut world = World::new(options);
    let complain = |world: &World, why: String| {
        format!("after {} steps, at {:?}: {why}", world.tally().steps, world.now())
    };
    let result = live_on(&mut world, operations);
    result.map_err(|why| complain(&world, why))?;
    Ok(world.tally())
}

fn live_on(world: &mut World, operations: u64) -> Result<(), String> {
    run_until(world, |world| world.tally().operations() >= operations)?;
    world.calm_down();
    settle(world)?;
    everything(world)?;
    world.delete_everything();
    settle(world)?;
    everything(world)?;
    let left: usize = world.api().pools.values().map(|pool| pool.records.count()).sum();
    let endpoints = world.api().endpoints.len();
    if left + endpoints > 0 {
        return Err(format!("{left} records and {endpoints} endpoints are left of no pod"));
    }
    Ok(())
}

/// Waits until no request is under way, and then for two rounds of garbage collection.
fn settle(world: &mut World) -> Result<(), String> {
    let limit = world.now().plus(120_000);
    run_until(world, |world| world.is_settled() || world.now() > limit)?;
    if !world.is_settled() {
        return Err("pods do not come up, or do not go".to_owned());
    }
    let later = world.now().plus(10_000);
    run_until(world, |world| world.now() > later)
}

fn run_seeds(seeds: impl Iterator<Item = u64>, operations: u64) -> Tally {
    let mut all = Tally::default();
    for seed in seeds {
        match live(options(seed), operations) {
            Ok(tally) => add(&mut all, tally),
            Err(why) => panic!(
                "seed {seed}: {why}\nrun it again: POLYNIC_SIM_SEED={seed} POLYNIC_SIM_OPERATIONS={operations}"
            ),
        }
    }
    all
}

fn add(all: &mut Tally, one: Tally) {
    all.steps += one.steps;
    all.requests += one.requests;
    all.granted += one.granted;
    all.calls += one.calls;
    all.conflicts += one.conflicts;
    all.crashes += one.crashes;
}

/// Two tests that share the work, so that two processors do.
fn half(remainder: u64) {
    let operations = from_env("POLYNIC_SIM_OPERATIONS").unwrap_or(OPERATIONS / WORLDS);
    let start = from_env("POLYNIC_SIM_START").unwrap_or(0);
    let tally = run_seeds((start..start + WORLDS).filter(|seed| seed % 2 == remainder), operations);
    println!("seeds {start}..{} of remainder {remainder}: {tally:?}", start + WORLDS);
    assert!(tally.operations() >= operations * WORLDS / 2);
    assert!(tally.conflicts > 0 && tally.crashes > 0 && tally.granted > 0, "{tally:?}");
}

#[test]
fn no_address_has_two_owners_and_nothing_leaks_in_even_worlds() {
    half(0);
}

#[test]
fn no_address_has_two_owners_and_nothing_leaks_in_odd_worlds() {
    half(1);
}

/// Runs one world again, as `POLYNIC_SIM_SEED` says; without it there is nothing to do.
#[test]
fn replay() {
    let Some(seed) = from_env("POLYNIC_SIM_SEED") else { return };
    let operations = from_env("POLYNIC_SIM_OPERATIONS").unwrap_or(OPERATIONS / WORLDS);
    println!("{:?}", run_seeds(std::iter::once(seed), operations));
}

#[test]
fn a_seed_gives_the_same_world_every_time() {
    assert_eq!(live(options(3), 3_000), live(options(3), 3_000));
    assert_ne!(live(options(3), 3_000), live(options(11), 3_000));
}

/// Worlds that are broken on purpose: the checker must see it, or its silence elsewhere means nothing.
fn complaint(change: impl Fn(&mut WorldOptions)) -> String {
    let broken = |seed: u64| {
        let mut options = options(seed);
        change(&mut options);
        live(options, 5_000).err()
    };
    (1..8).find_map(broken).expect("the checker sees nothing wrong in a world that is broken on purpose")
}

#[test]
fn an_api_server_that_ignores_versions_is_noticed() {
    let why = complaint(|options| options.sabotage = Sabotage::IgnoresVersions);
    assert!(why.contains("address ") && why.contains("recorded for"), "{why}");
}

#[test]
fn an_api_server_that_forgets_writes_is_noticed() {
    let why = complaint(|options| options.sabotage = Sabotage::ForgetsWrites);
    assert!(why.contains("uses it, and no pool records it"), "{why}");
}

#[test]
fn a_collector_that_does_not_look_at_pods_is_noticed() {
    let why = complaint(|options| options.blind_collector = true);
    assert!(why.contains("uses it, and"), "{why}");
}
