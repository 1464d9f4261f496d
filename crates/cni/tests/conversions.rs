//! Every conversion of three results, compared byte for byte with what the reference library prints
//! (golden/README.md).

use polynic_cni::{Success, Version};
use serde_json::Value;

const GOLDEN: &str = include_str!("golden/conversions.json");

/// The result `source`, read as `from`, printed as `to`: a text or `error: …`.
fn convert(source: &Value, from: Version, to: Version) -> Result<String, String> {
    let text = |why: polynic_cni::Error| format!("error: {why}");
    let written = Success::parse(source.to_string().as_bytes(), Version::NEWEST).map_err(text)?;
    let converted = Success::parse(written.print(from).map_err(text)?.as_bytes(), from).map_err(text)?;
    converted.print(to).map_err(text)
}

#[test]
fn conversions_print_what_the_reference_prints() {
    let golden: Value = serde_json::from_str(GOLDEN).unwrap();
    let mut compared = 0;
    for (name, case) in golden.as_object().unwrap() {
        for (pair, printed) in case["printed"].as_object().unwrap() {
            // "from to", or "from" alone where the source cannot even become that.
            let mut versions = pair.split(' ').map(|version| version.parse::<Version>().unwrap());
            let from = versions.next().unwrap();
            let to = versions.next().unwrap_or(from);
            let ours = convert(&case["source"], from, to).unwrap_or_else(|error| error);
            assert_eq!(ours, printed.as_str().unwrap(), "{name}: {pair}");
            compared += 1;
        }
    }
    assert_eq!(compared, 49 + 49 + 37);
}
