//! The nearest right name: what a person most likely meant.

/// What to say about a mistaken name: the nearest right one, or else all of them, after a few words.
pub(crate) fn suggest<'a>(
    mistaken: &str,
    all_are: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> String {
    const MOST_SHOWN: usize = 30;
    let candidates: Vec<&str> = candidates.into_iter().collect();
    match nearest(mistaken, candidates.iter().copied()) {
        None if candidates.is_empty() => "there are none".to_owned(),
        Some(near) => format!("did you mean `{near}`?"),
        None => {
            let more = if candidates.len() > MOST_SHOWN {
                ", …"
            } else {
                ""
            };
            format!(
                "{all_are} {}{more}",
                candidates[..candidates.len().min(MOST_SHOWN)].join(", ")
            )
        }
    }
}

/// The candidate closest to a mistaken name, if one is close enough: at most a third of its letters away, where a
/// letter too many, too few, another one, or two swapped ones count one each. Case and `_` for `-` count nothing.
pub fn nearest<'a>(
    mistaken: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    // A distance costs the product of the lengths: nobody's typing mistake is that long, and of very many names
    // the first will do.
    const MAX_CHARACTERS: usize = 64;
    const MAX_COMPARED: usize = 100;
    let mistaken = simplify(mistaken);
    if mistaken.len() > MAX_CHARACTERS {
        return None;
    }
    let close_enough = |candidate: &[char]| (candidate.len() / 3).max(1);
    candidates
        .into_iter()
        .map(|candidate| (simplify(candidate), candidate))
        .filter(|(simple, _)| simple.len().abs_diff(mistaken.len()) <= close_enough(simple))
        .take(MAX_COMPARED)
        .map(|(simple, candidate)| {
            (
                distance(&mistaken, &simple),
                close_enough(&simple),
                candidate,
            )
        })
        .filter(|(distance, enough, _)| distance <= enough)
        .min_by_key(|(distance, ..)| *distance)
        .map(|(.., candidate)| candidate)
}

fn simplify(name: &str) -> Vec<char> {
    name.chars()
        .flat_map(char::to_lowercase)
        .map(|c| if c == '_' || c == ' ' { '-' } else { c })
        .collect()
}

/// Row by row; each cell is the distance of a beginning of `a` from a beginning of `b`.
fn distance(a: &[char], b: &[char]) -> usize {
    let mut before_last: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let replaced = last[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut least = replaced.min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                least = least.min(before_last[j - 2] + 1);
            }
            row.push(least);
        }
        before_last = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn the_nearest_name_is_found_when_it_is_near() {
        let names = [
            "image",
            "inputs",
            "name",
            "pass-as",
            "environment-variables",
            "mounts",
        ];
        let cases = [
            ("imag", Some("image")),
            ("iamge", Some("image")),
            ("Image", Some("image")),
            ("pass_as", Some("pass-as")),
            ("input", Some("inputs")),
            ("enviroment_variables", Some("environment-variables")),
            ("command", None),
            ("", None),
            ("outputs", None),
        ];
        for (mistaken, expected) in cases {
            assert_eq!(nearest(mistaken, names), expected, "{mistaken}");
        }
        assert_eq!(nearest(&"x".repeat(100_000), names), None);
    }
}
