//! The keyspace of the sled log: what is stored, under which bytes, and for how long.
//!
//! | key | bytes | value | lives |
//! | --- | --- | --- | --- |
//! | [`bounds`] | `00` | format version, first and last index | for ever; changes with every entry |
//! | [`hard_state`] | `01` | Raft's `HardState` | for ever |
//! | [`entry`] | `02`, index u64be, part u16be | a part of Raft's `Entry` | until compacted or overwritten |
//!
//! All values are wrapped by [`super::value`]; none is longer than [`MAX_VALUE_LEN`].

pub(super) mod bounds;

pub(super) mod hard_state;

pub(super) mod entry;

/// Longest value given to sled. Pages of larger ones would go into files that sled never syncs.
pub const MAX_VALUE_LEN: usize = 32 * 1024;

/// Bytes of an entry in one value; a longer entry has several.
pub const PART_LEN: usize = MAX_VALUE_LEN - super::value::OVERHEAD - entry::HEAD_LEN;

/// A key with its wrapped value.
pub(super) type Pair = (Vec<u8>, Vec<u8>);
