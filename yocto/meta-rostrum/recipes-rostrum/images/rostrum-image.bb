SUMMARY = "The image that installers flash"
DESCRIPTION = "A meeting-room terminal without a way to log in."

require rostrum-image.inc
