//! Parses label selectors; what it says of wrong ones is what the real server says (`apimachinery/pkg/labels`).

use std::collections::BTreeSet;

use super::lexer::{Lexer, Token};
use super::{SelectorError, Test};
use crate::status::Cause;
use crate::strategy::fields;

type Parsed<T> = Result<T, SelectorError>;

/// The conditions in `text`.
pub(super) fn parse(text: &str) -> Parsed<Vec<(String, Test)>> {
    let mut lexer = Lexer::new(text);
    let mut requirements = Vec::new();
    match lexer.peek() {
        (Token::End, _) => return Ok(requirements),
        next if !begins_requirement(next) => {
            return Err(found(next.1, ", expected: !, identifier, or 'end of string'"));
        }
        _ => {}
    }
    loop {
        let parsed = requirement(&mut lexer);
        requirements
            .push(parsed.map_err(|SelectorError(why)| {
                SelectorError(format!("unable to parse requirement: {why}"))
            })?);
        match lexer.next() {
            (Token::End, _) => return Ok(requirements),
            (_, ",") => {}
            (_, other) => return Err(found(other, ", expected: ',' or 'end of string'")),
        }
        if !begins_requirement(lexer.peek()) {
            return Err(found(lexer.peek().1, ", expected: identifier after ','"));
        }
    }
}

fn begins_requirement((token, text): (Token, &str)) -> bool {
    token == Token::Word || text == "!"
}

fn found(text: &str, expected: &str) -> SelectorError {
    SelectorError(format!("found '{text}'{expected}"))
}

fn requirement(lexer: &mut Lexer<'_>) -> Parsed<(String, Test)> {
    let is_negated = lexer.peek().1 == "!";
    if is_negated {
        lexer.next();
    }
    let key = word(lexer)?;
    if let Some(complaint) = fields::label_key(key) {
        return Err(wrong(&[Cause::invalid("<nil>", key, &complaint)]));
    }
    let is_alone = matches!(lexer.peek(), (Token::End, _) | (Token::Sign, ","));
    let test = match (is_negated, is_alone) {
        (true, _) => Test::Absent,
        (false, true) => Test::Exists,
        (false, false) => test(lexer, key)?,
    };
    Ok((key.to_owned(), test))
}

fn word<'a>(lexer: &mut Lexer<'a>) -> Parsed<&'a str> {
    match lexer.next() {
        (Token::Word, text) => Ok(text),
        (_, text) => Err(found(text, ", expected: identifier")),
    }
}

fn test(lexer: &mut Lexer<'_>, key: &str) -> Parsed<Test> {
    match lexer.next().1 {
        "in" => Ok(Test::In(values(lexer, key)?)),
        "notin" => Ok(Test::NotIn(values(lexer, key)?)),
        "=" | "==" => Ok(Test::In(checked(key, vec![value(lexer)?])?)),
        "!=" => Ok(Test::NotIn(checked(key, vec![value(lexer)?])?)),
        ">" => Ok(Test::Greater(number(key, value(lexer)?)?)),
        "<" => Ok(Test::Less(number(key, value(lexer)?)?)),
        other => Err(found(other, ", expected: in, notin, =, ==, !=, gt, lt")),
    }
}

/// The value of a comparison; empty where nothing follows.
fn value(lexer: &mut Lexer<'_>) -> Parsed<String> {
    match lexer.peek() {
        (Token::End, _) | (Token::Sign, ",") => Ok(String::new()),
        _ => word(lexer).map(str::to_owned),
    }
}

fn values(lexer: &mut Lexer<'_>, key: &str) -> Parsed<Vec<String>> {
    let opening = lexer.next().1;
    if opening != "(" {
        return Err(found(opening, " expected: '('"));
    }
    match lexer.peek() {
        (Token::Word, _) | (_, "," | ")") => {}
        (_, other) => return Err(found(other, ", expected: ',', ')' or identifier")),
    }
    if lexer.peek().1 == ")" {
        let detail = "for 'in', 'notin' operators, values set can't be empty";
        return Err(wrong(&[Cause::invalid_value("values", &serde_json::json!([]), detail)]));
    }
    checked(key, listed(lexer)?)
}

