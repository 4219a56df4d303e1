//! The least of many keys, each at a position, found at once and kept at a cost that hardly grows with how many there are.

/// How many keys one of the level above stands for.
const FAN: usize = 16;

/// Keys by position, and the least of each sixteen, and of each sixteen of those, up to one.
#[derive(Debug)]
pub(crate) struct Tree<K> {
    /// Stands for no key; greater than all.
    none: K,
    /// The keys first, the least of all last.
    levels: Vec<Vec<K>>,
}

impl<K: Copy + Ord> Tree<K> {
    pub(crate) fn new(keys: Vec<K>, none: K) -> Self {
        let mut levels = vec![keys];
        while let Some(below) = levels.last().filter(|level| level.len() > 1) {
            let least = below
                .chunks(FAN)
                .map(|some| some.iter().copied().min().unwrap_or(none));
            let level = least.collect();
            levels.push(level);
        }
        Self { none, levels }
    }

    /// The least key; none when there is none.
    pub(crate) fn min(&self) -> Option<K> {
        let top = self.levels.last()?.first()?;
        (*top != self.none).then_some(*top)
    }

    /// The key at a position.
    pub(crate) fn get(&self, at: usize) -> Option<K> {
        let key = self.levels.first()?.get(at)?;
        (*key != self.none).then_some(*key)
    }

    pub(crate) fn set(&mut self, at: usize, key: K) {
        let Some((keys, above)) = self.levels.split_first_mut() else {
            return;
        };
        if keys.get(at).is_none_or(|known| *known == key) {
            return;
        }
        keys[at] = key;
        let (mut below, mut at) = (keys, at);
        for level in above {
            at /= FAN;
            let some = &below[at * FAN..below.len().min((at + 1) * FAN)];
            let least = some.iter().copied().min().unwrap_or(self.none);
            if level[at] == least {
                return;
            }
            level[at] = least;
            below = level;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_least_is_the_least(
            keys in prop::collection::vec(0..50_u64, 0..600),
            changes in prop::collection::vec((any::<prop::sample::Index>(), 0..50_u64), 0..200),
        ) {
            let mut plain = keys.clone();
            let mut tree = Tree::new(keys, 49);
            for (at, key) in changes {
                if !plain.is_empty() {
                    let at = at.index(plain.len());
                    plain[at] = key;
                    tree.set(at, key);
                    prop_assert_eq!(tree.get(at), Some(key).filter(|key| *key != 49));
                }
                let least = plain.iter().copied().min().filter(|key| *key != 49);
                prop_assert_eq!(tree.min(), least);
            }
        }
    }
}
