use serde::Deserialize;
use serde_json::json;

use super::*;

#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Conf {
    is_gateway: bool,
    mtu: u16,
    master: String,
    vlan: Option<i32>,
    list: Vec<String>,
    inner: Inner,
    raw: Value,
}

#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
struct Inner {
    rate: u64,
}

fn read(text: &str) -> Result<Conf, String> {
    from_slice(text.as_bytes()).map_err(|error| error.to_string())
}

#[test]
fn keys_match_in_any_case_but_the_exact_one_wins() {
    let conf = read(r#"{"ISGATEWAY":true,"Mtu":9,"mtu":1500,"INNER":{"Rate":7},"unknown":{}}"#).unwrap();
    assert_eq!(conf, Conf { is_gateway: true, mtu: 1500, inner: Inner { rate: 7 }, ..Conf::default() });
}

#[test]
fn duplicate_keys_the_last_wins_and_null_is_the_default() {
    assert_eq!(read(r#"{"mtu":1,"mtu":2}"#).unwrap().mtu, 2);
    let nulls = r#"{"isGateway":null,"mtu":null,"master":null,"vlan":null,"list":null,"inner":null}"#;
    assert_eq!(read(nulls), Ok(Conf::default()));
    assert_eq!(read("null"), Ok(Conf::default()));
    assert_eq!(read(r#"{"list":["a",null]}"#).unwrap().list, ["a", ""]);
}

#[test]
fn wrong_types_name_the_field() {
    let text = "json: cannot unmarshal string into Go struct field mtu of type int";
    assert_eq!(read(r#"{"mtu":"1500"}"#), Err(text.to_owned()));
    let text = "json: cannot unmarshal number 70000 into Go struct field mtu of type int";
    assert_eq!(read(r#"{"mtu":70000}"#), Err(text.to_owned()));
    let text = "json: cannot unmarshal number 1.5 into Go struct field vlan of type int";
    assert_eq!(read(r#"{"vlan":1.5}"#), Err(text.to_owned()));
    let text = "json: cannot unmarshal number into Go struct field list of type string";
    assert_eq!(read(r#"{"list":[1]}"#), Err(text.to_owned()));
    let text = "json: cannot unmarshal bool into Go struct field inner.rate of type int";
    assert_eq!(read(r#"{"inner":{"rate":true}}"#), Err(text.to_owned()));
    let text = "json: cannot unmarshal array into Go value of type object";
    assert_eq!(read("[]"), Err(text.to_owned()));
}

#[test]
fn text_that_is_no_json_is_an_error_and_bad_utf8_is_not() {
    for bad in ["", "{", "{}x", "{\"a\":1,}", "nul"] {
        assert!(parse(bad.as_bytes()).is_err(), "{bad:?}");
    }
    assert_eq!(parse(b"\"a\xff\""), Ok(json!("a\u{fffd}")));
    assert!(parse_object(b"[]").is_err());
    assert_eq!(parse_object(b"null"), Ok(JsonMap::new()));
}

#[test]
fn deep_nesting_is_an_error_not_a_crash() {
    assert!(parse("[".repeat(100_000).as_bytes()).is_err());
}

#[test]
fn numbers_print_as_go_prints_them() {
    for (read, printed) in [
        ("1.0", "1"),
        ("1e2", "100"),
        ("0.1", "0.1"),
        ("1e21", "1e+21"),
        ("1e-7", "1e-7"),
        ("9007199254740993", "9007199254740993"),
        ("18446744073709551615", "18446744073709551615"),
        ("-5", "-5"),
    ] {
        assert_eq!(print_sorted(&parse(read.as_bytes()).unwrap()), printed);
    }
}

#[test]
fn strings_print_as_go_prints_them() {
    let text = "a<b>&\u{2028}\"\\\n\u{1}é";
    assert_eq!(print_compact(text), "\"a\\u003cb\\u003e\\u0026\\u2028\\\"\\\\\\n\\u0001é\"");
}

#[test]
fn sorting_reaches_every_level() {
    let value = parse(br#"{"b":[{"z":1,"a":{}}],"a":null}"#).unwrap();
    assert_eq!(print_sorted(&value), r#"{"a":null,"b":[{"a":{},"z":1}]}"#);
}

#[test]
fn single_keys_are_typed() {
    let map = parse_object(br#"{"A":"x","b":true,"c":3,"d":["e"],"e":{"f":1},"n":null}"#).unwrap();
    let map = GoMap(&map);
    assert_eq!(map.string("a"), Ok("x"));
    assert_eq!(map.string("n"), Ok(""));
    assert_eq!(map.bool("b"), Ok(Some(true)));
    assert_eq!(map.int("c"), Ok(Some(3)));
    assert_eq!(map.strings("d"), Ok(vec!["e".to_owned()]));
    assert_eq!(map.object("e").unwrap().map(|inner| inner.len()), Some(1));
    assert_eq!(map.array("n"), Ok(None));
    assert!(map.int("a").unwrap_err().to_string().contains("field a of type int"));
}
