//! Patterns of output names (`output.*.json`), matched as Python's `fnmatch` does.
//!
//! `*` is any run of characters, slashes included; `?` is one character; `[ab]`, `[a-z]` and `[!a]` are one character of
//! a set. A bracket that is never closed stands for itself. There is no escape character.

/// Whether the whole name matches the pattern.
pub fn fnmatch(pattern: &str, name: &str) -> bool {
    let pattern = read(pattern);
    let name: Vec<char> = name.chars().collect();
    let (mut at_pattern, mut at_name) = (0, 0);
    // Where to go on when a later piece fails: after the last star, one more character given to it.
    let mut retry: Option<(usize, usize)> = None;
    loop {
        let matched = match (pattern.get(at_pattern), name.get(at_name)) {
            (None, None) => return true,
            (Some(Piece::Star), _) => {
                retry = Some((at_pattern + 1, at_name));
                at_pattern += 1;
                continue;
            }
            (Some(piece), Some(char)) => piece.takes(*char),
            (Some(_), None) | (None, Some(_)) => false,
        };
        if matched {
            at_pattern += 1;
            at_name += 1;
            continue;
        }
        match retry {
            Some((after_star, given)) if given < name.len() => {
                retry = Some((after_star, given + 1));
                at_pattern = after_star;
                at_name = given + 1;
            }
            _ => return false,
        }
    }
}

/// Whether the text is a pattern rather than a plain name.
pub fn is_pattern(text: &str) -> bool {
    text.contains(['*', '?', '['])
}

enum Piece {
    Star,
    Any,
    One(char),
    Set {
        negated: bool,
        ranges: Vec<(char, char)>,
    },
}

impl Piece {
    fn takes(&self, char: char) -> bool {
        match self {
            Piece::Star | Piece::Any => true,
            Piece::One(one) => *one == char,
            Piece::Set { negated, ranges } => {
                ranges
                    .iter()
                    .any(|(first, last)| (*first..=*last).contains(&char))
                    != *negated
            }
        }
    }
}

fn read(pattern: &str) -> Vec<Piece> {
    let chars: Vec<char> = pattern.chars().collect();
    let mut pieces = Vec::new();
    let mut at = 0;
    while let Some(char) = chars.get(at) {
        at += 1;
        match char {
            '*' => pieces.push(Piece::Star),
            '?' => pieces.push(Piece::Any),
            '[' => match end_of_set(&chars, at) {
                Some(end) => {
                    pieces.push(read_set(&chars[at..end]));
                    at = end + 1;
                }
                None => pieces.push(Piece::One('[')),
            },
            other => pieces.push(Piece::One(*other)),
        }
    }
    pieces
}

/// The closing bracket: the first one that is not the first character of the set.
fn end_of_set(chars: &[char], start: usize) -> Option<usize> {
    let first = if chars.get(start) == Some(&'!') {
        start + 1
    } else {
        start
    };
    (first + 1..chars.len()).find(|at| chars[*at] == ']')
}

fn read_set(chars: &[char]) -> Piece {
    let (negated, chars) = match chars {
        ['!', rest @ ..] => (true, rest),
        all => (false, all),
    };
    let mut ranges = Vec::new();
    let mut rest = chars;
    while let Some(first) = rest.first() {
        // A range that runs backwards holds nothing.
        if let [first, '-', last, after @ ..] = rest {
            ranges.push((*first, *last));
            rest = after;
        } else {
            ranges.push((*first, *first));
            rest = &rest[1..];
        }
    }
    Piece::Set { negated, ranges }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_pythons() {
        let table = [
            ("*", "", true),
            ("*", "a/b.txt", true),
            ("*.json", "metrics/final.json", true),
            ("*.json", "final.json.gz", false),
            ("model*", "model.h5", true),
            ("results/*.pkl", "results/a/b.pkl", true),
            ("a?c", "a/c", true),
            ("a?c", "ac", false),
            ("[ab].txt", "b.txt", true),
            ("[!ab].txt", "b.txt", false),
            ("[a-c]x", "bx", true),
            ("[c-a]x", "bx", false),
            ("[]]", "]", true),
            ("[!]]", "]", false),
            ("[a-]", "-", true),
            ("[-a]", "-", true),
            ("[abc", "[abc", true),
            ("[", "[", true),
            ("[]", "[]", true),
            ("Model", "model", false),
            ("*a*b*", "xaxbx", true),
            ("*a*b*", "xbxax", false),
            ("a\\*", "a\\b", true),
            ("", "", true),
            ("", "a", false),
            ("é?", "éà", true),
        ];
        for (pattern, name, matches) in table {
            assert_eq!(fnmatch(pattern, name), matches, "{pattern:?} and {name:?}");
        }
    }

    #[test]
    fn many_stars_take_no_time() {
        let pattern = "*a".repeat(200) + "b";
        assert!(!fnmatch(&pattern, &"a".repeat(2_000)));
    }
}
