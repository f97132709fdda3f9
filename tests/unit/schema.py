"""What ``--json`` prints against the schemas that are installed with it."""

import json
import os

import jsonschema

from .support import TREE

DIRECTORY = os.path.join(TREE, "share", "schema")
# Schemas that are parts of other schemas.
PARTS = ("certificate", "finding")
NAMES = sorted(name[:-len(".json")] for name in os.listdir(DIRECTORY))
# What several verbs print.
SHARED = {"cert-change": ["cert-export", "cert-generate", "cert-install", "cert-request", "cert-restore"]}
VERBS = [name for name in NAMES if name not in PARTS and name not in SHARED]


def name_for(verb):
    """The name of the schema of a verb ("cert-show", ...)."""
    return next((name for name, verbs in SHARED.items() if verb in verbs), verb)


def schema(name):
    """The schema of a verb ("cert-show", ...) or a part, complete: its references are put in their places."""
    with open(os.path.join(DIRECTORY, name + ".json"), encoding="utf-8") as stream:
        return _complete(json.load(stream))


def _complete(node):
    if isinstance(node, list):
        return [_complete(one) for one in node]
    if not isinstance(node, dict):
        return node
    if "$ref" in node:
        file, _, pointer = node["$ref"].partition("#/")
        found = schema(file[:-len(".json")])
        for step in pointer.split("/") if pointer else ():
            found = found[step]
        return found
    return {name: _complete(one) for name, one in node.items()}


def conforms(name, fields):
    """Fail if the fields do not conform to the schema of that name."""
    problems = [
        "%s: %s" % ("/".join(str(step) for step in error.path), error.message)
        for error in jsonschema.Draft7Validator(schema(name)).iter_errors(fields)
    ]
    assert not problems, "%s: %s" % (name, "; ".join(problems))
