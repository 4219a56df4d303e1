//! Which image, and as whom: digests, users, images without a shell, names that mean nothing here.

use crate::engine::{BARE, BUSYBOX, Engine, USER, bare_tree, engine, tree_of};
use crate::harness::tests;
use crate::machine::{Machine, Wanted, policy, script};
use crate::registry::Registry;
use runtime::EndReason;
use runtime::docker::{Policy, Profile, PullPolicy};
use std::sync::Mutex;

tests![
    an_image_without_a_shell_runs_plain_commands,
    the_user_and_the_variables_of_the_image_are_kept,
    a_digest_is_known_and_what_is_not_here_is_said,
    a_strict_container_has_nothing_to_spare,
    a_pull_brings_the_image_and_says_how_far_it_is,
    who_cannot_pull_hears_the_engine_and_a_hint,
    fetched_images_stay_within_their_bound,
    an_image_in_use_or_somebodys_own_stays,
];

fn an_image_without_a_shell_runs_plain_commands() {
    let Some(machine) = Machine::of_containers(policy()) else {
        return;
    };
    let wanted = Wanted {
        image: BARE,
        ..Wanted::default()
    };
    let ran = machine.run_in(
        "bare.1.7",
        &script("echo 'two  words' --three=\"3\""),
        &wanted,
    );
    assert_eq!(ran.stdout(), "two  words --three=3\n", "{:?}", ran.exit);
    machine.forget(ran);
    let table = [
        ("echo $HOME", "the command needs one: it has a `$`"),
        (
            "echo a\necho b",
            "the command needs one: it has several lines",
        ),
        ("train --epochs=3", "train: command not found"),
    ];
    for (n, (text, expected)) in table.into_iter().enumerate() {
        let ran = machine.run_in(&format!("bare{n}.1.7"), &script(text), &wanted);
        let EndReason::StartFailed { message } = &ran.exit.reason else {
            panic!("{:?}", ran.exit);
        };
        assert!(
            message.contains("the image has no shell") && message.contains(expected),
            "{expected}: {message}"
        );
        machine.forget(ran);
    }
}

fn the_user_and_the_variables_of_the_image_are_kept() {
    let Some(machine) = Machine::of_containers(policy()) else {
        return;
    };
    let wanted = Wanted {
        image: USER,
        ..Wanted::default()
    };
    let text = "id -u\necho $FROM_IMAGE $LD_PRELOAD\npwd\ntouch /tmp/x $VH_REPOSITORY_DIR/a $VH_INPUTS_DIR/b $VH_OUTPUTS_DIR/c && echo writes\n\
                touch $VH_CONFIG_DIR/d 2>/dev/null || echo not there\necho $HOME";
    let mut program = script(text);
    program.pass_env.push("HOME".to_owned());
    let ran = machine.run_in("user.1.7", &program, &wanted);
    assert_eq!(
        ran.stdout(),
        "1234\nyes /nowhere.so\n/valohai/repository\nwrites\nnot there\n/tmp\n",
        "{}",
        ran.stderr()
    );
    machine.forget(ran);
}

fn a_digest_is_known_and_what_is_not_here_is_said() {
    let Some(machine) = Machine::of_containers(policy()) else {
        return;
    };
    let docker = machine.docker.as_ref().unwrap();
    let pool = &engine().unwrap().pool;
    let image = pool.block_on(docker.image(BUSYBOX, &|_| {})).unwrap();
    assert!(image.digest.starts_with("sha256:") && image.digest.len() == 71);
    let error = pool
        .block_on(docker.image("shoal-test:never-made", &|_| {}))
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "the image shoal-test:never-made is not on this worker, which fetches none (load it there with `docker pull` or `docker load`, \
         or let the worker pull with `--image-pull missing`)"
    );
}

fn a_strict_container_has_nothing_to_spare() {
    let strict = Policy {
        profile: Profile::Strict,
        ..policy()
    };
    let Some(machine) = Machine::of_containers(strict) else {
        return;
    };
    let text = "id -u\ngrep CapEff /proc/self/status\ntouch /x 2>&1 | grep -o 'Read-only.*'\ntouch /tmp/x && echo scratch\n\
                touch $VH_OUTPUTS_DIR/a $VH_REPOSITORY_DIR/b && echo writes\nls /sys/class/net\ngrep NoNewPrivs /proc/self/status";
    let ran = machine.run("strict.1.7", &script(text));
    assert_eq!(
        ran.stdout(),
        "65534\nCapEff:\t0000000000000000\nRead-only file system\nscratch\nwrites\nlo\nNoNewPrivs:\t1\n",
        "{}",
        ran.stderr()
    );
    machine.forget(ran);
}

fn a_pull_brings_the_image_and_says_how_far_it_is() {
    let Some(engine) = engine() else {
        return;
    };
    let registry = Registry::serve(bare_tree().unwrap());
    let name = format!("{}/image:1", registry.address);
    let told = Mutex::new(Vec::new());
    let progress = |text| told.lock().unwrap().push(text);
    for policy in [PullPolicy::Missing, PullPolicy::Always] {
        let machine = Machine::pulling(engine, policy);
        let docker = machine.docker.clone().unwrap();
        let image = engine.pool.block_on(docker.image(&name, &progress));
        let image = image.unwrap();
        assert!(image.digest.starts_with("sha256:"), "{image:?}");
        // What is recorded is what the registry calls it, not what the engine does.
        assert_ne!(image.digest, image.id);
        assert_eq!(image.env, [("PULLED".to_owned(), "yes".to_owned())]);
    }
    let told = told.into_inner().unwrap();
    assert_eq!(told[0], format!("pulling {name}"));
    assert!(
        told.iter().any(|text| text.contains("1 of 1 layers")),
        "{told:?}"
    );
    engine.remove_image(&name);
}

