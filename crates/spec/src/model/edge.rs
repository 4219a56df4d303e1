//! `edges` of a pipeline: what one node hands to another.

use std::fmt;

use crate::span::Span;
use crate::value::Value;

/// From one socket to another.
#[derive(Clone, Debug, PartialEq)]
pub struct Edge {
    /// The whole item.
    pub span: Span,
    /// Where it comes from.
    pub source: Socket,
    /// Where it goes.
    pub target: Socket,
    /// Free settings, passed through.
    pub configuration: Vec<(Value, Value)>,
}

/// One end of an edge: `node.kind.key`, cut at the first two dots, so that keys may contain dots.
#[derive(Clone, Debug, PartialEq)]
pub struct Socket {
    /// The whole text.
    pub span: Span,
    /// Name of the node.
    pub node: String,
    /// What of the node. A plural in the file is the singular here.
    pub kind: SocketKind,
    /// Which one; of outputs it may be a pattern.
    pub key: String,
}

/// What of a node an edge begins or ends at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SocketKind {
    /// Order only; the key means nothing.
    Dependency,
    /// Identifiers of what was deployed.
    Deployment,
    /// A variable of the environment.
    EnvironmentVariable,
    /// A file of an endpoint.
    File,
    /// Files of an input.
    Input,
    /// The latest value of a metadata key.
    Metadata,
    /// Outputs whose path matches the key.
    Output,
    /// The value of a parameter.
    Parameter,
}

impl SocketKind {
    /// All of them, by name.
    pub const ALL: [SocketKind; 8] = [
        SocketKind::Dependency,
        SocketKind::Deployment,
        SocketKind::EnvironmentVariable,
        SocketKind::File,
        SocketKind::Input,
        SocketKind::Metadata,
        SocketKind::Output,
        SocketKind::Parameter,
    ];

    /// The word in the file.
    pub fn word(self) -> &'static str {
        match self {
            SocketKind::Dependency => "dependency",
            SocketKind::Deployment => "deployment",
            SocketKind::EnvironmentVariable => "environment-variable",
            SocketKind::File => "file",
            SocketKind::Input => "input",
            SocketKind::Metadata => "metadata",
            SocketKind::Output => "output",
            SocketKind::Parameter => "parameter",
        }
    }
}

impl fmt::Display for SocketKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl fmt::Display for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.node, self.kind, self.key)
    }
}
