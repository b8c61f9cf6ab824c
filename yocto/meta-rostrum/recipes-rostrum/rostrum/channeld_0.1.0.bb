SUMMARY = "The real-time audio-video service"
DESCRIPTION = "Channels, tokens and forwarding of media for meeting rooms, in LiveKit's protocol. Optional on a terminal."

require rostrum.inc
require ${BPN}-crates.inc

SRC_URI += "file://channeld.service"

ROSTRUM_PACKAGE = "rostrum-channel"

SYSTEMD_SERVICE:${PN} = "channeld.service"
# It needs applications and their keys first, which no image has.
SYSTEMD_AUTO_ENABLE:${PN} = "disable"

RDEPENDS:${PN} += "\
    ca-certificates \
    rostrum-common \
    rostrum-config \
    rostrum-pages \
"
