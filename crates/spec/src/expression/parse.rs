//! From tokens to a tree, with the limits of the language.

use crate::expression::operate::Operator;
use crate::expression::token::{Dashes, Kind, Token, error_at, tokens};
use crate::expression::{ExpressionError, MAX_DEPTH, MAX_LENGTH, Term};
use crate::python::number::{parse_float, parse_int};
use crate::value::Value;

/// Reads the whole text as one expression.
pub(super) fn parse(text: &str, dashes: Dashes) -> Result<Term, ExpressionError> {
    if text.chars().count() > MAX_LENGTH {
        return Err(error_at(
            text,
            0,
            format!("the expression has more than {MAX_LENGTH} characters"),
        ));
    }
    if let Some(at) = text.find('\0') {
        return Err(error_at(
            text,
            at,
            "a zero character cannot be part of an expression",
        ));
    }
    let mut parser = Parser {
        text,
        tokens: tokens(text, dashes)?,
        at: 0,
        nesting: 0,
    };
    let root = parser.list()?;
    match parser.peek() {
        token if token.kind == Kind::End => Ok(root.term),
        token => Err(parser.unexpected(token)),
    }
}

/// A tree and how many levels it has.
struct Branch {
    term: Term,
    height: usize,
}

struct Parser<'t> {
    text: &'t str,
    tokens: Vec<Token<'t>>,
    at: usize,
    /// Calls of [`Parser::operand`] under way.
    nesting: usize,
}

/// How deep brackets and signs may be nested while reading; deeper than any expression that keeps to [`MAX_DEPTH`]
/// has a use for, and far from the end of the stack.
const MAX_NESTING: usize = 200;

/// Words that cannot be names.
const RESERVED: [&str; 9] = [
    "False", "None", "True", "and", "for", "in", "is", "not", "or",
];

type Parsed = Result<Branch, ExpressionError>;

