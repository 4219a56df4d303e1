//! Every element of the contract has a comment: for a person in another language it is all there is to read.

use std::collections::BTreeMap;

use prost_types::{DescriptorProto, EnumDescriptorProto, FileDescriptorProto, FileDescriptorSet};

use super::Complaint;

/// Checks that every file, message, field, oneof, enum, value, service and method of ours has a comment. Files of others
/// (`google/…`) are theirs.
pub fn comments(files: &FileDescriptorSet) -> Vec<Complaint> {
    let ours = files
        .file
        .iter()
        .filter(|file| !file.name().starts_with("google/"));
    ours.flat_map(|file| File::new(file).check()).collect()
}

/// The field numbers of `descriptor.proto` that paths are made of.
mod number {
    pub(super) const FILE_MESSAGE: i32 = 4;
    pub(super) const FILE_ENUM: i32 = 5;
    pub(super) const FILE_SERVICE: i32 = 6;
    pub(super) const FILE_EXTENSION: i32 = 7;
    pub(super) const FILE_SYNTAX: i32 = 12;
    pub(super) const MESSAGE_FIELD: i32 = 2;
    pub(super) const MESSAGE_NESTED: i32 = 3;
    pub(super) const MESSAGE_ENUM: i32 = 4;
    pub(super) const MESSAGE_ONEOF: i32 = 8;
    pub(super) const ENUM_VALUE: i32 = 2;
    pub(super) const SERVICE_METHOD: i32 = 2;
}

/// One file while it is looked at.
struct File<'a> {
    descriptor: &'a FileDescriptorProto,
    /// By path: the line, from 1, and whether there is a comment.
    places: BTreeMap<&'a [i32], (usize, bool)>,
    path: String,
    complaints: Vec<Complaint>,
}

impl<'a> File<'a> {
    fn new(descriptor: &'a FileDescriptorProto) -> Self {
        let locations = descriptor
            .source_code_info
            .iter()
            .flat_map(|info| &info.location);
        let places = locations
            .map(|location| {
                let line = location.span.first().map_or(0, |line| *line as usize + 1);
                let comment = [location.leading_comments(), location.trailing_comments()].concat();
                (location.path.as_slice(), (line, !comment.trim().is_empty()))
            })
            .collect();
        let path = format!("proto/{}", descriptor.name());
        Self {
            descriptor,
            places,
            path,
            complaints: Vec::new(),
        }
    }

    fn check(mut self) -> Vec<Complaint> {
        let file = self.descriptor;
        self.element(&[number::FILE_SYNTAX], "the file (above `syntax`)");
        for (index, message) in (0..).zip(&file.message_type) {
            self.message(&[number::FILE_MESSAGE, index], message.name(), message);
        }
        for (index, descriptor) in (0..).zip(&file.enum_type) {
            self.enumeration(&[number::FILE_ENUM, index], descriptor.name(), descriptor);
        }
        for (index, extension) in (0..).zip(&file.extension) {
            self.element(&[number::FILE_EXTENSION, index], extension.name());
        }
        for (index, service) in (0..).zip(&file.service) {
            let path = [number::FILE_SERVICE, index];
            self.element(&path, service.name());
            for (index, method) in (0..).zip(&service.method) {
                let name = format!("{}.{}", service.name(), method.name());
                self.element(&with(&path, [number::SERVICE_METHOD, index]), &name);
            }
        }
        self.complaints
    }

