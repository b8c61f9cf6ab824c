SUMMARY = "Chooses the slot to boot"
DESCRIPTION = "U-Boot's script: two slots, three tries each, counters that survive a power cut."

require recipes-rostrum/rostrum-package.inc

LIC_FILES_CHKSUM = "file://${ROSTRUM_SOURCE}/LICENSE-MIT;md5=0c4a7c7604c55fcb9cff1a8a40d6087b"

DEPENDS += "u-boot-mkimage-native"
# meta-raspberrypi's boot loader asks for a script by this name.
PROVIDES += "u-boot-default-script"
INHIBIT_DEFAULT_DEPS = "1"

SRC_URI = "file://boot.cmd"

S = "${UNPACKDIR}"

PACKAGE_ARCH = "${MACHINE_ARCH}"

inherit deploy kernel-arch nopackages

do_compile() {
    uboot-mkimage -A ${UBOOT_ARCH} -T script -C none -n "Rostrum" -d ${S}/boot.cmd ${B}/boot.scr
}

do_deploy() {
    install -D -m 0644 ${B}/boot.scr ${DEPLOYDIR}/boot.scr
}
addtask deploy after do_compile before do_build

B = "${WORKDIR}/build"
do_compile[cleandirs] = "${B}"
