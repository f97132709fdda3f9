"""The schemas of ``--json``: one for each verb that has it, strict, and able to tell right from wrong.

That real outputs conform is looked at wherever a unit test has one (see conforms() in schema.py), and on real systems
by tests/packaging/test_json.py.
"""

import argparse
import copy
import json

import jsonschema
import pytest

from catcher_install import actions, report
from catcher_install.admin import cli
from catcher_install.messages import finding
from catcher_install.probe import result

from . import schema

MOMENT = 1800000000
SHA1 = ":".join(["AB"] * 20)
SHA256 = ":".join(["CD"] * 32)
FINDING = report.finding_fields(finding("not-running"))
CERTIFICATE = {
    "subject": "CN=tke1", "issuer": "CN=tke1", "self_issued": True, "common_names": ["tke1"], "dns_names": ["tke1"],
    "addresses": ["192.0.2.10"], "not_before": MOMENT, "not_after": MOMENT, "sha1": SHA1, "sha256": SHA256,
    "problem": None,
}
CERT = {"format_version": 1, "state": "both", "algorithm": "EC secp521r1", "made_here": None,
        "certificates": [CERTIFICATE], "problem": None}
# A correct output for each schema, with an item in each list.
RIGHT = {
    "finding": FINDING,
    "certificate": CERTIFICATE,
    "status": {
        "format_version": 1, "complete": True, "version": "8.0.0", "host": "tke1", "distribution": "Debian",
        "mode": {"configured": "tls", "running": None, "agree": False},
        "tls": {"possible": True, "version": "3.0.13", "library": "/usr/lib64/libssl.so.3", "reason": ""},
        "pair": {"state": "both", "algorithm": "RSA 2048", "made_here": False, "not_before": 0, "not_after": MOMENT,
                 "names": ["tke1"], "sha1": SHA1, "sha256": "", "problem": ""},
        "service": {"enabled": True, "masked": False, "wanted": True, "pid": 100, "serves": True},
        "listener": {"port": 50003, "state": "catcher", "pid": 100, "program": "catcher.exe",
                     "addresses": ["0.0.0.0"], "listens": True},
        "backend": {"name": "127.0.0.1:50004", "answers": False, "problem": "connection refused"},
        "tke": {"enable_tls": True},
        "findings": [FINDING],
    },
    "plan": {"format_version": 1, "history": "fresh", "mode": "tls", "findings": [FINDING],
             "actions": [{"kind": "write configuration", "why": "TLS is possible", "data": "TLS_ON\n"}]},
    "apply": {"format_version": 1, "done": ["write stamp"], "findings": [FINDING]},
    "mode": {"format_version": 1, "configured": "tls", "problem": None, "done": ["..."], "findings": [FINDING]},
    "cert-show": CERT,
    "cert-change": {"format_version": 1, "done": ["..."], "sha256": SHA256, "request": None, "findings": [FINDING]},
    "cert-list": {
        "format_version": 1, "unfinished": False,
        "pairs": [{"state": "kept", "name": "20261123T211200Z", "replaced": MOMENT,
                   "key": "/opt/IBM/CCA/bin/catcher.key", "certificate": None,
                   "algorithm": "RSA 2048", "made_here": None, "in_use": False,
                   "certificates": [CERTIFICATE], "problem": None}],
    },
    "cert-check": dict(CERT, findings=[FINDING]),
    "probe": {
        "format_version": 1, "host": "tke1", "port": 50003, "name": "tke1", "state": "tls", "reason": "",
        "address": "192.0.2.10", "failed_addresses": [{"address": "192.0.2.11", "problem": "refused"}],
        "tls": {"version": "TLSv1.3", "cipher": "TLS_AES_256_GCM_SHA384"}, "name_matches": True,
        "name_found_in": "SAN DNS tke1", "chain": [CERTIFICATE], "chain_note": None,
        "trust": {"cafile": None, "anchor": True, "anchor_problem": None, "system": False,
                  "system_problem": "self-signed"},
        "findings": [FINDING],
    },
    "tke-guide": {
        "format_version": 1, "mode": "tls", "host_names": ["tke1"], "port": 50003, "enable_tls": True,
        "configured": "tls", "running": None, "steps": ["1. ..."],
        "certificate": {"subject": "CN=tke1", "not_before": MOMENT, "not_after": MOMENT, "sha1": SHA1,
                        "sha256": SHA256},
    },
}  # fmt: skip


def json_verbs(parser, words=()):
    """The verbs that have --json, as names of schemas."""
    if "--json" in parser._option_string_actions:
        yield "-".join(words)
    for one in parser._actions:
        if isinstance(one, argparse._SubParsersAction):
            for name, below in one.choices.items():
                yield from json_verbs(below, words + (name,))


def objects(node):
    """Every schema of an object in a schema."""
    if isinstance(node, dict):
        if "properties" in node:
            yield node
        for one in node.values():
            yield from objects(one)


def spoiled(value):
    """Yield (the fault, the value with it): an object lacks a field, has an extra one, or one of a wrong type."""
    if isinstance(value, list):
        for why, other in spoiled(value[0]):
            yield why, [other]
    if not isinstance(value, dict):
        return
    yield "a field too many", dict(value, surplus=1)
    for name in value:
        yield "no " + name, {other: value[other] for other in value if other != name}
        yield name + " of another type", dict(value, **{name: 1.5})
        for why, other in spoiled(value[name]):
            yield "%s: %s" % (name, why), dict(value, **{name: other})


def test_each_verb_with_json_has_a_schema_and_no_other():
    assert sorted(json_verbs(cli.parser(cli._fail))) == sorted(schema.VERBS + sum(schema.SHARED.values(), []))
    assert sorted(RIGHT) == schema.NAMES


@pytest.mark.parametrize("name", schema.NAMES)
def test_a_schema_is_one_and_is_strict(name):
    found = schema.schema(name)
    jsonschema.Draft7Validator.check_schema(found)
    for one in objects(found):
        assert one["additionalProperties"] is False
        assert one["required"] == list(one["properties"])
        assert all(field["description"] for field in one["properties"].values())


@pytest.mark.parametrize("name", schema.NAMES)
def test_a_schema_tells_right_from_wrong(name):
    before = copy.deepcopy(RIGHT[name])
    schema.conforms(name, before)
    tried = list(spoiled(before))
    assert len(tried) > 8
    taken = [why for why, value in tried if jsonschema.Draft7Validator(schema.schema(name)).is_valid(value)]
    assert taken == []


def test_the_schemas_know_each_action_and_each_state_of_a_probe():
    kinds = schema.schema("plan")["properties"]["actions"]["items"]["properties"]["kind"]["enum"]
    assert sorted(kinds) == sorted(actions.ORDER)
    states = {getattr(result, name) for name in (
        "TLS", "TCP", "UNKNOWN_NAME", "REFUSED", "UNREACHABLE", "CLOSED", "TIMED_OUT", "HANDSHAKE_REFUSED",
        "HANDSHAKE_BROKEN")}
    assert set(schema.schema("probe")["properties"]["state"]["enum"]) == states


def test_an_output_that_is_wrong_is_seen():
    with pytest.raises(AssertionError, match="finding: severity: 'fatal'"):
        schema.conforms("finding", dict(json.loads(json.dumps(FINDING)), severity="fatal"))
