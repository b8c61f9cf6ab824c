FILESEXTRAPATHS:prepend:rostrum-board := "${THISDIR}/../../../../recipes-kernel/linux/files:"

SRC_URI:append:rostrum-board = " file://rostrum.cfg"
