SUMMARY = "The image for developers"
DESCRIPTION = "rostrum-image with SSH, root without a password, and tools to look at everything. Never for a customer: it \
               listens on port 22, and anybody is root."

require rostrum-image.inc

# nooelint: oelint.var.badimagefeature.allow-empty-password,oelint.var.badimagefeature.allow-root-login,oelint.var.badimagefeature.empty-root-password
IMAGE_FEATURES += "allow-empty-password allow-root-login empty-root-password ssh-server-openssh"
IMAGE_INSTALL += "\
    alsa-utils \
    ethtool \
    evtest \
    gdb \
    gstreamer1.0-meta-base \
    i2c-tools \
    iproute2 \
    libgpiod-tools \
    media-ctl \
    rostrum-dev-access \
    strace \
    tcpdump \
    v4l-utils \
"
