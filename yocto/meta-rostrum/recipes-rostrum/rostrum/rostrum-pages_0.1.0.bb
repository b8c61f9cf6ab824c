SUMMARY = "The room's panel and the guest's page"
DESCRIPTION = "Installed as files. `cargo xtask pages` builds them from firmware/web before bitbake runs: BitBake has \
               disabled its fetchers for npm, and nothing may be downloaded while a recipe compiles."

require recipes-rostrum/rostrum-package.inc

# What the pages are made of has these.
LICENSE = "MIT & Apache-2.0"
LIC_FILES_CHKSUM = "\
    file://${COMMON_LICENSE_DIR}/MIT;md5=0835ade698e0bcf8506ecda2f7b4f302 \
    file://${COMMON_LICENSE_DIR}/Apache-2.0;md5=89aea4e17d99a7cacdbeed46a0096b10 \
"

SRC_URI = ""

inherit allarch

do_fetch[noexec] = "1"
do_unpack[noexec] = "1"
do_patch[noexec] = "1"
do_configure[noexec] = "1"
do_compile[noexec] = "1"

def rostrum_pages_checksums(d):
    """The built pages, so that a changed one is installed anew."""
    found = []
    for folder, _, files in sorted(os.walk(d.getVar("ROSTRUM_PAGES") or "")):
        found += ["%s:True" % os.path.join(folder, name) for name in sorted(files)]
    return " ".join(found)

do_install[file-checksums] += "${@rostrum_pages_checksums(d)}"
do_install() {
    for page in panel guest; do
        if [ ! -f ${ROSTRUM_PAGES}/$page/index.html ]; then
            bbfatal "There is no $page page in ${ROSTRUM_PAGES}. Run \`cargo xtask pages\`, or name another folder in ROSTRUM_PAGES."
        fi
        install -d ${D}${datadir}/rostrum
        cp -R --no-preserve=ownership,mode ${ROSTRUM_PAGES}/$page ${D}${datadir}/rostrum/$page
    done
}

FILES:${PN} += "${datadir}/rostrum"
