SUMMARY = "Updates the terminal, and checks that a new version is well"
SUMMARY:rostrum-provision = "Provisions terminals on a bench"
DESCRIPTION = "Takes updates from a server, a stick or the panel, has RAUC install them, and calls a slot good only when \
               all works. The bench's program rostrum-provision comes with it, in a package of its own."

require rostrum.inc
require ${BPN}-crates.inc

inherit features_check

REQUIRED_DISTRO_FEATURES = "rauc systemd"

SRC_URI += "\
    file://rostrum-boot-complete.service \
    file://rostrum-trial.service \
    file://rostrum-trial.timer \
    file://rostrum-updater.service \
"

ROSTRUM_PACKAGE = "rostrum-fleet"
ROSTRUM_PROGRAMS = "rostrum-provision rostrum-updater"

SYSTEMD_SERVICE:${PN} = "rostrum-boot-complete.service rostrum-trial.timer rostrum-updater.service"
# What the timer starts is enabled by nobody.
ROSTRUM_UNITS = "${SYSTEMD_SERVICE:${PN}} rostrum-trial.service"
FILES:${PN} += "${systemd_system_unitdir}/rostrum-trial.service"

PACKAGE_BEFORE_PN = "rostrum-provision"
FILES:rostrum-provision += "${bindir}/rostrum-provision"

RDEPENDS:rostrum-provision += "e2fsprogs-mke2fs"
RDEPENDS:${PN} += "\
    ca-certificates \
    rauc \
    rostrum-common \
    rostrum-config \
    rostrum-rauc-conf \
"
