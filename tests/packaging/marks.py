"""Marks that several files use: on which systems a test applies, and why it does not apply to the others."""

import pytest

needs_tls = pytest.mark.only(lambda cell: cell.mode == "TLS", "this system cannot do TLS")
without_tls = pytest.mark.only(lambda cell: cell.mode == "TCP", "this test needs a system that cannot do TLS")
one_of_each_family = pytest.mark.only(lambda cell: "example" in cell.roles, "one system of each family is enough")
only_deb = pytest.mark.only(lambda cell: cell.family == "deb", "only Debian's package system has this")
only_rpm = pytest.mark.only(lambda cell: cell.family == "rpm", "only rpm has this")
