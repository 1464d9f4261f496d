//! The network-status annotation's bytes, as Multus writes them (spec/multus.md 10.3): a list without indentation of rows with four
//! spaces of it, keys in a fixed order. Written here once more, independently of the code that writes the annotation.

use serde_json::Value;

/// The keys of a row in their order (spec/multus.md 10.1).
const KEYS: [&str; 9] =
    ["name", "interface", "ips", "mac", "mtu", "default", "dns", "device-info", "gateway"];

/// The text of a status with these rows.
pub fn of(rows: &[Value]) -> String {
    format!("[{}]", rows.iter().map(row).collect::<Vec<_>>().join(","))
}

fn row(row: &Value) -> String {
    let members: Vec<String> = KEYS
        .iter()
        .filter_map(|key| row.get(*key).map(|value| format!("    \"{key}\": {}", value_text(value))))
        .collect();
    format!("{{\n{}\n}}", members.join(",\n"))
}

fn value_text(value: &Value) -> String {
    match value {
        Value::Array(items) if !items.is_empty() => {
            let lines: Vec<String> = items.iter().map(|item| format!("        {}", scalar(item))).collect();
            format!("[\n{}\n    ]", lines.join(",\n"))
        }
        other => scalar(other),
    }
}

/// Go escapes what could end a script in HTML.
fn scalar(value: &Value) -> String {
    value.to_string().replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_text_is_that_of_the_specification() {
        let rows = [
            json!({
                "name": "infra/pod-fabric", "interface": "eth0", "ips": ["10.40.1.7"], "mac": "02:11:22:33:44:55",
                "default": true, "dns": {}, "gateway": ["<nil>"],
            }),
            json!({"name": "blue/lan-a", "interface": "lan0", "mac": "02:aa:00:00:00:09", "dns": {}}),
        ];
        let expected = r#"[{
    "name": "infra/pod-fabric",
    "interface": "eth0",
    "ips": [
        "10.40.1.7"
    ],
    "mac": "02:11:22:33:44:55",
    "default": true,
    "dns": {},
    "gateway": [
        "\u003cnil\u003e"
    ]
},{
    "name": "blue/lan-a",
    "interface": "lan0",
    "mac": "02:aa:00:00:00:09",
    "dns": {}
}]"#;
        assert_eq!(of(&rows), expected);
    }
}
