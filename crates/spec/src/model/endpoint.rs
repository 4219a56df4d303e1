//! `endpoint`: a service that a deployment can serve.

use crate::diagnostic::Code;
use crate::model::Resources;
use crate::reader::{Reader, boolean, choice, integer, number, text, texts, words};
use crate::span::{Span, Spanned};
use crate::value::Number;
use crate::yaml::Node;
use std::collections::BTreeSet;

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

/// Ports that a service may listen on.
const PORTS: std::ops::RangeInclusive<f64> = 1025.0..=65535.0;

impl Endpoint {
    pub(crate) fn read(reader: &mut Reader, node: &Node) -> Endpoint {
        let mut fields = reader.fields(
            node,
            "an endpoint",
            &[
                "name",
                "image",
                "server-command",
                "wsgi",
                "files",
                "port",
                "node-selector",
                "resources",
                "tolerations",
                "shared-volumes",
                "workspace-volume",
                "description",
            ],
        );
        match (fields.key_span("server-command"), fields.key_span("wsgi")) {
            (Some(_), Some(span)) => {
                let hint = "an endpoint is started by one of them".to_owned();
                fields.reader().refuse(
                    Code::Conflict,
                    span,
                    "`server-command` is given too",
                    Some(hint),
                );
            }
            (None, None) => fields.missing("server-command` or `wsgi"),
            _ => {}
        }
        let endpoint = Endpoint {
            span: fields.span(),
            name: fields.required("name", name),
            image: fields.required("image", text),
            server_command: fields.optional("server-command", texts),
            wsgi: fields.optional("wsgi", text),
            files: fields.list("files", EndpointFile::read),
            port: fields.optional("port", port),
            node_selector: fields.optional("node-selector", node_selector),
            resources: fields.optional("resources", Resources::read_of_endpoint),
            tolerations: fields.list("tolerations", Toleration::read),
            shared_volumes: fields.list("shared-volumes", SharedVolume::read),
            workspace_volume: fields.optional("workspace-volume", WorkspaceVolume::read),
            description: fields.optional("description", words),
        };
        endpoint.check_volumes(reader);
        endpoint
    }

    /// Checks that volumes are mounted at different absolute paths.
    fn check_volumes(&self, reader: &mut Reader) {
        let mut taken = BTreeSet::new();
        let shared = self.shared_volumes.iter().map(|volume| &volume.mount_path);
        for path in shared.chain(
            self.workspace_volume
                .iter()
                .map(|volume| &volume.mount_path),
        ) {
            // One that is missing was told of already.
            if path.span == Span::default() {
                continue;
            }
            if !path.starts_with('/') {
                reader.error(
                    Code::BadValue,
                    path.span,
                    "a mount path begins with `/`",
                    None,
                );
            }
            if !taken.insert(path.as_str()) {
                let message = format!("another volume is mounted at `{}` already", **path);
                reader.error(Code::Conflict, path.span, message, None);
            }
        }
        for path in self
            .shared_volumes
            .iter()
            .filter_map(|volume| volume.sub_path.as_ref())
        {
            if path.starts_with('/') {
                reader.error(
                    Code::BadValue,
                    path.span,
                    "a path within a volume does not begin with `/`",
                    None,
                );
            }
        }
    }
}

/// Lower case letters, digits and dashes, the first a letter. A line break at the end is as good as none.
fn name(reader: &mut Reader, node: &Node) -> Spanned<String> {
    let name = text(reader, node);
    let line = name.strip_suffix('\n').unwrap_or(&name);
    let fits = line.len() > 1
        && line.starts_with(|c: char| c.is_ascii_lowercase())
        && line
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
    if !fits && node.as_str().is_some() {
        let message = format!("`{}` cannot be the name of an endpoint", *name);
        let hint =
            "two or more lower case letters, digits and dashes, the first a letter".to_owned();
        reader.refuse(Code::BadValue, node.span, message, Some(hint));
    }
    name
}

fn port(reader: &mut Reader, node: &Node) -> Spanned<Number> {
    let port = number(reader, node);
    let is_number = node.to_value().as_number().is_some();
    if is_number && !port.value.as_f64().is_nan() && !PORTS.contains(&port.value.as_f64()) {
        reader.refuse(
            Code::BadValue,
            node.span,
            "a port is a number from 1025 to 65535",
            None,
        );
    }
    port
}

fn node_selector(reader: &mut Reader, node: &Node) -> Spanned<String> {
    let selector = text(reader, node);
    if node.as_str().is_some() && !selector.contains('=') {
        reader.refuse(
            Code::BadValue,
            node.span,
            "a node selector is written as `key=value`",
            None,
        );
    }
    selector
}

impl EndpointFile {
    fn read(reader: &mut Reader, node: &Node) -> EndpointFile {
        let mut fields = reader.fields(node, "a file", &["name", "path", "description"]);
        EndpointFile {
            name: fields.required("name", text),
            path: fields.required("path", text),
            description: fields.optional("description", words),
        }
    }
}

impl Toleration {
    fn read(reader: &mut Reader, node: &Node) -> Toleration {
        const OPERATORS: [(&str, &str); 2] = [("Exists", "Exists"), ("Equal", "Equal")];
        const EFFECTS: [(&str, &str); 3] = [
            ("PreferNoSchedule", "PreferNoSchedule"),
            ("NoSchedule", "NoSchedule"),
            ("NoExecute", "NoExecute"),
        ];
        let mut fields = reader.fields(
            node,
            "a toleration",
            &["key", "operator", "effect", "value"],
        );
        let owned = |word: Spanned<&str>| word.map(str::to_owned);
        let toleration = Toleration {
            span: fields.span(),
            key: fields.optional("key", text),
            operator: fields.optional("operator", choice(&OPERATORS)).map(owned),
            effect: fields.optional("effect", choice(&EFFECTS)).map(owned),
            value: fields.optional("value", text),
        };
        if let (None, Some(operator)) = (&toleration.key, &toleration.operator)
            && operator.as_str() == "Equal"
        {
            let hint = "without a key only `Exists` makes sense".to_owned();
            fields.reader().refuse(
                Code::Conflict,
                operator.span,
                "`Equal` needs a `key`",
                Some(hint),
            );
        }
        toleration
    }
}

impl SharedVolume {
    fn read(reader: &mut Reader, node: &Node) -> SharedVolume {
        let known = ["pvc-name", "mount-path", "sub-path", "read-only"];
        let mut fields = reader.fields(node, "a shared volume", &known);
        SharedVolume {
            span: fields.span(),
            pvc_name: fields.required("pvc-name", text),
            mount_path: fields.required("mount-path", text),
            sub_path: fields.optional("sub-path", text),
            read_only: fields
                .optional("read-only", boolean)
                .is_some_and(|read_only| *read_only),
        }
    }
}

impl WorkspaceVolume {
    fn read(reader: &mut Reader, node: &Node) -> WorkspaceVolume {
        let mut fields = reader.fields(
            node,
            "a workspace volume",
            &["mount-path", "size", "storage-class-name"],
        );
        WorkspaceVolume {
            span: fields.span(),
            mount_path: fields.required("mount-path", text),
            size_gib: fields.required("size", |reader, node| {
                let size = integer(reader, node);
                if *size < 1
                    && node
                        .to_value()
                        .as_number()
                        .and_then(Number::as_int)
                        .is_some()
                {
                    reader.refuse(
                        Code::BadValue,
                        node.span,
                        "a volume is at least 1 GiB large",
                        None,
                    );
                }
                size
            }),
            storage_class_name: fields.optional("storage-class-name", text),
        }
    }
}
