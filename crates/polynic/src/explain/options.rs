//! The command line of `explain`.

use std::io;
use std::net::{IpAddr, SocketAddr};

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Options {
    /// The pod's name; absent where `--netns` says where it is.
    pub(super) pod: Option<String>,
    pub(super) namespace: String,
    pub(super) netns: Option<String>,
    pub(super) to: IpAddr,
    pub(super) port: Option<u16>,
    pub(super) from: Option<IpAddr>,
    pub(super) link: Option<String>,
    pub(super) node_side: bool,
    pub(super) json: bool,
}

impl Options {
    pub(super) fn read(args: &[&str]) -> io::Result<Self> {
        let (mut pod, mut to) = (None, None);
        let mut options = Self {
            pod: None,
            namespace: "default".to_owned(),
            netns: None,
            to: IpAddr::from([0; 4]),
            port: None,
            from: None,
            link: None,
            node_side: false,
            json: false,
        };
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            let mut value = || args.next().copied().ok_or_else(|| wrong(format!("{arg} needs a value")));
            match *arg {
                "--to" => to = Some(destination(value()?)?),
                "--from" => options.from = Some(address(value()?)?),
                "--iface" => options.link = Some(value()?.to_owned()),
                "--netns" => options.netns = Some(value()?.to_owned()),
                "-n" | "--namespace" => options.namespace = value()?.to_owned(),
                "--node-side" => options.node_side = true,
                "-o" | "--output" => match value()? {
                    "json" => options.json = true,
                    other => return Err(wrong(format!("unknown output {other:?}: there is json"))),
                },
                flag if flag.starts_with('-') => return Err(wrong(format!("unknown option {flag}"))),
                word if pod.is_none() => pod = Some(word.to_owned()),
                word => return Err(wrong(format!("one pod at a time: what is {word:?}?"))),
            }
        }
        (options.to, options.port) = to.ok_or_else(|| wrong("--to ADDRESS[:PORT] is needed".into()))?;
        if pod.is_none() && options.netns.is_none() {
            return Err(wrong("name a pod, or give --netns PATH".into()));
        }
        options.named(pod)
    }

    /// `namespace/name` is understood as well.
    fn named(mut self, pod: Option<String>) -> io::Result<Self> {
        match pod.as_deref().map(|pod| pod.split_once('/')) {
            Some(Some((namespace, name))) => {
                self.namespace = namespace.to_owned();
                self.pod = Some(name.to_owned());
            }
            _ => self.pod = pod,
        }
        let other = |ip: IpAddr| ip.is_ipv4() != self.to.is_ipv4();
        match self.from.filter(|from| other(*from)) {
            Some(from) => Err(wrong(format!("{from} and {} are of different families", self.to))),
            None => Ok(self),
        }
    }
}

fn address(text: &str) -> io::Result<IpAddr> {
    text.parse().map_err(|_| wrong(format!("{text:?} is no address")))
}

/// `10.0.0.1`, `10.0.0.1:80`, `fd00::1`, `[fd00::1]:80`.
fn destination(text: &str) -> io::Result<(IpAddr, Option<u16>)> {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    if let Ok(ip) = bare.parse() {
        return Ok((ip, None));
    }
    match text.parse::<SocketAddr>() {
        Ok(both) => Ok((both.ip(), Some(both.port()))),
        Err(_) => Err(wrong(format!("{text:?} is neither ADDRESS nor ADDRESS:PORT"))),
    }
}

fn wrong(why: String) -> io::Error {
    io::Error::other(why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn destinations_have_a_port_or_none() {
        let of = |text: &str| destination(text).unwrap();
        assert_eq!(of("10.0.0.1"), ("10.0.0.1".parse().unwrap(), None));
        assert_eq!(of("10.0.0.1:80"), ("10.0.0.1".parse().unwrap(), Some(80)));
        assert_eq!(of("fd00::1"), ("fd00::1".parse().unwrap(), None));
        assert_eq!(of("[fd00::1]:80"), ("fd00::1".parse().unwrap(), Some(80)));
        assert!(destination("web").is_err());
    }

    #[test]
    fn a_pod_may_be_named_with_its_namespace() {
        let options = Options::read(&["team/web", "--to", "10.0.0.1", "-o", "json"]).unwrap();
        assert_eq!(
            (options.namespace.as_str(), options.pod.as_deref(), options.json),
            ("team", Some("web"), true)
        );
        let options = Options::read(&["web", "--to", "10.0.0.1", "-n", "team", "--node-side"]).unwrap();
        assert_eq!((options.namespace.as_str(), options.node_side), ("team", true));
    }

    #[test]
    fn what_is_missing_or_odd_is_said() {
        for (args, error) in [
            (&["web"][..], "--to ADDRESS[:PORT] is needed"),
            (&["--to", "10.0.0.1"], "name a pod, or give --netns PATH"),
            (&["a", "b", "--to", "10.0.0.1"], "one pod at a time: what is \"b\"?"),
            (
                &["a", "--to", "10.0.0.1", "--from", "fd00::1"],
                "fd00::1 and 10.0.0.1 are of different families",
            ),
            (&["a", "--to"], "--to needs a value"),
        ] {
            assert_eq!(Options::read(args).unwrap_err().to_string(), error);
        }
    }
}
