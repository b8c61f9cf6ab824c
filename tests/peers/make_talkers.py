"""Makes a WAV of each talker, mono at 48 kHz: make_talkers.py FOLDER (which holds the package of recordings)."""

import pathlib
import subprocess
import sys

folder = pathlib.Path(sys.argv[1])

package = next(folder.glob("asterisk-core-sounds-en-g722_*.deb"))
subprocess.run(["dpkg-deb", "-x", package, folder / "recordings"], check=True)
sounds = folder / "recordings/usr/share/asterisk/sounds/en_US_f_Allison"
# Sentences: words and digits alone are no talk. 8000 bytes are a second.
recordings = sorted(path for path in sounds.glob("*.g722") if path.stat().st_size > 20_000)
together = b"".join(path.read_bytes() for path in recordings)[: 8000 * 300]
(folder / "studio.g722").write_bytes(together)
subprocess.run(
    ["ffmpeg", "-y", "-v", "error", "-f", "g722", "-i", folder / "studio.g722", "-ar", "48000", folder / "studio.wav"],
    check=True,
)

# The Harvard sentences of IEEE 297-1969, lists 1 and 2, and three of our own, read by synthetic voices.
text = """
The birch canoe slid on the smooth planks. Glue the sheet to the dark blue background. It's easy to tell the depth of
a well. These days a chicken leg is a rare dish. Rice is often served in round bowls. The juice of lemons makes fine
punch. The box was thrown beside the parked truck. The hogs were fed chopped corn and garbage. Four hours of steady
work faced us. A large size in stockings is hard to sell. The boy was there when the sun rose. A rod is used to catch
pink salmon. The source of the huge river is the clear spring. Kick the ball straight and follow through. Help the
woman get back to her feet. A pot of tea helps to pass the evening. Smoky fires lack flame and heat. The soft cushion
broke the man's fall. The salt breeze came across from the sea. The girl at the booth sold fifty bonds.
Shall we begin with the figures of last month? I would rather hear from the others first, and decide on Thursday.
Could somebody in the other room close the window, please, there is a lot of noise from the street.
"""
voices = {
    "man": ["-v", "en-gb", "-s", "165", "-p", "40"],
    "woman": ["-v", "en-us+f2", "-s", "175", "-p", "55"],
    "deep_man": ["-v", "en-us+m7", "-s", "140", "-p", "20"],
    "high_woman": ["-v", "en-gb+f4", "-s", "195", "-p", "75"],
}
for name, options in voices.items():
    raw = folder / f"{name}-raw.wav"
    subprocess.run(["espeak-ng", *options, "-w", raw, text], check=True)
    subprocess.run(
        ["ffmpeg", "-y", "-v", "error", "-i", raw, "-ar", "48000", "-ac", "1", folder / f"{name}.wav"], check=True
    )
