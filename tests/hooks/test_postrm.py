"""hooks/postrm.sh: what removal and purge leave, and what they take away."""

import errno
import os
import shutil
import time

import pytest

from catcher_install import apply, pair, paths, stamp, transition
from tests.unit.support import TREE, Machine, make_stamp

from .moved_root import image_links

KEY, CRT = b"a key\n", b"a certificate\n"


def installed_with_pair(root, generated=True):
    root.put(paths.KEY, KEY, 0o600)
    root.put(paths.CERTIFICATE, CRT)
    root.put(paths.CONF, b"TLS_ON\n")
    made = pair.fingerprint(KEY, CRT) if generated else None
    root.put(paths.STAMP, stamp.render(make_stamp(generated_pair=made)), 0o600)
    root.put(paths.LOCK)
    root.put(paths.CAPTURE, b"tree=no\n")


def before_removal(root):
    """Do what prerm lets our library do."""
    machine = Machine(root.base)
    machine.programs[paths.OPENSSL] = FileNotFoundError(errno.ENOENT, "No such file or directory")
    return apply.converge(machine, transition.of(transition.REMOVE))


def purge(root):
    """All of dpkg -P."""
    before_removal(root)
    for action in ("remove", "purge"):
        assert root.run("csulcca_postrm", "deb", action) == (0, "")


def pair_is_there(root):
    return [root.exists(paths.KEY), root.exists(paths.CERTIFICATE)]


@pytest.mark.parametrize("arguments", [("deb", "remove"), ("rpm", "0")])
def test_removal_keeps_what_the_vendor_documents(root, arguments):
    installed_with_pair(root)
    before_removal(root)
    assert root.run("csulcca_postrm", *arguments) == (0, "")
    assert root.get(paths.CONF) == b"TLS_ON\n"
    assert pair_is_there(root) == [True, True]
    # The stamp is the proof of whose pair that is; the other tells a later purge, which rpm has not.
    assert sorted(os.listdir(root.path(paths.STATE_DIR))) == ["purge", "state.json"][arguments[0] == "rpm":]
    assert not root.exists("/usr/lib/csulcca")


@pytest.mark.parametrize("arguments", [("deb", "remove"), ("rpm", "0")])
def test_removal_without_a_pair_of_ours_leaves_no_stamp(root, arguments):
    installed_with_pair(root, generated=False)
    before_removal(root)
    assert root.run("csulcca_postrm", *arguments) == (0, "")
    assert pair_is_there(root) == [True, True]
    assert not root.exists(paths.STATE_DIR)


@pytest.mark.parametrize("generated", [True, False])
@pytest.mark.parametrize("arguments", [("deb", "remove"), ("rpm", "0"), ("deb", "purge")])
def test_where_python_did_not_run_everything_is_kept(root, arguments, generated):
    """For example, its interpreter was removed first. Purge then keeps our pair, too, and the proof that it is ours."""
    installed_with_pair(root, generated)
    purges = arguments == ("deb", "purge")
    status, output = root.run("csulcca_postrm", *arguments)
    assert (status, output) == (0, STAYS % root.path(paths.KEY) if purges and generated else "")
    assert pair_is_there(root) == [True, True]
    assert root.exists(paths.STAMP) == (generated or not purges)


STAYS = "csulcca: %s, which this package made, was left as it was: its removal could not note that\n"


@pytest.mark.parametrize("suffix", ["", ".20261128T101112Z", ".request"])
@pytest.mark.parametrize("change", ["none", "key", "certificate", "no key"])
def test_a_purge_without_a_note_keeps_the_proof_of_each_key_of_ours(root, suffix, change):
    """The same is true of a kept pair and of a request. What an administrator has changed is not ours."""
    files = [KEY, CRT][:1 if suffix == ".request" else 2]
    made = ["ab" * 32, pair.fingerprint(*files), "cd" * 32]
    for path, data in zip((paths.KEY, paths.CERTIFICATE), files):
        root.put(path + suffix, data, 0o600)
    root.put(paths.STAMP, stamp.render(make_stamp(made_earlier=made)), 0o600)
    if change == "certificate":
        root.put(paths.CERTIFICATE + suffix, b"signed by a CA")
    elif change == "key":
        root.put(paths.KEY + suffix, b"another", 0o600)
    elif change == "no key":
        os.unlink(root.path(paths.KEY + suffix))
    made_it = change == "none"
    before = in_bin(root)
    assert root.run("csulcca_postrm", "deb", "remove") == (0, "")
    assert root.run("csulcca_postrm", "deb", "purge") == (0, STAYS % root.path(paths.KEY + suffix) if made_it else "")
    assert in_bin(root) == before
    assert root.exists(paths.STAMP) == made_it
    if made_it:
        # Installed and removed again, it is known to be ours.
        purge(root)
        assert not root.exists(paths.KEY + suffix) and not root.exists(paths.STATE_DIR)


