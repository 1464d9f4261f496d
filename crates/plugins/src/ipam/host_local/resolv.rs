//! Name service from a resolv.conf file.

use std::path::Path;

use polynic_cni::Dns;

pub(super) fn read(path: &Path) -> std::io::Result<Dns> {
    std::fs::read_to_string(path).map(|text| parse(&text))
}

fn parse(text: &str) -> Dns {
    let mut dns = Dns::default();
    let lines = text.lines().map(str::trim).filter(|l| !l.starts_with(['#', ';']));
    for line in lines {
        let mut fields = line.split_whitespace();
        let Some(key) = fields.next() else { continue };
        let mut values = fields.map(str::to_owned);
        match key {
            "nameserver" => dns.nameservers.extend(values.next()),
            "domain" => dns.domain = values.next().unwrap_or_default(),
            "search" => dns.search.extend(values),
            "options" => dns.options.extend(values),
            _ => {}
        }
    }
    dns
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_four_keys_are_read_and_comments_are_not() {
        let dns = parse(
            "# c\n; c\nnameserver 192.0.2.1\nnameserver\t192.0.2.2\ndomain a.example\nsearch a b\noptions ndots:5\nx y\n",
        );
        assert_eq!(dns.nameservers, ["192.0.2.1", "192.0.2.2"]);
        assert_eq!(dns.domain, "a.example");
        assert_eq!(dns.search, ["a", "b"]);
        assert_eq!(dns.options, ["ndots:5"]);
    }
}
