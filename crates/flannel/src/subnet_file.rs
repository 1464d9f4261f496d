//! `subnet.env`: what the daemon tells the CNI plugin (spec/flannel.md 6 and 13).

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use polynic_net::{Family, IpNet, ip_from_u128, ip_to_u128};

use crate::PerFamily;

/// Where it is unless a configuration says otherwise.
pub const DEFAULT_PATH: &str = "/run/flannel/subnet.env";

/// The content of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubnetFile {
    /// The networks of both families, IPv4 first. The daemon writes at most one per family; older ones wrote lists.
    pub networks: Vec<IpNet>,
    /// The node's subnets, without host bits.
    pub subnets: PerFamily<IpNet>,
    /// MTU of pods' interfaces in bytes.
    pub mtu: u32,
    /// Whether the daemon masquerades.
    pub masquerade: bool,
}

/// Why the file cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SubnetFileError {
    /// It cannot be opened.
    #[error("cannot read {path}: {why}; the flannel pod of this node writes it: look at its log")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// Something that the plugin needs is not in it.
    #[error("{path} is missing {}; the flannel pod of this node writes it: look at its log", .missing.join(", "))]
    Incomplete {
        /// The file.
        path: PathBuf,
        /// What is missing.
        missing: Vec<&'static str>,
    },
    /// A value is not what it should be.
    #[error("{path}: {key} is {value:?}, which is no {expected}")]
    Invalid {
        /// The file.
        path: PathBuf,
        /// The key.
        key: &'static str,
        /// Its value.
        value: String,
        /// What it should be.
        expected: &'static str,
    },
}

impl SubnetFile {
    /// Reads the file at `path`.
    ///
    /// # Errors
    /// See [`SubnetFileError`]; each names the file.
    pub fn read(path: &Path) -> Result<Self, SubnetFileError> {
        let unreadable = |why: io::Error| {
            let why = why.to_string();
            let why = why.split(" (os error").next().unwrap_or_default().to_lowercase();
            SubnetFileError::Unreadable { path: path.to_owned(), why }
        };
        Self::parse(path, &fs::read_to_string(path).map_err(unreadable)?)
    }

    /// Reads the text of the file at `path`: `KEY=VALUE` lines, unknown ones ignored.
    ///
    /// # Errors
    /// As [`SubnetFile::read`].
    pub fn parse(path: &Path, text: &str) -> Result<Self, SubnetFileError> {
        let values = Values { path, text };
        let mut networks = values.networks("FLANNEL_NETWORK", Family::V4)?;
        networks.extend(values.networks("FLANNEL_IPV6_NETWORK", Family::V6)?);
        let subnets = PerFamily {
            v4: values.subnet("FLANNEL_SUBNET", Family::V4)?,
            v6: values.subnet("FLANNEL_IPV6_SUBNET", Family::V6)?,
        };
        let mtu = values.read("FLANNEL_MTU", "number of bytes", |text| text.parse::<u32>().ok())?;
        let masquerade = values.read("FLANNEL_IPMASQ", "truth value", truth)?;
        let missing = [
            ("FLANNEL_NETWORK or FLANNEL_IPV6_NETWORK", networks.is_empty()),
            ("FLANNEL_SUBNET or FLANNEL_IPV6_SUBNET", subnets.is_empty()),
            ("FLANNEL_MTU", mtu.is_none()),
            ("FLANNEL_IPMASQ", masquerade.is_none()),
        ];
        match (mtu, masquerade) {
            (Some(mtu), Some(masquerade)) if !networks.is_empty() && !subnets.is_empty() => {
                Ok(Self { networks, subnets, mtu, masquerade })
            }
            _ => {
                let missing = missing.into_iter().filter(|(_, missing)| *missing).map(|(key, _)| key);
                Err(SubnetFileError::Incomplete { path: path.to_owned(), missing: missing.collect() })
            }
        }
    }

