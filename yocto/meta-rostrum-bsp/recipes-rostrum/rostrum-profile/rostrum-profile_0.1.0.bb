SUMMARY = "Profile of the board"
DESCRIPTION = "What the board has: the profile of board/profiles, with the lights, buttons and mute switch of rostrum-overlay \
               and an encoder that the kernel of this image has."

require recipes-rostrum/rostrum-bsp-package.inc

LIC_FILES_CHKSUM = "file://${ROSTRUM_SOURCE}/LICENSE-MIT;md5=0c4a7c7604c55fcb9cff1a8a40d6087b"

SRC_URI = "file://${ROSTRUM_BOARD}.toml"

S = "${UNPACKDIR}"

COMPATIBLE_MACHINE = "^(rostrum-imx8mp-evk|rostrum-pc-x86-64|rostrum-raspberrypi4|rostrum-raspberrypi5|rostrum-rk3588)$"
PACKAGE_ARCH = "${MACHINE_ARCH}"

do_install() {
    install -D -m 0644 ${S}/${ROSTRUM_BOARD}.toml ${D}${datadir}/rostrum/profiles/${ROSTRUM_BOARD}.toml
}

FILES:${PN} += "${datadir}/rostrum/profiles"
