"""The bill of materials beside the packages, as SPDX 2.3 in JSON (https://spdx.github.io/spdx-spec/v2.3/).

It lists both packages with their checksums, every file with its licence, and the dependencies of the packages. Its
bytes depend only on the packages.
"""
from __future__ import annotations

import hashlib
import json
import re
import subprocess
import tarfile
import time
from collections.abc import Iterable
from pathlib import Path

LICENCE = "Apache-2.0"


def spdx(deb: Path, rpm: Path, name: str, version: str, epoch: int, payload: Iterable[str] | None) -> str:
    """The document's text. ``payload``: the paths of the vendor's files, or None if all files are ours."""
    vendors = set(payload or ())
    files = list(files_of(deb, vendors))
    # SPDX 2.3, 7.9: over the sorted SHA-1 of all files.
    sums = sorted(checksum["checksumValue"] for file in files for checksum in file["checksums"]
                  if checksum["algorithm"] == "SHA1")  # fmt: skip
    code = hashlib.sha1("".join(sums).encode()).hexdigest()
    packages = [package(deb, "SPDXRef-deb", name, version, vendors, "pkg:deb/%s@%s"), package(
        rpm, "SPDXRef-rpm", name, version, vendors, "pkg:rpm/%s@%s")]
    packages[0].update(filesAnalyzed=True, packageVerificationCode={"packageVerificationCodeValue": code},
                       hasFiles=[file["SPDXID"] for file in files])
    relations = [("SPDXRef-DOCUMENT", "DESCRIBES", "SPDXRef-deb"), ("SPDXRef-DOCUMENT", "DESCRIBES", "SPDXRef-rpm"),
                 ("SPDXRef-rpm", "VARIANT_OF", "SPDXRef-deb")]
    for requirement in requirements(deb):
        identifier = "SPDXRef-needs-" + re.sub(r"[^A-Za-z0-9.-]", "-", requirement)
        packages.append({"SPDXID": identifier, "name": requirement, "downloadLocation": "NOASSERTION",
                         "filesAnalyzed": False, "licenseConcluded": "NOASSERTION", "licenseDeclared": "NOASSERTION",
                         "copyrightText": "NOASSERTION", "supplier": "NOASSERTION"})  # fmt: skip
        relations += [(ours, "DEPENDS_ON", identifier) for ours in ("SPDXRef-deb", "SPDXRef-rpm")]
    identity = hashlib.sha256(deb.read_bytes() + rpm.read_bytes()).hexdigest()
    document = {
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": "SPDXRef-DOCUMENT",
        "name": "%s-%s" % (name, version),
        "documentNamespace": "https://csulcca.invalid/spdx/%s-%s-%s" % (name, version, identity),
        "creationInfo": {"created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(epoch)),
                         "creators": ["Organization: CCA catcher maintainers", "Tool: csulcca-build_packages"]},
        "packages": packages,
        "files": files,
        "relationships": [{"spdxElementId": one, "relationshipType": kind, "relatedSpdxElement": other}
                          for one, kind, other in relations],
    }  # fmt: skip
    return json.dumps(document, indent=1, sort_keys=True) + "\n"


def package(path: Path, identifier: str, name: str, version: str, vendors: set[str], purl: str) -> dict:
    return {
        "SPDXID": identifier,
        "name": name,
        "versionInfo": version,
        "packageFileName": path.name,
        "supplier": "Organization: CCA catcher maintainers",
        "downloadLocation": "NOASSERTION",
        "filesAnalyzed": False,
        "licenseConcluded": "NOASSERTION" if vendors else LICENCE,
        "licenseDeclared": "NOASSERTION" if vendors else LICENCE,
        "copyrightText": "NOASSERTION" if vendors else "2026 CCA catcher maintainers",
        "checksums": [{"algorithm": "SHA256", "checksumValue": hashlib.sha256(path.read_bytes()).hexdigest()}],
        "externalRefs": [{"referenceCategory": "PACKAGE-MANAGER", "referenceType": "purl",
                          "referenceLocator": purl % (name, version.replace("~", "%7E").replace("+", "%2B"))}],
    }  # fmt: skip


def files_of(deb: Path, vendors: set[str]) -> Iterable[dict]:
    """Every regular file of the .deb; those of the .rpm are the same, with libraries in /usr/lib64."""
    with (
        subprocess.Popen(["dpkg-deb", "--fsys-tarfile", str(deb)], stdout=subprocess.PIPE) as child,
        tarfile.open(fileobj=child.stdout, mode="r|") as archive,
    ):
        for number, member in enumerate(archive):
            stream = archive.extractfile(member) if member.isreg() else None
            if stream is None:
                continue
            content = stream.read()
            theirs = member.name.removeprefix("./") in vendors
            yield {
                "SPDXID": "SPDXRef-file-%d" % number,
                "fileName": member.name,
                "checksums": [{"algorithm": kind, "checksumValue": hashlib.new(kind.lower(), content).hexdigest()}
                              for kind in ("SHA1", "SHA256")],
                "licenseConcluded": "NOASSERTION" if theirs else LICENCE,
                "licenseInfoInFiles": ["NOASSERTION" if theirs else LICENCE],
                "copyrightText": "NOASSERTION" if theirs else "2026 CCA catcher maintainers",
            }  # fmt: skip


def requirements(deb: Path) -> list[str]:
    """The names in Depends and Recommends."""
    fields = subprocess.run(["dpkg-deb", "--showformat=${Depends}, ${Recommends}", "--show", str(deb)],
                            check=True, capture_output=True, text=True).stdout  # fmt: skip
    return sorted({re.sub(r"[\s(:].*", "", field.strip()) for field in fields.split(",") if field.strip()})
