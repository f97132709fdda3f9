"""What `--json` prints on real systems, in several states, against the schemas that the package installed there.

check-jsonschema, a validator that is not ours, compares them, so the schemas' references to each other are tried, too.
"""

import concurrent.futures
import json
import pathlib
import subprocess
import sysconfig

import pytest

from tests.unit import schema

from .marks import one_of_each_family
from .system import CERTIFICATE, CONF, System

pytestmark = [pytest.mark.scenario("docs-json"), one_of_each_family]

SCHEMAS = "/usr/share/csulcca/schema"
VALIDATOR = pathlib.Path(sysconfig.get_path("scripts"), "check-jsonschema")
STATES = {
    "TLS": "catcherctl mode tls",
    "TCP": "catcherctl mode tcp",
    "stopped": "systemctl stop CSUTKEcat",
    "without a certificate": f"rm {CERTIFICATE}",
    "an unusable configuration": f"echo maybe > {CONF}",
}


def command(verb: str) -> str:
    """What to type for a schema's name."""
    words = "probe zlinux1" if verb == "probe" else verb.replace("cert-", "cert ")
    return f"catcherctl {words} --json"


def outputs(system: System) -> dict[str, str]:
    """Return what each verb prints. A verb that cannot do its work prints nothing."""
    found = {}
    for verb in schema.VERBS:
        done = system.machine.run(command(verb), check=False)
        assert done.rc in (0, 1, 3), done.err
        assert done.out or done.rc == 1, done.err
        found[verb] = done.out
    return found


def test_every_output_conforms_to_the_installed_schema(boot, built, tmp_path) -> None:
    system = boot()
    system.package(system.tools[1], "install", built.new(system.cell.family))
    system.machine.wait_for("a listening catcher", lambda: ":50003 " in system.show("ss -Hltn"))
    system.machine.copy_out(SCHEMAS, tmp_path)
    assert sorted(path.stem for path in (tmp_path / "schema").iterdir()) == schema.NAMES
    printed: dict[str, list[pathlib.Path]] = {verb: [] for verb in schema.VERBS}
    for state, change in STATES.items():
        system.machine.run(change)
        for verb, text in outputs(system).items():
            if text:
                path = tmp_path / f"{verb} in {state}.json"
                path.write_text(text)
                printed[verb].append(path)
    printed |= changes(system, tmp_path)
    # In the first state, every verb can do its work.
    assert [paths[0].name for paths in printed.values()] == [
        f"{verb} in TLS.json" for verb in [*schema.VERBS, *schema.SHARED]]
    spoiled = tmp_path / "spoiled.json"
    spoiled.write_text(json.dumps({**json.loads(printed["status"][0].read_text()), "surplus": 1}))
    # All outputs at once, because most of the validator's time is its start.
    with concurrent.futures.ThreadPoolExecutor() as pool:
        *all_said, said = pool.map(lambda verb_and_paths: validate(tmp_path / "schema", *verb_and_paths),
                                   [*printed.items(), ("status", [spoiled])])  # fmt: skip
    assert [one.returncode for one in all_said] == [0] * len(printed), [one.stdout + one.stderr for one in all_said]
    assert said.returncode == 1 and "'surplus' was unexpected" in said.stdout, said.stdout + said.stderr


def changes(system: System, directory: pathlib.Path) -> dict[str, list[pathlib.Path]]:
    """Return what the verbs that change the pair print. They share a schema."""
    system.machine.run(f"echo TLS_ON >{CONF}; mkdir -p /mnt/usb; catcherctl cert generate --force")
    system.machine.run("cp /opt/IBM/CCA/bin/catcher.key /root/my.key; cp /opt/IBM/CCA/bin/catcher.crt /root/my.crt")
    typed = {"cert-generate": "--force --days 90", "cert-install": "/root/my.key /root/my.crt", "cert-restore": "",
             "cert-request": "", "cert-export": "/mnt/usb"}  # fmt: skip
    assert sorted(typed) == schema.SHARED["cert-change"]
    found: list[pathlib.Path] = []
    for verb, words in typed.items():
        path = directory / f"cert-change in TLS{len(found) or ''}.json"
        path.write_text(system.machine.run(f"{command(verb)} {words}").out)
        found.append(path)
    return {"cert-change": found}


def validate(schemas: pathlib.Path, verb: str, outputs: list[pathlib.Path]) -> subprocess.CompletedProcess[str]:
    """Let check-jsonschema compare a verb's outputs with its schema."""
    schema_file = schemas / f"{verb}.json"
    return subprocess.run([VALIDATOR, "--schemafile", schema_file, *outputs], capture_output=True, text=True)
