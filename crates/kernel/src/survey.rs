//! Looking at one namespace in full, for those who explain: a [`Stack`], and the kernel's own answers about routes.
//!
//! Nothing is changed here. A survey is several dumps and no snapshot: what changes meanwhile may be seen half.

mod conf;
mod links;
mod question;
mod routes;
mod rules;
mod together;

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd};

use polynic_net::stack::{Ruleset, Stack};

use crate::netlink::raw::Raw;
use crate::netlink::{Fault, Socket, attrs};
use crate::netns::{Anywhere, Netns};
use crate::{Errno, KernelError, nft};
pub use question::{RouteAnswer, RouteQuestion};
pub use together::{Surveyed, together};

/// Reads one namespace.
pub struct Surveyor {
    netns: Netns<Anywhere>,
    route: Socket,
}

impl Surveyor {
    /// Opens a socket in a namespace.
    ///
    /// # Errors
    /// The namespace cannot be entered.
    pub fn open<P>(netns: &Netns<P>) -> io::Result<Self> {
        let netns = netns.clone().anywhere();
        let route = netns.run(|| Socket::open(netlink_sys::protocols::NETLINK_ROUTE))??;
        Ok(Self { netns, route })
    }

    /// All that decides about packets. A firewall that cannot be read is said in [`Stack::unread`].
    ///
    /// # Errors
    /// Links, addresses, rules, routes or neighbours cannot be read.
    pub fn stack(&mut self) -> Result<Stack, KernelError> {
        let mut stack = self.routing()?;
        match self.ruleset() {
            Ok((ruleset, unread)) => {
                stack.ruleset = ruleset;
                stack.unread.extend(unread);
            }
            // Kernels without nf_tables have no such subsystem.
            Err(fault) if fault.is(Errno::EINVAL) || fault.is(Errno::EOPNOTSUPP) => {}
            Err(fault) => stack.unread.push(format!("the firewall: {}", fault.about("list nf_tables"))),
        }
        let legacy = self.netns.run(conf::legacy_tables).unwrap_or_default();
        stack.unread.extend(legacy.into_iter().map(|table| format!("rules of legacy iptables in {table}")));
        Ok(stack)
    }

    /// The same without the firewall.
    ///
    /// # Errors
    /// As for [`Surveyor::stack`].
    pub fn routing(&mut self) -> Result<Stack, KernelError> {
        let named = |what: &'static str| move |fault: Fault| fault.about(what);
        let settings = || (conf::of_all(), conf::over_bridges());
        let settings = self.netns.run(settings).map_err(|e| Fault::io(&e).about("read settings"))?;
        let (all, over_bridges) = settings;
        let links = self.links().map_err(named("list links"))?;
        Ok(Stack {
            forwarding: self.forwarding(&links).map_err(named("list forwarding entries"))?,
            links,
            addresses: self.addresses().map_err(named("list addresses"))?,
            rules: self.rules().map_err(named("list rules"))?,
            routes: self.routes().map_err(named("list routes"))?,
            neighbours: self.neighbours().map_err(named("list neighbours"))?,
            all,
            over_bridges,
            ..Stack::default()
        })
    }

    /// All addresses, for who only wants to know whose namespace it is.
    ///
    /// # Errors
    /// They cannot be read.
    pub fn own_addresses(&mut self) -> Result<Vec<IpAddr>, KernelError> {
        let found = self.addresses().map_err(|fault| fault.about("list addresses"))?;
        Ok(found.into_iter().map(|address| address.fact.net.addr()).collect())
    }

    /// The number by which links here name another namespace; none if they have no reason to.
    ///
    /// # Errors
    /// The kernel does not answer.
    pub fn number_of<P>(&mut self, other: &Netns<P>) -> Result<Option<i32>, KernelError> {
        const RTM_GETNSID: u16 = 90;
        const ID: u16 = 1;
        const FD: u16 = 3;
        let ask = Raw::new(RTM_GETNSID, &[0; 4]).with(FD, &other.as_fd().as_raw_fd().to_ne_bytes());
        let read = |payload: &[u8]| attrs::Attrs::after(payload, 4).get(ID).and_then(attrs::i32);
        let number = self.route.get(ask, read).map_err(|fault| fault.about("number of a namespace"))?;
        Ok((number >= 0).then_some(number))
    }

    /// What the kernel itself says about a route (`ip route get`).
    ///
    /// # Errors
    /// The question cannot be asked. A refusal by the kernel is an answer.
    pub fn ask_route(&mut self, question: &RouteQuestion) -> Result<RouteAnswer, KernelError> {
        question::ask(&mut self.route, question)
    }

    fn ruleset(&mut self) -> Result<(Ruleset, Vec<String>), Fault> {
        let opened = self.netns.run(|| Socket::open(netlink_sys::protocols::NETLINK_NETFILTER)).flatten();
        nft::list(&mut opened.map_err(|e| Fault::io(&e))?)
    }
}