def test_a_purge_without_a_note_knows_an_administrators_pair_that_was_checked(root):
    """The stamp has the fingerprint of each pair that was judged."""
    installed_with_pair(root, generated=False)
    known = pair.fingerprint(KEY, CRT)
    root.put(paths.STAMP, stamp.render(make_stamp(
        checked_pair={"fingerprint": known}, accepted_names={known: ["tke.example"]})))
    assert root.run("csulcca_postrm", "deb", "purge") == (0, "")
    assert pair_is_there(root) == [True, True] and not root.exists(paths.STATE_DIR)


@pytest.mark.parametrize("tool", ["cat", "grep"])
def test_a_purge_without_a_note_that_cannot_look_keeps_the_stamp(root, tool):
    installed_with_pair(root)
    root.put("/bin/" + tool, b"#!/bin/sh\nexit 2\n", 0o755)
    status, output = root.run("csulcca_postrm", "deb", "purge")
    assert (status, output) == (0, STAYS % root.path(paths.KEY))
    assert root.exists(paths.STAMP)


def test_purge_removes_our_unchanged_pair(root):
    installed_with_pair(root)
    purge(root)
    assert pair_is_there(root) == [False, False]
    assert root.get(paths.CONF) == b"TLS_ON\n"
    assert not root.exists(paths.STATE_DIR) and not root.exists("/opt/IBM/CCA/bin")


def change_certificate(root):
    root.put(paths.CERTIFICATE, CRT + b"\n")


def change_key(root):
    root.put(paths.KEY, b"another", 0o600)


def lose_certificate(root):
    os.unlink(root.path(paths.CERTIFICATE))


def link_key(root):
    os.rename(root.path(paths.KEY), root.path("/etc/cca/elsewhere.key"))
    os.symlink(root.path("/etc/cca/elsewhere.key"), root.path(paths.KEY))


def lose_stamp(root):
    os.unlink(root.path(paths.STAMP))


def break_stamp(root):
    root.put(paths.STAMP, b'{"generated_pair": "')


@pytest.mark.parametrize("change", [
    change_certificate, change_key, lose_certificate, link_key, lose_stamp, break_stamp,
])
def test_purge_keeps_whatever_is_not_provably_ours(root, change):
    installed_with_pair(root)
    change(root)
    before = pair_is_there(root)
    purge(root)
    assert pair_is_there(root) == before
    assert root.get(paths.CONF) == b"TLS_ON\n"
    assert not root.exists(paths.STATE_DIR)


def test_purge_keeps_the_pair_of_a_package_that_made_none(root):
    """Removal takes the stamp, and the pair stays."""
    installed_with_pair(root, generated=False)
    purge(root)
    assert pair_is_there(root) == [True, True]


def test_a_second_purge_changes_nothing(root):
    installed_with_pair(root)
    purge(root)
    assert root.run("csulcca_postrm", "deb", "purge") == (0, "")
    assert pair_is_there(root) == [False, False]


@pytest.mark.parametrize("arguments", [("deb", "upgrade", "8.1"), ("deb", "failed-upgrade", "8.0"), ("rpm", "1"),
                                       ("deb", "disappear", "x", "1"), ("deb", ""), ("rpm", "")])
def test_other_calls_of_postrm_remove_nothing(root, arguments):
    installed_with_pair(root)
    assert root.run("csulcca_postrm", *arguments) == (0, "")
    assert pair_is_there(root) == [True, True]
    assert root.exists(paths.STAMP) and root.exists(paths.CAPTURE)


def test_postrm_on_a_host_where_nothing_is_left(root):
    for arguments in (("deb", "remove"), ("deb", "purge"), ("rpm", "0")):
        assert root.run("csulcca_postrm", *arguments) == (0, "")


@pytest.mark.parametrize("arguments,stops", [(("deb", "remove"), True), (("rpm", "0"), True), (("deb", "purge"), False),
                                             (("rpm", "1"), False), (("deb", "upgrade", "8.1"), False)])
def test_the_daemon_of_a_removed_package_does_not_go_on(root, arguments, stops):
    """dpkg calls no prerm of a package that is unpacked and not configured."""
    root.put("/run/systemd/system/x")
    root.put("/bin/systemctl", b"#!/bin/sh\necho \"$@\" >>%s\nexit 5\n" % root.path("/asked").encode(), 0o755)
    assert root.run("csulcca_postrm", *arguments) == (0, "")
    asked = root.get("/asked").decode() if root.exists("/asked") else ""
    assert ("stop CSUTKEcat.service csulcca-check.timer" in asked) == stops


