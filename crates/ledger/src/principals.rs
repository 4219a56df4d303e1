//! Who may speak: join tokens, and certificates that do not count any more.

use crate::ledger::Ledger;
use crate::records::{Revocation, Token};

impl Ledger {
    /// The join token of that id.
    pub fn token(&self, token_id: &str) -> Option<&Token> {
        self.tokens.get(token_id).map(|token| &**token)
    }

    /// Every join token that is still shown, by id.
    pub fn tokens(&self) -> impl DoubleEndedIterator<Item = &Token> {
        self.tokens.values().map(|token| &**token)
    }

    /// Every principal that had certificates revoked, by name.
    pub fn revocations(&self) -> impl DoubleEndedIterator<Item = &Revocation> {
        self.revocations.values()
    }

    /// Whether the certificates of a principal (`worker/{name}`, `user/{name}`, `coordinator/{id}`) that joined at `index` count no
    /// more.
    pub fn is_revoked(&self, principal: &str, index: u64) -> bool {
        let revocation = self.revocations.get(principal);
        revocation.is_some_and(|revocation| index <= revocation.index)
    }
}
