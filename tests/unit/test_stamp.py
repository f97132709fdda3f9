"""state.json: what a run writes, that the next run reads the same, and that no other file is accepted."""

import json
import sys

import pytest

from catcher_install import config, pair, stamp, transition

from .support import make_facts, make_stamp

APPLY, START = transition.of(transition.APPLY), transition.of(transition.START)

FULL = make_stamp(
    mode="tcp",
    generated_pair="ab" * 32,
    made_earlier=["cd" * 32, "ef" * 32],
    findings=[{"id": "upgraded-tcp-kept"}, {"id": "tls-not-possible", "reason": "OpenSSL \u00fc is \"old\"\n"}],
    checked_pair={"fingerprint": "ab" * 32, "problem": "", "rsa_bits": 0, "not_before": 1, "not_after": 2},
)


@pytest.mark.parametrize("one", [make_stamp(), make_stamp(mode=None), FULL], ids=["plain", "no mode", "full"])
def test_what_is_written_is_read_again(one):
    assert stamp.parse(stamp.render(one)) == one


def test_the_stamp_has_the_documented_fields():
    fields = json.loads(stamp.render(FULL).decode("ascii"))
    assert sorted(fields) == [
        "accepted_names", "checked_openssl", "checked_pair", "findings", "format_version", "generated_pair",
        "made_earlier", "mode", "package_version"]
    assert fields["format_version"] == 1
    assert fields["package_version"] == "8.0.0"


@pytest.mark.parametrize("before,earlier,made,after", [
    (None, [], "a", []), ("a", [], "a", []), ("a", [], None, ["a"]), ("a", [], "b", ["a"]), ("b", ["a"], "a", ["b"]),
    ("b", ["a"], "b", ["a"]), (None, ["a"], "a", []), (None, ["a", "b"], None, ["a", "b"]),
])
def test_a_pair_of_ours_that_is_replaced_stays_known(before, earlier, made, after):
    now = stamp.with_pair(make_stamp(generated_pair=before, made_earlier=earlier), made)
    assert (now.generated_pair, now.made_earlier) == (made, after)


def test_what_is_remembered_of_earlier_pairs_is_bounded():
    now = make_stamp()
    for number in range(3000):
        now = stamp.with_key(stamp.with_pair(now, "%064x" % number), "%064x" % -number)
    assert len(now.made_earlier) == stamp.EARLIER_LIMIT and now.made_earlier[-1] == "%064x" % -2999
    assert len(stamp.render(now)) < stamp.SIZE_LIMIT / 4


def test_names_are_kept_as_long_as_there_is_room():
    now = make_stamp(generated_pair="a", made_earlier=["b"])
    few = {one: [one + ".example.com"] for one in "abcd"}
    assert stamp.names_to_keep(few, now, "c") == stamp.names_to_keep(few, now, "") == few
    many = dict(few, **{"%064x" % number: ["service.example.com"] * 9 for number in range(3000)})
    assert stamp.names_to_keep(many, now, "c") == {one: few[one] for one in "abc"}
    assert stamp.names_to_keep({}, now, "c") is None
    # If a pair could not be read, they would be taken for those of every unreadable pair.
    assert stamp.names_to_keep(dict(few, **{"": ["x.example.com"]}), now, "") == few


def test_unknown_fields_are_those_of_a_later_version():
    fields = json.loads(stamp.render(FULL).decode("ascii"))
    fields["later"] = {"x": [1, 2.5, None, True]}
    assert stamp.parse(json.dumps(fields).encode("ascii")) == FULL


NOT_OURS = {
    "empty": b"",
    "truncated": stamp.render(FULL)[:-20],
    "something behind it": stamp.render(FULL) + b"{}",
    "not UTF-8": b"\xff\xfe{}",
    "a list": b"[1]",
    "a number": b"1",
    "no version": b"{}",
    "a later format": b'{"format_version": 2}',
    "NULs, as after a crash": b"\0" * 500,
    "deep": b"[" * 200000,
    "deep objects": b'{"a":' * 100000,
}


@pytest.mark.parametrize("name", sorted(NOT_OURS))
def test_what_is_not_ours(name):
    assert stamp.parse(NOT_OURS[name]) is None


WRONG_TYPES = {
    "mode": [1, "ssl", None, ["tls"]],
    "generated_pair": [1, None, {}],
    "made_earlier": ["x", {"a": 1}, 7, None],
    "findings": [None, "x", [1, {}, {"id": 1}, ["id"]]],
    "checked_pair": [1, "x", None, []],
    "accepted_names": [1, "x", None, []],
    "checked_openssl": [1, "x", None, []],
    "package_version": [None, 8.0],
}


@pytest.mark.parametrize("field", sorted(WRONG_TYPES))
def test_fields_of_a_wrong_type_are_left_out(field):
    for value in WRONG_TYPES[field]:
        fields = json.loads(stamp.render(FULL).decode("ascii"))
        fields[field] = value
        read = stamp.parse(json.dumps(fields).encode("ascii"))
        assert getattr(read, field) in (None, [], str(value))


@pytest.mark.parametrize("text", [b'{"format_version": 1, "x": NaN}', b'{"format_version": 1, "x": 1e400}',
                                  b'  {"format_version": 1}\n\n', b'{"format_version": 1, "x": Infinity}'])
def test_an_odd_stamp_can_be_read(text):
    assert isinstance(stamp.parse(text), stamp.Stamp)


def test_both_readers_agree():
    """The C scanner used at each start gives what the json module gives."""
    for one in (make_stamp(), FULL):
        text = stamp.render(one).decode("ascii")
        assert stamp._loads(text) == json.loads(text)


def test_a_python_without_the_c_scanner_reads_the_stamp(monkeypatch):
    monkeypatch.setitem(sys.modules, "_json", None)
    assert stamp.parse(stamp.render(FULL)) == FULL
    assert stamp.parse(b"{") is None


# -- what a run writes -------------------------------------------------------------------------------------------------

def test_the_fingerprint_of_our_pair_is_kept():
    old = make_stamp(generated_pair="ab" * 32)
    assert stamp.next_stamp(make_facts(stamp=old), [], config.TCP, APPLY).generated_pair == "ab" * 32


@pytest.mark.parametrize("called", [APPLY, START, transition.of(transition.PUT_PAIR, request=transition.PairRequest(
    verb="cert install", key=b"k", certificate=b"c", may_replace=True, names=[], key_type="", days=0, options=""))])
def test_a_pair_of_ours_that_is_back_is_ours(called):
    """A change was being undone, and was killed before it wrote the stamp. A later run has written one."""
    facts = make_facts(stamp=make_stamp(made_earlier=["cd" * 32, "ab" * 32]))
    facts = facts.replace(pair=facts.pair.replace(state=pair.BOTH, fingerprint="ab" * 32))
    new = stamp.next_stamp(facts, [], config.TLS, called)
    assert (new.generated_pair, new.made_earlier) == ("ab" * 32, ["cd" * 32])


def test_findings_of_the_moment_are_not_kept():
    told = [{"id": "pair-deferred", "reason": "x"}, {"id": "pair-weak-key", "bits": "1024"}]
    assert stamp.next_stamp(make_facts(), told, config.TLS, APPLY).findings == [{"id": "pair-weak-key", "bits": "1024"}]
