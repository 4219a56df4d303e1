//! The names of a step's outputs: relative paths that mean the same file everywhere and harm nobody.

use std::fmt;
use std::str::FromStr;
use thiserror::Error;

/// Most bytes between two slashes.
pub const MAX_COMPONENT_LEN: usize = 255;
/// Most bytes of a whole name.
pub const MAX_NAME_LEN: usize = 1024;

/// The name of an output: its path below the outputs directory, `/` between parts. Checked when made.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OutputName(String);

/// Why a text cannot be an output's name.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum OutputNameError {
    /// No text at all.
    #[error("the name is empty")]
    Empty,
    /// Longer than [`MAX_NAME_LEN`].
    #[error("the name has {0} bytes, more than {MAX_NAME_LEN}")]
    TooLong(usize),
    /// A part longer than [`MAX_COMPONENT_LEN`].
    #[error("a part of the name has {0} bytes, more than {MAX_COMPONENT_LEN}")]
    ComponentTooLong(usize),
    /// Begins with a slash.
    #[error("the name is an absolute path")]
    Absolute,
    /// Has `.` or `..` as a part.
    #[error("the name has {0:?} as a part of its path")]
    Dots(String),
    /// Two slashes together, or one at the end.
    #[error("the name has an empty part")]
    EmptyComponent,
    /// NUL, newline, escape and their like, which would be read as something else than a name.
    #[error("the name has the control character U+{:04X}", u32::from(*.0))]
    Control(char),
    /// Bytes that are not UTF-8.
    #[error("the name is not UTF-8")]
    NotUtf8,
}

impl OutputName {
    /// Checks `name`.
    pub fn new(name: impl Into<String>) -> Result<OutputName, OutputNameError> {
        let name = name.into();
        check(&name)?;
        Ok(OutputName(name))
    }

    /// Checks bytes as a file system gives them.
    pub fn from_bytes(name: &[u8]) -> Result<OutputName, OutputNameError> {
        OutputName::new(std::str::from_utf8(name).map_err(|_| OutputNameError::NotUtf8)?)
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The parts between the slashes; at least one, none of them empty, `.` or `..`.
    pub fn components(&self) -> impl Iterator<Item = &str> {
        self.0.split('/')
    }

    /// The last part.
    pub fn file_name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or(&self.0)
    }
}

fn check(name: &str) -> Result<(), OutputNameError> {
    if name.is_empty() {
        return Err(OutputNameError::Empty);
    }
    if name.len() > MAX_NAME_LEN {
        return Err(OutputNameError::TooLong(name.len()));
    }
    if name.starts_with('/') {
        return Err(OutputNameError::Absolute);
    }
    if let Some(control) = name.chars().find(|c| c.is_control()) {
        return Err(OutputNameError::Control(control));
    }
    for part in name.split('/') {
        match part {
            "" => return Err(OutputNameError::EmptyComponent),
            "." | ".." => return Err(OutputNameError::Dots(part.to_owned())),
            _ if part.len() > MAX_COMPONENT_LEN => {
                return Err(OutputNameError::ComponentTooLong(part.len()));
            }
            _ => {}
        }
    }
    Ok(())
}

impl fmt::Display for OutputName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl AsRef<str> for OutputName {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl FromStr for OutputName {
    type Err = OutputNameError;

    fn from_str(name: &str) -> Result<OutputName, OutputNameError> {
        OutputName::new(name)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::path::{Component, Path};

    fn check_name(name: &str, expected: &str) {
        let got = OutputName::new(name).map_or_else(|e| e.to_string(), |_| "ok".into());
        assert_eq!(got, expected, "{name:?}");
    }

    #[test]
    fn names_and_reasons() {
        check_name("model.json", "ok");
        check_name("a b/c=1, d.txt", "ok");
        check_name("...", "ok");
        check_name("..a/.b/c..", "ok");
        check_name("schön/模型.bin", "ok");
        check_name("back\\slash", "ok");
        check_name("", "the name is empty");
        check_name("/etc/shadow", "the name is an absolute path");
        check_name("../../x", "the name has \"..\" as a part of its path");
        check_name("a/../b", "the name has \"..\" as a part of its path");
        check_name("./a", "the name has \".\" as a part of its path");
        check_name("a//b", "the name has an empty part");
        check_name("a/", "the name has an empty part");
        check_name("a\0b", "the name has the control character U+0000");
        check_name("a\x1b[31m", "the name has the control character U+001B");
        check_name("a\nb", "the name has the control character U+000A");
        check_name("a\u{9b}b", "the name has the control character U+009B");
        check_name(&"x".repeat(255), "ok");
        check_name(
            &"x".repeat(256),
            "a part of the name has 256 bytes, more than 255",
        );
        check_name(
            &"é".repeat(128),
            "a part of the name has 256 bytes, more than 255",
        );
        check_name(&vec!["x".repeat(255); 4].join("/"), "ok");
        check_name(&"x/".repeat(513), "the name has 1026 bytes, more than 1024");
        assert_eq!(
            OutputName::from_bytes(b"a\xff"),
            Err(OutputNameError::NotUtf8)
        );
        assert_eq!(OutputName::new("a/b.c").unwrap().file_name(), "b.c");
    }

    proptest! {
        /// Whatever is accepted stays below the directory it is joined to, and names exactly one place there.
        #[test]
        fn an_accepted_name_stays_inside(name in "[a./\\\\\\x00\\n é]{0,12}") {
            if let Ok(name) = OutputName::new(name) {
                let path = Path::new("/base").join(name.as_str());
                let parts: Vec<_> = path.components().skip(2).collect();
                prop_assert!(path.starts_with("/base"));
                prop_assert!(parts.iter().all(|part| matches!(part, Component::Normal(_))));
                prop_assert_eq!(parts.len(), name.components().count());
            }
        }

        #[test]
        fn any_bytes_are_a_name_or_not(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            if let Ok(name) = OutputName::from_bytes(&bytes) {
                prop_assert_eq!(name.as_str().as_bytes(), &bytes[..]);
                prop_assert_eq!(name.as_str().parse(), Ok(name));
            }
        }
    }
}
