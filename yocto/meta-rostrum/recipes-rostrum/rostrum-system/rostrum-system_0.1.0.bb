SUMMARY = "What makes the terminal's system"
DESCRIPTION = "Mounts and the growing of /data, the network, the watchdog, sticks, the reset to factory, and that nothing \
               waits for somebody at a console."

require recipes-rostrum/rostrum-package.inc

LIC_FILES_CHKSUM = "file://${ROSTRUM_SOURCE}/LICENSE-MIT;md5=0c4a7c7604c55fcb9cff1a8a40d6087b"

# The class adds what install.toml names.
SRC_URI = ""

inherit features_check rostrum_install

REQUIRED_DISTRO_FEATURES = "systemd"

ROSTRUM_INSTALL_FOLDER = "rostrum-system/files"

PACKAGE_ARCH = "${MACHINE_ARCH}"

# Where what is mounted goes: the root is read-only, and systemd cannot make these.
do_install[postfuncs] += "install_mount_points"
install_mount_points() {
    install -d ${D}/data ${D}/factory
}
install_mount_points[doc] = "Folders that systemd cannot make on a read-only root"
FILES:${PN} += "/data /factory"

# What its units and scripts start.
RDEPENDS:${PN} = "\
    e2fsprogs-e2fsck \
    e2fsprogs-mke2fs \
    e2fsprogs-tune2fs \
    rostrum-common \
    util-linux-blkid \
    util-linux-mount \
"
