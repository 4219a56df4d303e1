//! The settings of a machine's daemons: one TOML file, a section for each. What is given on the command line counts more.
//!
//! ```toml
//! [coordinator]
//! data_dir = "/var/lib/shoal/coordinator"
//! listen = "0.0.0.0:7461"
//! advertise = "10.0.0.1:7461"
//! join = ["10.0.0.2:7461", "10.0.0.3:7461"]
//! ```

use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::{Table, Value};

use crate::args::{Coordinator, Security, Worker};
use crate::{Failure, containers, place, pools};

/// Sections, and what stands in each.
const SECTIONS: [(&str, &[&str]); 3] = [
    (
        "coordinator",
        &[
            "data_dir",
            "listen",
            "advertise",
            "bootstrap",
            "founder",
            "join",
            "admission",
            "lost_after",
            "on_disconnect",
            "stop_grace",
            "snapshot_entries",
            "raft_log",
            "keep_logs",
            "keep_logs_bytes",
            "max_feature_level",
            "tls",
            "insecure",
            "join_token_file",
            "worker_certificates",
            "coordinator_certificates",
            "user_certificates",
            "metrics",
            "address_file",
        ],
    ),
    (
        "worker",
        &[
            "coordinators",
            "data_dir",
            "name",
            "listen",
            "advertise",
            "slots",
            "environments",
            "provisioned",
            "on_disconnect",
            "disk_reserve",
            "blob_cache",
            "runtime",
            "devices",
            "devices_file",
            "device_readings",
            "measure_every",
            "log_limit",
            "insecure",
            "join_token_file",
            "metrics",
            "address_file",
        ],
    ),
    ("containers", containers::KEYS),
];

/// One section of a file that was read and checked.
pub struct Section {
    file: PathBuf,
    name: &'static str,
    values: Table,
    pools: Option<Value>,
}

impl Section {
    /// Reads a section of a file. All of the file is checked, so that a mistake in another section does not wait for the daemon
    /// that reads that one.
    ///
    /// # Errors
    /// When the file is not TOML, or has a section or a key that nobody knows.
    pub fn read(file: &Path, name: &'static str) -> Result<Self, Failure> {
        let text = String::from_utf8(place::read(file)?)
            .map_err(|_| Failure::usage(format!("{} is not UTF-8", file.display())))?;
        let mut sections = check(file, &text)?;
        let pools = sections.remove(pools::SECTION);
        let values = match sections.remove(name) {
            Some(Value::Table(values)) => values,
            _ => Table::new(),
        };
        Ok(Self {
            file: file.to_owned(),
            name,
            values,
            pools,
        })
    }

    /// What the file says of pools, as it was checked.
    pub fn pools(&self) -> Option<&Value> {
        self.pools.as_ref()
    }

    /// Puts what the file says where the command line says nothing.
    ///
    /// # Errors
    /// When a value is of another kind than its key needs.
    fn policy(&self, into: &mut Option<node::OnDisconnect>) -> Result<(), Failure> {
        let expected = "keep_running, wait or stop_after=35s";
        let value = self.get("on_disconnect", expected, |value| {
            value.as_str()?.parse().ok()
        })?;
        *into = into.or(value);
        Ok(())
    }

    /// A text.
    ///
    /// # Errors
    /// When it is none.
    pub(crate) fn text(&self, key: &str, into: &mut Option<String>) -> Result<(), Failure> {
        if let Some(value) = self.get(key, "text", |value| value.as_str().map(str::to_owned))? {
            into.get_or_insert(value);
        }
        Ok(())
    }

    /// How a daemon speaks to others. A token on the command line counts more than a file with one.
    fn security(&self, into: &mut Security) -> Result<(), Failure> {
        self.switch("insecure", &mut into.insecure)?;
        if into.join_token.is_none() {
            self.path("join_token_file", &mut into.join_token_file)?;
        }
        if into.insecure && (into.join_token.is_some() || into.join_token_file.is_some()) {
            return Err(Failure::usage(format!(
                "{}: {}.insecure: a token to join is of no use without TLS",
                self.file.display(),
                self.name
            )));
        }
        Ok(())
    }

    /// A time such as 90d.
    fn time(&self, key: &str, into: &mut Option<Duration>) -> Result<(), Failure> {
        let read = |value: &Value| crate::args::time(value.as_str()?).ok();
        let value = self.get(key, "a time such as 90d", read)?;
        *into = into.or(value);
        Ok(())
    }