impl<'t> Parser<'t> {
    fn peek(&self) -> Token<'t> {
        let last = self.tokens.len() - 1;
        self.tokens[self.at.min(last)]
    }

    fn take(&mut self) -> Token<'t> {
        let token = self.peek();
        self.at += 1;
        token
    }

    fn take_if(&mut self, text: &str) -> Option<Token<'t>> {
        self.peek().is(text).then(|| self.take())
    }

    fn error(&self, token: Token<'_>, message: impl Into<String>) -> ExpressionError {
        error_at(self.text, token.start, message)
    }

    fn unexpected(&self, token: Token<'_>) -> ExpressionError {
        let message = match token.kind {
            Kind::End => "the expression ends too early: a value is missing".to_owned(),
            _ if token.is("=") => "`=` is not a comparison; write `==`".to_owned(),
            _ if ["**", "%", "@", "&", "|", "^", "<<", ">>", "["]
                .iter()
                .any(|text| token.is(text)) =>
            {
                format!(
                    "`{}` is not part of the language: only `+ - * / //` and comparisons are",
                    token.text
                )
            }
            _ => format!("`{}` was not expected here", token.text),
        };
        self.error(token, message)
    }

    /// Puts a level on top of others, unless there are too many.
    fn over(&self, token: Token<'_>, below: usize, term: Term) -> Parsed {
        let height = below + 1;
        // The expression itself is a level.
        if height + 1 > MAX_DEPTH {
            return Err(self.error(
                token,
                format!("the expression has more than {MAX_DEPTH} levels"),
            ));
        }
        Ok(Branch { term, height })
    }

    /// One expression, or several with commas: a tuple.
    fn list(&mut self) -> Parsed {
        let start = self.peek();
        let first = self.disjunction()?;
        if !self.peek().is(",") {
            return Ok(first);
        }
        let (terms, height) = self.rest_of_items(first, |token| token.kind == Kind::End)?;
        self.over(start, height, Term::Tuple(terms))
    }

    /// After the first item: a comma, an item, a comma, … until what closes the list.
    fn rest_of_items(
        &mut self,
        first: Branch,
        closes: impl Fn(Token<'_>) -> bool,
    ) -> Result<(Vec<Term>, usize), ExpressionError> {
        let mut terms = vec![first.term];
        let mut height = first.height;
        while self.take_if(",").is_some() && !closes(self.peek()) {
            let next = self.disjunction()?;
            height = height.max(next.height);
            terms.push(next.term);
        }
        Ok((terms, height))
    }

    fn disjunction(&mut self) -> Parsed {
        self.chain("or", Self::conjunction, Term::Or)
    }

    fn conjunction(&mut self) -> Parsed {
        self.chain("and", Self::negation, Term::And)
    }

    /// A run of one of the words is one level, however long.
    fn chain(
        &mut self,
        word: &str,
        operand: fn(&mut Self) -> Parsed,
        join: fn(Vec<Term>) -> Term,
    ) -> Parsed {
        let start = self.peek();
        let first = operand(self)?;
        let mut height = first.height;
        let mut terms = vec![first.term];
        while self.take_if(word).is_some() {
            let next = operand(self)?;
            height = height.max(next.height);
            terms.push(next.term);
        }
        match terms.pop() {
            Some(only) if terms.is_empty() => Ok(Branch { term: only, height }),
            last => {
                terms.extend(last);
                self.over(start, height, join(terms))
            }
        }
    }

    fn negation(&mut self) -> Parsed {
        let mut signs = Vec::new();
        while let Some(token) = self.take_if("not") {
            signs.push(token);
        }
        let mut branch = self.comparison()?;
        for token in signs.into_iter().rev() {
            branch = self.over(token, branch.height, Term::Not(Box::new(branch.term)))?;
        }
        Ok(branch)
    }

    fn comparison(&mut self) -> Parsed {
        let left = self.sum()?;
        let token = self.peek();
        let Some(operator) = self.comparator() else {
            return Ok(left);
        };
        let right = self.sum()?;
        let next = self.peek();
        if self.comparator().is_some() {
            return Err(self.error(next, "only one comparison at a time; join two with `and`"));
        }
        self.binary(token, operator, left, right)
    }

    fn comparator(&mut self) -> Option<Operator> {
        let is_not = |parser: &Self| {
            parser
                .tokens
                .get(parser.at + 1)
                .is_some_and(|next| next.is("not"))
        };
        let is_in = |parser: &Self| {
            parser
                .tokens
                .get(parser.at + 1)
                .is_some_and(|next| next.is("in"))
        };
        let token = self.peek();
        let (operator, length) = match token.text {
            _ if !matches!(token.kind, Kind::Operator | Kind::Name) => return None,
            "==" => (Operator::Equal, 1),
            "!=" => (Operator::NotEqual, 1),
            "<" => (Operator::Less, 1),
            "<=" => (Operator::LessOrEqual, 1),
            ">" => (Operator::Greater, 1),
            ">=" => (Operator::GreaterOrEqual, 1),
            "in" => (Operator::In, 1),
            "not" if is_in(self) => (Operator::NotIn, 2),
            "is" if is_not(self) => (Operator::IsNot, 2),
            "is" => (Operator::Is, 1),
            _ => return None,
        };
        self.at += length;
        Some(operator)
    }

    fn binary(&self, token: Token<'_>, operator: Operator, left: Branch, right: Branch) -> Parsed {
        let height = left.height.max(right.height);
        self.over(
            token,
            height,
            Term::Binary(operator, Box::new(left.term), Box::new(right.term)),
        )
    }

    fn sum(&mut self) -> Parsed {
        let mut left = self.product()?;
        loop {
            let token = self.peek();
            let operator = match token.text {
                "+" if token.kind == Kind::Operator => Operator::Add,
                "-" if token.kind == Kind::Operator => Operator::Subtract,
                _ => return Ok(left),
            };
            self.at += 1;
            let right = self.product()?;
            left = self.binary(token, operator, left, right)?;
        }
    }

    fn product(&mut self) -> Parsed {
        let mut left = self.operand()?;
        loop {
            let token = self.peek();
            let operator = match token.text {
                "*" if token.kind == Kind::Operator => Operator::Multiply,
                "/" if token.kind == Kind::Operator => Operator::Divide,
                "//" if token.kind == Kind::Operator => Operator::FloorDivide,
                _ => return Ok(left),
            };
            self.at += 1;
            let right = self.operand()?;
            left = self.binary(token, operator, left, right)?;
        }
    }

    /// A value with any signs before it.
    fn operand(&mut self) -> Parsed {
        self.nesting += 1;
        if self.nesting > MAX_NESTING {
            return Err(self.error(self.peek(), "the expression is nested too deep"));
        }
        let token = self.peek();
        let branch = if token.is("+") || token.is("-") {
            self.at += 1;
            let operand = self.operand()?;
            self.sign(token, operand)
        } else {
            self.primary()
        };
        self.nesting -= 1;
        branch
    }

    fn sign(&self, token: Token<'_>, operand: Branch) -> Parsed {
        let has_sign = !matches!(
            operand.term,
            Term::Constant(Value::Str(_) | Value::None) | Term::Tuple(_) | Term::Set(_)
        );
        if !has_sign {
            return Err(self.error(token, format!("`{}` needs a number after it", token.text)));
        }
        let term = Box::new(operand.term);
        let signed = if token.text == "-" {
            Term::Negative(term)
        } else {
            Term::Positive(term)
        };
        self.over(token, operand.height, signed)
    }

    /// A value, what is called, and what is asked of it after a dot.
    fn primary(&mut self) -> Parsed {
        let start = self.peek();
        let mut branch = self.atom()?;
        loop {
            let token = self.peek();
            if token.is(".") {
                self.at += 1;
                let part = self.take();
                let is_name = part.kind == Kind::JoinedName
                    || part.kind == Kind::Name && !RESERVED.contains(&part.text);
                match (&mut branch.term, is_name) {
                    (Term::Name(name), true) => {
                        name.push('.');
                        name.push_str(part.text);
                    }
                    (_, false) => return Err(self.unexpected(part)),
                    _ => return Err(self.error(token, "only names have parts after a dot")),
                }
            } else if token.is("(") {
                self.at += 1;
                let name = match branch.term {
                    Term::Name(name) if !name.contains('.') => name,
                    _ => return Err(self.error(start, "only `abs`, `min` and `max` can be called")),
                };
                let (arguments, height) = self.items(")")?;
                branch = self.over(start, height, Term::Call(name, arguments))?;
            } else {
                return Ok(branch);
            }
        }
    }

    /// Items up to the closing bracket, which is taken; there may be none.
    fn items(&mut self, close: &str) -> Result<(Vec<Term>, usize), ExpressionError> {
        if self.take_if(close).is_some() {
            return Ok((Vec::new(), 0));
        }
        let first = self.disjunction()?;
        let items = self.rest_of_items(first, |token| token.is(close))?;
        match self.take() {
            token if token.is(close) => Ok(items),
            token => Err(self.unexpected(token)),
        }
    }

    fn atom(&mut self) -> Parsed {
        let token = self.take();
        let constant = |value| {
            Ok(Branch {
                term: Term::Constant(value),
                height: 1,
            })
        };
        match (token.kind, token.text) {
            (Kind::Name, "None") => constant(Value::None),
            (Kind::Name, "True") => constant(Value::Bool(true)),
            (Kind::Name, "False") => constant(Value::Bool(false)),
            (Kind::Name, word) if RESERVED.contains(&word) => Err(self.unexpected(token)),
            (Kind::Name | Kind::JoinedName, name) => Ok(Branch {
                term: Term::Name(name.to_owned()),
                height: 1,
            }),
            (Kind::Number, _) => constant(self.number(token)?),
            (Kind::Text, _) => {
                let mut text = self.string(token)?;
                while self.peek().kind == Kind::Text {
                    let next = self.take();
                    text.push_str(&self.string(next)?);
                }
                constant(Value::Str(text))
            }
            (Kind::Operator, "(") => self.parenthesis(token),
            (Kind::Operator, "{") => self.set(token),
            (Kind::Operator, "[") => Err(self.error(
                token,
                "lists are not part of the language; write a tuple, `(1, 2)`",
            )),
            _ => Err(self.unexpected(token)),
        }
    }

    /// What follows `(`: an expression, or a tuple.
    fn parenthesis(&mut self, open: Token<'_>) -> Parsed {
        if self.take_if(")").is_some() {
            return self.over(open, 0, Term::Tuple(Vec::new()));
        }
        let first = self.disjunction()?;
        if self.take_if(")").is_some() {
            return Ok(first);
        }
        let (terms, height) = self.rest_of_items(first, |token| token.is(")"))?;
        match self.take() {
            token if token.is(")") => self.over(open, height, Term::Tuple(terms)),
            token => Err(self.unexpected(token)),
        }
    }

    /// What follows `{`.
    fn set(&mut self, open: Token<'_>) -> Parsed {
        let (terms, height) = self.items("}")?;
        if terms.is_empty() {
            return Err(self.error(open, "maps are not part of the language"));
        }
        if terms.iter().any(holds_a_set) {
            return Err(self.error(open, "a set cannot hold another set"));
        }
        self.over(open, height, Term::Set(terms))
    }

    fn number(&self, token: Token<'_>) -> Result<Value, ExpressionError> {
        let bad = |message: &str| Err(self.error(token, message));
        let text = token.text;
        if text.ends_with(['j', 'J']) && !text.starts_with("0x") {
            return bad("complex numbers are not part of the language");
        }
        let next = self.peek();
        let touches = next.start == token.end() && next.kind == Kind::Name;
        let may_touch = matches!(next.text, "and" | "in" | "is" | "not" | "or")
            && !(text == "0" && next.is("or"));
        if touches && !may_touch {
            return bad("a number must not run into a name");
        }
        if let Some((digits, radix)) = radix(text) {
            // Beyond 128 bits the exact value no longer matters to any comparison.
            let digits = digits.replace('_', "");
            let int = i128::from_str_radix(&digits, radix);
            return Ok(int.map_or(Value::Float(f64::INFINITY), Value::Int));
        }
        let is_whole = text
            .bytes()
            .all(|byte| byte.is_ascii_digit() || byte == b'_');
        if !is_whole {
            return Ok(Value::Float(parse_float(text).unwrap_or(f64::NAN)));
        }
        let is_zero = text.bytes().all(|byte| matches!(byte, b'0' | b'_'));
        if text.starts_with('0') && !is_zero {
            return bad("a whole number must not begin with 0");
        }
        Ok(parse_int(text).map_or_else(
            || Value::Float(parse_float(text).unwrap_or(f64::NAN)),
            Value::Int,
        ))
    }

    /// The value of a string literal.
    fn string(&self, token: Token<'_>) -> Result<String, ExpressionError> {
        let quote_at = token.text.find(['\'', '"']).unwrap_or_default();
        let (prefix, quoted) = token.text.split_at(quote_at);
        if prefix.contains(['b', 'B', 'f', 'F']) {
            return Err(self.error(token, "bytes and f-strings are not part of the language"));
        }
        let quotes =
            if quoted.len() >= 6 && (quoted.starts_with("'''") || quoted.starts_with("\"\"\"")) {
                3
            } else {
                1
            };
        let inner = &quoted[quotes..quoted.len() - quotes];
        if prefix.contains(['r', 'R']) {
            return Ok(inner.to_owned());
        }
        unescape(inner).map_err(|message| self.error(token, message))
    }
}

