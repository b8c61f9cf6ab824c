SUMMARY = "The meeting-room terminal"
DESCRIPTION = "Joins the room's channel at the press of a button, sends camera and microphones, and shows everybody else."

require rostrum.inc
require ${BPN}-crates.inc

# libopus (opusic-sys) is built with cmake; the interface of cameras is made from the kernel's headers by bindgen.
DEPENDS += "alsa-lib clang-native cmake-native gstreamer1.0 gstreamer1.0-plugins-base"

SRC_URI += "\
    file://make-device-key \
    file://rostrum-device-key.service \
    file://rostrumd.service \
"

export LIBCLANG_PATH = "${STAGING_LIBDIR_NATIVE}"
export V4L2R_VIDEODEV2_H_PATH = "${STAGING_INCDIR}/linux"
export BINDGEN_EXTRA_CLANG_ARGS = "--sysroot=${STAGING_DIR_HOST} --target=${TARGET_SYS}"

SYSTEMD_SERVICE:${PN} = "rostrum-device-key.service rostrumd.service"

do_install:append() {
    install -D -m 0755 ${UNPACKDIR}/make-device-key ${D}${nonarch_libdir}/rostrum/make-device-key
}
FILES:${PN} += "${nonarch_libdir}/rostrum/make-device-key"

# Elements that it makes pipelines of: decoders, the encoder in software, what goes between, the screen.
RDEPENDS:${PN} += "\
    alsa-conf \
    alsa-ucm-conf \
    ca-certificates \
    gstreamer1.0-libav \
    gstreamer1.0-plugins-bad-kms \
    gstreamer1.0-plugins-bad-videoparsersbad \
    gstreamer1.0-plugins-base-app \
    gstreamer1.0-plugins-base-audioconvert \
    gstreamer1.0-plugins-base-audioresample \
    gstreamer1.0-plugins-base-compositor \
    gstreamer1.0-plugins-base-playback \
    gstreamer1.0-plugins-base-typefindfunctions \
    gstreamer1.0-plugins-base-videoconvertscale \
    gstreamer1.0-plugins-base-videorate \
    gstreamer1.0-plugins-good-jpeg \
    gstreamer1.0-plugins-good-video4linux2 \
    gstreamer1.0-plugins-good-vpx \
    gstreamer1.0-plugins-ugly-x264 \
    rostrum-common \
    rostrum-config \
    rostrum-pages \
"
RRECOMMENDS:${PN} += "${@'gstreamer1.0-plugins-bad-aom' if d.getVar('ROSTRUM_AV1') else ''}"

# Where a distribution has not accepted the licences of decoders (LICENSE_FLAGS), `bitbake world` does without.
EXCLUDE_FROM_WORLD = "${@bb.utils.contains_any('LICENSE_FLAGS_ACCEPTED', \
    'commercial commercial_gstreamer1.0-libav', '', '1', d)}"
