"""Machines in qemu, as far as no machine has to run."""

import multiprocessing
import pathlib
import subprocess
import time

import pytest

from tests.matrix import disks, qemu

DEP = """kernel/fs/ext4/ext4.ko.xz: kernel/fs/mbcache.ko.xz kernel/fs/jbd2/jbd2.ko.xz kernel/lib/crc16.ko.xz
kernel/fs/jbd2/jbd2.ko.xz: kernel/lib/crc16.ko.xz
kernel/fs/mbcache.ko.xz:
kernel/lib/crc16.ko.xz:
"""


def test_modules_are_loaded_after_what_they_need_and_what_is_built_in_is_left_out(tmp_path):
    (tmp_path / "modules.dep").write_text(DEP)
    found = disks.with_needed(tmp_path, ("virtio_blk", "ext4"))
    names = [path.name.partition(".")[0] for path in found]
    assert sorted(names) == ["crc16", "ext4", "jbd2", "mbcache"]
    assert names.index("crc16") < names.index("jbd2") < names.index("ext4")


def test_the_initrd_is_a_cpio_archive(tmp_path):
    (tmp_path / "boot").mkdir()
    (tmp_path / "boot/busybox").write_bytes(b"12345")
    modules = tmp_path / "usr/lib/modules/1"
    modules.mkdir(parents=True)
    (modules / "modules.dep").write_text("")
    archive = disks.initrd(tmp_path, "1", ())
    assert len(archive) % 4 == 0
    seen = {}
    while True:
        header = archive[:110]
        assert header[:6] == b"070701"
        fields = [int(header[start:start + 8], 16) for start in range(6, 110, 8)]
        size, named = fields[6], fields[11]
        name = archive[110:110 + named - 1].decode()
        begin = (110 + named + 3) // 4 * 4
        seen[name] = (fields[1], archive[begin:begin + size])
        archive = archive[begin + (size + 3) // 4 * 4:]
        if name == "TRAILER!!!":
            break
    assert archive == b""
    assert seen["bin/busybox"] == (0o100755, b"12345")
    assert seen["bin/mount"] == (0o120777, b"busybox")
    assert seen["init"][1].startswith(b"#!/bin/busybox sh\n")
    assert seen["new"][0] == 0o40755


def test_what_a_host_lacks_is_named(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert qemu.lacking("s390x").startswith("no qemu-system-s390x on this host: install ")
    assert "no board" in qemu.lacking("vax")


def test_a_kernel_without_a_table_of_emulators_for_a_namespace_is_named(monkeypatch):
    monkeypatch.setattr(qemu.platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(qemu.shutil, "which", lambda name: name)
    monkeypatch.setattr(qemu.disks.foreign, "EMULATOR", "/dev/null")
    monkeypatch.setattr(qemu.disks.foreign, "works", lambda machine: True)
    assert qemu.lacking("s390x") == ""
    monkeypatch.setattr(qemu.disks.foreign, "works", lambda machine: False)
    assert "Linux 6.7" in qemu.lacking("s390x")
    assert qemu.lacking("x86_64") == ""


@pytest.mark.parametrize("flags, works", [("fpu vmx sse", True), ("svm", True), ("fpu sse", False)])
def test_a_device_is_no_use_if_the_processor_cannot_run_guests(monkeypatch, tmp_path, flags, works):
    """There qemu starts a processor, and the guest's kernel hangs before its first line."""
    started = '{"return": {"status": "running"}}'
    monkeypatch.setattr(qemu.subprocess, "run",
                        lambda command, **_: subprocess.CompletedProcess(command, 0, started, ""))  # fmt: skip
    monkeypatch.setattr(qemu, "CPUINFO", tmp_path / "cpuinfo")
    (tmp_path / "cpuinfo").write_text(f"processor\t: 0\nflags\t\t: {flags}\n")
    assert qemu.kvm_works("x86_64") == works


def test_programs_that_nothing_is_known_of_run_nowhere():
    assert not qemu.disks.foreign.works("vax")


def take(ready):
    ready.put("begun")
    with qemu.the_only_one():
        ready.put("mine")


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A lock that no machine of this host holds, for processes that are started here, too."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(qemu.tempfile, "tempdir", None)


def test_who_waits_for_the_place_gets_it_before_who_had_it_last(place):
    context = multiprocessing.get_context("spawn")
    for _ in range(5):
        ready = context.SimpleQueue()
        with qemu.the_only_one():
            other = context.Process(target=take, args=(ready,))
            other.start()
            assert ready.get() == "begun"
            time.sleep(0.5)
        rounds = 0
        while ready.empty():
            with qemu.the_only_one():
                time.sleep(0.05)
            rounds += 1
        other.join()
        assert rounds <= 1


def test_one_process_at_a_time_has_machines_and_that_one_may_have_two(place):
    context = multiprocessing.get_context("spawn")
    ready = context.Queue()
    with qemu.the_only_one():
        with qemu.the_only_one():
            other = context.Process(target=take, args=(ready,))
            other.start()
        assert ready.get(timeout=60) == "begun"
        other.join(1)
        assert other.is_alive()
        assert ready.empty()
    assert ready.get(timeout=60) == "mine"
    other.join()


def test_messages_are_told_apart_also_after_the_agent_began_anew():
    channel = qemu.Channel()
    channel.theirs.sendall(b'{"return": 1}\n{"ret')
    assert channel.receive(1) == {"return": 1}
    channel.theirs.sendall(b'ur\xff{"return": 2}\n')
    assert channel.receive(1) == {"return": 2}
    channel.close()


def test_an_event_is_waited_for_and_taken_once():
    channel = qemu.Channel()
    channel.theirs.sendall(b'{"event": "RTC_CHANGE"}\n{"event": "RESET", "data": {"guest": true}}\n')
    channel.receive_event("RESET", 1)
    with pytest.raises(TimeoutError):
        channel.receive_event("RESET", 0.1)
    channel.close()


def test_an_image_says_what_it_is(tmp_path):
    disks.Image(tmp_path, "s390x", "quiet").write_facts()
    assert disks.Image.of(str(tmp_path)) == disks.Image(pathlib.Path(tmp_path), "s390x", "quiet")
    assert qemu.disk_format(tmp_path / "disk") == "raw"
    assert qemu.disk_format(tmp_path / "disk.qcow2") == "qcow2"
