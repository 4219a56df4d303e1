//! I-02: one request id makes one thing, is answered the same every time, and is refused to another body.

use std::collections::BTreeMap;

use coordinator::{Answer, Request};

use super::{Checker, Fact, Moment, Outcome};
use crate::clients::{PROJECT, id_of};

/// The body that a request id was first answered well for, and the answer.
#[derive(Debug, Default)]
pub(super) struct Requests(BTreeMap<String, (Request, Answer)>);

impl Checker for Requests {
    fn code(&self) -> &'static str {
        "I-02"
    }

    fn see(&mut self, _: &Moment<'_>, fact: &Fact<'_>) -> Result<(), String> {
        let Fact::Answered {
            request, result, ..
        } = fact
        else {
            return Ok(());
        };
        let id = id_of(request);
        // What changes nothing that lasts has none.
        if id.is_empty() {
            return Ok(());
        }
        match (self.0.get(id), result) {
            (None, Ok(answer)) => {
                self.0
                    .insert(id.to_owned(), ((*request).clone(), answer.clone()));
                Ok(())
            }
            (None, Err(_)) => Ok(()),
            (Some((body, _)), Ok(answer)) if body != *request => Err(format!(
                "request id {id} was taken with another body and is answered {answer:?}"
            )),
            (Some((_, first)), Ok(answer)) if first != answer => Err(format!(
                "request id {id} was answered {first:?} and is now answered {answer:?}"
            )),
            (Some((body, first)), Err(refusal))
                if body == *request && !crate::clients::is_passing(refusal) =>
            {
                Err(format!(
                    "request id {id} was answered {first:?} and is now refused: {refusal}"
                ))
            }
            _ => Ok(()),
        }
    }

    fn end(&mut self, outcome: &Outcome<'_>) -> Result<(), String> {
        let ledger = outcome.ledger;
        let executions = ledger
            .executions(PROJECT)
            .map(|found| (found.title.clone(), found.number));
        let pipelines = ledger
            .pipelines(PROJECT)
            .map(|found| (found.title.clone(), found.number));
        let mut made = BTreeMap::new();
        for (title, number) in executions
            .chain(pipelines)
            .filter(|(title, _)| !title.is_empty())
        {
            if let Some(other) = made.insert(title.clone(), number) {
                return Err(format!("{title} made {other} and {number}"));
            }
        }
        Ok(())
    }
}
