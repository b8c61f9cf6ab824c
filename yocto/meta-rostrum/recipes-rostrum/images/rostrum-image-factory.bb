SUMMARY = "The image for the factory's bench"
DESCRIPTION = "rostrum-image with what tests a new board and provisions it from within: a root shell on the serial \
               console, rostrum-provision, and tools to write to soldered memory. It is replaced by rostrum-image before a board leaves."

require rostrum-image.inc

# nooelint: oelint.var.badimagefeature.empty-root-password,oelint.var.badimagefeature.serial-autologin-root
IMAGE_FEATURES += "empty-root-password serial-autologin-root"
IMAGE_INSTALL += "\
    alsa-utils \
    bmaptool \
    e2fsprogs-mke2fs \
    evtest \
    gptfdisk \
    libgpiod-tools \
    mmc-utils \
    rostrum-provision \
    v4l-utils \
"
