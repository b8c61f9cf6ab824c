FILESEXTRAPATHS:prepend:rostrum-board := "${THISDIR}/../../../../recipes-bsp/u-boot/files:"

SRC_URI:append:rostrum-imx8mp-evk = " \
    file://imx8mp-evk.cfg \
    file://rostrum.cfg \
"
