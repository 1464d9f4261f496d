use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::schema::Node;

fn run(source: &str) -> String {
    let object = json!({"name": "x", "count": 3, "list": [1, 2, 3], "map": {"a": 1}, "none": null});
    let variables = [Variable { name: "v", kind: Type::Dyn }];
    let (program, _) = match compile(source, &variables) {
        Ok(compiled) => compiled,
        Err(error) => return error,
    };
    match program.evaluate(&[("v", dynamic(&object))], &mut Budget::for_object()) {
        Ok(value) => format!("{value:?}"),
        Err(error) => error.message,
    }
}

#[track_caller]
fn holds(source: &str) {
    assert_eq!(run(source), "Bool(true)", "{source}");
}

#[test]
fn the_language_means_what_it_says() {
    for source in [
        "1 + 2 * 3 == 7 && !(false || 1 > 2)",
        "v.name == 'x' && v.count >= 3 && v.list[0] == 1 && v['map'].a == 1",
        "has(v.name) && !has(v.missing) && v.none == null",
        "v.list.all(i, i > 0) && v.list.exists(i, i == 2) && v.list.exists_one(i, i == 3)",
        "v.list.map(i, i * 2) == [2, 4, 6] && v.list.filter(i, i > 1) == [2, 3]",
        "v.list.map(i, i > 1, i) == [2, 3]",
        "v.map.all(k, k == 'a') && 'a' in v.map && 2 in v.list",
        "v.count > 2 ? v.name == 'x' : false",
        "false && v.missing == 1 ? false : true",
        "v.missing == 1 || true",
        "size('héé') == 3 && 'abc'.size() == 3 && size(v.list) == 3",
        "type(1) == int && type('') == string && type(v.list) == list",
        "int('5') == 5 && string(5) == '5' && double('1.5') == 1.5 && uint(3) == 3u",
        "duration('1h') > duration('59m') && duration('90s').getMinutes() == 1",
        "timestamp('2024-01-01T00:00:00Z') + duration('24h') == timestamp('2024-01-02T00:00:00Z')",
        "timestamp('2024-02-29T10:00:00Z').getMonth() == 1",
        "{'a': 1, 'b': 2}.all(k, v, v > 0) && [1, 2].transformList(i, e, e * i) == [0, 2]",
        "{'a': 1}.transformMap(k, v, v + 1) == {'a': 2}",
        "v.?missing.orValue(5) == 5 && v.?name.hasValue() && optional.of(1).value() == 1",
        "v.?name.optMap(n, n + '!').orValue('') == 'x!'",
        "[?v.?missing, ?v.?name] == ['x']",
    ] {
        holds(source);
    }
}

#[test]
fn the_libraries_of_kubernetes_are_there() {
    for source in [
        "[1, 2, 3].isSorted() && [1, 2].sum() == 3 && [3, 1].min() == 1 && ['a', 'b'].max() == 'b' && [1, 2, 1].lastIndexOf(1) == 2",
        "'abc123'.find('[0-9]+') == '123' && 'a1b2'.findAll('[0-9]') == ['1', '2'] && 'x'.matches('^x$')",
        "'a,b'.split(',') == ['a', 'b'] && ['a', 'b'].join('-') == 'a-b' && 'abc'.substring(1, 2) == 'b'",
        "'aba'.replace('a', 'x') == 'xbx' && ' a '.trim() == 'a' && 'A'.lowerAscii() == 'a' && 'abc'.charAt(1) == 'b' && 'abcb'.lastIndexOf('b') == 3",
        "'%s has %d'.format(['a', 3]) == 'a has 3'",
        "quantity('1Gi').isGreaterThan(quantity('1G')) && isQuantity('5m') && !isQuantity('x') && quantity('1').add(2).compareTo(quantity('3')) == 0",
        "ip('10.0.0.1').family() == 4 && isIP('fd00::1') && !isIP('10.0.0') && ip('127.0.0.1').isLoopback()",
        "cidr('10.0.0.0/8').containsIP('10.1.2.3') && cidr('10.0.0.0/8').containsCIDR('10.1.0.0/16') && cidr('10.1.2.3/8').masked() == cidr('10.0.0.0/8') && cidr('fd00::/48').prefixLength() == 48",
        "url('https://a.b:8/p?q=1').getHostname() == 'a.b' && url('https://a.b:8/p').getPort() == '8' && isURL('/x') && url('https://a/b?c=d').getQuery() == {'c': ['d']}",
        "sets.contains([1, 2], [1]) && sets.equivalent([1, 2], [2, 1]) && sets.intersects([1], [1, 2])",
        "!format.dns1123Label().validate('a-b').hasValue() && format.dns1123Label().validate('A').hasValue()",
        "[3, 1, 2].sort() == [1, 2, 3] && [1, 1].distinct() == [1] && [[1], [2]].flatten() == [1, 2] && [1, 2, 3].slice(1, 2) == [2]",
    ] {
        holds(source);
    }
}

