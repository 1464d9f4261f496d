//! `flannel`: a delegate, `bridge` unless told otherwise, with the subnet that flannel's daemon gave the node (spec/flannel.md 13).
//!
//! ADD merges the delegate's configuration, notes it for this attachment, and hands the call on. Everything later (DEL, CHECK, GC)
//! uses the note, so that it works without daemon and whatever the subnet is by then.

mod gateway;
mod merge;
mod state;
mod stores;
#[cfg(test)]
mod tests;

use polynic_cni::attachment::{ATTACHMENTS, VALID_ATTACHMENTS};
use polynic_cni::{
    Attachment, Error, GoMap, Invocation, JsonMap, Output, PluginConf, Verb, json as cni_json,
};
use polynic_flannel::SubnetFile;
use serde_json::{Value, json};

use crate::{Call, Context, Plugin};
use merge::Config;
use state::{Note, Notes};

/// The plugin.
pub struct Flannel;

impl Plugin for Flannel {
    fn plugin_type(&self) -> &'static str {
        "flannel"
    }

    fn call(
        &self,
        context: &Context<'_>,
        verb: Verb,
        invocation: &Invocation,
        conf: &PluginConf,
    ) -> Result<Output, Error> {
        let call = Call::new(self.plugin_type(), invocation, conf)?;
        let done = match verb {
            Verb::Add => add(context, &call),
            Verb::Del => del(context, &call).map(|()| Output::Empty),
            Verb::Check => check(context, &call),
            Verb::Status => status(context, &call),
            Verb::Gc => gc(context, &call).map(|()| Output::Empty),
            Verb::Version => Ok(Output::Empty),
        };
        done.map_err(|error| call.explain(error))
    }
}

fn add(context: &Context<'_>, call: &Call<'_>) -> Result<Output, Error> {
    let config = Config::read(call.conf)?;
    let subnet = read_subnet(&config).map_err(Error::internal)?;
    let delegate = config.delegate(call.conf, &subnet, true);
    let text = cni_json::print_compact(&delegate);
    (context.warn)(&format!("flannel: the delegate's configuration is {text}"));
    let notes = Notes::new(&config.data_dir);
    let unwritten = |e: std::io::Error| {
        Error::io(format!("cannot note the delegate below {}: {e}", config.data_dir.display()))
    };
    let before = notes.own(call);
    notes.write(call, &text).map_err(unwritten)?;
    let unshared = |e: std::io::Error| Error::io(format!("cannot share the store of addresses: {e}"));
    let added = stores::share(&notes, &delegate)
        .map_err(unshared)
        .and_then(|()| gateway::prepare(context, &delegate, &subnet))
        .and_then(|()| hand_on(context, call.invocation, Verb::Add, &delegate));
    added.map_err(|error| {
        // A failed ADD leaves nothing, but what an earlier one made stays its own.
        match before {
            Some(before) => drop(notes.write(call, &before)),
            None => drop(hand_on(context, call.invocation, Verb::Del, &delegate).map(|_| notes.remove(call))),
        }
        error.within("failed to delegate add")
    })
}

/// Needs neither daemon nor namespace nor a readable configuration of the delegate.
fn del(context: &Context<'_>, call: &Call<'_>) -> Result<(), Error> {
    let notes = Notes::new(&merge::data_dir(call.conf));
    let Some(note) = notes.find(call.container_id(), call.ifname.as_str()) else { return Ok(()) };
    release(context, call.invocation, &notes, &note)
}

/// DEL of the delegate; the note goes when that has succeeded. One that cannot be read says nothing of a delegate.
fn release(context: &Context<'_>, invocation: &Invocation, notes: &Notes, note: &Note) -> Result<(), Error> {
    if let Ok(delegate) = cni_json::parse_object(note.text.as_bytes()) {
        hand_on(context, invocation, Verb::Del, &delegate).map_err(|e| e.within("failed to delegate del"))?;
    }
    notes.forget(note);
    Ok(())
}

