SUMMARY = "RAUC's settings and key ring"
DESCRIPTION = "Two slots of one board, verity bundles only, and who may ask RAUC for anything."

require recipes-rostrum/rostrum-package.inc

LIC_FILES_CHKSUM = "file://${ROSTRUM_SOURCE}/LICENSE-MIT;md5=0c4a7c7604c55fcb9cff1a8a40d6087b"

# The class adds what install.toml names.
SRC_URI = ""

inherit features_check rostrum_install

# It takes the place of meta-rauc's, so it is not there for those who do without RAUC.
REQUIRED_DISTRO_FEATURES = "rauc"

ROSTRUM_INSTALL_FOLDER = "rauc/files"

PACKAGE_ARCH = "${MACHINE_ARCH}"

# Words of its templates.
ROSTRUM_COMPATIBLE ??= "rostrum-${ROSTRUM_BOARD}"
ROSTRUM_BOOTLOADER ??= "uboot"

# GRUB's tries are counted by its own configuration, and RAUC must be told where its environment is.
ROSTRUM_GRUBENV ??= ""
do_install[postfuncs] += "set_grub_environment"
set_grub_environment() {
    if [ -n "${ROSTRUM_GRUBENV}" ]; then
        sed -i -e '/^boot-attempts/d' -e '/^bootloader=grub$/a grubenv=${ROSTRUM_GRUBENV}' ${D}${sysconfdir}/rauc/system.conf
    fi
}
set_grub_environment[doc] = "Tells RAUC where GRUB keeps its environment"

# Whom the device trusts.
do_install[file-checksums] += "${@'%s:True' % d.getVar('ROSTRUM_KEYRING') if d.getVar('ROSTRUM_KEYRING') else ''}"
do_install[postfuncs] += "install_keyring"
install_keyring() {
    if [ ! -f "${ROSTRUM_KEYRING}" ]; then
        bbfatal "ROSTRUM_KEYRING is '${ROSTRUM_KEYRING}': set it to the certificates (PEM) of who signs updates. \`cargo xtask image\` sets those of a development key."
    fi
    install -D -m 0644 ${ROSTRUM_KEYRING} ${D}${sysconfdir}/rauc/keyring.pem
}
install_keyring[doc] = "Installs the certificates of who signs updates"
FILES:${PN} += "${sysconfdir}/rauc/keyring.pem"

# RAUC takes its settings from this package instead of meta-rauc's.
RPROVIDES:${PN} = "virtual-rauc-conf"
RCONFLICTS:${PN} = "rauc-conf"
