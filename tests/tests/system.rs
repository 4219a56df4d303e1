//! What is promised to a person with one machine: examples run to their end, and every byte that a program prints comes back.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;

use cluster_tests::harness::Place;

#[test]
fn the_digits_example_learns_and_its_outputs_are_verified() {
    let place = Place::new("digits");
    place.example("digits");
    let printed = place.run(&["pipeline", "run", "digits"]).succeeds().text();
    assert!(printed.contains("evaluate complete"), "{printed}");

    let evaluate = place.execution(3);
    assert_eq!(
        (evaluate["node"].as_str(), evaluate["state"].as_str()),
        (Some("evaluate"), Some("complete"))
    );
    let accuracy = evaluate["metadata"]["accuracy"]
        .as_f64()
        .expect("the accuracy is in the metadata");
    assert!(accuracy >= 0.9, "accuracy {accuracy}");

    // Downloads are checked against the digests that the ledger has; what lies there then is what the program wrote.
    let directory = place.path().join("downloaded");
    place
        .run(&[
            "execution",
            "outputs",
            "3",
            "--download",
            directory.to_str().unwrap(),
        ])
        .succeeds();
    let confusion: serde_json::Value =
        serde_json::from_slice(&fs::read(directory.join("confusion.json")).unwrap()).unwrap();
    assert!(confusion.is_array() || confusion.is_object(), "{confusion}");
    for output in evaluate["outputs"].as_array().expect("there are outputs") {
        let size = fs::metadata(directory.join(output["file_name"].as_str().unwrap()))
            .unwrap()
            .len();
        assert_eq!(output["size_bytes"].as_u64(), Some(size), "{output}");
    }
}

#[test]
fn the_hello_example_counts_the_letters_of_its_parameter() {
    let place = Place::new("hello");
    place.example("hello");
    place
        .run(&["pipeline", "run", "hello", "--name=Shoal"])
        .succeeds();
    let count = place.execution(2);
    assert_eq!(
        count["metadata"]["letters"].as_i64(),
        Some("Hello, Shoal!".len() as i64),
        "{count}"
    );
    let directory = place.path().join("downloaded");
    place
        .run(&[
            "execution",
            "outputs",
            "1",
            "--download",
            directory.to_str().unwrap(),
        ])
        .succeeds();
    assert_eq!(
        fs::read_to_string(directory.join("greeting.txt")).unwrap(),
        "Hello, Shoal!\n"
    );
}

/// Lines of 1 MiB, progress bars, bytes that are no text, and output without a newline.
#[test]
fn odd_bytes_come_back_exactly() {
    let place = Place::new("odd-bytes");
    place.config(
        r#"
- step:
    name: odd
    image: busybox
    command:
      - printf '\r%d%%' 1 2 3 4 5
      - printf 'not text \377\376\000 \303('
      - head -c 1048576 /dev/zero | tr '\0' x; echo
      - head -c 3000000 /dev/urandom | tee "$VH_OUTPUTS_DIR/random"
      - printf 'to the other stream \377' >&2
"#,
    );
    place.run(&["execution", "run", "odd"]).succeeds();
    let directory = place.path().join("downloaded");
    place
        .run(&[
            "execution",
            "outputs",
            "1",
            "--download",
            directory.to_str().unwrap(),
        ])
        .succeeds();
    let mut expected = b"\r1%\r2%\r3%\r4%\r5%not text \xff\xfe\0 \xc3(".to_vec();
    expected.extend(vec![b'x'; 1 << 20]);
    expected.push(b'\n');
    expected.extend(fs::read(directory.join("random")).unwrap());
    let log = |stream: &str| {
        place
            .run(&["execution", "logs", "1", "--raw", "--stream", stream])
            .succeeds()
            .stdout
    };
    assert!(
        log("stdout") == expected,
        "standard output differs; see {}",
        place.path().display()
    );
    assert_eq!(log("stderr"), b"to the other stream \xff");
}

#[test]
fn a_million_lines_come_back_exactly() {
    let place = Place::new("million-lines");
    place.config("- step:\n    name: flood\n    image: busybox\n    command: seq 1 1000000\n");
    place
        .run(&["execution", "run", "flood", "--detach"])
        .succeeds();
    let log = place
        .run(&["execution", "logs", "1", "--raw", "--follow"])
        .succeeds()
        .stdout;
    let expected: Vec<u8> = (1..=1_000_000)
        .flat_map(|number| format!("{number}\n").into_bytes())
        .collect();
    assert!(
        log == expected,
        "{} bytes instead of {}",
        log.len(),
        expected.len()
    );
    place
        .run(&["execution", "watch", "1", "--quiet"])
        .succeeds();
}