#[test]
fn what_goes_wrong_is_said_in_the_usual_words() {
    for (source, error) in [
        ("v.missing == 1", "no such key: missing"),
        ("v.list[7] == 1", "index out of bounds: 7"),
        ("1 / (v.count - 3) == 1", "division by zero"),
        ("9223372036854775807 + v.count == 0", "integer overflow"),
        ("v.name + 1 == 2", "no such overload"),
    ] {
        assert_eq!(run(source), error, "{source}");
    }
}

#[test]
fn mistakes_are_found_before_there_is_a_value() {
    let node = Node::parse(
        &json!({"type": "object", "properties": {"a": {"type": "string"}, "n": {"type": "integer"}}}),
    );
    let variables = [Variable { name: "self", kind: Type::of_node(&node, false).unwrap() }];
    for (source, error) in [
        ("self.b == 1", "ERROR: <input>:1:5: undefined field 'b'\n | self.b == 1\n | ....^"),
        ("other", "ERROR: <input>:1:1: undeclared reference to 'other' (in container '')\n | other\n | ^"),
        (
            "self.a == 1",
            "ERROR: <input>:1:8: found no matching overload for '_==_' applied to '(string, int)'\n | self.a == 1\n | .......^",
        ),
        ("foo(1)", "ERROR: <input>:1:4: undeclared reference to 'foo' (in container '')\n | foo(1)\n | ...^"),
    ] {
        assert_eq!(compile(source, &variables).unwrap_err(), error, "{source}");
    }
    assert_eq!(compile("self.a", &variables).unwrap().1, Type::Text);
    assert!(compile("self.a ==", &variables).unwrap_err().contains("Syntax error: mismatched input '<EOF>'"));
}

#[test]
fn no_expression_takes_longer_than_its_budget() {
    let nested = "[1,2,3,4,5,6,7,8,9,10]";
    let source = (0..9).fold("true".to_owned(), |inner, n| format!("{nested}.all(x{n}, {inner})"));
    assert_eq!(run(&source), "operation cancelled: actual cost limit exceeded");
}

#[test]
fn fields_have_names_that_expressions_can_write() {
    let node = Node::parse(
        &json!({"type": "object", "properties": {"a-b": {"type": "string"}, "namespace": {"type": "string"}}}),
    );
    let variables = [Variable { name: "self", kind: Type::of_node(&node, false).unwrap() }];
    let (program, _) = compile("self.a__dash__b == 'x' && self.__namespace__ == 'y'", &variables).unwrap();
    let value = of_node(&json!({"a-b": "x", "namespace": "y"}), &node, false);
    assert_eq!(program.evaluate(&[("self", value)], &mut Budget::for_object()), Ok(Value::Bool(true)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_text_panics(source in "[a-z0-9.()\\[\\]{}'\"+*/%<>=!&|?: ,_-]{0,40}") {
        let _ = run(&source);
    }

    #[test]
    fn no_arguments_panic(name in "split|substring|indexOf|lastIndexOf|charAt|format|replace|slice|findAll|join", a in any::<i64>(), b in any::<i64>()) {
        for source in [format!("'héx'.{name}('x', {a})"), format!("'héx'.{name}({a}, {b})"), format!("[1, 2].{name}({a}, {b})"), format!("'%d%s'.{name}([{a}])")] {
            let _ = run(&source);
        }
    }
}
