//! How records flow: numbering, acks, seals, cursors.