@pytest.mark.parametrize("unit,active,enabled,running,asked", [
    ("enabled", "yes", "disabled", "inactive", ["daemon-reload", "--quiet enable", "start"]),
    ("enabled", "yes", "enabled", "active", []),
    ("enabled", "no", "disabled", "inactive", ["daemon-reload", "--quiet enable"]),
    ("disabled", "yes", "disabled", "inactive", ["daemon-reload", "start"]),
    ("disabled", "no", "disabled", "inactive", ["daemon-reload"]),
    ("masked", "no", "masked", "inactive", ["daemon-reload"]),
    ("enabled", "unknown", "enabled", "inactive", ["daemon-reload"]),
])
@pytest.mark.parametrize("when", ["now", "two days ago", "after a removal", "without systemd"])
def test_what_the_old_package_has_undone_comes_back(root, unit, active, enabled, running, asked, when):
    """In rpm's %triggerpostun, since %posttrans may never come."""
    if when != "without systemd":
        root.put("/run/systemd/system/x")
    if when != "after a removal":
        root.put("/usr/lib/csulcca/run", b"#!/bin/sh\n", 0o755)
    root.put(paths.CAPTURE, ("tree=yes\nunit=%s\nactive=%s\n" % (unit, active)).encode())
    if when == "two days ago":
        os.utime(root.path(paths.CAPTURE), (time.time() - 2 * 86400,) * 2)
    systemctl = "#!/bin/sh\ncase $* in\n*is-enabled*) echo %s; exit ;;\n*is-active*) [ %s = active ]; exit ;;\nesac\n"
    systemctl += "echo \"$*\" >>%s\n"
    root.put("/bin/systemctl", (systemctl % (enabled, running, root.path("/asked"))).encode(), 0o755)
    assert root.run("csulcca_after_old_package", phase="postrm") == (0, "")
    told = root.get("/asked").decode().replace(" CSUTKEcat.service", "").splitlines() if root.exists("/asked") else []
    assert told == (asked if when == "now" else [])
    assert root.exists(paths.CAPTURE)


def test_unfinished_pairs_go(root):
    installed_with_pair(root)
    root.put(paths.STAGE_DRAFT + "/catcher.key", KEY, 0o600)
    root.put(paths.STAGE + "/catcher.key", KEY, 0o600)
    purge(root)
    assert not root.exists("/opt/IBM/CCA")


def in_bin(root):
    """Return {name: content} of the files in the pair's directory; {} if the directory is gone."""
    base = root.path(paths.BIN)
    return {name: root.get(paths.BIN + "/" + name) for name in os.listdir(base)} if os.path.isdir(base) else {}


def unfinished(root, begin):
    """Run what begins a pair on the root, and put down a mark of an installation that a purge is for."""
    begin(Machine(root.base))
    root.put(paths.CONF, b"TLS_ON\n")


@pytest.mark.parametrize("placed", [(), ("catcher.key",), ("catcher.key", "catcher.crt")])
def test_purge_of_a_pair_that_is_half_placed(root, placed):
    unfinished(root, lambda machine: pair.stage(machine, KEY, CRT))
    for name in placed:
        os.link(root.path(paths.STAGE + "/" + name), root.path(paths.BIN + "/" + name))
    purge(root)
    assert in_bin(root) == {}


@pytest.mark.parametrize("by", ["mv", "cp"])
def test_purge_keeps_what_an_administrator_put_beside_or_into_an_unfinished_pair(root, by):
    """A CA has signed a certificate for our key. Together they are the administrator's pair."""
    unfinished(root, lambda machine: (pair.stage(machine, KEY, CRT), pair.place(machine)))
    if by == "mv":
        os.unlink(root.path(paths.CERTIFICATE))
    root.put(paths.CERTIFICATE, b"signed")
    purge(root)
    assert in_bin(root) == {"catcher.key": KEY, "catcher.crt": b"signed"}


@pytest.mark.parametrize("renamed", [(), ("catcher.key",), ("catcher.key", "catcher.crt")])
@pytest.mark.parametrize("generated", [True, False])
@pytest.mark.parametrize("old_is_ours", [True, False])
def test_purge_of_an_unfinished_replacement_removes_only_what_we_made(root, renamed, generated, old_is_ours):
    """`cert generate --force` or `cert install` was killed: our files are removed, an administrator's files stay."""
    root.put(paths.KEY, KEY, 0o600)
    root.put(paths.CERTIFICATE, CRT)
    if old_is_ours:
        root.put(paths.STAMP, stamp.render(make_stamp(generated_pair=pair.fingerprint(KEY, CRT))))
    unfinished(root, lambda machine: pair.begin_replacement(machine, b"new key", b"new crt", generated))
    for name in renamed:
        os.rename(root.path(paths.REPLACE_STAGE + "/" + name), root.path(paths.BIN + "/" + name))
    purge(root)
    left = in_bin(root)
    assert not [name for name in left if name.startswith(".")]
    wanted = ([] if old_is_ours else [KEY, CRT]) + ([] if generated else [b"new key", b"new crt"])
    assert sorted(left.values()) == sorted(wanted)
    if not generated:
        assert (left["catcher.key"], left["catcher.crt"]) == (b"new key", b"new crt")