/// The delegate compares what it promised; its part of prevResult is ours.
fn check(context: &Context<'_>, call: &Call<'_>) -> Result<Output, Error> {
    let notes = Notes::new(&merge::data_dir(call.conf));
    let note = notes.find(call.container_id(), call.ifname.as_str());
    let missing = || Error::internal("the attachment is not known: there is no note of its delegate");
    let note = note.ok_or_else(missing)?;
    let broken = |why| Error::internal(format!("the note {} cannot be read: {why}", note.file.display()));
    let mut delegate = cni_json::parse_object(note.text.as_bytes()).map_err(broken)?;
    if let Some(prev) = call.conf.keys().get("prevResult") {
        delegate.insert("prevResult".to_owned(), prev.clone());
    }
    hand_on(context, call.invocation, Verb::Check, &delegate)
        .map_err(|e| e.within("failed to delegate check"))
}

/// ADD can be served if the daemon has written its file, and the delegate has what it needs.
fn status(context: &Context<'_>, call: &Call<'_>) -> Result<Output, Error> {
    let config = Config::read(call.conf)?;
    let subnet = read_subnet(&config).map_err(Error::not_available)?;
    hand_on(context, call.invocation, Verb::Status, &config.delegate(call.conf, &subnet, false))
}

/// DELs of attachments that are not valid any more, then the delegate's own GC. The first error is reported, none ends it.
fn gc(context: &Context<'_>, call: &Call<'_>) -> Result<(), Error> {
    let Some(valid) = call.conf.valid_attachments()? else { return Ok(()) };
    let notes = Notes::new(&merge::data_dir(call.conf));
    let is_valid = |note: &Note| {
        let of_container = |a: &Attachment| a.container_id == note.container_id;
        valid.iter().any(|a| of_container(a) && note.ifname.as_ref().is_none_or(|name| a.ifname == *name))
    };
    let own = |note: &Note| note.network().as_deref() == Some(call.network());
    let stale = notes.all().into_iter().filter(|note| own(note) && !is_valid(note));
    let mut outcome = Ok(());
    for note in stale {
        let ifname = note.ifname.clone().unwrap_or_else(|| call.ifname.to_string());
        let (container_id, netns) = (note.container_id.clone(), String::new());
        let invocation = Invocation { container_id, ifname, netns, ..call.invocation.clone() };
        outcome = outcome.and(release(context, &invocation, &notes, &note));
    }
    outcome.and(gc_delegate(context, call, &notes, valid))
}

fn gc_delegate(
    context: &Context<'_>,
    call: &Call<'_>,
    notes: &Notes,
    mut valid: Vec<Attachment>,
) -> Result<(), Error> {
    let config = Config::read(call.conf)?;
    // Without daemon the subnet is not known, and GC of the delegate has to wait.
    let Ok(subnet) = read_subnet(&config) else { return Ok(()) };
    let mut delegate = config.delegate(call.conf, &subnet, false);
    valid.extend(stores::guests(notes, &delegate));
    for key in [VALID_ATTACHMENTS, ATTACHMENTS] {
        delegate.insert(key.to_owned(), json!(valid));
    }
    hand_on(context, call.invocation, Verb::Gc, &delegate).map(drop)
}

fn read_subnet(config: &Config) -> Result<SubnetFile, String> {
    SubnetFile::read(&config.subnet_file).map_err(|why| why.to_string())
}

/// Calls the delegate with its own configuration and the same environment.
fn hand_on(
    context: &Context<'_>,
    invocation: &Invocation,
    verb: Verb,
    delegate: &JsonMap,
) -> Result<Output, Error> {
    let plugin_type = GoMap(delegate).string("type").unwrap_or_default().to_owned();
    let stdin = Value::Object(delegate.clone()).to_string().into_bytes();
    context.delegate.call(&plugin_type, verb, &Invocation { stdin, ..invocation.clone() })
}
