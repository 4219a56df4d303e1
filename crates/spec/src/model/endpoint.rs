//! `endpoint`: a service that a deployment can serve.

use crate::model::Resources;
use crate::span::{Span, Spanned};
use crate::value::Number;

/// A service over HTTP.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Endpoint {
    /// The whole item.
    pub span: Span,
    /// Lower case letters, digits and dashes; at least two characters.
    pub name: Spanned<String>,
    /// The container image.
    pub image: Spanned<String>,
    /// Starts the server. Exactly one of this and `wsgi` is given.
    pub server_command: Option<Vec<Spanned<String>>>,
    /// `package.module` or `package.module:callable`.
    pub wsgi: Option<Spanned<String>>,
    /// Files that the service reads.
    pub files: Vec<EndpointFile>,
    /// 1025 to 65535; 8000 unless said.
    pub port: Option<Spanned<Number>>,
    /// `key=value` of the Kubernetes nodes that may serve.
    pub node_selector: Option<Spanned<String>>,
    /// What the service needs of a machine.
    pub resources: Option<Resources>,
    /// Kubernetes taints that it tolerates.
    pub tolerations: Vec<Toleration>,
    /// Volumes that it shares with others.
    pub shared_volumes: Vec<SharedVolume>,
    /// A volume of its own.
    pub workspace_volume: Option<WorkspaceVolume>,
    /// For people.
    pub description: Option<String>,
}

/// A file that an endpoint reads.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EndpointFile {
    /// What edges call it.
    pub name: Spanned<String>,
    /// Relative to the service's working directory.
    pub path: Spanned<String>,
    /// For people.
    pub description: Option<String>,
}

/// A Kubernetes toleration.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Toleration {
    /// The whole item.
    pub span: Span,
    /// Absent only with the operator `Exists`.
    pub key: Option<Spanned<String>>,
    /// `Exists` or `Equal`.
    pub operator: Option<Spanned<String>>,
    /// `PreferNoSchedule`, `NoSchedule` or `NoExecute`.
    pub effect: Option<Spanned<String>>,
    /// What the taint must equal.
    pub value: Option<Spanned<String>>,
}

/// A volume claim mounted into an endpoint.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SharedVolume {
    /// The whole item.
    pub span: Span,
    /// Name of the claim.
    pub pvc_name: Spanned<String>,
    /// Where it appears; absolute.
    pub mount_path: Spanned<String>,
    /// Directory of the volume; relative.
    pub sub_path: Option<Spanned<String>>,
    /// Whether the service may write there.
    pub read_only: bool,
}

/// A volume made for one endpoint.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct WorkspaceVolume {
    /// The whole item.
    pub span: Span,
    /// Where it appears; absolute.
    pub mount_path: Spanned<String>,
    /// GiB, at least 1.
    pub size_gib: Spanned<i128>,
    /// Kind of storage.
    pub storage_class_name: Option<Spanned<String>>,
}
