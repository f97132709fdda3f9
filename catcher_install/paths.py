"""Where things are on a host, and the other constants that the scriptlets and the library share: names, port, times."""


def draft(path: str) -> str:
    """The temporary file beside *path* that Host.replace() writes. Its name is fixed, so the next run replaces what
    a crash left."""
    directory, _, name = path.rpartition("/")
    return "%s/.%s.csulcca-new" % (directory, name)


# On Debian no other package may own it, and dpkg then removes it with ours.
OPT_DIR = "/opt"
IBM_DIR = OPT_DIR + "/IBM"
# Of the link cca to CCA_DIR.
IBM_ALIAS_DIR = "/opt/ibm"
CCA_DIR = IBM_DIR + "/CCA"
BIN = CCA_DIR + "/bin"
KEY_STORAGE = CCA_DIR + "/keys"
CATCHER = BIN + "/catcher.exe"
KEY = BIN + "/catcher.key"
CERTIFICATE = BIN + "/catcher.crt"

# A finished pair waits in STAGE for its two links; whatever is in STAGE_DRAFT was never finished and may go.
STAGE = BIN + "/.catcher-pair"
STAGE_DRAFT = BIN + "/.catcher-pair.draft"
# STAGE or REPLACE_STAGE has a file of this name followed by the pair's fingerprint if we made the pair. It is a hard
# link to the key: the sync of the directory puts a name on disk, so it costs no sync of its own.
GENERATED = "generated."
# From which systemd-sysusers makes CCA's groups, if the payload has files of them.
SYSUSERS = "/usr/lib/sysusers.d/csulcca.conf"
# In STAGE_DRAFT: a key that goes with a purge as soon as its certificate has gone.
PURGED_KEY = "purged.key"
# As STAGE, for a pair that replaces another pair at an administrator's command.
REPLACE_STAGE = BIN + "/.catcher-pair.replace"
# Where the openssl command works while it makes a pair: nothing in it is secret, and it is gone afterwards. Here, since
# this can be written whenever a pair can be made; a start of the service does not see the real /run.
PAIR_WORK = BIN + "/.catcher-pair.openssl"
# The key of a certificate request, kept until its certificate is installed.
REQUEST_KEY = BIN + "/catcher.key.request"
REQUEST_KEY_DRAFT = draft(REQUEST_KEY)

CONF_DIR = "/etc/cca"
CONF = CONF_DIR + "/catcher.conf"
CONF_DRAFT = draft(CONF)
STATE_DIR = "/var/lib/csulcca"
# Where the pair is in an image whose /opt cannot be written when it runs: the image has links to it in the places of
# key and certificate (hooks/postinst.sh), and Host puts there all that goes with them.
IMAGE_PAIR = STATE_DIR
STAMP = STATE_DIR + "/state.json"
STAMP_DRAFT = draft(STAMP)
LOCK = STATE_DIR + "/lock"
# What the preinst scriptlet saw of the service before the old package's unit went.
CAPTURE = STATE_DIR + "/before-upgrade"
# Notes of the scriptlets are for one operation of the package manager, and for the next one if that was killed. What is
# older, or of tomorrow, was abandoned: an administrator may have changed what it tells.
NOTE_SECONDS = 24 * 3600
# What a removal notes of keys and pairs that we made, for a purge, which comes after our library has gone: lines of
# "FINGERPRINT SUFFIX", where the pair's names end in SUFFIX; see pair.ours().
PURGE = STATE_DIR + "/purge"
PURGE_DRAFT = draft(PURGE)
# What prerm notes for a removal, in case that this is cancelled or killed. RAN: whether the service ran when prerm
# stopped it, "yes" or "no". That is true until the host boots, so it is in /run: a boot starts what is enabled, whether
# or not it ran before, and nothing else. ENABLED: with rpm, whose macro disables what is removed, those of our units
# that were enabled, a line for each. That is true after a boot, too, which would have started them.
RAN = "/run/csulcca-ran"
ENABLED = STATE_DIR + "/before-removal"
# What rpm's %pre notes for %posttrans: "preset" if the timer is new to the host, "enable" if a removal that was killed
# has disabled it.
NEW_TIMER = STATE_DIR + "/new-timer"
# Tells that preinst has made CCA's groups, where there were none: they are no trace of CCA 7.x, also after an
# installation that was taken back. It stays as long as the groups do, until a purge.
MADE_GROUPS = STATE_DIR + "/made-groups"
# What an administrator may have made links of, parents first: each directory that this package or that of CCA 7.x has.
# LINKS: what the scriptlets note of that, "PATH TARGET". Not in STATE_DIR, where the service can write: it could have
# its own links made, and so leave its sandbox.
MAY_BE_LINKS = (CONF_DIR, OPT_DIR, IBM_DIR, CCA_DIR, BIN, KEY_STORAGE, CCA_DIR + "/doc", IBM_ALIAS_DIR)
LINKS = STATE_DIR + ".links"

# What a run that was interrupted has not finished; the stamp's is written again by the next run in any case.
DRAFTS = (STAGE_DRAFT, CONF_DRAFT, REQUEST_KEY_DRAFT, PAIR_WORK)

LIBRARY = "/usr/lib/csulcca"
VERSION = LIBRARY + "/version"
OPENSSL = "/usr/bin/openssl"

UNIT = "CSUTKEcat.service"
UNIT_ADMIN = "/etc/systemd/system/" + UNIT
UNIT_RUNTIME = "/run/systemd/system/" + UNIT
# Where systemd looks before the place of ours, in its order.
UNIT_COPIES = (UNIT_ADMIN, UNIT_RUNTIME, "/usr/local/lib/systemd/system/" + UNIT)
INIT_SCRIPT = "/etc/init.d/CSUTKEcat"
RC_DIRS = tuple("/etc/rc%s.d" % n for n in "0123456S") + tuple("/etc/rc.d/rc%s.d" % n for n in "0123456S")
LEGACY_GROUPS = ("cca_admin", "cca_clrmk", "cca_lfmkp", "cca_cmkp", "cca_setmk")

PORT = 50003
