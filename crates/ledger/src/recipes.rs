//! Every recipe, held once.

use std::sync::Arc;

use imbl::OrdMap;

use crate::records::Recipe;

/// Recipes by their digest. Executions are never removed, so recipes are not either.
#[derive(Clone, Debug, Default)]
pub(crate) struct Recipes {
    known: OrdMap<[u8; 32], Arc<Recipe>>,
}

impl Recipes {
    /// The recipe as it is shared.
    pub(crate) fn share(&mut self, recipe: Recipe) -> Arc<Recipe> {
        let digest = recipe.digest();
        if let Some(known) = self.known.get(&digest) {
            return known.clone();
        }
        let recipe = Arc::new(recipe);
        self.known.insert(digest, recipe.clone());
        recipe
    }
}
