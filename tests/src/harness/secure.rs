//! Clusters that speak TLS: coordinators and workers that join with tokens.

use std::fs;
use std::path::PathBuf;

use super::{Finished, Place, Process};

/// A place whose cluster speaks TLS.
#[derive(Debug)]
pub struct Secure {
    /// Where everything is.
    pub place: Place,
    /// Address of the founder.
    pub address: String,
    /// The founder.
    pub founder: Process,
}

impl Secure {
    /// A coordinator that has founded a cluster, with these options beside.
    pub fn new(name: &str, options: &[&str]) -> Self {
        let place = Place::new(name);
        let (founder, address) = start_founder(&place, "127.0.0.1:0", options);
        Self {
            place,
            address,
            founder,
        }
    }

    /// Ends the founder, and starts it again where it was.
    pub fn restart_founder(&mut self, options: &[&str]) {
        assert!(self.founder.terminate().success());
        self.founder = start_founder(&self.place, &self.address, options).0;
    }

    /// The context of the first administrator.
    pub fn admin(&self) -> PathBuf {
        self.place.path().join("founder/tls/admin.toml")
    }

    /// Runs a command as the administrator.
    pub fn as_admin(&self, arguments: &[&str]) -> Finished {
        self.as_whom(&self.admin().display().to_string(), arguments)
    }

    /// Runs a command in a context, by its name or its file.
    pub fn as_whom(&self, context: &str, arguments: &[&str]) -> Finished {
        let context = format!("--context={context}");
        self.place.run(&[&[&*context], arguments].concat())
    }

    /// A new token.
    #[track_caller]
    pub fn token(&self, arguments: &[&str]) -> String {
        let made = self.as_admin(&[&["token", "create"], arguments].concat());
        made.succeeds().text().trim().to_owned()
    }

    /// The arguments of a worker.
    pub fn worker(&self, name: &str, token: Option<&str>) -> Vec<String> {
        let mut arguments = vec![
            "worker".to_owned(),
            "--slots=2".to_owned(),
            format!("--name={name}"),
            format!("--coordinator={}", self.address),
            format!("--data-dir={}", self.place.path().join(name).display()),
        ];
        arguments.extend(token.map(|token| format!("--join-token={token}")));
        arguments
    }

    /// Starts a worker, and waits until it serves.
    pub fn start_worker(&self, name: &str, token: Option<&str>) -> Process {
        let arguments = self.worker(name, token);
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let mut process = self.place.start(&arguments);
        process.wait_for("serves blobs on");
        process
    }

    /// Runs a worker that does not come up.
    pub fn run_worker(&self, name: &str, token: Option<&str>) -> Finished {
        let arguments = self.worker(name, token);
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        self.place.run(&arguments)
    }
}

fn start_founder(place: &Place, listen: &str, options: &[&str]) -> (Process, String) {
    let file = place.path().join("founder.address");
    let data = format!("--data-dir={}", place.path().join("founder").display());
    let listen = format!("--listen={listen}");
    let address = format!("--address-file={}", file.display());
    let own = [
        "coordinator",
        "--bootstrap",
        "--tls",
        &data,
        &listen,
        &address,
    ];
    let mut process = place.start(&[&own, options].concat());
    process.wait_for("coordinator serves on");
    let address = fs::read_to_string(file).expect("the coordinator wrote where it serves");
    (process, address)
}