    /// The text, byte for byte as flannel writes it.
    pub fn render(&self) -> String {
        let mut text = String::new();
        for (family, network, subnet) in [
            (Family::V4, "FLANNEL_NETWORK", "FLANNEL_SUBNET"),
            (Family::V6, "FLANNEL_IPV6_NETWORK", "FLANNEL_IPV6_SUBNET"),
        ] {
            let networks: Vec<String> = self
                .networks
                .iter()
                .filter(|n| Family::of(n.addr()) == family)
                .map(ToString::to_string)
                .collect();
            if let (Some(own), false) = (self.subnets.get(family), networks.is_empty()) {
                text += &format!("{network}={}\n{subnet}={}\n", networks.join(","), first_of(*own));
            }
        }
        text + &format!("FLANNEL_MTU={}\nFLANNEL_IPMASQ={}\n", self.mtu, self.masquerade)
    }

    /// The first address of the node's subnet, which the pods' bridge has, with the subnet's length.
    pub fn gateway(&self, family: Family) -> Option<IpNet> {
        self.subnets.get(family).map(|subnet| first_of(*subnet))
    }

    /// Writes the file, complete or not at all.
    ///
    /// # Errors
    /// The directory or the file cannot be written.
    pub fn write(&self, path: &Path) -> io::Result<()> {
        write_whole(path, &self.render())
    }
}

/// Makes a directory that is not there, with mode 0755 whatever the umask of the process is.
///
/// # Errors
/// It cannot be made.
pub fn make_directory(directory: &Path) -> io::Result<()> {
    if directory.exists() {
        return Ok(());
    }
    fs::DirBuilder::new().recursive(true).mode(0o755).create(directory)?;
    fs::set_permissions(directory, fs::Permissions::from_mode(0o755))
}

/// Writes a file through a temporary one beside it (mode 0644, a directory that has to be made 0755, whatever the umask of the process is).
///
/// # Errors
/// The directory or the file cannot be written.
pub fn write_whole(path: &Path, text: &str) -> io::Result<()> {
    let directory = path.parent().unwrap_or(Path::new("/"));
    make_directory(directory)?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let new = directory.join(format!(".{name}.new"));
    let _ = fs::remove_file(&new);
    let mut file = fs::File::options().write(true).create_new(true).mode(0o644).open(&new)?;
    file.set_permissions(fs::Permissions::from_mode(0o644))?;
    file.write_all(text.as_bytes())?;
    fs::rename(&new, path)
}

/// The first address of a subnet, with its length: the bridge's.
fn first_of(subnet: IpNet) -> IpNet {
    let network = subnet.network();
    let first = ip_from_u128(Family::of(network), ip_to_u128(network).saturating_add(1));
    IpNet::new(first, subnet.prefix_len()).unwrap_or(subnet)
}

/// The spellings that Go's `strconv.ParseBool` takes.
fn truth(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

struct Values<'a> {
    path: &'a Path,
    text: &'a str,
}

impl<'a> Values<'a> {
    /// The last value of a key; an empty one is none.
    fn get(&self, key: &str) -> Option<&'a str> {
        let pairs = self.text.lines().filter_map(|line| line.split_once('='));
        let mut of_key = pairs.filter(|(name, _)| name.trim() == key);
        of_key.next_back().map(|(_, value)| value.trim()).filter(|value| !value.is_empty())
    }

    fn read<T>(
        &self,
        key: &'static str,
        expected: &'static str,
        read: impl Fn(&str) -> Option<T>,
    ) -> Result<Option<T>, SubnetFileError> {
        let Some(value) = self.get(key) else { return Ok(None) };
        let invalid = || SubnetFileError::Invalid {
            path: self.path.to_owned(),
            key,
            value: value.to_owned(),
            expected,
        };
        read(value).map(Some).ok_or_else(invalid)
    }

    /// A list of networks, duplicates dropped.
    fn networks(&self, key: &'static str, family: Family) -> Result<Vec<IpNet>, SubnetFileError> {
        let read = |text: &str| {
            let mut found = Vec::new();
            for part in text.split(',') {
                let net = net_of(part.trim(), family)?.trunc();
                if !found.contains(&net) {
                    found.push(net);
                }
            }
            Some(found)
        };
        Ok(self.read(key, "list of networks", read)?.unwrap_or_default())
    }

    /// A subnet; of a list the first.
    fn subnet(&self, key: &'static str, family: Family) -> Result<Option<IpNet>, SubnetFileError> {
        let first = |text: &str| net_of(text.split(',').next()?.trim(), family).map(|net| net.trunc());
        self.read(key, "subnet", first)
    }
}