def begin_return(machine, generated, old_is_ours):
    """The daemon did not show a new pair, which was generated or an administrator's; the way back has begun."""
    suffix = pair.begin_replacement(machine, b"new key", b"new crt", generated)
    pair.place_replacement(machine)
    pair.clear(machine)
    pair.begin_return(machine, suffix, old_is_ours)


@pytest.mark.parametrize("renamed", [(), ("catcher.key",), ("catcher.key", "catcher.crt")])
@pytest.mark.parametrize("old_is_ours", [True, False])
def test_purge_of_an_unfinished_return_keeps_an_administrators_pair(root, renamed, old_is_ours):
    root.put(paths.KEY, KEY, 0o600)
    root.put(paths.CERTIFICATE, CRT)
    unfinished(root, lambda machine: begin_return(machine, False, old_is_ours))
    for name in renamed:
        os.rename(root.path(paths.REPLACE_STAGE + "/" + name), root.path(paths.BIN + "/" + name))
    purge(root)
    assert in_bin(root) == ({} if old_is_ours else {"catcher.key": KEY, "catcher.crt": CRT})


@pytest.mark.parametrize("old_is_ours", [True, False])
def test_purge_of_a_replacement_that_was_killed_after_the_kept_names(root, old_is_ours):
    def begin(machine):
        suffix = pair.begin_replacement(machine, b"new key", b"new crt", True)
        pair.place_replacement(machine)
        for name in pair.FILES:
            machine.link(paths.REPLACE_STAGE + "/" + pair.KEPT + name + suffix, paths.BIN + "/" + name + suffix)

    root.put(paths.KEY, KEY, 0o600)
    root.put(paths.CERTIFICATE, CRT)
    if old_is_ours:
        root.put(paths.STAMP, stamp.render(make_stamp(generated_pair=pair.fingerprint(KEY, CRT))))
    unfinished(root, begin)
    purge(root)
    assert sorted(in_bin(root).values()) == ([] if old_is_ours else sorted([KEY, CRT]))


def test_purge_keeps_both_where_the_name_for_what_was_replaced_is_taken(root):
    root.put(paths.KEY, KEY, 0o600)
    root.put(paths.CERTIFICATE, CRT)
    taken = []

    def begin(machine):
        suffix = pair.begin_replacement(machine, b"new key", b"new crt", True)
        pair.place_replacement(machine)
        taken.append(paths.KEY + suffix)

    unfinished(root, begin)
    root.put(taken[0], b"theirs")
    purge(root)
    assert sorted(in_bin(root).values()) == sorted([KEY, CRT, b"theirs"])


def test_purge_keeps_what_somebody_put_in_the_way_of_a_replacement(root):
    root.put(paths.KEY, KEY, 0o600)
    root.put(paths.CERTIFICATE, CRT)
    unfinished(root, lambda machine: pair.begin_replacement(machine, b"new key", b"new crt", True))
    os.unlink(root.path(paths.CERTIFICATE))
    root.put(paths.CERTIFICATE, b"theirs")
    purge(root)
    assert b"theirs" in in_bin(root).values() and KEY in in_bin(root).values() and CRT in in_bin(root).values()


@pytest.mark.parametrize("kind,ours", [("link", "yes"), ("file", "yes"), ("copy", "yes"), ("of 7.x", "no"),
                                       ("link of others", "no"), ("none", "no")])
def test_preinst_knows_the_control_script_of_8(root, kind, ours):
    """/opt was kept and /usr is new. CSUTKEcat in /opt shows what the host was."""
    root.put(paths.CATCHER, b"", 0o755)
    os.rmdir(root.path("/usr/lib/csulcca/catcher_install"))
    control = root.path(paths.BIN + "/CSUTKEcat")
    if kind == "link":
        os.symlink(root.path("/usr/lib/csulcca/run"), control)
    elif kind == "link of others":
        os.symlink("/usr/local/bin/run", control)
    elif kind == "copy":
        # As it is in the package.
        with open(os.path.join(TREE, "hooks/run")) as stream:
            root.put(paths.BIN + "/CSUTKEcat", stream.read().replace("/usr/lib/", root.path("/usr/lib/")).encode())
    elif kind != "none":
        text = "exec /usr/lib/csulcca/run CSUTKEcat" if kind == "file" else "/opt/IBM/CCA/bin/catcher.exe # csulcca"
        text = text.replace("/usr/lib", root.path("/usr/lib"))
        root.put(paths.BIN + "/CSUTKEcat", ("#!/bin/sh\n%s\n" % text).encode())
    assert root.run("csulcca_preinst", "rpm", "1")[0] == 0
    note = root.get(paths.CAPTURE).decode()
    assert "ours=%s\n" % ours in note and ("tree=no\n" in note) == (ours == "yes")