/// Whether a set is among what a set would have to hold.
fn holds_a_set(term: &Term) -> bool {
    match term {
        Term::Set(_) => true,
        Term::Tuple(items) => items.iter().any(holds_a_set),
        _ => false,
    }
}

/// The digits and the base of `0x…`, `0o…`, `0b…`.
fn radix(text: &str) -> Option<(&str, u32)> {
    let letter = text.strip_prefix('0')?.chars().next()?;
    let base = match letter {
        'x' | 'X' => 16,
        'o' | 'O' => 8,
        'b' | 'B' => 2,
        _ => return None,
    };
    Some((&text[2..], base))
}

/// Python's escapes; an unknown one stays as it is.
fn unescape(text: &str) -> Result<String, String> {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(char) = chars.next() {
        if char != '\\' {
            out.push(char);
            continue;
        }
        let Some(escape) = chars.next() else { break };
        let digits = match escape {
            'x' => 2,
            'u' => 4,
            'U' => 8,
            '0'..='7' => {
                let mut code = escape.to_digit(8).unwrap_or_default();
                for _ in 0..2 {
                    let Some(digit) = chars.peek().and_then(|char| char.to_digit(8)) else {
                        break;
                    };
                    code = code * 8 + digit;
                    chars.next();
                }
                out.extend(char::from_u32(code));
                continue;
            }
            'N' => return Err("characters by name (`\\N`) are not supported".to_owned()),
            '\n' => continue,
            'a' => ok_push(&mut out, '\u{7}'),
            'b' => ok_push(&mut out, '\u{8}'),
            'f' => ok_push(&mut out, '\u{c}'),
            'n' => ok_push(&mut out, '\n'),
            'r' => ok_push(&mut out, '\r'),
            't' => ok_push(&mut out, '\t'),
            'v' => ok_push(&mut out, '\u{b}'),
            '\\' | '\'' | '"' => ok_push(&mut out, escape),
            other => {
                out.push('\\');
                ok_push(&mut out, other)
            }
        };
        if digits == 0 {
            continue;
        }
        let code: String = chars.by_ref().take(digits).collect();
        let is_hex = code.len() == digits && code.bytes().all(|byte| byte.is_ascii_hexdigit());
        let char = u32::from_str_radix(&code, 16)
            .ok()
            .filter(|_| is_hex)
            .and_then(char::from_u32);
        match char {
            Some(char) => out.push(char),
            None => return Err(format!("`\\{escape}{code}` is not a character")),
        }
    }
    Ok(out)
}

/// Adds a character and says that no digits follow.
fn ok_push(out: &mut String, char: char) -> usize {
    out.push(char);
    0
}