fn net_of(text: &str, family: Family) -> Option<IpNet> {
    text.parse::<IpNet>().ok().filter(|net| Family::of(net.addr()) == family)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DUAL: &str = "FLANNEL_NETWORK=10.60.0.0/16\nFLANNEL_SUBNET=10.60.9.1/24\nFLANNEL_IPV6_NETWORK=fd60::/48\n\
                        FLANNEL_IPV6_SUBNET=fd60:0:0:9::1/64\nFLANNEL_MTU=1430\nFLANNEL_IPMASQ=true\n";

    fn parse(text: &str) -> Result<SubnetFile, SubnetFileError> {
        SubnetFile::parse(Path::new("/run/flannel/subnet.env"), text)
    }

    #[test]
    fn what_is_rendered_is_the_contract_to_the_byte() {
        let file = parse(DUAL).unwrap();
        assert_eq!(file.subnets.v4, Some("10.60.9.0/24".parse().unwrap()));
        assert_eq!(file.render(), DUAL);
        let v4 = SubnetFile {
            networks: vec!["10.60.0.0/16".parse().unwrap()],
            subnets: PerFamily { v4: Some("10.60.9.0/24".parse().unwrap()), v6: None },
            mtu: 1450,
            masquerade: false,
        };
        let text = "FLANNEL_NETWORK=10.60.0.0/16\nFLANNEL_SUBNET=10.60.9.1/24\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=false\n";
        assert_eq!(v4.render(), text);
    }

    #[test]
    fn lists_of_older_daemons_are_read_without_repeats() {
        let text = "FLANNEL_NETWORK=10.1.0.0/16,10.2.0.0/16,10.1.0.0/16\nFLANNEL_SUBNET=10.1.3.1/24\n\
                    FLANNEL_MTU=1450\nFLANNEL_IPMASQ=1\nOTHER=x\n";
        let file = parse(text).unwrap();
        assert_eq!(file.networks, ["10.1.0.0/16", "10.2.0.0/16"].map(|net| net.parse().unwrap()));
        assert!(file.masquerade);
    }

    #[test]
    fn what_is_missing_or_wrong_is_named_with_the_file() {
        let why = parse("").unwrap_err().to_string();
        for key in ["subnet.env", "FLANNEL_NETWORK", "FLANNEL_SUBNET", "FLANNEL_MTU", "FLANNEL_IPMASQ"] {
            assert!(why.contains(key), "{why}");
        }
        let why = parse(&DUAL.replace("1430", "many")).unwrap_err().to_string();
        assert!(why.contains("FLANNEL_MTU") && why.contains("many"), "{why}");
        assert!(parse(&DUAL.replace("10.60.9.1/24", "fd00::1/64")).is_err());
        let why = SubnetFile::read(Path::new("/nonexistent/subnet.env")).unwrap_err().to_string();
        assert!(why.contains("/nonexistent/subnet.env") && why.contains("flannel pod"), "{why}");
    }

    #[test]
    fn the_file_is_replaced_whole() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("flannel/subnet.env");
        let file = parse(DUAL).unwrap();
        file.write(&path).unwrap();
        SubnetFile { mtu: 1400, ..file.clone() }.write(&path).unwrap();
        assert_eq!(SubnetFile::read(&path).unwrap().mtu, 1400);
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o644, 0o755));
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }
}
