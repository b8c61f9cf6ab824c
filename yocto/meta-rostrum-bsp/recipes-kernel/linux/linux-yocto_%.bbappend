FILESEXTRAPATHS:prepend:rostrum-board := "${THISDIR}/files:"

SRC_URI:append:rostrum-board = " file://rostrum.cfg"

# What the kernel's own settings call these boards.
KMACHINE:rostrum-pc-x86-64 = "common-pc-64"
KMACHINE:rostrum-qemu-arm64 = "qemuarm64"
KMACHINE:rostrum-rk3588 = "rock-5b"

COMPATIBLE_MACHINE:rostrum-pc-x86-64 = "rostrum-pc-x86-64"
