"""Where things are on a host: the pinned paths of the product, nothing else."""

BIN = "/opt/IBM/CCA/bin"
CATCHER = BIN + "/catcher.exe"
KEY = BIN + "/catcher.key"
CERTIFICATE = BIN + "/catcher.crt"

# A finished pair waits in STAGE for its two links; whatever is in STAGE_DRAFT was never finished and may go.
STAGE = BIN + "/.catcher-pair"
STAGE_DRAFT = BIN + "/.catcher-pair.draft"
# The same for a pair that an administrator puts in the place of another one.
REPLACE_STAGE = BIN + "/.catcher-pair.replace"
# The key of a certificate request, kept aside until its certificate is installed.
REQUEST_KEY = BIN + "/catcher.key.request"

CONF = "/etc/cca/catcher.conf"
STATE_DIR = "/var/lib/csulcca"
STAMP = STATE_DIR + "/state.json"
LOCK = STATE_DIR + "/lock"
# What the preinst scriptlet saw of the service before the old package's unit went.
CAPTURE = STATE_DIR + "/before-upgrade"

LIBRARY = "/usr/lib/csulcca"
VERSION = LIBRARY + "/version"
OPENSSL = "/usr/bin/openssl"

UNIT = "CSUTKEcat.service"
UNIT_ADMIN = "/etc/systemd/system/" + UNIT
UNIT_RUNTIME = "/run/systemd/system/" + UNIT
INIT_SCRIPT = "/etc/init.d/CSUTKEcat"
RC_DIRS = tuple("/etc/rc%s.d" % n for n in "0123456S") + tuple("/etc/rc.d/rc%s.d" % n for n in "0123456S")
KEY_STORAGE = "/opt/IBM/CCA/keys"
LEGACY_GROUPS = ("cca_admin", "cca_clrmk", "cca_lfmkp", "cca_cmkp", "cca_setmk")

PORT = 50003
