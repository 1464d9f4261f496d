//! The one call interface of plugins, whether they run in this process or in another (spec/cni.md 5 and 6).

use crate::error::Error;
use crate::gate::VersionInfo;
use crate::invocation::Invocation;
use crate::result::Success;
use crate::verb::Verb;
use crate::version::Version;

/// What a successful call answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// ADD.
    Success(Success),
    /// VERSION.
    Version(VersionInfo),
    /// DEL, CHECK, GC, STATUS, and verbs that the plugin does not implement.
    Empty,
}

impl Output {
    /// The result of an ADD; another output is an error that names the plugin.
    pub fn into_success(self, plugin_type: &str) -> Result<Success, Error> {
        match self {
            Output::Success(success) => Ok(success),
            _ => Err(Error::internal(format!("plugin {plugin_type} answered ADD without a result"))),
        }
    }
}

/// Somebody who can call a plugin by its type.
pub trait Delegate: Send + Sync {
    /// Calls the plugin. An error of the plugin comes back unchanged, its code included.
    fn call(&self, plugin_type: &str, verb: Verb, invocation: &Invocation) -> Result<Output, Error>;

    /// Could the plugin be called with this `CNI_PATH`? The error says where it was looked for.
    fn find(&self, _plugin_type: &str, _path: &str) -> Result<(), Error> {
        Ok(())
    }
}

/// Calls the IPAM plugin of a main plugin with the same stdin and environment (spec/cni.md 6).
///
/// ADD answers a result of the newest version with at least one address; when it fails, the IPAM plugin's
/// DEL has been called already. Errors: an empty type (`no plugin name provided`), the IPAM plugin's own
/// ones unchanged, `IPAM plugin returned missing IP config`.
pub fn delegate_ipam(
    delegate: &dyn Delegate,
    ipam_type: &str,
    verb: Verb,
    invocation: &Invocation,
) -> Result<Output, Error> {
    if ipam_type.is_empty() {
        return Err(Error::internal("no plugin name provided"));
    }
    if verb != Verb::Add {
        return delegate.call(ipam_type, verb, invocation);
    }
    ipam_add(delegate, ipam_type, invocation).map(Output::Success).inspect_err(|_| {
        // The failed ADD is the error to report; what its DEL says adds nothing.
        let _ = delegate.call(ipam_type, Verb::Del, invocation);
    })
}

fn ipam_add(delegate: &dyn Delegate, ipam_type: &str, invocation: &Invocation) -> Result<Success, Error> {
    let success = delegate.call(ipam_type, Verb::Add, invocation)?.into_success(ipam_type)?;
    if success.ips.is_empty() {
        return Err(Error::internal("IPAM plugin returned missing IP config"));
    }
    Ok(Success { cni_version: Version::NEWEST, ..success })
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::result::Ip;

    struct Ipam {
        answer: Result<Output, Error>,
        calls: Mutex<Vec<(String, Verb)>>,
    }

    impl Delegate for Ipam {
        fn call(&self, plugin_type: &str, verb: Verb, _: &Invocation) -> Result<Output, Error> {
            self.calls.lock().unwrap().push((plugin_type.to_owned(), verb));
            self.answer.clone()
        }
    }

    fn run(answer: Result<Output, Error>, ipam_type: &str, verb: Verb) -> (Result<Output, Error>, Vec<Verb>) {
        let ipam = Ipam { answer, calls: Mutex::default() };
        let output = delegate_ipam(&ipam, ipam_type, verb, &Invocation::default());
        let calls = ipam.calls.into_inner().unwrap().into_iter().map(|(_, verb)| verb).collect();
        (output, calls)
    }

    #[test]
    fn add_answers_the_newest_version() {
        let ips = vec![Ip::new("192.0.2.9/24".parse().unwrap())];
        let old = Success { cni_version: Version::V0_2_0, ips, ..Success::default() };
        let new = Success { cni_version: Version::NEWEST, ..old.clone() };
        let (output, calls) = run(Ok(Output::Success(old)), "static", Verb::Add);
        assert_eq!((output, calls), (Ok(Output::Success(new)), vec![Verb::Add]));
    }

    #[test]
    fn add_without_addresses_fails_and_is_rolled_back() {
        let (output, calls) = run(Ok(Output::Success(Success::default())), "static", Verb::Add);
        assert_eq!(output, Err(Error::internal("IPAM plugin returned missing IP config")));
        assert_eq!(calls, [Verb::Add, Verb::Del]);
    }

    #[test]
    fn errors_come_back_unchanged() {
        let busy = Error::new(11, "busy", "d");
        assert_eq!(run(Err(busy.clone()), "x", Verb::Add), (Err(busy.clone()), vec![Verb::Add, Verb::Del]));
        assert_eq!(run(Err(busy.clone()), "x", Verb::Status), (Err(busy), vec![Verb::Status]));
    }

    #[test]
    fn an_empty_type_is_refused() {
        assert_eq!(
            run(Ok(Output::Empty), "", Verb::Del),
            (Err(Error::internal("no plugin name provided")), vec![])
        );
    }
}
