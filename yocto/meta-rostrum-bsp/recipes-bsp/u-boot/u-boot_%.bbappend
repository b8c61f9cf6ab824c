FILESEXTRAPATHS:prepend:rostrum-board := "${THISDIR}/files:${ROSTRUM_LAYER}/recipes-rostrum/u-boot/files:"

SRC_URI:append:rostrum-board = " file://rostrum.cfg"
SRC_URI:append:rostrum-qemu-arm64 = " file://qemu-arm64.cfg"
SRC_URI:append:rostrum-raspberrypi4 = " file://raspberrypi.cfg"
SRC_URI:append:rostrum-raspberrypi5 = " file://raspberrypi.cfg"
SRC_URI:append:rostrum-rk3588 = " file://rk3588.cfg"
