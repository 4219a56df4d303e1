//! Pages of lists: sizes and tokens.

use contract::api::ErrorReason;
use coordinator::Refusal;
use prost::Message;

/// How many items come when nothing is asked.
const DEFAULT_SIZE: usize = 50;

/// The most items in a page.
const MAX_SIZE: usize = 1_000;

/// The most bytes of items in a page, so that it stays below what clients take; one item always fits.
const MAX_BYTES: usize = 2 << 20;

/// Length of the hash in a token.
const HASH: usize = 8;

/// A page that is asked for.
#[derive(Debug)]
pub(crate) struct Page {
    size: usize,
    /// Key of the last item of the page before.
    pub(crate) after: Option<String>,
    hash: [u8; HASH],
}

impl Page {
    /// Reads the fields of a request. `others` is the request without its page size and token: a token made for other
    /// fields is refused.
    pub(crate) fn parse(
        page_size: i32,
        page_token: &str,
        others: &impl Message,
    ) -> Result<Self, Refusal> {
        let size = match usize::try_from(page_size) {
            Err(_) => {
                return Err(Refusal::invalid_field(
                    "page_size",
                    format!("must not be negative, got {page_size}"),
                ));
            }
            Ok(0) => DEFAULT_SIZE,
            Ok(size) => size.min(MAX_SIZE),
        };
        let mut hash = [0; HASH];
        hash.copy_from_slice(&blake3::hash(&others.encode_to_vec()).as_bytes()[..HASH]);
        let after = match page_token {
            "" => None,
            token => Some(read_token(token, hash).ok_or_else(foreign_token)?),
        };
        Ok(Self { size, after, hash })
    }

    /// The number after which a list of numbered things, newest first, goes on.
    pub(crate) fn after_number(&self) -> Result<Option<i64>, Refusal> {
        self.after
            .as_deref()
            .map(|key| key.parse().map_err(|_| foreign_token()))
            .transpose()
    }

    /// The items of the page and the token of the next one. `items` come in order, with keys, from the first on that is not
    /// on an earlier page.
    pub(crate) fn fill<T: Message>(
        &self,
        items: impl Iterator<Item = (String, T)>,
    ) -> (Vec<T>, String) {
        let mut page = Vec::new();
        let mut last = None;
        let mut bytes = 0;
        for (key, item) in items {
            bytes += item.encoded_len();
            if page.len() == self.size || (bytes > MAX_BYTES && !page.is_empty()) {
                return (
                    page,
                    last.map(|key: String| self.token(&key)).unwrap_or_default(),
                );
            }
            page.push(item);
            last = Some(key);
        }
        (page, String::new())
    }

    fn token(&self, key: &str) -> String {
        let hash: String = self.hash.iter().map(|byte| format!("{byte:02x}")).collect();
        let key: String = key.bytes().map(|byte| format!("{byte:02x}")).collect();
        hash + &key
    }
}

/// The key in a token, if it was made for these fields.
fn read_token(token: &str, hash: [u8; HASH]) -> Option<String> {
    let digits = token.as_bytes().chunks_exact(2);
    if !digits.remainder().is_empty() {
        return None;
    }
    let bytes: Option<Vec<u8>> = digits
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
        .collect();
    let bytes = bytes?;
    let key = bytes.strip_prefix(&hash[..])?;
    String::from_utf8(key.to_vec()).ok()
}

fn foreign_token() -> Refusal {
    let message = "page_token was not given for a request with these fields";
    Refusal::new(ErrorReason::InvalidPageToken, message)
        .violation("page_token", "belongs to another request")
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;
    use contract::api::GetExecutionRequest as Item;

    fn others(name: &str) -> Item {
        Item {
            name: name.to_owned(),
            ..Item::default()
        }
    }

    fn items(after: Option<i64>, count: i64) -> impl Iterator<Item = (String, Item)> {
        (1..after.unwrap_or(count + 1))
            .rev()
            .map(|number| (number.to_string(), others(&number.to_string())))
    }

    #[test]
    fn every_item_comes_once() {
        let (mut token, mut seen, mut pages) = (String::new(), Vec::new(), 0);
        loop {
            let page = Page::parse(3, &token, &others("a")).unwrap();
            let (got, next) = page.fill(items(page.after_number().unwrap(), 7));
            seen.extend(
                got.into_iter()
                    .map(|item| item.name.parse::<i64>().unwrap()),
            );
            pages += 1;
            if next.is_empty() {
                break;
            }
            token = next;
        }
        assert_eq!(seen, [7, 6, 5, 4, 3, 2, 1]);
        assert_eq!(pages, 3);
    }

    #[test]
    fn sizes_are_coerced_or_refused() {
        assert_eq!(Page::parse(0, "", &others("a")).unwrap().size, 50);
        assert_eq!(Page::parse(5_000, "", &others("a")).unwrap().size, 1_000);
        assert_eq!(
            Page::parse(-1, "", &others("a")).unwrap_err().reason,
            ErrorReason::InvalidField
        );
    }

    #[test]
    fn a_token_of_other_fields_is_refused() {
        let page = Page::parse(1, "", &others("a")).unwrap();
        let (_, token) = page.fill(items(None, 2));
        assert!(Page::parse(7, &token, &others("a")).is_ok());
        for (token, name) in [
            (token.as_str(), "b"),
            ("zz", "a"),
            ("0", "a"),
            ("é0", "a"),
            (&token[..4], "a"),
        ] {
            let refusal = Page::parse(1, token, &others(name)).unwrap_err();
            assert_eq!(refusal.reason, ErrorReason::InvalidPageToken, "{token}");
        }
    }

    #[test]
    fn a_page_stays_below_what_clients_take() {
        let big = || others(&"x".repeat(1_500_000));
        let page = Page::parse(1_000, "", &others("a")).unwrap();
        let (got, next) = page.fill((1..4).map(|number| (number.to_string(), big())));
        assert_eq!(got.len(), 1);
        assert!(!next.is_empty());
    }
}
