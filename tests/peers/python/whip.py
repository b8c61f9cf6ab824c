"""A publisher (WHIP) or viewer (WHEP) made of aiortc, an independent WebRTC in Python. Prints one JSON object a line.

{"event": "opened"} has status, location, etag and links of the POST; a viewer prints {"event": "frame"} for pictures
(with the bar, where there is one) and {"event": "level"} ten times a second. Commands are JSON lines on standard input:
{"do": "sound", "seconds": 2}     answers {"event": "sound", "file": FILE, "start_us": ...}
{"do": "trickle"}                 sends its candidates by PATCH
{"do": "restart"}                 restarts ICE by PATCH and makes its checks with the new credentials
{"do": "delete"}                  ends the session by DELETE
{"do": "quit"}                    closes the connection without a word over HTTP
The first three HTTP commands are answered by {"event": "answered", "do": ..., "status": ..., "etag": ...}.
"""

import argparse
import asyncio
import fractions
import json
import os
import re
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
import wave

import aioice.ice
import numpy as np
from aiortc import (
    MediaStreamTrack,
    RTCConfiguration,
    RTCPeerConnection,
    RTCRtpSender,
    RTCSessionDescription,
)
from av import AudioFrame, VideoFrame

import bar

RATE = 48000
# Checks of consent come often, so that a restart that did not work shows within a scenario's patience.
aioice.ice.CONSENT_INTERVAL = 1


def now_us() -> int:
    return time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000


def say(event: str, **fields) -> None:
    print(json.dumps({"event": event, "at_us": now_us(), **fields}), flush=True)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", required=True, help="of the door: http://HOST/whip/CHANNEL or /whep/CHANNEL")
    parser.add_argument("--token", required=True)
    parser.add_argument("--watch", action="store_true", help="watch instead of publishing")
    parser.add_argument("--codec", default="vp8", choices=["vp8", "h264"])
    parser.add_argument("--size", default="640x360")
    parser.add_argument("--fps", type=float, default=15)
    parser.add_argument("--camera", type=int, default=79, help="camera id in the bar")
    parser.add_argument("--audio", help="WAV file (mono, 48 kHz, 16 bits) to publish in a loop")
    return parser.parse_args()


