SUMMARY = "Access for developers"
DESCRIPTION = "What images for developers have more than a terminal of a customer: SSH, and a shell for tests."

require recipes-rostrum/rostrum-package.inc

LIC_FILES_CHKSUM = "file://${ROSTRUM_SOURCE}/LICENSE-MIT;md5=0c4a7c7604c55fcb9cff1a8a40d6087b"

# The class adds what install.toml names.
SRC_URI = ""

inherit features_check rostrum_install

REQUIRED_DISTRO_FEATURES = "systemd"

ROSTRUM_INSTALL_FOLDER = "rostrum-system/files"
ROSTRUM_INSTALL_VARIANT = "dev"

PACKAGE_ARCH = "${MACHINE_ARCH}"

# The preset of a terminal starts nothing that it does not name.
do_install[postfuncs] += "install_preset"
install_preset() {
    install -d ${D}${systemd_unitdir}/system-preset
    printf 'enable sshd.socket\nenable sshdgenkeys.service\n' > ${D}${systemd_unitdir}/system-preset/70-rostrum-dev.preset
}
install_preset[doc] = "Starts SSH"
FILES:${PN} += "${systemd_unitdir}/system-preset/70-rostrum-dev.preset"

RDEPENDS:${PN} = "rostrum-system"
