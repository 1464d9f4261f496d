//! `ifacer`: makes the node's links that a network's interfaces stand on, a bond and a VLAN link (spec/spiderpool.md 12).
//!
//! It comes first in a chain and never touches the pod. What it makes is shared by all pods and stays until the node reboots: DEL and CHECK
//! do nothing, and nothing is recorded. It answers an empty result.

mod config;
mod options;
mod plan;

use polynic_cni::{Error, Invocation, Output, PluginConf, Success, Verb, Version};
use polynic_kernel::{Kernel, transaction};
use polynic_net::{LinkNeed, Needs};

use crate::{Call, Context, Plugin, drive, meta};
use config::Config;

const TYPE: &str = "ifacer";

/// How often a plan is made anew because the kernel had moved on.
const ATTEMPTS: u32 = 3;

/// The plugin.
pub struct Ifacer;

impl Plugin for Ifacer {
    fn plugin_type(&self) -> &'static str {
        TYPE
    }

    fn versions(&self) -> &'static [Version] {
        meta::since(Version::V0_3_0)
    }

    fn call(
        &self,
        context: &Context<'_>,
        verb: Verb,
        invocation: &Invocation,
        conf: &PluginConf,
    ) -> Result<Output, Error> {
        let call = Call::new(TYPE, invocation, conf)?;
        match verb {
            Verb::Add => add(context, &call).map(|()| Output::Success(Success::default())),
            Verb::Status => status(context, &call).map(|()| Output::Empty),
            Verb::Del | Verb::Check | Verb::Gc | Verb::Version => Ok(Output::Empty),
        }
    }
}

fn add(context: &Context<'_>, call: &Call<'_>) -> Result<(), Error> {
    let config = Config::read(call)?;
    let mut kernel = context.door.open(None).map_err(|e| call.error(e))?;
    // Pods of one network start together, and each would make the same links.
    let _alone =
        drive::alone(context.state).map_err(|e| call.error(format!("cannot lock the node's links: {e}")))?;
    let mut last = Ok(());
    for _ in 0..ATTEMPTS {
        last = make(kernel.as_mut(), call, &config)?;
        if last.is_ok() {
            break;
        }
    }
    last.map_err(|stale| call.error(stale))
}

/// One attempt; the inner error says that the kernel had moved on.
fn make(
    kernel: &mut dyn Kernel,
    call: &Call<'_>,
    config: &Config,
) -> Result<Result<(), transaction::ApplyError>, Error> {
    let facts = kernel.observe(&all_links()).map_err(|e| call.error(e))?;
    let plan = plan::plan(config, &facts.host).map_err(|why| call.error(why))?;
    match transaction::apply_from(kernel, &plan, &facts) {
        Ok(_) => Ok(Ok(())),
        Err(stale) if stale.is_stale() => Ok(Err(stale)),
        Err(error) => Err(call.error(error)),
    }
}

/// Whether an ADD could work now.
fn status(context: &Context<'_>, call: &Call<'_>) -> Result<(), Error> {
    let not_available = |why: String| Error::not_available(format!("{TYPE}: {why}"));
    let config = Config::read(call).map_err(|e| not_available(e.to_string()))?;
    let mut kernel = context.door.open(None).map_err(|e| not_available(e.to_string()))?;
    let facts = kernel.observe(&all_links()).map_err(|e| not_available(e.to_string()))?;
    plan::plan(&config, &facts.host).map(drop).map_err(not_available)
}

fn all_links() -> Needs {
    let mut needs = Needs::default();
    needs.host.links = LinkNeed::All;
    needs
}

#[cfg(test)]
mod tests;