def test_purge_after_an_unfinished_return_gives_a_lone_key_no_certificate(root):
    """The administrator's key, which had no certificate, does not get one of another key."""
    root.put(paths.KEY, KEY, 0o600)
    unfinished(root, lambda machine: begin_return(machine, True, False))
    os.rename(root.path(paths.REPLACE_STAGE + "/catcher.key"), root.path(paths.KEY))
    purge(root)
    assert in_bin(root) == {"catcher.key": KEY}


KEPT = ".20261128T101112Z"
OTHERS = b"others key\n", b"others certificate\n"


def put_pair(root, suffix, files):
    root.put(paths.KEY + suffix, files[0], 0o600)
    root.put(paths.CERTIFICATE + suffix, files[1])


@pytest.mark.parametrize("suffix", [KEPT, KEPT + "-2"])
@pytest.mark.parametrize("ours", ["in place", "kept", "both", "neither"])
def test_purge_leaves_no_private_key_that_we_made(root, suffix, ours):
    """There is a kept copy of our replaced pair. An administrator's files stay, in place or kept."""
    made = (b"our key\n", b"our certificate\n"), (b"our earlier key\n", b"our earlier certificate\n")
    in_place = made[0] if ours in ("in place", "both") else (KEY, CRT)
    kept = made[1] if ours in ("kept", "both") else OTHERS
    put_pair(root, "", in_place)
    put_pair(root, suffix, kept)
    root.put(paths.STAMP, stamp.render(make_stamp(
        generated_pair=pair.fingerprint(*made[0]), made_earlier=["ab" * 32, pair.fingerprint(*made[1])])))
    purge(root)
    theirs = [one for files in (in_place, kept) if files not in made for one in files]
    assert sorted(in_bin(root).values()) == sorted(theirs)


@pytest.mark.parametrize("ours", [True, False])
def test_purge_where_the_links_of_an_image_lead_to_the_pair(root, ours):
    """The other files of the pair are there, too. An administrator's pair stays, and can still be reached."""
    made = pair.fingerprint(KEY, CRT)
    places = [paths.BIN + name for name in ("/catcher.key", "/catcher.crt")]

    def link(where):
        for place in places:
            if root.exists(place):
                os.unlink(root.path(place))
            os.symlink(where + place[len(paths.BIN):], root.path(place))

    link(paths.IMAGE_PAIR)
    machine = Machine(root.base)
    for suffix in ("", KEPT):
        for place, data in zip(places, (KEY, CRT)):
            machine.put(place + suffix, data)
    machine.put(paths.STAMP, stamp.render(make_stamp(generated_pair=made if ours else None)), 0o600)
    before_removal(root)
    machine.put(paths.STAGE_DRAFT + "/catcher.key", b"a draft")
    link(root.path(paths.IMAGE_PAIR))
    for action in ("remove", "purge"):
        assert root.run("csulcca_postrm", "deb", action) == (0, "")
    assert image_links(root) == ([] if ours else ["catcher.key", "catcher.crt"])
    left = ["catcher.crt", "catcher.crt" + KEPT, "catcher.key", "catcher.key" + KEPT]
    assert (sorted(os.listdir(root.path(paths.IMAGE_PAIR))) if root.exists(paths.IMAGE_PAIR) else []) == (
        [] if ours else left)


@pytest.mark.parametrize("change", ["key", "certificate", "no certificate", "a link"])
def test_purge_keeps_a_kept_pair_that_was_changed(root, change):
    put_pair(root, KEPT, (KEY, CRT))
    root.put(paths.STAMP, stamp.render(make_stamp(made_earlier=[pair.fingerprint(KEY, CRT)])))
    before_removal(root)
    if change == "key":
        root.put(paths.KEY + KEPT, b"another", 0o600)
    elif change == "certificate":
        root.put(paths.CERTIFICATE + KEPT, b"signed by a CA")
    elif change == "no certificate":
        os.unlink(root.path(paths.CERTIFICATE + KEPT))
    else:
        os.rename(root.path(paths.KEY + KEPT), root.path("/etc/cca/elsewhere"))
        os.symlink("/etc/cca/elsewhere", root.path(paths.KEY + KEPT))
    before = sorted(os.listdir(root.path(paths.BIN)))
    for action in ("remove", "purge"):
        assert root.run("csulcca_postrm", "deb", action) == (0, "")
    assert sorted(os.listdir(root.path(paths.BIN))) == before


@pytest.mark.parametrize("ours", [True, False])
def test_purge_removes_the_key_of_a_request_if_we_made_it(root, ours):
    root.put(paths.REQUEST_KEY, KEY, 0o600)
    root.put(paths.REQUEST_KEY_DRAFT, b"half a key", 0o600)
    root.put(paths.STAMP, stamp.render(make_stamp(made_earlier=[pair.fingerprint(KEY)] if ours else [])))
    purge(root)
    assert in_bin(root) == ({} if ours else {"catcher.key.request": KEY})