    fn path(&self, key: &str, into: &mut Option<PathBuf>) -> Result<(), Failure> {
        if let Some(value) = self.get(key, "a path", |value| value.as_str().map(PathBuf::from))? {
            into.get_or_insert(value);
        }
        Ok(())
    }

    /// What is read from a text, of which there are those that `expected` says.
    ///
    /// # Errors
    /// When it is none of them.
    pub(crate) fn parsed<T: std::str::FromStr>(
        &self,
        key: &str,
        expected: &str,
        into: &mut Option<T>,
    ) -> Result<(), Failure> {
        let value = self.get(key, expected, |value| value.as_str()?.parse().ok())?;
        if into.is_none() {
            *into = value;
        }
        Ok(())
    }

    /// What the file may switch on, and the command line cannot switch off.
    ///
    /// # Errors
    /// When it is neither true nor false.
    pub(crate) fn switch(&self, key: &str, into: &mut bool) -> Result<(), Failure> {
        let value = self.get(key, "true or false", Value::as_bool)?;
        *into |= value.unwrap_or_default();
        Ok(())
    }

    /// Texts, where there are none yet.
    ///
    /// # Errors
    /// When something else is there.
    pub(crate) fn list(&self, key: &str, into: &mut Vec<String>) -> Result<(), Failure> {
        let strings = |value: &Value| {
            let items = value.as_array()?.iter();
            items.map(|item| item.as_str().map(str::to_owned)).collect()
        };
        if let Some(values) = self.get::<Vec<String>>(key, "a list of texts", strings)?
            && into.is_empty()
        {
            *into = values;
        }
        Ok(())
    }

    /// A number of seconds.
    ///
    /// # Errors
    /// When it is none, or below zero.
    pub fn seconds(&self, key: &str) -> Result<Option<f64>, Failure> {
        self.get(key, "a number of seconds, 0 or more", |value| {
            let number = value
                .as_float()
                .or(value.as_integer().map(|whole| whole as f64));
            number.filter(|seconds| *seconds >= 0.0)
        })
    }

    /// A count.
    ///
    /// # Errors
    /// When it is none, or below one.
    pub fn count(&self, key: &str) -> Result<Option<u64>, Failure> {
        self.get(key, "a number, 1 or more", |value| {
            u64::try_from(value.as_integer()?)
                .ok()
                .filter(|count| *count > 0)
        })
    }

    fn get<T>(
        &self,
        key: &str,
        expected: &str,
        read: impl Fn(&Value) -> Option<T>,
    ) -> Result<Option<T>, Failure> {
        let Some(value) = self.values.get(key) else {
            return Ok(None);
        };
        read(value).map(Some).ok_or_else(|| {
            Failure::usage(format!(
                "{}: {}.{key} must be {expected}, got {value}",
                self.file.display(),
                self.name
            ))
        })
    }
}

/// Fills in a coordinator's settings.
///
/// # Errors
/// When a value is of another kind than its key needs.
pub fn coordinator(section: &Section, arguments: &mut Coordinator) -> Result<(), Failure> {
    section.path("data_dir", &mut arguments.data_dir)?;
    section.text("listen", &mut arguments.listen)?;
    section.text("advertise", &mut arguments.advertise)?;
    let bootstrap = section.get("bootstrap", "true or false", Value::as_bool)?;
    arguments.bootstrap |= bootstrap.unwrap_or_default() && arguments.join.is_empty();
    if !arguments.bootstrap {
        section.text("founder", &mut arguments.founder)?;
        section.list("join", &mut arguments.join)?;
    }
    section.text("admission", &mut arguments.admission)?;
    arguments.lost_after = match arguments.lost_after {
        None => section.seconds("lost_after")?,
        given => given,
    };
    section.policy(&mut arguments.on_disconnect)?;
    let kind = |value: &Value| value.as_str()?.parse().ok();
    let raft_log = section.get("raft_log", "file or sled", kind)?;
    arguments.raft_log = arguments.raft_log.or(raft_log);
    section.time("keep_logs", &mut arguments.keep_logs)?;
    section.time("worker_certificates", &mut arguments.worker_certificates)?;
    section.time(
        "coordinator_certificates",
        &mut arguments.coordinator_certificates,
    )?;
    section.time("user_certificates", &mut arguments.user_certificates)?;
    section.switch("tls", &mut arguments.tls)?;
    section.security(&mut arguments.security)?;
    section.text("metrics", &mut arguments.metrics)?;
    let bytes = section.get("keep_logs_bytes", "a size such as 20GiB", |value| {
        let number = value.as_integer().and_then(|n| u64::try_from(n).ok());
        number.or_else(|| node::parse_bytes(value.as_str()?).ok())
    })?;
    arguments.keep_logs_bytes = arguments.keep_logs_bytes.or(bytes);
    let level = section.get("max_feature_level", "a number, 0 or more", |value| {
        u32::try_from(value.as_integer()?).ok()
    })?;
    arguments.max_feature_level = arguments.max_feature_level.or(level);
    section.path("address_file", &mut arguments.address_file)
}

