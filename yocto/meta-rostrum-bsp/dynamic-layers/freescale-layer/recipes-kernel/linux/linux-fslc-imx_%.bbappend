FILESEXTRAPATHS:prepend:rostrum-board := "${THISDIR}/../../../../recipes-kernel/linux/files:"

SRC_URI:append:rostrum-board = " file://rostrum.cfg"
DELTA_KERNEL_DEFCONFIG:append:rostrum-board = " rostrum.cfg"