/// Values up to the closing parenthesis, in order and each once; one that is left out is the empty one.
fn listed(lexer: &mut Lexer<'_>) -> Parsed<Vec<String>> {
    let mut values = BTreeSet::new();
    loop {
        let value = match lexer.peek() {
            (Token::Word, text) => {
                lexer.next();
                text
            }
            (_, "," | ")") => "",
            (_, other) => return Err(found(other, ", expected: ',', or identifier")),
        };
        values.insert(value.to_owned());
        match lexer.next().1 {
            "," => {}
            ")" => return Ok(values.into_iter().collect()),
            other => return Err(found(other, ", expected: ',' or ')'")),
        }
    }
}

fn checked(key: &str, values: Vec<String>) -> Parsed<Vec<String>> {
    let causes: Vec<Cause> = complaints(key, &values).collect();
    if causes.is_empty() { Ok(values) } else { Err(wrong(&causes)) }
}

fn complaints<'a>(key: &'a str, values: &'a [String]) -> impl Iterator<Item = Cause> + 'a {
    values.iter().enumerate().filter_map(move |(n, value)| {
        Some(Cause::invalid(format!("values[{n}][{key}]"), value, fields::label_value(value)?))
    })
}

fn number(key: &str, value: String) -> Parsed<i64> {
    let detail = "for 'Gt', 'Lt' operators, the value must be an integer";
    let unfit = || Cause::invalid("values[0]", &value, detail);
    let parsed = value.parse().map_err(|_| unfit());
    let mut causes: Vec<Cause> = parsed.as_ref().err().cloned().into_iter().collect();
    causes.extend(complaints(key, std::slice::from_ref(&value)));
    parsed.map_err(|_| wrong(&causes))
}

fn wrong(causes: &[Cause]) -> SelectorError {
    SelectorError(Cause::listed(causes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn why(text: &str) -> String {
        parse(text).unwrap_err().0
    }

    #[test]
    fn what_is_wrong_is_said_as_the_real_server_says_it() {
        for (text, message) in [
            ("=", "found '=', expected: !, identifier, or 'end of string'"),
            ("a,,b", "found ',', expected: identifier after ','"),
            ("a=b c", "found 'c', expected: ',' or 'end of string'"),
            ("a===b", "unable to parse requirement: found '=', expected: identifier"),
            ("a in b", "unable to parse requirement: found 'b' expected: '('"),
            ("a in (b", "unable to parse requirement: found '', expected: ',' or ')'"),
            ("a of b", "unable to parse requirement: found 'of', expected: in, notin, =, ==, !=, gt, lt"),
        ] {
            assert_eq!(why(text), message);
        }
        assert!(why("a>x").ends_with(
            "values[0]: Invalid value: \"x\": for 'Gt', 'Lt' operators, the value must be an integer"
        ));
        assert!(why("a=-b").contains("values[0][a]: Invalid value: \"-b\": a valid label must be"));
        assert!(
            why("a in ()").ends_with(
                "values: Invalid value: []: for 'in', 'notin' operators, values set can't be empty"
            )
        );
    }

    #[test]
    fn a_value_that_is_left_out_is_the_empty_one() {
        let values = |text: &str| match parse(text).unwrap().remove(0).1 {
            Test::In(values) => values,
            other => panic!("{other:?}"),
        };
        assert_eq!(values("a="), [""]);
        assert_eq!(values("a in (,)"), [""]);
        assert_eq!(values("a in (c,,b,c)"), ["", "b", "c"]);
        assert_eq!(values("a in (in,notin)"), ["in", "notin"]);
    }
}
