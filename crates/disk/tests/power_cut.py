#!/usr/bin/env python3
"""Cuts the power of a file system under a writer, many times, and looks whether what was acknowledged is there.

    cargo test -p disk --test crash --no-run     # says where the program is
    sudo python3 crates/disk/tests/power_cut.py PROGRAM [TRIALS]

Makes an ext4 file system in a file, lets the writer of tests/crash.rs append to it, shuts the file system down without
letting it write its journal (the same as a power cut, seen from the disk), mounts it again and lets the program compare.
Before that it proves itself: a writer that never syncs must lose something, or the test would show nothing.

Needs root, loop devices and ext4. Without them it says so and ends with status 0; it is no part of `cargo test`.
"""

import fcntl
import os
import random
import struct
import subprocess
import sys
import tempfile

SHUTDOWN = 0x8004587D  # _IOR('X', 125, __u32): EXT4_IOC_SHUTDOWN
NO_FLUSH = struct.pack("I", 2)  # neither data nor journal


def skip(why):
    print(f"skipped: {why}")
    sys.exit(0)


def run(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


class Disk:
    """A file system of its own whose power can be cut."""

    def __init__(self, base):
        self.image, self.mount = os.path.join(base, "image"), os.path.join(base, "mount")
        with open(self.image, "wb") as image:
            image.truncate(1 << 30)
        run("mkfs.ext4", "-q", "-F", self.image)
        os.mkdir(self.mount)
        self.attach()

    def attach(self):
        run("mount", "-o", "loop", self.image, self.mount)

    def detach(self):
        run("umount", self.mount)

    def cut(self):
        handle = os.open(self.mount, os.O_RDONLY)
        fcntl.ioctl(handle, SHUTDOWN, NO_FLUSH)
        os.close(handle)


def prove_itself(disk):
    path = os.path.join(disk.mount, "never-synced")
    with open(path, "wb") as file:
        file.write(b"x" * 4096)
        file.flush()
        disk.cut()
    disk.detach()
    disk.attach()
    if os.path.exists(path) and os.path.getsize(path) == 4096:
        sys.exit("the power cut lost nothing of a file that was never synced: this test would show nothing")


def trial(disk, program, kind, number):
    where = os.path.join(disk.mount, f"{kind}-{number}")
    command = [program, "write", kind, where]
    writer = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    told = 0
    for _ in range(random.choice([1, 2, 5, 30, 100, 400])):
        line = writer.stdout.readline()
        if not line:
            sys.exit(f"{kind}: the writer ended by itself")
        told = int(line)
    disk.cut()
    writer.kill()
    # What it printed before the cut was acknowledged; after the cut every sync fails and it stops.
    for line in writer.stdout:
        if line.strip().isdigit():
            told = int(line)
    writer.wait()
    disk.detach()
    disk.attach()
    checked = subprocess.run([program, "check", kind, where, str(told)], capture_output=True, text=True)
    if checked.returncode != 0:
        print(f"{kind} trial {number}: {told} acknowledged: {checked.stderr.strip()}")
        return told, False
    subprocess.run(["rm", "-rf", where], check=True)
    return told, True


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    program, trials = os.path.abspath(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 20
    if os.geteuid() != 0:
        skip("needs root")
    if "POWER_CUT_PRIVATE" not in os.environ:
        # A mount that another process's namespace has copied would stay alive, shut down, after our umount.
        os.environ["POWER_CUT_PRIVATE"] = "1"
        os.execvp("unshare", ["unshare", "--mount", "--propagation", "private", sys.executable, *sys.argv])
    with tempfile.TemporaryDirectory() as base:
        try:
            disk = Disk(base)
        except (OSError, subprocess.CalledProcessError) as error:
            skip(f"no ext4 over a loop device here: {getattr(error, 'stderr', None) or error}")
        try:
            prove_itself(disk)
            failed = 0
            for kind in ["raft-log", "raft-log-in-sled", "feeds"]:
                acknowledged = 0
                for number in range(trials):
                    told, good = trial(disk, program, kind, number)
                    acknowledged += told
                    failed += not good
                print(f"{kind}: {trials} power cuts, {acknowledged} acknowledged")
        finally:
            disk.detach()
    print("none lost" if not failed else f"{failed} trials FAILED")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
