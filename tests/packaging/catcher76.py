"""A stand-in for CCA 7.6, which has no public package: CCA 7.3, a daemon that takes -tls, a pair, no catcher.conf."""

from tests.unit import pem
from tests.unit.authority import issue

from .packages import of_7_6
from .system import CERTIFICATE, DAEMON, KEY

UNIT = "/usr/lib/systemd/system/CSUTKEcat.service"
# A substitute for CCA 7.6's daemon, which 7.3's packages do not have: it accepts -tls, and answers nobody.
OF_7_6 = """#!/usr/bin/python3 -I
import os, signal, sys
if "CSUTKECAT_PIDFILE" in os.environ:
    child = os.fork()
    if child:
        with open(os.environ["CSUTKECAT_PIDFILE"], "w") as stream:
            stream.write("%d\\n" % child)
        os._exit(0)
if "says" in os.environ:
    print("ready", flush=True)
signal.pause()
"""
UNITS = {
    "the daemon itself": "[Service]\nExecStart={daemon} {tls}\n",
    "a script": "[Service]\nExecStart=/bin/sh -c 'exec {daemon} {tls}'\n",
    "a script, and it logs": "[Service]\nEnvironment=says=1\nExecStart=/bin/sh -c 'exec {daemon} {tls}'\n",
    "in the background": "[Service]\nType=forking\nPIDFile=/run/CSUTKEcat.pid\nEnvironment=CSUTKECAT_PIDFILE="
                         "/run/CSUTKEcat.pid\nExecStart={daemon} {tls}\n",
}


def install_7_6(system, version="7.6.10"):
    """Make the catcher of a host run in TLS as CCA 7.6 would. Return its key and certificate."""
    system.package(system.tools[1], "install", of_7_6(system.cell, version))
    key = pem.key_of("prime256v1")
    pair = key, issue(key, "zlinux1", ["zlinux1"])
    system.machine.write(KEY, pair[0], mode=0o600)
    system.machine.write(CERTIFICATE, pair[1])
    system.machine.write(DAEMON, OF_7_6, mode=0o755)
    system.machine.write(UNIT, UNITS["the daemon itself"].format(daemon=DAEMON, tls="-tls")
                         + "[Install]\nWantedBy=multi-user.target\n")
    system.machine.run("systemctl daemon-reload && systemctl restart CSUTKEcat")
    system.machine.wait_for("the daemon", lambda: DAEMON in system.argv())
    return pair
