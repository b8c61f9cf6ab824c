SUMMARY = "A meeting-room terminal"
DESCRIPTION = "Everything above the boot loader and the kernel that a terminal has, and nothing that it does without."

require recipes-rostrum/rostrum-package.inc

PACKAGE_ARCH = "${MACHINE_ARCH}"

inherit features_check packagegroup

REQUIRED_DISTRO_FEATURES = "rauc systemd"
# As rostrumd.
EXCLUDE_FROM_WORLD = "${@bb.utils.contains_any('LICENSE_FLAGS_ACCEPTED', \
    'commercial commercial_gstreamer1.0-libav', '', '1', d)}"

RDEPENDS:${PN} = "\
    channeld \
    os-release \
    packagegroup-core-boot \
    packagegroup-machine-base \
    rauc \
    rostrum-rauc-conf \
    rostrum-system \
    rostrum-updater \
    rostrumd \
    tzdata \
"
