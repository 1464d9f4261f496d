//! A label selector's text as tokens, one at a time. Words run up to a space or a sign.

/// What a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Token {
    /// A key, a value, or a word operator.
    Word,
    /// `!`, `=`, `==`, `!=`, `<`, `>`, `(`, `)` or `,`.
    Sign,
    /// Nothing is left.
    End,
}

/// A token and its text; the text of the end is empty.
pub(super) type Lexeme<'a> = (Token, &'a str);

/// The rest of a text.
pub(super) struct Lexer<'a>(&'a str);

impl<'a> Lexer<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self(text)
    }

    /// The next token, which stays.
    pub(super) fn peek(&self) -> Lexeme<'a> {
        split(self.0).0
    }

    /// The next token, which is used up.
    pub(super) fn next(&mut self) -> Lexeme<'a> {
        let (lexeme, rest) = split(self.0);
        self.0 = rest;
        lexeme
    }
}

fn split(text: &str) -> (Lexeme<'_>, &str) {
    let text = text.trim_start_matches([' ', '\t', '\r', '\n']);
    let (token, length) = if text.is_empty() {
        (Token::End, 0)
    } else if text.starts_with("==") || text.starts_with("!=") {
        (Token::Sign, 2)
    } else if text.starts_with(is_sign) {
        (Token::Sign, 1)
    } else {
        (Token::Word, text.find(|c| is_sign(c) || " \t\r\n".contains(c)).unwrap_or(text.len()))
    };
    let (lexeme, rest) = text.split_at(length);
    ((token, lexeme), rest)
}

fn is_sign(c: char) -> bool {
    "=!(),<>".contains(c)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signs_are_as_long_as_they_can_be() {
        let mut lexer = Lexer::new(" a.b/c===d!=(x,in)");
        let mut found = Vec::new();
        while lexer.peek().0 != Token::End {
            found.push(lexer.next().1);
        }
        assert_eq!(found, ["a.b/c", "==", "=", "d", "!=", "(", "x", ",", "in", ")"]);
        assert_eq!(lexer.next(), (Token::End, ""));
    }
}
