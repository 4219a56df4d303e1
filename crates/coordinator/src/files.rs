//! The files that were read last: who submits many executions sends the same file with each.

use std::collections::VecDeque;
use std::sync::Arc;

use spec::Parsed;

/// Most files remembered, and the most bytes of one: a larger one is read each time.
const MAX_FILES: usize = 8;
const MAX_BYTES: usize = 64 << 10;

/// Files and what was read in them, the newest first.
#[derive(Default)]
pub(crate) struct Files {
    known: VecDeque<(Vec<u8>, Arc<Parsed>)>,
}

impl Files {
    /// What the file says.
    pub(crate) fn read(&mut self, bytes: &[u8]) -> Arc<Parsed> {
        if let Some(at) = self.known.iter().position(|(known, _)| known == bytes)
            && let Some(found) = self.known.remove(at)
        {
            let parsed = found.1.clone();
            self.known.push_front(found);
            return parsed;
        }
        let parsed = Arc::new(spec::parse(bytes));
        if bytes.len() <= MAX_BYTES {
            self.known.truncate(MAX_FILES - 1);
            self.known.push_front((bytes.to_vec(), parsed.clone()));
        }
        parsed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_once_while_it_is_among_the_last() {
        let mut files = Files::default();
        let file = |n: usize| format!("- step:\n    name: s{n}\n    image: i\n    command: c\n");
        let first = files.read(file(0).as_bytes());
        assert_eq!(
            first.config.iter().flat_map(|config| &config.steps).count(),
            1
        );
        for n in 1..MAX_FILES {
            files.read(file(n).as_bytes());
            assert!(Arc::ptr_eq(&first, &files.read(file(0).as_bytes())));
        }
        (1..=MAX_FILES).for_each(|n| drop(files.read(file(n).as_bytes())));
        let again = files.read(file(0).as_bytes());
        assert!(!Arc::ptr_eq(&first, &again));
        assert_eq!(
            (&first.config, &first.diagnostics),
            (&again.config, &again.diagnostics)
        );
        let large = format!("{}{}", file(0), " ".repeat(MAX_BYTES));
        let parsed = files.read(large.as_bytes());
        assert!(!Arc::ptr_eq(&parsed, &files.read(large.as_bytes())));
    }
}
