SUMMARY = "A meeting-room terminal"
DESCRIPTION = "Everything above the boot loader and the kernel that a terminal has, and nothing that it does without."

require recipes-rostrum/rostrum-package.inc

PACKAGE_ARCH = "${MACHINE_ARCH}"

inherit packagegroup

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
