//! I-01: what was answered with OK is there, whatever happens afterwards.

use std::collections::BTreeMap;

use coordinator::{Answer, Request};
use ledger::Ledger;

use super::{Checker, Fact, Moment, Outcome};
use crate::clients::{OpId, PROJECT};

/// Every creation that was answered well, and what it made.
#[derive(Debug, Default)]
pub(super) struct Acked(BTreeMap<OpId, (String, Answer)>);

impl Checker for Acked {
    fn code(&self) -> &'static str {
        "I-01"
    }

    fn see(&mut self, _: &Moment<'_>, fact: &Fact<'_>) -> Result<(), String> {
        let Fact::Answered {
            op,
            request,
            result: Ok(answer),
            ledger,
        } = fact
        else {
            return Ok(());
        };
        let title = match request {
            Request::CreatePipeline(request) => &request.title,
            Request::CreateExecution(request) => &request.title,
            _ => return Ok(()),
        };
        present(ledger, title, answer)?;
        self.0.insert(*op, (title.clone(), (*answer).clone()));
        Ok(())
    }

    fn end(&mut self, outcome: &Outcome<'_>) -> Result<(), String> {
        self.0
            .values()
            .try_for_each(|(title, answer)| present(outcome.ledger, title, answer))
    }
}

fn present(ledger: &Ledger, title: &str, answer: &Answer) -> Result<(), String> {
    let found = match answer {
        Answer::Pipeline { number, .. } => ledger
            .pipeline(PROJECT, *number)
            .map(|found| found.title.clone()),
        Answer::Execution { number, .. } => ledger
            .execution(PROJECT, *number)
            .map(|found| found.title.clone()),
        Answer::Member { member_id } => {
            return match ledger.member(*member_id) {
                Some(_) => Ok(()),
                None => Err(format!("member {member_id} was answered and is not known")),
            };
        }
        Answer::Token { token_id } => {
            return match ledger.token(token_id) {
                Some(_) => Ok(()),
                None => Err(format!("token {token_id} was answered and is not known")),
            };
        }
        Answer::Joined { .. } | Answer::Explained { .. } | Answer::Valid { .. } => None,
    };
    match found {
        Some(found) if *found == *title => Ok(()),
        found => Err(format!(
            "{title} was answered {answer:?}; there is {found:?} at revision {}",
            ledger.revision()
        )),
    }
}
