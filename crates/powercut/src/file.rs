//! One file: what was synced, and what was written since.

use rand::Rng as _;
use rand_chacha::ChaCha8Rng;

/// What a disk writes whole or not at all, in bytes.
const SECTOR: usize = 512;

/// The bytes of a file.
#[derive(Debug, Default)]
pub(crate) struct File {
    live: Vec<u8>,
    durable: Vec<u8>,
    pending: Vec<Change>,
}

/// Something that was done to a file since it was synced.
#[derive(Debug)]
enum Change {
    Write { offset: usize, data: Vec<u8> },
    Length(usize),
}

impl File {
    pub(crate) fn len(&self) -> usize {
        self.live.len()
    }

    pub(crate) fn read(&self, offset: usize, length: usize) -> &[u8] {
        let start = offset.min(self.live.len());
        let end = offset.saturating_add(length).min(self.live.len());
        &self.live[start..end]
    }

    pub(crate) fn write(&mut self, offset: usize, data: &[u8]) {
        put(&mut self.live, offset, data);
        self.pending.push(Change::Write {
            offset,
            data: data.to_vec(),
        });
    }

    pub(crate) fn set_len(&mut self, length: usize) {
        self.live.resize(length, 0);
        self.pending.push(Change::Length(length));
    }

    pub(crate) fn sync(&mut self) {
        for change in self.pending.drain(..) {
            match change {
                Change::Write { offset, data } => put(&mut self.durable, offset, &data),
                Change::Length(length) => self.durable.resize(length, 0),
            }
        }
    }

    /// The power fails: chance decides what of the changes since the last sync came true. Whether something did not.
    pub(crate) fn cut(&mut self, chance: &mut ChaCha8Rng) -> bool {
        let lost = !self.pending.is_empty();
        match chance.random_range(0..4) {
            0 => self.pending.clear(),
            1 => {}
            2 => self
                .pending
                .truncate(chance.random_range(0..=self.pending.len())),
            _ => self.tear(chance),
        }
        self.sync();
        let lost = lost && self.live != self.durable;
        self.live.clone_from(&self.durable);
        lost
    }

    /// Leaves any sectors of any changes.
    fn tear(&mut self, chance: &mut ChaCha8Rng) {
        let changes = std::mem::take(&mut self.pending);
        for change in changes {
            match change {
                Change::Write { offset, data } => {
                    let mut at = 0;
                    while at < data.len() {
                        let end = (at + SECTOR - (offset + at) % SECTOR).min(data.len());
                        if chance.random() {
                            self.pending.push(Change::Write {
                                offset: offset + at,
                                data: data[at..end].to_vec(),
                            });
                        }
                        at = end;
                    }
                }
                Change::Length(length) => {
                    if chance.random() {
                        self.pending.push(Change::Length(length));
                    }
                }
            }
        }
    }
}

fn put(bytes: &mut Vec<u8>, offset: usize, data: &[u8]) {
    let end = offset + data.len();
    if bytes.len() < end {
        bytes.resize(end, 0);
    }
    bytes[offset..end].copy_from_slice(data);
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng as _;

    use super::*;

    fn left(seed: u64) -> Vec<u8> {
        let mut file = File::default();
        file.write(0, &[1; 2_000]);
        file.sync();
        file.write(1_000, &[2; 2_000]);
        file.set_len(2_900);
        file.cut(&mut ChaCha8Rng::seed_from_u64(seed));
        file.live
    }

    #[test]
    fn what_was_synced_is_there_and_of_the_rest_anything() {
        let (mut none, mut all, mut torn) = (0, 0, 0);
        for seed in 0..200 {
            let left = left(seed);
            assert_eq!(left[..1_000], [1; 1_000], "seed {seed}");
            assert!(left.len() >= 2_000);
            let new = left.iter().filter(|byte| **byte == 2).count();
            match new {
                0 => none += 1,
                1_900 => all += 1,
                _ => torn += 1,
            }
        }
        assert!(none > 20 && all > 20 && torn > 20, "{none} {all} {torn}");
    }

    #[test]
    fn the_same_chance_leaves_the_same() {
        for seed in 0..20 {
            assert_eq!(left(seed), left(seed));
        }
    }
}
