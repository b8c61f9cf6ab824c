SUMMARY = "Lights, buttons and mute switch of the board"
DESCRIPTION = "A device-tree overlay that the boot script applies to the board's device tree. It is in the slot, so that an \
               update may change it."

require recipes-rostrum/rostrum-bsp-package.inc

LIC_FILES_CHKSUM = "file://${ROSTRUM_SOURCE}/LICENSE-MIT;md5=0c4a7c7604c55fcb9cff1a8a40d6087b"

DEPENDS += "dtc-native"
INHIBIT_DEFAULT_DEPS = "1"

SRC_URI = "file://${ROSTRUM_BOARD}.dts"

S = "${UNPACKDIR}"
B = "${WORKDIR}/build"

# A board without pins has no overlay: a PC, QEMU.
COMPATIBLE_MACHINE = "^(rostrum-imx8mp-evk|rostrum-raspberrypi4|rostrum-raspberrypi5|rostrum-rk3588)$"
PACKAGE_ARCH = "${MACHINE_ARCH}"

do_compile() {
    dtc -@ -I dts -O dtb -o ${B}/rostrum.dtbo ${S}/${ROSTRUM_BOARD}.dts
}
do_compile[dirs] = "${B}"

do_install() {
    install -D -m 0644 ${B}/rostrum.dtbo ${D}/boot/rostrum.dtbo
}

FILES:${PN} += "/boot/rostrum.dtbo"
