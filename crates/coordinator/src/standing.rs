//! The coordinators as workers are told of them, numbered by change, so that who was told what is one comparison.

use contract::link;

/// See the module's words.
#[derive(Debug, Default)]
pub(crate) struct Standing {
    members: Vec<link::Coordinator>,
    is_known: bool,
    number: u64,
}

impl Standing {
    /// The coordinators are these. Some whose address is not known yet make it unknown: workers go by what they were told before.
    pub(crate) fn set<'a>(&mut self, members: impl Iterator<Item = (u64, &'a str)> + Clone) {
        let same = |(one, (id, address)): (&link::Coordinator, (u64, &str))| {
            one.member_id == id && one.address == address
        };
        if members.clone().count() == self.members.len()
            && self.members.iter().zip(members.clone()).all(same)
        {
            return;
        }
        self.number += 1;
        self.members = members
            .map(|(member_id, address)| link::Coordinator {
                member_id,
                address: address.to_owned(),
            })
            .collect();
        self.is_known = self.members.iter().all(|one| !one.address.is_empty());
    }

    /// Rises with every change; 0 before the first.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// The coordinators; none while not all of their addresses are known.
    pub(crate) fn coordinators(&self) -> &[link::Coordinator] {
        if self.is_known { &self.members } else { &[] }
    }

    /// Where they serve, as far as that is known.
    pub(crate) fn addresses(&self) -> Vec<String> {
        let addresses = self.members.iter().map(|one| one.address.clone());
        addresses.filter(|address| !address.is_empty()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::Standing;

    #[test]
    fn a_change_is_one_number_and_half_is_not_told() {
        let mut standing = Standing::default();
        let two = [(1, "a:1"), (2, "")];
        standing.set(two.into_iter());
        standing.set(two.into_iter());
        assert_eq!((standing.number(), standing.coordinators().len()), (1, 0));
        assert_eq!(standing.addresses(), ["a:1"]);
        standing.set([(1, "a:1"), (2, "b:1")].into_iter());
        assert_eq!((standing.number(), standing.coordinators().len()), (2, 2));
        assert_eq!(standing.addresses(), ["a:1", "b:1"]);
    }
}
