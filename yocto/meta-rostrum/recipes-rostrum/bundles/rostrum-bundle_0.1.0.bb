SUMMARY = "The update"
DESCRIPTION = "One slot's file system, signed, for `rauc install`, a stick or the update server."

require recipes-rostrum/rostrum-package.inc

SRC_URI = ""

# As images are.
EXCLUDE_FROM_WORLD = "1"

inherit bundle

# One bundle is for one board, and is newer than what it replaces by semantic versioning.
RAUC_BUNDLE_COMPATIBLE = "rostrum-${ROSTRUM_BOARD}"
RAUC_BUNDLE_VERSION = "${DISTRO_VERSION}"
RAUC_BUNDLE_DESCRIPTION = "Rostrum ${DISTRO_VERSION} for ${ROSTRUM_BOARD}"
# Blocks are checked as they are read, so that it can be streamed; those that a device has already are not fetched.
RAUC_BUNDLE_FORMAT = "verity"
RAUC_BUNDLE_SLOTS = "rootfs"
ROSTRUM_BUNDLE_IMAGE ??= "rostrum-image"
RAUC_SLOT_rootfs = "${ROSTRUM_BUNDLE_IMAGE}"
RAUC_SLOT_rootfs[fstype] = "ext4"
RAUC_SLOT_rootfs[adaptive] = "block-hash-index"

RAUC_KEY_FILE = "${ROSTRUM_SIGNING_KEY}"
RAUC_CERT_FILE = "${ROSTRUM_SIGNING_CERTIFICATE}"
RAUC_KEYRING_FILE = "${ROSTRUM_KEYRING}"