    fn message(&mut self, path: &[i32], name: &str, message: &DescriptorProto) {
        if message
            .options
            .as_ref()
            .is_some_and(|options| options.map_entry())
        {
            return; // The compiler's own, for a `map<…>` field.
        }
        self.element(path, name);
        for (index, field) in (0..).zip(&message.field) {
            self.element(
                &with(path, [number::MESSAGE_FIELD, index]),
                &format!("{name}.{}", field.name()),
            );
        }
        // An `optional` field has a oneof of its own that nobody wrote.
        let written = |index: i32| {
            message
                .field
                .iter()
                .any(|field| field.oneof_index == Some(index) && !field.proto3_optional())
        };
        for (index, oneof) in (0..)
            .zip(&message.oneof_decl)
            .filter(|(index, _)| written(*index))
        {
            self.element(
                &with(path, [number::MESSAGE_ONEOF, index]),
                &format!("{name}.{}", oneof.name()),
            );
        }
        for (index, nested) in (0..).zip(&message.nested_type) {
            let name = format!("{name}.{}", nested.name());
            self.message(&with(path, [number::MESSAGE_NESTED, index]), &name, nested);
        }
        for (index, nested) in (0..).zip(&message.enum_type) {
            let name = format!("{name}.{}", nested.name());
            self.enumeration(&with(path, [number::MESSAGE_ENUM, index]), &name, nested);
        }
    }

    fn enumeration(&mut self, path: &[i32], name: &str, descriptor: &EnumDescriptorProto) {
        self.element(path, name);
        for (index, value) in (0..).zip(&descriptor.value) {
            self.element(
                &with(path, [number::ENUM_VALUE, index]),
                &format!("{name}.{}", value.name()),
            );
        }
    }

    fn element(&mut self, path: &[i32], name: &str) {
        let (line, commented) = self.places.get(path).copied().unwrap_or((0, false));
        if !commented {
            let message =
                format!("{name} has no comment: say what it means, with unit, range and default");
            self.complaints
                .push(Complaint::new(&self.path, line, message));
        }
    }
}

fn with(path: &[i32], more: [i32; 2]) -> Vec<i32> {
    [path, &more].concat()
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::super::listed;
    use super::*;

    fn check(name: &str, text: &str, expected: Expect) {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join(name), text).unwrap();
        let files = protox::compile([name], [directory.path()]).unwrap();
        expected.assert_eq(&listed(&comments(&files)));
    }

    #[test]
    fn every_kind_of_element_without_a_comment_is_found() {
        let text = r#"syntax = "proto3";
package p;
service S {
  rpc Do(M) returns (M);
}
message M {
  int32 a = 1;
  optional int32 b = 2;
  map<string, int32> c = 3;
  oneof d { int32 e = 4; }
  message N { enum O { O_UNSPECIFIED = 0; } }
}
enum E { E_UNSPECIFIED = 0; }
"#;
        check(
            "bad.proto",
            text,
            expect![[r#"
            proto/bad.proto:1: the file (above `syntax`) has no comment: say what it means, with unit, range and default
            proto/bad.proto:6: M has no comment: say what it means, with unit, range and default
            proto/bad.proto:7: M.a has no comment: say what it means, with unit, range and default
            proto/bad.proto:8: M.b has no comment: say what it means, with unit, range and default
            proto/bad.proto:9: M.c has no comment: say what it means, with unit, range and default
            proto/bad.proto:10: M.e has no comment: say what it means, with unit, range and default
            proto/bad.proto:10: M.d has no comment: say what it means, with unit, range and default
            proto/bad.proto:11: M.N has no comment: say what it means, with unit, range and default
            proto/bad.proto:11: M.N.O has no comment: say what it means, with unit, range and default
            proto/bad.proto:11: M.N.O.O_UNSPECIFIED has no comment: say what it means, with unit, range and default
            proto/bad.proto:13: E has no comment: say what it means, with unit, range and default
            proto/bad.proto:13: E.E_UNSPECIFIED has no comment: say what it means, with unit, range and default
            proto/bad.proto:3: S has no comment: say what it means, with unit, range and default
            proto/bad.proto:4: S.Do has no comment: say what it means, with unit, range and default
        "#]],
        );
    }

    #[test]
    fn a_comment_before_or_behind_is_enough_and_an_empty_one_is_not() {
        let text = r#"// A file.
syntax = "proto3";
package p;
// A message.
message M {
  int32 a = 1; // Behind.
  // Before.
  int32 b = 2;
  //
  int32 c = 3;
}
"#;
        check(
            "half.proto",
            text,
            expect![[r#"
            proto/half.proto:10: M.c has no comment: say what it means, with unit, range and default
        "#]],
        );
    }
}
