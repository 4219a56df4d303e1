//! I-03: what clients were told of each execution could have happened one operation at a time.

use check::models::Life;
use check::{Limit, Verdict, linearizable};

use super::{Checker, Fact, Moment, Outcome};

/// Looks at the histories in the end. That a fresh read is not older than anything published before it is seen where it is answered.
#[derive(Debug)]
pub(super) struct Linear;

impl Checker for Linear {
    fn code(&self) -> &'static str {
        "I-03"
    }

    fn see(&mut self, _: &Moment<'_>, _: &Fact<'_>) -> Result<(), String> {
        Ok(())
    }

    fn end(&mut self, outcome: &Outcome<'_>) -> Result<(), String> {
        for (number, history) in outcome.history.of_each() {
            // What a pipeline makes is made when nobody asks for it.
            let is_alone = outcome
                .ledger
                .execution(crate::clients::PROJECT, number)
                .is_some_and(|execution| execution.pipeline == 0);
            if !is_alone {
                continue;
            }
            match linearizable(&Life, history, Limit::default()) {
                Verdict::Linearizable(_) => {}
                verdict => {
                    return Err(format!(
                        "what was told of #{number} is not possible: {verdict:?} of {history:?}"
                    ));
                }
            }
        }
        Ok(())
    }
}
