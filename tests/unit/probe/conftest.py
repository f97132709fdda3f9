"""Certificates of peers."""

import pytest

from .peers import Made


@pytest.fixture(scope="module")
def good():
    """A self-signed certificate for localhost, by name and address."""
    return Made("localhost", dns=["localhost", "*.tke.example.com"], ips=["127.0.0.1", "::1"])


@pytest.fixture(scope="module")
def authority():
    """(root, intermediate, server): server's issuer is intermediate, whose issuer is root."""
    root = Made("Test Root", ca=True)
    middle = Made("Test Intermediate", issuer=root, ca=True)
    return root, middle, Made("localhost", dns=["localhost"], issuer=middle)
