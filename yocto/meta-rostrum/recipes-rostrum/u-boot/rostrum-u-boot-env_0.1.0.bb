SUMMARY = "Where U-Boot of qemu-arm64 keeps its environment"
DESCRIPTION = "For fw_setenv, which RAUC chooses the slot with. Boards have rostrum-fw-env of meta-rostrum-bsp."

require recipes-rostrum/rostrum-package.inc

LIC_FILES_CHKSUM = "file://${ROSTRUM_SOURCE}/LICENSE-MIT;md5=0c4a7c7604c55fcb9cff1a8a40d6087b"

# The class adds what install.toml names.
SRC_URI = ""

inherit rostrum_install

ROSTRUM_INSTALL_FOLDER = "u-boot/files"

PACKAGE_ARCH = "${MACHINE_ARCH}"
