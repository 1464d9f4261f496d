//! GC by the runtime (spec/cni.md 5.5).

use super::{Runtime, RuntimeConf, at_least, request};
use crate::attachment::Attachment;
use crate::cache::Entry;
use crate::conflist::ConfList;
use crate::error::Error;
use crate::verb::Verb;
use crate::version::Version;

impl Runtime<'_> {
    /// Deletes every cached attachment of the network that is not in `valid` (no list: every one), then, for
    /// 1.1.0 and newer, lets the plugins do the same. Goes on after errors; they come back joined by
    /// newlines.
    pub fn gc_list(&self, list: &ConfList, valid: Option<&[Attachment]>) -> Result<(), Error> {
        if list.disable_gc {
            return Ok(());
        }
        // As libcni does: without the list of the cache nothing is known to be stale.
        let Ok(cached) = self.cache().list(None) else { return Ok(()) };
        let mut errors = Vec::new();
        for entry in cached.iter().filter(|entry| is_stale(entry, &list.name, valid)) {
            errors.extend(self.del_list(list, &parameters(entry)).err().map(|why| {
                why.within(format!(
                    "failed to delete stale attachment {} {}",
                    entry.container_id, entry.ifname
                ))
            }));
        }
        if at_least(list, Version::V1_1_0)? {
            errors.extend(self.gc_plugins(list, valid));
        }
        join(errors)
    }

    fn gc_plugins(&self, list: &ConfList, valid: Option<&[Attachment]>) -> Vec<Error> {
        let call = |plugin: &crate::conflist::PluginEntry| {
            let invocation = self.invocation(request::network_request(list, plugin, valid));
            let called = self.delegate.call(&plugin.plugin_type, Verb::Gc, &invocation);
            called.err().map(|why| why.within(format!("failed to GC plugin {}", plugin.plugin_type)))
        };
        list.plugins.iter().filter_map(call).collect()
    }
}

fn is_stale(entry: &Entry, network: &str, valid: Option<&[Attachment]>) -> bool {
    let listed = |attachment: &Attachment| {
        attachment.container_id == entry.container_id && attachment.ifname == entry.ifname
    };
    entry.network == network && !valid.unwrap_or_default().iter().any(listed)
}

fn parameters(entry: &Entry) -> RuntimeConf {
    RuntimeConf {
        container_id: entry.container_id.clone(),
        netns: entry.netns.clone(),
        ifname: entry.ifname.clone(),
        args: entry.args.clone(),
        capability_args: entry.capability_args.clone(),
    }
}

/// One error as it is; several as the first one's code with all texts, one per line.
pub(super) fn join(mut errors: Vec<Error>) -> Result<(), Error> {
    match errors.len() {
        0 => Ok(()),
        1 => Err(errors.remove(0)),
        _ => {
            let texts: Vec<String> = errors.iter().map(Error::to_string).collect();
            Err(Error::new(errors[0].code, texts.join("\n"), ""))
        }
    }
}
