SUMMARY = "Chooses the slot to boot on a PC"
DESCRIPTION = "GRUB's configuration with two slots and three tries each, its environment, and where Linux finds that."

require recipes-rostrum/rostrum-bsp-package.inc

LIC_FILES_CHKSUM = "file://${ROSTRUM_SOURCE}/LICENSE-MIT;md5=0c4a7c7604c55fcb9cff1a8a40d6087b"

SRC_URI = "\
    file://50-grub.conf \
    file://79-rostrum-grub.preset \
    file://efi.mount \
    file://grub.cfg \
"

S = "${UNPACKDIR}"
B = "${WORKDIR}/build"

inherit deploy

COMPATIBLE_MACHINE = "^rostrum-pc-x86-64$"
PACKAGE_ARCH = "${MACHINE_ARCH}"

# An environment block is 1024 bytes: a line, variables, and # up to its end (GRUB manual, "Environment block").
python do_compile() {
    head = "# GRUB Environment Block\n"
    values = "ORDER=A B\nA_OK=1\nA_TRY=0\nB_OK=1\nB_TRY=0\n"
    with open(os.path.join(d.getVar("B"), "grubenv"), "w", encoding="ascii") as block:
        block.write((head + values).ljust(1024, "#"))
}
do_compile[dirs] = "${B}"

do_install() {
    install -d ${D}/efi
    install -D -m 0644 ${S}/efi.mount ${D}${systemd_system_unitdir}/efi.mount
    install -D -m 0644 ${S}/50-grub.conf ${D}${systemd_system_unitdir}/rostrum-machine-id.service.d/50-grub.conf
    install -D -m 0644 ${S}/79-rostrum-grub.preset ${D}${systemd_unitdir}/system-preset/79-rostrum-grub.preset
}

do_deploy() {
    install -m 0644 ${S}/grub.cfg ${B}/grubenv ${DEPLOYDIR}
}
addtask deploy after do_compile before do_build

FILES:${PN} += "\
    ${systemd_system_unitdir}/efi.mount \
    ${systemd_system_unitdir}/rostrum-machine-id.service.d/50-grub.conf \
    ${systemd_unitdir}/system-preset/79-rostrum-grub.preset \
    /efi \
"
RDEPENDS:${PN} += "grub-editenv rostrum-system"
# GRUB finds its configuration in the EFI system partition, not in a package.
RPROVIDES:${PN} += "virtual-grub-bootconf"
