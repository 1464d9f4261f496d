//! Tests that run by themselves on an embedded server, and once more, one after another, on a real one: to start one takes seconds.

use std::cell::RefCell;
use std::panic;
use std::sync::Arc;

use crate::{ControlPlane, Programs};

/// A test by its name.
pub type Case = (&'static str, fn());

/// What the cases of a thread are given.
enum Server {
    /// One for all, which forgets what the last case made.
    Shared(Arc<ControlPlane>),
    /// Each its own, in the network namespace that the case has gone to.
    Own(Programs),
}

thread_local! {
    static SERVER: RefCell<Option<Server>> = const { RefCell::new(None) };
}

/// The control plane that the test of this thread is to use instead of an embedded server: without any object but definitions. Nothing if
/// the test runs by itself.
///
/// # Panics
/// If it does not start.
#[must_use]
pub fn current() -> Option<Arc<ControlPlane>> {
    SERVER.with_borrow(|server| match server {
        None => None,
        Some(Server::Shared(plane)) => Some(Arc::clone(plane)),
        Some(Server::Own(programs)) => Some(started(programs)),
    })
}

/// Runs the cases on a real server, one after another, each on an empty one. Where its programs are missing, says so and does nothing.
///
/// # Panics
/// If a case does, once all have run; or if the server does not start.
pub fn on_a_real_server(cases: &[Case]) {
    let Some(programs) = Programs::or_skip() else { return };
    let plane = started(&programs);
    run(cases, Server::Shared(Arc::clone(&plane)), || match plane.forget() {
        Ok(()) => {}
        Err(why) => panic!("what the last case made does not go: {why}"),
    });
}

/// The same for cases that go to network namespaces of their own: each gets a server there.
///
/// # Panics
/// If a case does, once all have run; or if a server does not start.
pub fn each_on_a_real_server(cases: &[Case]) {
    let Some(programs) = Programs::or_skip() else { return };
    run(cases, Server::Own(programs), || {});
}

fn started(programs: &Programs) -> Arc<ControlPlane> {
    match ControlPlane::start(programs) {
        Ok(plane) => Arc::new(plane),
        Err(why) => panic!("no real server: {why:?}"),
    }
}

fn run(cases: &[Case], server: Server, prepare: impl Fn()) {
    SERVER.set(Some(server));
    let _end = Given;
    let fails = |(name, case): &&Case| {
        prepare();
        eprintln!("on a real server: {name}");
        panic::catch_unwind(case).is_err()
    };
    let failed: Vec<&str> = cases.iter().filter(fails).map(|(name, _)| *name).collect();
    assert!(failed.is_empty(), "these fail on a real server: {failed:?}");
}

/// The thread has a server for its cases, as long as this lives.
struct Given;

impl Drop for Given {
    fn drop(&mut self) {
        SERVER.set(None);
    }
}

/// Lists tests of the module in which it stands, for [`on_a_real_server`](fn@crate::on_a_real_server) and
/// [`each_on_a_real_server`](crate::each_on_a_real_server): as constant `ON_A_REAL_SERVER`.
#[macro_export]
macro_rules! on_a_real_server {
    ($($test:ident),+ $(,)?) => {
        /// The tests of this module that run on a real server too.
        pub const ON_A_REAL_SERVER: &[$crate::Case] = &[$((stringify!($test), $test)),+];
    };
}
