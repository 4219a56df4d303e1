//! What steps on the bridge cannot reach: the machine itself, the address at which clouds tell a machine its secrets, and the coordinators.
//!
//! By the machine's packet filter, where this process may change it. Rules are added once and stay: they name our bridge alone. That steps do
//! not reach each other is the bridge's own matter.

use std::net::SocketAddr;
use std::process::{Command, Stdio};

/// Our bridge, as the packet filter knows it.
pub(super) const BRIDGE: &str = "shoal0";

/// Adds the rules that are missing. What could not be added, in words for people.
pub(super) fn close(coordinators: &[SocketAddr]) -> Result<(), String> {
    let from = ["-i", BRIDGE];
    // To others, through this machine. The chain is asked first by Docker's own rules.
    let mut forbidden: Vec<Vec<String>> = vec![words(&["-d", "169.254.0.0/16"])];
    for coordinator in coordinators.iter().filter(|one| one.is_ipv4()) {
        let (host, port) = (coordinator.ip().to_string(), coordinator.port().to_string());
        forbidden.push(words(&["-d", &host, "-p", "tcp", "--dport", &port]));
    }
    for rule in forbidden {
        let mut all = words(&from);
        all.extend(rule);
        all.extend(words(&["-j", "DROP"]));
        insert("DOCKER-USER", &all)?;
    }
    // To this machine: answers and names only. The last that is inserted is asked first.
    let here: [&[&str]; 4] = [
        &["-j", "DROP"],
        &["-p", "udp", "--dport", "53", "-j", "ACCEPT"],
        &["-p", "tcp", "--dport", "53", "-j", "ACCEPT"],
        &[
            "-m",
            "conntrack",
            "--ctstate",
            "ESTABLISHED,RELATED",
            "-j",
            "ACCEPT",
        ],
    ];
    for rule in here {
        let mut all = words(&from);
        all.extend(words(rule));
        insert("INPUT", &all)?;
    }
    Ok(())
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

/// Inserts a rule at the head of a chain, unless it is there.
fn insert(chain: &str, rule: &[String]) -> Result<(), String> {
    match iptables("-C", chain, rule) {
        Ok(()) => Ok(()),
        Err(_) => iptables("-I", chain, rule),
    }
}

fn iptables(what: &str, chain: &str, rule: &[String]) -> Result<(), String> {
    let output = Command::new("iptables")
        .args(["-w", "5", what, chain])
        .args(rule)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("iptables: {error}"))?;
    match output.status.success() {
        true => Ok(()),
        false => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
    }
}
