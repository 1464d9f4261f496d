//! The `ipam` object (spec/spiderpool.md 4).

use std::path::PathBuf;

use polynic_cni::log_file::Rotation;
use polynic_cni::{Error, GoMap, JsonMap, json};
use serde_json::Value;

use super::log::{Level, LogConfig};
use crate::Call;

/// What the plugin is told.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Config {
    pub(super) socket: PathBuf,
    pub(super) ipv4_pools: Vec<String>,
    pub(super) ipv6_pools: Vec<String>,
    pub(super) clean_gateway: bool,
    pub(super) match_master_subnet: bool,
    pub(super) log: LogConfig,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            socket: PathBuf::from(polynic_wire::DEFAULT_SOCKET),
            ipv4_pools: Vec::new(),
            ipv6_pools: Vec::new(),
            clean_gateway: false,
            match_master_subnet: false,
            log: LogConfig::default(),
        }
    }
}

fn load(e: json::JsonError) -> Error {
    Error::internal(format!("failed to load netconf: {}", e.within("ipam")))
}

impl Config {
    /// Reads the configuration. Errors name the key.
    pub(super) fn read(call: &Call<'_>) -> Result<Self, Error> {
        let empty = JsonMap::new();
        let ipam = GoMap(call.conf.ipam().unwrap_or(&empty));
        let flag = |key| ipam.bool(key).map(Option::unwrap_or_default).map_err(load);
        let default = Self::default();
        let socket = match ipam.string("ipam_unix_socket_path").map_err(load)? {
            "" => default.socket,
            path => PathBuf::from(path),
        };
        Ok(Self {
            socket,
            ipv4_pools: ipam.strings("default_ipv4_ippool").map_err(load)?,
            ipv6_pools: ipam.strings("default_ipv6_ippool").map_err(load)?,
            clean_gateway: flag("clean_gateway")?,
            match_master_subnet: flag("match_master_subnet")?,
            log: log(ipam)?,
        })
    }
}

fn log(ipam: GoMap<'_>) -> Result<LogConfig, Error> {
    let default = LogConfig::default();
    let name = ipam.string("log_level").map_err(load)?;
    let unknown = || {
        Error::internal(format!(
            "unknown ipam.log_level {name:?}: debug, info, warn, error, fatal and panic are known"
        ))
    };
    let level = if name.is_empty() { default.level } else { Level::parse(name).ok_or_else(unknown)? };
    let file = match ipam.string("log_file_path").map_err(load)? {
        "" => default.file,
        path => PathBuf::from(path),
    };
    let rotation = Rotation {
        max_size: bound(number(ipam, "log_file_max_size")?, [100, 100]),
        max_age: bound(number(ipam, "log_file_max_age")?, [0, 30]),
        max_count: bound(number(ipam, "log_file_max_count")?, [0, 10]),
        compress: false,
    };
    Ok(LogConfig { level, file, rotation })
}

/// What 0 and what a negative number stand for.
fn bound(number: i64, [zero, negative]: [u32; 2]) -> u32 {
    match number {
        0 => zero,
        1.. => u32::try_from(number).unwrap_or(u32::MAX),
        _ => negative,
    }
}

/// The replaced plugin's documentation shows texts where it reads numbers: both are taken.
fn number(ipam: GoMap<'_>, key: &str) -> Result<i64, Error> {
    if let Some(Value::String(text)) = ipam.get(key) {
        let wrong = || Error::internal(format!("ipam.{key} is no number: {text:?}"));
        return text.trim().parse().map_err(|_| wrong());
    }
    ipam.int(key).map(Option::unwrap_or_default).map_err(load)
}

#[cfg(test)]
mod tests {
    use super::*;
    use polynic_cni::{Invocation, PluginConf};
    use serde_json::json;

    fn read(ipam: Value) -> Result<Config, String> {
        let conf = json!({"cniVersion": "0.3.1", "name": "lab", "type": "macvlan", "ipam": ipam});
        let conf = PluginConf::parse(conf.to_string().as_bytes()).map_err(|e| e.msg)?;
        let invocation = Invocation::default();
        Config::read(&Call::new("spiderpool", &invocation, &conf).unwrap()).map_err(|e| e.msg)
    }

    #[test]
    fn everything_has_a_default() {
        let config = read(json!({"type": "spiderpool"})).unwrap();
        assert_eq!(config, Config::default());
        assert_eq!(config.socket, PathBuf::from("/var/run/spidernet/spiderpool.sock"));
        assert_eq!(config.log.file, PathBuf::from("/var/log/spidernet/spiderpool.log"));
        assert_eq!(config.log.level, Level::Debug);
        assert_eq!(
            config.log.rotation,
            Rotation { max_size: 100, max_age: 0, max_count: 0, compress: false }
        );
        assert_eq!(
            read(json!({"type": "spiderpool", "log_level": null, "default_ipv4_ippool": null})),
            Ok(config)
        );
    }

    #[test]
    fn every_key_is_read() {
        let config = read(json!({
            "type": "spiderpool", "log_level": "WARN", "log_file_path": "/tmp/x.log", "log_file_max_size": "5",
            "log_file_max_age": -1, "log_file_max_count": 3, "default_ipv4_ippool": ["a", "b*"],
            "default_ipv6_ippool": ["c"], "clean_gateway": true, "match_master_subnet": true,
            "ipam_unix_socket_path": "/tmp/agent.sock",
        }))
        .unwrap();
        assert_eq!((config.ipv4_pools, config.ipv6_pools), (vec!["a".into(), "b*".into()], vec!["c".into()]));
        assert!(config.clean_gateway && config.match_master_subnet);
        assert_eq!(config.socket, PathBuf::from("/tmp/agent.sock"));
        let rotation = Rotation { max_size: 5, max_age: 30, max_count: 3, compress: false };
        let log = LogConfig { level: Level::Warn, file: "/tmp/x.log".into(), rotation };
        assert_eq!(config.log, log);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let error = read(json!({"type": "spiderpool", "log_level": "loud"})).unwrap_err();
        assert!(error.contains("log_level \"loud\"") && error.contains("debug, info"), "{error}");
        let error = read(json!({"type": "spiderpool", "log_file_max_size": "big"})).unwrap_err();
        assert!(error.contains("log_file_max_size"), "{error}");
        let error = read(json!({"type": "spiderpool", "default_ipv4_ippool": "a"})).unwrap_err();
        assert!(error.contains("ipam.default_ipv4_ippool"), "{error}");
    }
}
