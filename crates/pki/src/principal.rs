//! Principals: who speaks, as certificates name them.

use std::fmt;
use std::sync::Arc;

/// What a principal is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// A member of the Raft group; named by its id.
    Coordinator,
    /// A worker.
    Worker,
    /// A person or program that runs pipelines.
    User,
    /// A user who may also change the cluster.
    Admin,
}

impl Role {
    /// Its name, as people write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Coordinator => "coordinator",
            Self::Worker => "worker",
            Self::User => "user",
            Self::Admin => "admin",
        }
    }

    /// Where in the cluster its names stand: administrators are users.
    fn collection(self) -> &'static str {
        match self {
            Self::Admin => Self::User.as_str(),
            role => role.as_str(),
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Who speaks. Certificates carry it as `spiffe://{cluster}/{collection}/{name}`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Principal {
    /// UUID of the cluster.
    pub cluster: Arc<str>,
    /// What it is.
    pub role: Role,
    /// Its name; of a coordinator, its id.
    pub name: Arc<str>,
}

impl Principal {
    /// A principal of a cluster.
    pub fn new(cluster: &str, role: Role, name: &str) -> Self {
        Self {
            cluster: Arc::from(cluster),
            role,
            name: Arc::from(name),
        }
    }

    /// Its address: `spiffe://{cluster}/worker/gpu-1`.
    pub fn uri(&self) -> String {
        format!("spiffe://{}/{}", self.cluster, self)
    }

    /// Reads an address; `admin` says whether a user is an administrator.
    pub fn parse(uri: &str, admin: bool) -> Option<Self> {
        let (cluster, path) = uri.strip_prefix("spiffe://")?.split_once('/')?;
        let (collection, name) = path.split_once('/')?;
        let role = match (collection, admin) {
            ("coordinator", false) => Role::Coordinator,
            ("worker", false) => Role::Worker,
            ("user", false) => Role::User,
            ("user", true) => Role::Admin,
            _ => return None,
        };
        let plain = |text: &str| {
            !text.is_empty()
                && text
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
        };
        (plain(cluster) && plain(name)).then(|| Self::new(cluster, role, name))
    }

    /// The Raft id of a coordinator; none of others.
    pub fn member_id(&self) -> Option<u64> {
        match self.role {
            Role::Coordinator => self.name.parse().ok(),
            Role::Worker | Role::User | Role::Admin => None,
        }
    }
}

impl fmt::Display for Principal {
    /// `worker/gpu-1`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.role.collection(), self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_go_there_and_back() {
        for (role, expected) in [
            (Role::Coordinator, "spiffe://c/coordinator/7"),
            (Role::Worker, "spiffe://c/worker/7"),
            (Role::User, "spiffe://c/user/7"),
            (Role::Admin, "spiffe://c/user/7"),
        ] {
            let principal = Principal::new("c", role, "7");
            assert_eq!(principal.uri(), expected);
            let admin = role == Role::Admin;
            assert_eq!(Principal::parse(expected, admin), Some(principal));
        }
        for bad in [
            "spiffe://c/worker/",
            "spiffe:///worker/a",
            "spiffe://c/admin/a",
            "spiffe://c/worker/a/b",
            "https://c/worker/a",
            "spiffe://c/worker/a b",
        ] {
            assert_eq!(Principal::parse(bad, false), None, "{bad}");
        }
        assert_eq!(Principal::parse("spiffe://c/worker/a", true), None);
        let member = |role| Principal::new("c", role, "7").member_id();
        assert_eq!(member(Role::Coordinator), Some(7));
        assert_eq!(member(Role::Worker), None);
    }
}