/// Fills in a worker's settings.
///
/// # Errors
/// When a value is of another kind than its key needs.
pub fn worker(section: &Section, arguments: &mut Worker) -> Result<(), Failure> {
    section.list("coordinators", &mut arguments.coordinator)?;
    section.path("data_dir", &mut arguments.data_dir)?;
    section.text("name", &mut arguments.name)?;
    section.text("listen", &mut arguments.listen)?;
    section.text("advertise", &mut arguments.advertise)?;
    arguments.slots = match arguments.slots {
        None => section
            .count("slots")?
            .map(|slots| u32::try_from(slots).unwrap_or(u32::MAX)),
        given => given,
    };
    section.list("environments", &mut arguments.environments)?;
    section.switch("provisioned", &mut arguments.provisioned)?;
    section.policy(&mut arguments.on_disconnect)?;
    if let Some(mib) = section.count("disk_reserve")? {
        arguments.disk_reserve.get_or_insert(mib);
    }
    if let Some(mib) = section.count("blob_cache")? {
        arguments.blob_cache.get_or_insert(mib);
    }
    section.path("device_readings", &mut arguments.device_readings)?;
    if let Some(seconds) = section.seconds("measure_every")? {
        arguments.measure_every.get_or_insert(seconds);
    }
    let limit = section.get("log_limit", "a number of MiB, 0 or more", |value| {
        u64::try_from(value.as_integer()?).ok()
    })?;
    arguments.log_limit = arguments.log_limit.or(limit);
    section.text("runtime", &mut arguments.containers.runtime)?;
    section.security(&mut arguments.security)?;
    section.text("metrics", &mut arguments.metrics)?;
    if arguments.devices_file.is_none() {
        section.list("devices", &mut arguments.devices)?;
    }
    if arguments.devices.is_empty() {
        section.path("devices_file", &mut arguments.devices_file)?;
    }
    section.path("address_file", &mut arguments.address_file)
}

