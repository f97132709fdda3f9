"""The table of supported keys."""

import os
import re

import pytest

from catcher_install.cert import keys

from ..support import TREE


@pytest.mark.parametrize("curve,shown", [
    ("prime256v1", "EC prime256v1"), ("secp256r1", "EC prime256v1"), ("secp384r1", "EC secp384r1"),
    ("secp521r1", "EC secp521r1"),
])
def test_a_curve_is_known_by_either_name_and_shown_as_the_vendor_writes_it(curve, shown):
    kind = keys.elliptic(curve)
    assert (kind.algorithm, kind.rsa_bits, kind.problem) == (shown, 0, "")


def test_other_curves_are_not_supported():
    assert keys.elliptic("secp256k1").problem == "an EC key on secp256k1, which the catcher does not support"


@pytest.mark.parametrize("bits,fits", [(1023, False), (1024, True), (2048, True), (4096, True), (4097, False)])
def test_rsa_keys_of_1024_to_4096_bits_are_supported(bits, fits):
    kind = keys.rsa(bits)
    assert (kind.problem == "") == fits
    assert (kind.algorithm, kind.rsa_bits) == ("RSA %d" % bits, bits)
    assert fits or kind.problem == "an RSA key of %d bits; supported are 1024 to 4096" % bits


def test_what_is_supported_is_what_the_table_has():
    assert all(name in keys.SUPPORTED for name, _, _ in keys.CURVES)
    assert not {number for _, _, number in keys.CURVES} & set(keys.OTHER_CURVES)
    assert keys.GENERATED_TYPE in keys.GENERATED


SIZES = {
    "docs/use-your-own-certificate.md":
        "RSA keys of {0.RSA_SMALLEST} to {0.RSA_LARGEST} bits (use {0.RSA_RECOMMENDED} or more)",
    "docs/renew-through-an-enterprise-ca.md": "RSA keys of {0.RSA_RECOMMENDED} to {0.RSA_LARGEST} bits",
    "catcher_install/catalog.py": "the RSA key has {{bits}} bits; use {0.RSA_RECOMMENDED} or more",
    "catcher_install/cert/judge.py": "RSA key below {0.RSA_RECOMMENDED} bits",
}


@pytest.mark.parametrize("name", sorted(SIZES))
def test_what_names_the_sizes_of_rsa_keys_names_these(name):
    with open(os.path.join(TREE, name), encoding="utf-8") as stream:
        assert SIZES[name].format(keys) in " ".join(stream.read().split())


def listings():
    """(path, list of curves) of each sentence that lists curves."""
    names = [os.path.join("docs", name) for name in os.listdir(os.path.join(TREE, "docs")) if name.endswith(".md")]
    names += [os.path.join("man", name) for name in os.listdir(os.path.join(TREE, "man"))]
    names += [os.path.join("payload/reference/usr/lib/csulcca/reference_catcher", "pair.py"), "README.md"]
    for name in names:
        with open(os.path.join(TREE, name), encoding="utf-8") as stream:
            text = " ".join(stream.read().split())
        for found in re.findall(r"\w+(?:, \w+)+,? (?:and|or) \w+", text):
            words = re.findall(r"\w+", found)
            if sum(1 for curve, _, _ in keys.CURVES if curve in words) > 1:
                yield name, words


def test_what_lists_the_curves_lists_them_all():
    found = list(listings())
    assert len({name for name, _ in found}) == 3
    for name, words in found:
        assert [curve for curve, _, _ in keys.CURVES if curve not in words] == [], name
    assert re.findall(r"\b(?:prime|sec|brainpool)\w+", keys.SUPPORTED) == [curve for curve, _, _ in keys.CURVES]
