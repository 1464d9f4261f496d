//! Moving the routes of a pod's link from main to a table of its own (spec/coordinator.md 2.3 and 4.7).
//!
//! Default routes leave main, all others are copied: main still needs the way to the link's own network.

use polynic_net::{Family, IfName, Place, Route};

use super::draft::Draft;

/// What a copy keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keep {
    /// Everything: metric, protocol, source (`router`, `veth`).
    Everything,
    /// Destination, next hop, scope, source; the rest is as for a new route (`coordinator`).
    Essence,
}

/// Which way, with what.
#[derive(Clone, Copy)]
pub(super) struct Move<'a> {
    pub(super) link: &'a IfName,
    pub(super) family: Family,
    pub(super) table: u32,
    pub(super) keep: Keep,
}

impl Draft {
    /// Moves default routes and copies the others. Of a route with several next hops those on the link count.
    pub(super) fn move_routes(&mut self, job: Move<'_>) {
        for route in self.main_routes_on(job.link, job.family) {
            self.copy_route(&route, job);
            if route.is_default() {
                let rest = route.through(|hop| hop.link != *job.link);
                self.replace_route(Place::Pod, &route, rest);
            }
        }
    }

    /// Copies all, default routes too.
    pub(super) fn copy_routes(&mut self, job: Move<'_>) {
        for route in self.main_routes_on(job.link, job.family) {
            self.copy_route(&route, job);
        }
    }

    /// Copies default routes only.
    pub(super) fn copy_defaults(&mut self, job: Move<'_>) {
        let routes = self.main_routes_on(job.link, job.family);
        for route in routes.iter().filter(|r| r.is_default()) {
            self.copy_route(route, job);
        }
    }

    fn copy_route(&mut self, route: &Route, job: Move<'_>) {
        if let Some(own) = route.through(|hop| hop.link == *job.link) {
            self.add_route(Place::Pod, copy(&own, job));
        }
    }
}

fn copy(route: &Route, job: Move<'_>) -> Route {
    let same = route.clone().in_table(job.table);
    match job.keep {
        Keep::Everything => same,
        Keep::Essence => Route {
            scope: same.scope,
            gw: same.gw,
            // IPv6 routes never carry one here: the kernel's are chosen by address selection.
            src: same.src.filter(|_| job.family == Family::V4 && !route.is_default()),
            onlink: same.onlink,
            weight: same.weight,
            more: same.more,
            mtu: same.mtu,
            ..Route::new(route.dst, job.link)
        }
        .in_table(job.table),
    }
}
