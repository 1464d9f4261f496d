//! Options of the backend wireguard (spec/flannel.md 8).

use polynic_cni::GoMap;
use polynic_net::{Family, IpNet, WireguardSecret};

use super::{NetConfError, number};
use crate::wireguard::Mode;
use crate::{PerFamily, WireguardConf};

/// Reads them.
pub(super) fn read(keys: GoMap<'_>, networks: &PerFamily<IpNet>) -> Result<WireguardConf, NetConfError> {
    let default = WireguardConf::default();
    // The ranges make every number fit, and 0 is as if there were none.
    let small = |key, name| -> Result<Option<u16>, NetConfError> {
        Ok(number(keys, (key, name), 0, 65535)?.filter(|n| *n != 0).map(|n| n as u16))
    };
    let conf = WireguardConf {
        port: small("Backend.ListenPort", "ListenPort")?.unwrap_or(default.port),
        port_v6: small("Backend.ListenPortV6", "ListenPortV6")?.unwrap_or(default.port_v6),
        shared: shared(keys)?,
        mtu: small("Backend.MTU", "MTU")?.map(u32::from),
        mode: mode(keys, networks)?,
        keepalive: small("Backend.PersistentKeepaliveInterval", "PersistentKeepaliveInterval")?.unwrap_or(0),
    };
    let both = networks.v4.is_some() && networks.v6.is_some();
    if both && conf.mode == Mode::Separate && conf.port == conf.port_v6 {
        return Err(NetConfError::OnePort(conf.port));
    }
    Ok(conf)
}

fn shared(keys: GoMap<'_>) -> Result<Option<WireguardSecret>, NetConfError> {
    let text = keys.string("PSK")?;
    if text.is_empty() {
        return Ok(None);
    }
    let secret: WireguardSecret = text.parse().map_err(|why| NetConfError::Secret("Backend.PSK", why))?;
    Ok(WireguardSecret::shared(*secret.bytes()))
}

fn mode(keys: GoMap<'_>, networks: &PerFamily<IpNet>) -> Result<Mode, NetConfError> {
    let text = keys.string("Mode")?;
    let (mode, needs) = match text.to_lowercase().as_str() {
        "" | "separate" => (Mode::Separate, None),
        "auto" => (Mode::Auto, None),
        "ipv4" => (Mode::V4, Some(("ipv4", Family::V4))),
        "ipv6" => (Mode::V6, Some(("ipv6", Family::V6))),
        _ => {
            let allowed = "separate, auto, ipv4 or ipv6";
            return Err(NetConfError::Choice { key: "Backend.Mode", text: text.to_owned(), allowed });
        }
    };
    match needs {
        Some((name, family)) if networks.get(family).is_none() => Err(NetConfError::ModeOff(name, family)),
        _ => Ok(mode),
    }
}

#[cfg(test)]
mod tests {
    use crate::{Backend, NetConf, WireguardConf};

    use super::*;

    const PSK: &str = "hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo=";

    fn parse(families: &str, backend: &str) -> Result<WireguardConf, String> {
        let text = format!(r#"{{{families}, "Backend": {{"Type": "WireGuard"{backend}}}}}"#);
        match NetConf::parse(text.as_bytes()).map_err(|why| why.to_string())?.backend {
            Backend::Wireguard(conf) => Ok(conf),
            other => Err(format!("{other:?}")),
        }
    }

    const V4: &str = r#""Network": "10.233.0.0/16""#;
    const BOTH: &str = r#""Network": "10.233.0.0/16", "IPv6Network": "fd60::/48", "EnableIPv6": true"#;
    const V6: &str = r#""EnableIPv4": false, "IPv6Network": "fd60::/48", "EnableIPv6": true"#;

    #[test]
    fn defaults_and_all_options() {
        assert_eq!(parse(V4, "").unwrap(), WireguardConf::default());
        let all = format!(
            r#", "ListenPort": 7, "ListenPortV6": 8, "PSK": "{PSK}", "MTU": 1400, "Mode": "auto", "PersistentKeepaliveInterval": 25"#
        );
        let conf = parse(BOTH, &all).unwrap();
        assert_eq!(
            (conf.port, conf.port_v6, conf.mtu, conf.mode, conf.keepalive),
            (7, 8, Some(1400), Mode::Auto, 25)
        );
        assert_eq!(conf.shared.map(|secret| secret.text()).as_deref(), Some(PSK));
        assert!(!format!("{conf:?}").contains(PSK), "a secret is never shown");
        assert_eq!(parse(BOTH, r#", "Mode": "ipv6""#).unwrap().mode, Mode::V6);
    }

    #[test]
    fn what_cannot_be_used_is_named() {
        let cases = [
            (V4, r#", "Mode": "both""#, "Backend.Mode is \"both\", it must be separate, auto, ipv4 or ipv6"),
            (V4, r#", "Mode": "ipv6""#, "Backend.Mode is \"ipv6\", but IPv6 is off"),
            (V6, r#", "Mode": "ipv4""#, "Backend.Mode is \"ipv4\", but IPv4 is off"),
            (BOTH, r#", "ListenPort": 51821"#, "both 51821"),
            (V4, r#", "ListenPort": 65536"#, "Backend.ListenPort is 65536"),
            (V4, r#", "PersistentKeepaliveInterval": -1"#, "PersistentKeepaliveInterval is -1"),
            (V4, r#", "PSK": "secret""#, "Backend.PSK is no key"),
        ];
        for (families, backend, words) in cases {
            let why = parse(families, backend).unwrap_err();
            assert!(why.contains(words), "{backend}: {why}");
            assert!(!why.contains("\"secret\""), "{why}");
        }
        // One tunnel has one port.
        assert!(parse(BOTH, r#", "ListenPort": 51821, "Mode": "auto""#).is_ok());
    }
}