fn who_cannot_pull_hears_the_engine_and_a_hint() {
    let Some(engine) = engine() else {
        return;
    };
    let registry = Registry::serve(Vec::new());
    let machine = Machine::pulling(engine, PullPolicy::Missing);
    let docker = machine.docker.clone().unwrap();
    let table = [
        (
            "nothing:1",
            "manifest unknown",
            "is the name right, and the tag?",
        ),
        // Each version of the engine has other words for that.
        ("private:1", "auth", "docker login"),
    ];
    for (name, words, hint) in table {
        let name = format!("{}/{name}", registry.address);
        let error = engine
            .pool
            .block_on(docker.image(&name, &|_| {}))
            .unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains(&format!("{name} cannot be pulled")) && text.contains(words),
            "{text}"
        );
        assert!(text.contains(hint) && !error.retryable, "{text}");
    }
    // Nobody listens there.
    let error = engine
        .pool
        .block_on(docker.image("127.0.0.1:1/image:1", &|_| {}))
        .unwrap_err();
    assert!(error.to_string().contains("connection refused"), "{error}");
}

/// Images of a megabyte each in registries of their own, and a machine that keeps two of them.
fn images(engine: &'static Engine, count: u8) -> (Machine, Vec<String>) {
    let names = (0..count).map(|n| {
        let bytes = vec![n; 1_000_000];
        let bare = bare_tree().unwrap();
        // An archive after an archive: the first one's end goes.
        let layer = [&bare[..bare.len() - 1024], &tree_of("bulk", &bytes)].concat();
        format!("{}/image:1", Registry::serve(layer).address)
    });
    let names: Vec<String> = names.collect();
    let one = bare_tree().unwrap().len() as u64 + 1_000_000;
    let bound = Some(one * 5 / 2);
    (Machine::keeping(engine, PullPolicy::Missing, bound), names)
}

fn fetched_images_stay_within_their_bound() {
    let Some(engine) = engine() else {
        return;
    };
    let (machine, names) = images(engine, 3);
    let docker = machine.docker.clone().unwrap();
    let fetch = |n: usize| {
        drop(
            engine
                .pool
                .block_on(docker.image(&names[n], &|_| {}))
                .unwrap(),
        )
    };
    let there = || names.iter().map(|name| engine.has_image(name));
    let wait = |expected: [bool; 3]| machine.wait_for(|| there().eq(expected).then_some(()));
    fetch(0);
    fetch(1);
    assert!(there().eq([true, true, false]));
    // The first is used once more, so it is the second that goes.
    fetch(0);
    fetch(2);
    wait([true, false, true]);
    fetch(1);
    wait([false, true, true]);
    assert!(
        engine.has_image(BUSYBOX),
        "what the worker did not fetch is not counted, and stays"
    );
    let before = docker.fetched_image_bytes();
    assert!(engine.pool.block_on(docker.give_an_image_up()));
    assert!(there().eq([false, true, false]) && docker.fetched_image_bytes() < before);
    assert!(engine.pool.block_on(docker.give_an_image_up()));
    assert!(
        !engine.pool.block_on(docker.give_an_image_up()),
        "none is left"
    );
    assert_eq!(docker.fetched_image_bytes(), 0);
}

fn an_image_in_use_or_somebodys_own_stays() {
    let Some(engine) = engine() else {
        return;
    };
    let (machine, names) = images(engine, 4);
    let docker = machine.docker.clone().unwrap();
    let fetch = |n: usize| {
        engine
            .pool
            .block_on(docker.image(&names[n], &|_| {}))
            .unwrap()
    };
    let gives_one_up = || engine.pool.block_on(docker.give_an_image_up());
    // Held by a step that is about to start; then by its container; then by nobody.
    let wanted = Wanted {
        image: names[0].clone().leak(),
        ..Wanted::default()
    };
    let held = fetch(0);
    assert!(!gives_one_up());
    drop(held);
    let ran = machine.run_in("used.1.7", &script("echo there"), &wanted);
    assert_eq!(ran.stdout(), "there\n");
    assert!(!gives_one_up() && engine.has_image(&names[0]));
    drop((fetch(1), fetch(2)));
    machine.wait_for(|| (!engine.has_image(&names[1])).then_some(()));
    assert!(engine.has_image(&names[0]) && engine.has_image(&names[2]));
    // Given another name, it is whoever's that is.
    engine.tag(&names[2], "shoal-test:mine");
    assert!(!gives_one_up());
    assert!(engine.has_image(&names[2]));
    // What was too much goes once its container has: here by the one that follows.
    machine.forget(ran);
    drop((fetch(1), fetch(3)));
    machine.wait_for(|| (!engine.has_image(&names[0])).then_some(()));
    for name in ["shoal-test:mine", &names[2], &names[1], &names[3]] {
        engine.remove_image(name);
    }
}