def test_a_key_of_a_request_that_was_put_in_place_by_hand_is_the_administrators(root):
    root.put(paths.KEY, KEY, 0o600)
    root.put(paths.STAMP, stamp.render(make_stamp(made_earlier=[pair.fingerprint(KEY)])))
    purge(root)
    assert in_bin(root) == {"catcher.key": KEY}


@pytest.mark.parametrize("name", ["catcher.key", "catcher.crt"])
@pytest.mark.parametrize("suffix", ["", KEPT])
def test_purge_of_a_pair_of_which_one_file_cannot_be_removed(root, name, suffix):
    """Immutable (chattr +i): such a file cannot be linked either."""
    put_pair(root, suffix, (KEY, CRT))
    root.put(paths.STAMP, stamp.render(make_stamp(made_earlier=[pair.fingerprint(KEY, CRT)])))
    before_removal(root)
    fixed = root.path(paths.BIN + "/" + name + suffix)
    for command in ("ln", "rm", "mv"):
        refuse = '#!/bin/sh\nfor one; do [ "$one" != %s ] || exit 1; done\nexec %s "$@"\n' % (
            fixed, shutil.which(command))
        root.put("/bin/" + command, refuse.encode(), 0o755)
    assert_both_stay(root, suffix)
    for command in ("ln", "rm", "mv"):
        os.unlink(root.path("/bin/" + command))
    assert_next_purge_removes_both(root)


def assert_both_stay(root, suffix):
    """A purge leaves the pair, says so, and keeps the proof that the pair is ours."""
    status, output = root.run("csulcca_postrm", "deb", "purge")
    assert status == 0 and "catcher.key%s cannot be removed" % suffix in output
    assert in_bin(root) == {"catcher.key" + suffix: KEY, "catcher.crt" + suffix: CRT}
    assert sorted(os.listdir(root.path(paths.STATE_DIR))) == ["purge", "state.json"]


def assert_next_purge_removes_both(root):
    assert root.run("csulcca_postrm", "deb", "purge") == (0, "")
    assert in_bin(root) == {} and not root.exists(paths.STATE_DIR)


@pytest.mark.parametrize("name", ["catcher.key", "catcher.crt"])
@pytest.mark.parametrize("suffix", ["", KEPT])
def test_purge_of_a_pair_of_which_one_file_can_be_linked_and_not_removed(root, name, suffix):
    """For example, after an error of the disk, or on a full btrfs."""
    put_pair(root, suffix, (KEY, CRT))
    root.put(paths.STAMP, stamp.render(make_stamp(made_earlier=[pair.fingerprint(KEY, CRT)])))
    before_removal(root)
    refuse = '#!/bin/sh\nfor one; do [ "$one" != %s ] || exit 1; done\nexec %s "$@"\n' % (
        root.path(paths.BIN + "/" + name + suffix), shutil.which("rm"))
    root.put("/bin/rm", refuse.encode(), 0o755)
    assert_both_stay(root, suffix)
    os.unlink(root.path("/bin/rm"))
    assert_next_purge_removes_both(root)


@pytest.mark.parametrize("links", [True, False])
@pytest.mark.parametrize("suffix", ["", KEPT])
def test_purge_where_no_new_file_can_be_made(root, suffix, links):
    """No inode is free, or the disk has an error and no link can be made either."""
    put_pair(root, suffix, (KEY, CRT))
    root.put(paths.STAMP, stamp.render(make_stamp(made_earlier=[pair.fingerprint(KEY, CRT)])))
    before_removal(root)
    root.put("/bin/mkdir", b'#!/bin/sh\nfor last; do :; done\nexec %s -p "$@" "$last/one"\n' %
             shutil.which("mkdir").encode(), 0o755)
    if links:
        assert_next_purge_removes_both(root)
        return
    root.put("/bin/ln", b"#!/bin/sh\nexit 1\n", 0o755)
    assert_both_stay(root, suffix)
    os.unlink(root.path("/bin/mkdir"))
    assert_next_purge_removes_both(root)


@pytest.mark.parametrize("name", ["catcher.key", "catcher.crt"])
def test_purge_of_a_pair_that_cannot_be_read(root, name):
    """It is not known what the pair is now. It does not count as an administrator's."""
    put_pair(root, "", (KEY, CRT))
    root.put(paths.STAMP, stamp.render(make_stamp(made_earlier=[pair.fingerprint(KEY, CRT)])))
    before_removal(root)
    refuse = '#!/bin/sh\nfor one; do [ "$one" != %s ] || exit 1; done\nexec %s "$@"\n' % (
        root.path(paths.BIN + "/" + name), shutil.which("cat"))
    root.put("/bin/cat", refuse.encode(), 0o755)
    assert_both_stay(root, "")
    os.unlink(root.path("/bin/cat"))
    assert_next_purge_removes_both(root)


