//! Every script in `scripts/` tells what it says. `UPDATE_EXPECT=1` writes down what happens now.

use std::fs;
use std::path::Path;

use sim::script::{SEPARATOR, play};

#[test]
fn scripts_tell_what_happens() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts");
    let mut paths: Vec<_> = fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    assert!(
        !paths.is_empty(),
        "there are no scripts in {}",
        folder.display()
    );
    for path in paths {
        let text = fs::read_to_string(&path).unwrap();
        let commands = text.split(SEPARATOR).next().unwrap();
        let now = format!("{commands}{SEPARATOR}{}", play(&text, None).unwrap());
        if std::env::var_os("UPDATE_EXPECT").is_some() {
            fs::write(&path, now).unwrap();
        } else {
            let name = path.file_name().unwrap().to_string_lossy();
            assert!(
                now == text,
                "{name} tells another story now; look at it with UPDATE_EXPECT=1:\n{now}"
            );
        }
    }
}