/// Reads the file and checks that everything in it is known.
fn check(file: &Path, text: &str) -> Result<Table, Failure> {
    let table: Table = text
        .parse()
        .map_err(|error: toml::de::Error| Failure::usage(format!("{}: {error}", file.display())))?;
    let unknown = |what: &str, mistaken: &str, known: &mut dyn Iterator<Item = &'static str>| {
        let known: Vec<&str> = known.collect();
        let hint = match spec::nearest::nearest(mistaken, known.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("there are {}", known.join(", ")),
        };
        Failure::usage(format!(
            "{}: {what} `{mistaken}` is not known",
            file.display()
        ))
        .hint(hint)
    };
    for (section, values) in &table {
        // Its keys are the operator's own: `pools` looks at what stands below them.
        if section == pools::SECTION {
            continue;
        }
        let Some((_, keys)) = SECTIONS.iter().find(|(name, _)| name == section) else {
            let mut names = SECTIONS.iter().map(|(name, _)| *name);
            return Err(unknown("the section", section, &mut names));
        };
        let Value::Table(values) = values else {
            return Err(Failure::usage(format!(
                "{}: `{section}` must be a section, [{section}]",
                file.display()
            )));
        };
        if let Some(mistaken) = values.keys().find(|key| !keys.contains(&key.as_str())) {
            let what = format!("in [{section}], the key");
            return Err(unknown(&what, mistaken, &mut keys.iter().copied()));
        }
    }
    pools::check(file, table.get(pools::SECTION))?;
    Ok(table)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use expect_test::{Expect, expect};

    use super::*;

    fn refused(text: &str, expected: Expect) {
        let failure = check(Path::new("shoal.toml"), text).unwrap_err();
        expected.assert_eq(&failure.to_string());
    }

    #[test]
    fn what_nobody_knows_is_refused_with_the_nearest_name() {
        refused(
            "[coordinator]\nlisten_adress = 'x'\n",
            expect![[r#"
                error: shoal.toml: in [coordinator], the key `listen_adress` is not known
                  hint: there are data_dir, listen, advertise, bootstrap, founder, join, admission, lost_after, on_disconnect, stop_grace, snapshot_entries, raft_log, keep_logs, keep_logs_bytes, max_feature_level, tls, insecure, join_token_file, worker_certificates, coordinator_certificates, user_certificates, metrics, address_file
            "#]],
        );
        refused(
            "[worker]\nslot = 2\n",
            expect![[r#"
                error: shoal.toml: in [worker], the key `slot` is not known
                  hint: did you mean `slots`?
            "#]],
        );
        refused(
            "[cordinator]\n",
            expect![[r#"
                error: shoal.toml: the section `cordinator` is not known
                  hint: did you mean `coordinator`?
            "#]],
        );
    }

    #[test]
    fn a_token_is_of_no_use_without_tls() {
        let section = Section {
            file: PathBuf::from("shoal.toml"),
            name: "worker",
            values: "join_token_file = 'token'\ninsecure = true"
                .parse()
                .unwrap(),
            pools: None,
        };
        let mut security = Security {
            join_token: None,
            join_token_file: None,
            insecure: false,
        };
        let failure = section.security(&mut security).unwrap_err().to_string();
        assert!(failure.contains("worker.insecure"), "{failure}");
        // What is typed counts more: the file's token is not looked at.
        let section = Section {
            values: "join_token_file = 'token'".parse().unwrap(),
            ..section
        };
        let mut security = Security {
            join_token: Some("jt1".to_owned()),
            join_token_file: None,
            insecure: false,
        };
        section.security(&mut security).unwrap();
        assert_eq!(security.join_token_file, None);
    }

    #[test]
    fn the_command_line_counts_more_than_the_file() {
        let values = "listen = 'file:1'\nadvertise = 'file:2'\nlost_after = 5\non_disconnect = 'wait'\nraft_log = 'sled'\nkeep_logs = '30d'\nkeep_logs_bytes = '20GiB'";
        let section = Section {
            file: PathBuf::from("shoal.toml"),
            name: "coordinator",
            values: values.parse().unwrap(),
            pools: None,
        };
        let typed = [
            "shoal",
            "coordinator",
            "--data-dir=given",
            "--listen=given:1",
        ];
        let crate::args::Command::Coordinator(mut arguments) =
            <crate::args::Cli as clap::Parser>::parse_from(typed).command
        else {
            panic!("another command");
        };
        coordinator(&section, &mut arguments).unwrap();
        assert_eq!(arguments.listen.as_deref(), Some("given:1"));
        assert_eq!(arguments.advertise.as_deref(), Some("file:2"));
        assert_eq!(arguments.lost_after, Some(5.0));
        assert_eq!(arguments.on_disconnect, Some(node::OnDisconnect::Wait));
        assert_eq!(arguments.raft_log, Some(node::RaftLog::Sled));
        let day = std::time::Duration::from_secs(86_400);
        assert_eq!(arguments.keep_logs, Some(30 * day));
        assert_eq!(arguments.keep_logs_bytes, Some(20 << 30));
        let wrong = Section {
            values: "slots = 'many'".parse().unwrap(),
            name: "worker",
            file: PathBuf::from("shoal.toml"),
            pools: None,
        };
        assert!(wrong.count("slots").is_err());
    }

    #[test]
    fn a_worker_s_bounds_are_read_and_what_is_typed_counts_more() {
        // What is typed, what the file says: the bound of the blobs.
        let table = [
            ("--slots=1", "", None),
            ("--slots=1", "blob_cache = 512", Some(512)),
            ("--blob-cache=64", "blob_cache = 512", Some(64)),
            ("--blob-cache=64", "", Some(64)),
        ];
        for (typed, values, expected) in table {
            let section = Section {
                file: PathBuf::from("shoal.toml"),
                name: "worker",
                values: values.parse().unwrap(),
                pools: None,
            };
            let typed = [
                "shoal",
                "worker",
                "--coordinator=c:1",
                "--data-dir=d",
                typed,
            ];
            let crate::args::Command::Worker(mut arguments) =
                <crate::args::Cli as clap::Parser>::parse_from(typed).command
            else {
                panic!("another command");
            };
            worker(&section, &mut arguments).unwrap();
            assert_eq!(arguments.blob_cache, expected, "{typed:?} {values}");
        }
    }
}