@pytest.mark.parametrize("suffix", ["", KEPT])
@pytest.mark.parametrize("fixed", ["", "catcher.key", "catcher.crt"])
def test_purge_without_hard_links_leaves_no_key_of_ours(root, suffix, fixed):
    """For example, on vfat. Both files are removed or none, and a file that cannot be removed is named."""
    put_pair(root, suffix, (KEY, CRT))
    root.put(paths.STAMP, stamp.render(make_stamp(made_earlier=[pair.fingerprint(KEY, CRT)])))
    before_removal(root)
    root.put("/bin/ln", b"#!/bin/sh\nexit 1\n", 0o755)
    refuse = '#!/bin/sh\nfor one; do [ "$one" != %s ] || exit 1; done\nexec %s "$@"\n' % (
        root.path(paths.BIN + "/" + fixed + suffix), shutil.which("rm"))
    root.put("/bin/rm", refuse.encode(), 0o755)
    root.put("/bin/mv", refuse.replace(shutil.which("rm"), shutil.which("mv")).encode(), 0o755)
    if fixed == "catcher.crt":
        os.unlink(root.path("/bin/mv"))
    status, output = root.run("csulcca_postrm", "deb", "purge")
    assert status == 0 and ("cannot be removed" in output) == (fixed != "")
    assert in_bin(root) == ({"catcher.key" + suffix: KEY, "catcher.crt" + suffix: CRT} if fixed else {})


@pytest.mark.parametrize("arguments", [("deb", "remove"), ("deb", "purge"), ("rpm", "0"), ("rpm", "1")])
@pytest.mark.parametrize("target,goes", [(paths.IMAGE_PAIR, True), ("/srv/elsewhere", False)])
def test_removal_takes_the_links_of_an_image_that_has_no_pair(root, arguments, target, goes):
    for name in ("catcher.key", "catcher.crt"):
        os.symlink(root.path(target) + "/" + name, root.path(paths.BIN) + "/" + name)
    assert root.run("csulcca_postrm", *arguments) == (0, "")
    assert (image_links(root) == []) == (goes and arguments != ("rpm", "1"))


def test_removal_leaves_the_links_of_an_image_to_a_pair(root):
    for name in ("catcher.key", "catcher.crt"):
        root.put(paths.IMAGE_PAIR + "/" + name, b"a pair")
        os.symlink(root.path(paths.IMAGE_PAIR) + "/" + name, root.path(paths.BIN) + "/" + name)
    assert root.run("csulcca_postrm", "rpm", "0") == (0, "")
    assert image_links(root) == ["catcher.key", "catcher.crt"]


def test_removal_leaves_no_empty_folder_of_the_library(root):
    os.makedirs(root.path("/usr/lib/csulcca/catcher_install/a/folder"))
    os.makedirs(root.path("/usr/lib/csulcca/hooks"))
    assert root.run("csulcca_postrm", "rpm", "0") == (0, "")
    assert not root.exists("/usr/lib/csulcca")


def systemctl_calls(root, *arguments):
    """What a call of postrm has told systemd, where systemd runs."""
    os.makedirs(root.path("/run/systemd/system"), exist_ok=True)
    root.put("/bin/systemctl", b'#!/bin/sh\necho "$*" >>%s\n' % root.path("/told").encode(), 0o755)
    assert root.run("csulcca_postrm", *arguments) == (0, "")
    return root.get("/told").decode().splitlines() if root.exists("/told") else []


@pytest.mark.parametrize("arguments,downgrade", [
    (("deb", "upgrade", "7.3.0-1"), True), (("deb", "upgrade", "1:7.6.10-1"), True), (("deb", "upgrade", "7-1"), True),
    (("deb", "upgrade", "8.1.0-1"), False), (("deb", "upgrade", "1:8.0"), False), (("deb", "upgrade", "10.0"), False),
    (("deb", "upgrade", "70.1"), False), (("deb", "upgrade"), False),
    # Policy 6.6: the new package's postrm, if the old one's has failed. Its $2 is the version that goes.
    (("deb", "failed-upgrade", "7.3.0-1", "8.0.0-1"), False), (("deb", "failed-upgrade", "8.1.0-1", "8.0.0-1"), False),
    (("deb", "failed-upgrade", "7.3.0-1"), False),
    # The new package's, too: nothing of it is left.
    (("deb", "abort-upgrade", "7.3.0-1", "8.0.0-1"), False), (("deb", "abort-upgrade", "8.1.0-1", "8.0.0-1"), False),
    (("deb", "abort-install", "7.3.0-1", "8.0.0-1"), False), (("deb", "disappear", "other", "7.3.0-1"), False),
    (("deb", "disappear", "7.zip", "1"), False)])
def test_only_an_upgrade_to_7_is_a_downgrade(root, arguments, downgrade):
    """Our daemon is restarted only if it goes. If 7.x goes, postinst restarts, when the mode has been written."""
    told = systemctl_calls(root, *arguments)
    assert ("try-restart CSUTKEcat.service" in told, "stop csulcca-check.timer" in told) == (downgrade, downgrade)
    assert downgrade or told == []


