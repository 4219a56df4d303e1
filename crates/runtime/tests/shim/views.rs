//! A `/valohai` of the program's own, for root and for anyone else, and what happens where the kernel refuses.

use crate::fixture::{Host, script};
use crate::harness::tests;
use runtime::{Program, View};
use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

tests![
    a_program_sees_its_own_valohai,
    anyone_gets_what_the_probe_says
];

fn a_program_sees_its_own_valohai() {
    check(&Host::new());
}

/// Two programs at once in directories of their own, under the same names.
fn check(host: &Host) {
    let expected = host.launcher.probe_view().unwrap();
    let text = "pwd; echo $VH_OUTPUTS_DIR; echo $MINE >$VH_OUTPUTS_DIR/who; cat $VH_INPUTS_DIR/data; cat /proc/version >/dev/null && ls / >/dev/null && echo whole";
    let dirs = ["one", "two"].map(|name| {
        let dir = host.dir(name);
        std::fs::write(dir.inputs().join("data"), format!("for {name}\n")).unwrap();
        let program = Program {
            want_namespace: true,
            env: vec![("MINE".into(), name.into())],
            ..script(text)
        };
        host.launcher.launch(&dir, &program).unwrap();
        dir
    });
    for (dir, name) in dirs.into_iter().zip(["one", "two"]) {
        let ran = host.finish(dir);
        assert_eq!(
            (ran.exit.view, ran.exit.code),
            (expected, Some(0)),
            "{}",
            ran.stderr()
        );
        let base = expected.base(&ran.dir.root()).display().to_string();
        assert_eq!(
            ran.stdout(),
            format!("{base}/repository\n{base}/outputs\nfor {name}\nwhole\n")
        );
        let written = std::fs::read_to_string(ran.dir.outputs().join("who")).unwrap();
        assert_eq!(written, format!("{name}\n"));
        let says_so = ran.status().contains("no /valohai of its own");
        assert_eq!(says_so, expected == View::Direct);
    }
    assert!(
        !std::path::Path::new("/valohai/outputs").exists(),
        "nothing shows outside"
    );
}

/// Runs the check as a user without privileges: ourselves, or nobody if we are root.
fn anyone_gets_what_the_probe_says() {
    let data = tempfile::tempdir().unwrap();
    // The binary may lie where nobody may go.
    let exe = data.path().join("test");
    std::fs::copy(std::env::current_exe().unwrap(), &exe).unwrap();
    let mut command = Command::new(&exe);
    command.arg("view").arg(data.path());
    if rustix::process::geteuid().is_root() {
        std::os::unix::fs::chown(data.path(), Some(65534), Some(65534)).unwrap();
        command.uid(65534).gid(65534);
    }
    let output = command.output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
}

/// The part of the test that runs without privileges: `view DATA`.
pub(crate) fn unprivileged(mut args: impl Iterator<Item = OsString>) -> ExitCode {
    let data = std::path::PathBuf::from(args.next().unwrap());
    check(&Host::at(tempfile::TempDir::new_in(data).unwrap()));
    ExitCode::SUCCESS
}
