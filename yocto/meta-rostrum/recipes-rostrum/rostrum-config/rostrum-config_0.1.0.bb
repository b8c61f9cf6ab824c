SUMMARY = "Configuration of the terminal"
DESCRIPTION = "What is the same for all terminals of a board. What makes one of them that of a certain room is on the \
               factory partition."

require recipes-rostrum/rostrum-package.inc

LIC_FILES_CHKSUM = "file://${ROSTRUM_SOURCE}/LICENSE-MIT;md5=0c4a7c7604c55fcb9cff1a8a40d6087b"

SRC_URI = "\
    file://50-device-key.conf \
    file://rostrum-credentials.tmpfiles \
    file://rostrum-updater.toml \
    file://rostrumd.toml.in \
"

S = "${UNPACKDIR}"

# Name of a profile of board/profiles, or path of a file on the device. The machine says which.
ROSTRUM_PROFILE ??= "virtual"

PACKAGE_ARCH = "${MACHINE_ARCH}"

do_install() {
    install -d ${D}${sysconfdir}/rostrum
    sed -e 's|@PROFILE@|${ROSTRUM_PROFILE}|' ${S}/rostrumd.toml.in > ${D}${sysconfdir}/rostrum/rostrumd.toml
    chmod 0644 ${D}${sysconfdir}/rostrum/rostrumd.toml
    install -m 0644 ${S}/rostrum-updater.toml ${D}${sysconfdir}/rostrum/rostrum-updater.toml
    install -D -m 0644 ${S}/50-device-key.conf ${D}${systemd_system_unitdir}/rostrumd.service.d/50-device-key.conf
    install -D -m 0644 ${S}/rostrum-credentials.tmpfiles ${D}${nonarch_libdir}/tmpfiles.d/rostrum-credentials.conf
}

FILES:${PN} += "\
    ${nonarch_libdir}/tmpfiles.d/rostrum-credentials.conf \
    ${sysconfdir}/rostrum \
    ${systemd_system_unitdir}/rostrumd.service.d/50-device-key.conf \
"
CONFFILES:${PN} += "${sysconfdir}/rostrum/rostrum-updater.toml ${sysconfdir}/rostrum/rostrumd.toml"