@pytest.mark.parametrize("there,downgrade", [((paths.CATCHER,), True), ((paths.CATCHER, "/usr/lib/csulcca/run"), False),
                                             ((), False)])
@pytest.mark.parametrize("count", ["1", "2"])
def test_rpm_has_downgraded_if_the_catcher_is_there_and_we_are_not(root, there, downgrade, count):
    for path in there:
        root.put(path)
    assert ("try-restart CSUTKEcat.service" in systemctl_calls(root, "rpm", count)) == downgrade


NOTE_OF_7 = "tree=%s\nours=no\ngroups=yes\nversion=\nunit=%s\nmode=tcp\nseen=process\nactive=%s\n"
ABORT = ("deb", "abort-upgrade", "7.3.0-1", "8.0.0-1")


# debhelper's part: dpkg-maintscript-helper gives the init script back, which its call in preinst had moved away.
BACK = "mv {0}.dpkg-remove {0}\n"
INIT = "/etc/init.d/CSUTKEcat"


def taken_back(root, noted=("yes", "enabled", "yes"), enabled=False, active=False, status=0, age=0, call=ABORT):
    """dpkg takes an upgrade back; what preinst noted, what has become of the service, and how systemctl ends. Returns
    what changed."""
    shutil.rmtree(root.path("/usr/lib/csulcca"), ignore_errors=True)
    root.put(paths.CAPTURE, (NOTE_OF_7 % noted).encode())
    when = time.time() - age
    os.utime(root.path(paths.CAPTURE), (when, when))
    os.makedirs(root.path("/run/systemd/system"), exist_ok=True)
    text = """#!/bin/sh
case "$*" in
*is-enabled*) echo %s; exit %d ;;
*is-active*) exit %d ;;
*) [ -e %s ] || exit 5; echo "$*" >>%s; exit %d ;;
esac
""" % ("enabled" if enabled else "disabled", not enabled, 0 if active else 3, root.path(INIT), root.path("/told"),
       status)
    root.put("/bin/systemctl", text.encode(), 0o755)
    root.put(INIT + ".dpkg-remove")
    assert root.maintainer_script("postrm", BACK.format(root.path(INIT)), *call[1:]) == (0, "")
    told = root.get("/told").decode().split() if root.exists("/told") else []
    told = [word for word in told if word in ("daemon-reload", "enable", "start", "stop", "try-restart", "disable")]
    # Else systemd knows nothing of an init script that was away.
    assert told[:1] in ([], ["daemon-reload"])
    return told[1:]


@pytest.mark.parametrize("noted,enabled,active,wanted", [
    (("yes", "enabled", "yes"), False, False, ["enable", "start"]), (("yes", "enabled", "yes"), True, True, []),
    (("yes", "enabled", "yes"), True, False, ["start"]), (("yes", "enabled", "no"), False, False, ["enable"]),
    (("yes", "disabled", "yes"), False, False, ["start"]), (("yes", "disabled", "no"), False, False, []),
    (("yes", "enabled", "unknown"), False, False, ["enable"]), (("no", "enabled", "yes"), False, False, [])])
def test_an_upgrade_from_7_that_dpkg_takes_back_leaves_the_service_as_it_was(root, noted, enabled, active, wanted):
    """7.x's prerm has stopped and disabled it, and 7.x's postinst need not undo that; our prerm does neither. The
    service may be of the init script alone."""
    assert taken_back(root, noted, enabled, active) == wanted
    assert not root.exists(paths.STATE_DIR)


def test_an_installation_over_what_7_left_that_dpkg_takes_back(root):
    """7.x was removed and not purged."""
    assert taken_back(root, call=("deb", "abort-install", "7.3.0-1", "8.0.0-1")) == ["enable", "start"]


def test_an_upgrade_that_was_abandoned_starts_nothing_when_another_is_taken_back(root):
    assert taken_back(root, age=paths.NOTE_SECONDS + 60) == []


def test_a_service_that_could_not_be_brought_back_stays_noted(root):
    """The note is for the next attempt. A service that cannot be enabled is started nevertheless."""
    assert taken_back(root, status=1) == ["enable", "start"] and root.exists(paths.CAPTURE)


def test_the_note_of_a_killed_upgrade_stays_as_long_as_our_files_do(root):
    """The second attempt failed, for example on a full disk. Only the note of the first one says what the host was."""
    root.put(paths.CAPTURE, (NOTE_OF_7 % ("yes", "enabled", "yes")).encode())
    root.put("/usr/lib/csulcca/run", b"", 0o755)
    assert systemctl_calls(root, *ABORT) == []
    assert root.run("csulcca_taken_back", *ABORT, phase="postrm") == (0, "")
    assert not root.exists("/told") and root.exists(paths.CAPTURE)
