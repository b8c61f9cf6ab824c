SUMMARY = "Where U-Boot keeps its environment"
DESCRIPTION = "For fw_setenv, which RAUC chooses the slot with."

require recipes-rostrum/rostrum-bsp-package.inc

LIC_FILES_CHKSUM = "file://${ROSTRUM_SOURCE}/LICENSE-MIT;md5=0c4a7c7604c55fcb9cff1a8a40d6087b"

SRC_URI = "file://fw_env.config"

S = "${UNPACKDIR}"

inherit allarch

do_install() {
    install -D -m 0644 ${S}/fw_env.config ${D}${sysconfdir}/fw_env.config
}

FILES:${PN} += "${sysconfdir}/fw_env.config"
