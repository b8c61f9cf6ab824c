SUMMARY = "Users, devices and firewall of the terminal"
DESCRIPTION = "What any Linux with systemd needs to run the programs: their users and groups, the owners of the board's \
               devices, and what may come in from the network."

require recipes-rostrum/rostrum-package.inc

LIC_FILES_CHKSUM = "file://${ROSTRUM_SOURCE}/LICENSE-MIT;md5=0c4a7c7604c55fcb9cff1a8a40d6087b"

# The class adds what install.toml names.
SRC_URI = ""

inherit rostrum_install useradd

ROSTRUM_INSTALL_FOLDER = "rostrum/files"
# Units come with their programs.
ROSTRUM_INSTALL_EXCEPT = "channeld.service make-device-key rostrum-boot-complete.service rostrum-device-key.service \
                          rostrum-trial.service rostrum-trial.timer rostrum-updater.service rostrumd.service"

# The root is read-only, so that the users of rostrum.sysusers are made here; a test compares the two.
USERADD_PACKAGES = "${PN}"
GROUPADD_PARAM:${PN} = "--system gpio"
USERADD_PARAM:${PN} = "\
    --system --user-group --no-create-home --home-dir ${localstatedir}/lib/rostrum --shell /sbin/nologin rostrum; \
    --system --user-group --no-create-home --home-dir ${localstatedir}/lib/channeld --shell /sbin/nologin channeld; \
    --system --user-group --no-create-home --home-dir ${localstatedir}/lib/rostrum-updater --shell /sbin/nologin rostrum-updater \
"

PACKAGE_ARCH = "${MACHINE_ARCH}"

RDEPENDS:${PN} = "nftables"
