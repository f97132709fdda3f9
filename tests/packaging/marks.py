"""Marks that several files use: on which systems a test means something, and why not on the others."""

import pytest

needs_tls = pytest.mark.only(lambda cell: cell.mode == "TLS", "TLS is not possible there")
without_tls = pytest.mark.only(lambda cell: cell.mode == "TCP", "TLS is possible there")
# As in `make demo`: one with apt and one with dnf, both of which can do TLS.
one_of_each_family = pytest.mark.only(
    lambda cell: cell.name in ("debian-13", "rpm-4.20-dnf"), "one system of each family is enough")
only_deb = pytest.mark.only(lambda cell: cell.family == "deb", "it is of Debian's package system")
only_rpm = pytest.mark.only(lambda cell: cell.family == "rpm", "it is of rpm")