class Camera(MediaStreamTrack):
    """A grey picture with a live bar and something that moves."""

    kind = "video"

    def __init__(self, options):
        super().__init__()
        self.width, self.height = map(int, options.size.split("x"))
        self.period, self.camera = 1 / options.fps, options.camera
        self.started, self.number = None, 0

    async def recv(self):
        self.started = self.started or time.monotonic()
        await asyncio.sleep(max(0, self.started + self.number * self.period - time.monotonic()))
        picture = np.full((self.height * 3 // 2, self.width), 128, np.uint8)
        luma = picture[: self.height]
        left = self.number * 8 % (self.width - 80)
        luma[self.height // 2 : self.height // 2 + 60, left : left + 60] = 200
        bar.burn(luma, now_us(), self.number, self.camera)
        frame = VideoFrame.from_ndarray(picture, format="yuv420p")
        frame.pts, frame.time_base = int(self.number * self.period * 90000), fractions.Fraction(1, 90000)
        self.number += 1
        return frame


class Microphone(MediaStreamTrack):
    """A WAV file in a loop, 20 ms at a time."""

    kind = "audio"

    def __init__(self, name):
        super().__init__()
        with wave.open(name) as file:
            assert file.getframerate() == RATE and file.getnchannels() == 1 and file.getsampwidth() == 2
            self.samples = np.frombuffer(file.readframes(file.getnframes()), np.int16)
        self.started, self.number = None, 0

    async def recv(self):
        self.started = self.started or time.monotonic()
        await asyncio.sleep(max(0, self.started + self.number * 0.02 - time.monotonic()))
        place = self.number * 960 % len(self.samples)
        piece = np.take(self.samples, range(place, place + 960), mode="wrap")
        frame = AudioFrame.from_ndarray(piece.reshape(1, -1), format="s16", layout="mono")
        frame.pts, frame.sample_rate, frame.time_base = self.number * 960, RATE, fractions.Fraction(1, RATE)
        self.number += 1
        return frame


async def watch(track) -> None:
    count = 0
    while True:
        frame = await track.recv()
        count += 1
        luma = frame.to_ndarray(format="yuv420p")[: frame.height]
        fields = {"width": frame.width, "height": frame.height, "count": count}
        if seen := bar.read(luma):
            fields |= {"bar_us": seen[0], "frame": seen[1], "camera": seen[2]}
        say("frame", **fields)


async def listen(track, ears) -> None:
    count = 0
    while True:
        frame = await track.recv()
        channels = len(frame.layout.channels)
        samples = frame.to_ndarray().reshape(-1, channels).mean(axis=1).astype(np.float32) / 32768
        ears.append((now_us(), samples))
        del ears[:-3000]
        count += 1
        if count % 5 == 0:
            say("level", rms=float(np.sqrt(np.mean(samples**2))))


async def record(ears, seconds: float):
    begin, deadline = now_us(), time.monotonic() + seconds + 5
    while time.monotonic() < deadline:
        pieces = [(at, piece) for at, piece in ears if at >= begin]
        if sum(len(piece) for _, piece in pieces) >= seconds * RATE:
            return pieces[0][0], np.concatenate([piece for _, piece in pieces])[: int(seconds * RATE)]
        await asyncio.sleep(0.02)
    raise TimeoutError(f"no sound for {seconds} s")


class Door:
    """The HTTP side: one POST, and the address that it gave."""

    def __init__(self, options):
        self.url, self.token = options.url, options.token
        self.location = self.etag = None

    async def ask(self, method, url, headers, body=b""):
        def work():
            authorized = {"Authorization": f"Bearer {self.token}", **headers}
            request = urllib.request.Request(url, data=body or None, headers=authorized, method=method)
            try:
                with urllib.request.urlopen(request, timeout=20) as response:
                    return response.status, response.headers, response.read().decode()
            except urllib.error.HTTPError as error:
                return error.code, error.headers, error.read().decode()

        return await asyncio.to_thread(work)

    async def open(self, offer: str):
        status, headers, body = await self.ask("POST", self.url, {"Content-Type": "application/sdp"}, offer.encode())
        if status == 201:
            self.location = urllib.parse.urljoin(self.url, headers["Location"])
            self.etag = headers["ETag"]
        say("opened", status=status, location=self.location, etag=self.etag, links=headers.get_all("Link") or [], body=body)
        return body if status == 201 else None

    async def patch(self, what: str, condition: str, fragment: str):
        headers = {"Content-Type": "application/trickle-ice-sdpfrag", "If-Match": condition}
        status, headers, body = await self.ask("PATCH", self.location, headers, fragment.encode())
        self.etag = headers.get("ETag") or self.etag
        say("answered", do=what, status=status, etag=headers.get("ETag"), body=body)
        return status, body


def attribute(sdp: str, name: str) -> str:
    return re.search(rf"^a={name}:(\S+)", sdp, re.MULTILINE)[1]


def fragment(sdp: str, ufrag: str, password: str) -> str:
    """The ICE part of an offer under these credentials (RFC 8840)."""
    lines = [line for line in sdp.splitlines() if line.startswith("a=group:BUNDLE")]
    media = next(line for line in sdp.splitlines() if line.startswith("m="))
    lines += [media, f"a=mid:{attribute(sdp, 'mid')}", f"a=ice-ufrag:{ufrag}", f"a=ice-pwd:{password}"]
    lines += dict.fromkeys(line for line in sdp.splitlines() if line.startswith("a=candidate:"))
    return "\r\n".join([*lines, "a=end-of-candidates", ""])


def transport_of(connection):
    """aioice's end of the connection; all sections share it."""
    return connection.getTransceivers()[0].receiver.transport.transport._connection


async def restart(connection, door: Door) -> None:
    """aiortc cannot restart ICE by itself: its checks of consent take the new credentials."""
    ice = transport_of(connection)
    ufrag, password = aioice.ice.random_string(4), aioice.ice.random_string(22)
    status, body = await door.patch("restart", "*", fragment(connection.localDescription.sdp, ufrag, password))
    if status == 200:
        ice._local_username, ice._local_password = ufrag, password
        ice.remote_username, ice.remote_password = attribute(body, "ice-ufrag"), attribute(body, "ice-pwd")


async def main() -> None:
    options = arguments()
    # Not max-bundle: with that, aiortc forgets the candidates of all sections but the last.
    connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    ears, tasks = [], []

    @connection.on("track")
    def _(track):
        say("track", kind=track.kind, id=track.id)
        tasks.append(asyncio.create_task(watch(track) if track.kind == "video" else listen(track, ears)))

    @connection.on("connectionstatechange")
    def _():
        say("connection", state=connection.connectionState)

    wanted = "video/VP8" if options.codec == "vp8" else "video/H264"
    codecs = [codec for codec in RTCRtpSender.getCapabilities("video").codecs if codec.mimeType in (wanted, "video/rtx")]
    if options.watch:
        connection.addTransceiver("video", direction="recvonly")
        connection.addTransceiver("audio", direction="recvonly")
    else:
        transceiver = connection.addTransceiver(Camera(options), direction="sendonly")
        transceiver.setCodecPreferences(codecs)
        if options.audio:
            connection.addTransceiver(Microphone(options.audio), direction="sendonly")
    await connection.setLocalDescription(await connection.createOffer())
    door = Door(options)
    answer = await door.open(connection.localDescription.sdp)
    if answer:
        await connection.setRemoteDescription(RTCSessionDescription(sdp=answer, type="answer"))

    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        command = json.loads(line)
        if command["do"] == "quit":
            break
        if command["do"] == "sound":
            try:
                start_us, samples = await record(ears, command["seconds"])
            except TimeoutError as error:
                say("failed", message=str(error))
                continue
            handle, name = tempfile.mkstemp(suffix=".f32", dir=os.environ.get("TMPDIR"))
            with os.fdopen(handle, "wb") as file:
                file.write(samples.astype("<f4").tobytes())
            say("sound", file=name, start_us=start_us)
        elif command["do"] == "trickle":
            ice = transport_of(connection)
            text = fragment(connection.localDescription.sdp, ice.local_username, ice.local_password)
            await door.patch("trickle", door.etag, text)
        elif command["do"] == "restart":
            await restart(connection, door)
        elif command["do"] == "delete":
            status, _, body = await door.ask("DELETE", door.location, {})
            say("answered", do="delete", status=status, etag=None, body=body)
    for task in tasks:
        task.cancel()
    await connection.close()


if __name__ == "__main__":
    asyncio.run(main())
