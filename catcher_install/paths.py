"""The paths on a host, and other constants that the scriptlets and the library share: names, port, times."""


def draft(path: str) -> str:
    """Return the name of the temporary file beside *path* that Host.replace() writes. The name is fixed, so the next
    run replaces a file that a crash left."""
    directory, _, name = path.rpartition("/")
    return "%s/.%s.csulcca-new" % (directory, name)


# On Debian no other package may own /opt, so dpkg removes it with our package.
OPT_DIR = "/opt"
IBM_DIR = OPT_DIR + "/IBM"
# It contains the link cca to CCA_DIR.
IBM_ALIAS_DIR = "/opt/ibm"
CCA_DIR = IBM_DIR + "/CCA"
BIN = CCA_DIR + "/bin"
KEY_STORAGE = CCA_DIR + "/keys"
CATCHER = BIN + "/catcher.exe"
KEY = BIN + "/catcher.key"
CERTIFICATE = BIN + "/catcher.crt"

# A finished pair waits in STAGE for its two links. What is in STAGE_DRAFT was never finished and may be removed.
STAGE = BIN + "/.catcher-pair"
STAGE_DRAFT = BIN + "/.catcher-pair.draft"
# If we made the pair, STAGE or REPLACE_STAGE has a file of this name followed by the pair's fingerprint. It is a hard
# link to the key: the sync of the directory puts its name on disk, so it needs no sync of its own.
GENERATED = "generated."
# From this file systemd-sysusers makes CCA's groups, if files of the payload belong to these groups.
SYSUSERS = "/usr/lib/sysusers.d/csulcca.conf"
# In STAGE_DRAFT: a key that a purge removes after its certificate.
PURGED_KEY = "purged.key"
# Like STAGE, for a pair that replaces another one because an administrator asked for that.
REPLACE_STAGE = BIN + "/.catcher-pair.replace"
# The openssl command's directory while it makes a pair. It contains nothing secret and is removed afterwards. It is in
# BIN, which can be written whenever a pair can be made; /run cannot, because the service does not see the real one.
PAIR_WORK = BIN + "/.catcher-pair.openssl"
# The key of a certificate request, kept until its certificate is installed.
REQUEST_KEY = BIN + "/catcher.key.request"
REQUEST_KEY_DRAFT = draft(REQUEST_KEY)

CONF_DIR = "/etc/cca"
CONF = CONF_DIR + "/catcher.conf"
CONF_DRAFT = draft(CONF)
STATE_DIR = "/var/lib/csulcca"
# Where the pair is in an image whose /opt is read-only when it runs. In the image, KEY and CERTIFICATE are links to it
# (hooks/postinst.sh), and Host.locate() leads the stages and kept pairs there, too.
IMAGE_PAIR = STATE_DIR
STAMP = STATE_DIR + "/state.json"
STAMP_DRAFT = draft(STAMP)
LOCK = STATE_DIR + "/lock"
# What the preinst scriptlet saw of the service before the old package's unit was removed.
CAPTURE = STATE_DIR + "/before-upgrade"
# How long a note of the scriptlets counts. It is for one operation of the package manager, or for the next one if that
# was killed. An older note, or one from the future, may be wrong by now: an administrator may have changed the host.
NOTE_SECONDS = 24 * 3600
# A removal notes here the keys and pairs that we made, for a purge, which comes when our library is gone: lines of
# "FINGERPRINT SUFFIX", where the names of the files end in SUFFIX; see pair.ours().
PURGE = STATE_DIR + "/purge"
PURGE_DRAFT = draft(PURGE)
# What prerm notes in case the removal is cancelled or killed. RAN: "yes" or "no", whether the service ran when prerm
# stopped it. It is in /run, because it counts only until the host boots: a boot starts the enabled services, whether
# they ran before or not. ENABLED (rpm only, whose macro disables the units of a removed package): those of our units
# that were enabled, one on each line. It counts after a boot, too.
RAN = "/run/csulcca-ran"
ENABLED = STATE_DIR + "/before-removal"
# What rpm's %pre notes for %posttrans: "preset" if the timer is new to the host, "enable" if a removal that was killed
# has disabled it.
NEW_TIMER = STATE_DIR + "/new-timer"
# Exists if preinst made CCA's groups. Then they are no trace of CCA 7.x, not even after an installation that failed and
# was undone. It stays as long as the groups do, until a purge.
MADE_GROUPS = STATE_DIR + "/made-groups"
# The directories of this package and of CCA 7.x, parents first. An administrator may have replaced any of them by a
# link. LINKS: the scriptlets' note of these links, lines of "PATH TARGET". It is not in STATE_DIR, where the service
# can write: it could leave its sandbox by a link that it has added to the note.
MAY_BE_LINKS = (CONF_DIR, OPT_DIR, IBM_DIR, CCA_DIR, BIN, KEY_STORAGE, CCA_DIR + "/doc", IBM_ALIAS_DIR)
LINKS = STATE_DIR + ".links"

# What an interrupted run may leave unfinished. The stamp's draft is not among them: the next run writes it anew.
DRAFTS = (STAGE_DRAFT, CONF_DRAFT, REQUEST_KEY_DRAFT, PAIR_WORK)

LIBRARY = "/usr/lib/csulcca"
VERSION = LIBRARY + "/version"
OPENSSL = "/usr/bin/openssl"

UNIT = "CSUTKEcat.service"
UNIT_ADMIN = "/etc/systemd/system/" + UNIT
UNIT_RUNTIME = "/run/systemd/system/" + UNIT
# Where systemd looks for the unit, in its order. Ours is in one of the last two, unless it is diverted (dpkg-divert).
UNIT_PLACES = (UNIT_ADMIN, UNIT_RUNTIME) + tuple(
    top + "/systemd/system/" + UNIT for top in ("/usr/local/lib", "/usr/lib", "/lib"))
INIT_SCRIPT = "/etc/init.d/CSUTKEcat"
RC_DIRS = tuple("/etc/rc%s.d" % n for n in "0123456S") + tuple("/etc/rc.d/rc%s.d" % n for n in "0123456S")
LEGACY_GROUPS = ("cca_admin", "cca_clrmk", "cca_lfmkp", "cca_cmkp", "cca_setmk")

PORT = 50003
