"""Scores of models of listeners: reads FOLDER/jobs.json and the sounds it names (32-bit floats, mono, 48 kHz), and
prints a list of [figure, score].

Scores are mean opinion scores, 1 (bad) to 5 (excellent): PESQ wide-band (ITU-T P.862.2) against the clean talker,
DNSMOS (P.835) of a voice by itself, AECMOS of the echo that is heard and of all else that disturbs.
"""

import json
import sys
from pathlib import Path

import numpy as np
from pesq import NoUtterancesError, pesq
from scipy.signal import resample_poly
from speechmos import aecmos, dnsmos

RATE = 48_000
LOW_RATE = 16_000


def main():
    folder = Path(sys.argv[1])
    scores = []
    for job in json.loads((folder / "jobs.json").read_text()):
        sounds = {name: np.fromfile(folder / file, np.float32) for name, file in job["sounds"].items()}
        scores += [[job["figure"].format(score), value] for score, value in JUDGES[job["judge"]](sounds)]
    print(json.dumps(scores))


def low(sound):
    return np.clip(resample_poly(sound, LOW_RATE, RATE), -1, 1).astype(np.float32)


def quality(sounds):
    try:
        score = pesq(LOW_RATE, low(sounds["near"]), low(sounds["voice"]), "wb")
    except NoUtterancesError:
        print("PESQ finds no speech in a voice: the lowest score", file=sys.stderr)
        score = 1.0
    yield "pesq", float(score)


def opinion(sounds):
    scores = dnsmos.run(low(sounds["voice"]), LOW_RATE)
    yield "dnsmos_signal", float(scores["sig_mos"])
    yield "dnsmos_background", float(scores["bak_mos"])
    yield "dnsmos_overall", float(scores["ovrl_mos"])


def echo(talk):
    def judge(sounds):
        planes = {"lpb": sounds["played"], "mic": sounds["microphone"], "enh": sounds["voice"]}
        planes = {name: np.clip(plane, -1, 1) for name, plane in planes.items()}
        scores = aecmos.run(planes, RATE, talk_type=talk)
        yield "aecmos_echo", scores["echo_mos"]
        if talk == "dt":
            yield "aecmos_other", scores["deg_mos"]

    return judge


JUDGES = {"quality": quality, "opinion": opinion, "far_end": echo("st"), "double_talk": echo("dt")}

main()
