"""A participant made of LiveKit's Python SDK (libwebrtc). Prints one JSON object a line.

It subscribes to everything and prints {"event": "frame"} for each picture (with the bar, where there is one) and
{"event": "level"} ten times a second for each voice. Commands are JSON lines on standard input:
{"do": "sound", "user": "room", "seconds": 2}   answers {"event": "sound", "file": FILE, "start_us": ...}
{"do": "send", "text": "hello", "topic": "t"}   sends data to everybody
{"do": "mute", "muted": true}                   mutes its own microphone
{"do": "quit"}
"""

import argparse
import asyncio
import json
import os
import sys
import tempfile
import time
import wave

import numpy as np
from livekit import rtc

import bar

RATE = 48000


def now_us() -> int:
    return time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000


def say(event: str, **fields) -> None:
    print(json.dumps({"event": event, "at_us": now_us(), **fields}), flush=True)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", required=True)
    parser.add_argument("--token", required=True)
    parser.add_argument("--two-connections", action="store_true", help="the older mode of two peer connections")
    parser.add_argument("--no-subscribe", action="store_true", help="receive nothing")
    parser.add_argument("--video", help="raw I420 pictures to publish in a loop, with a live bar")
    parser.add_argument("--size", default="640x360", help="of those pictures")
    parser.add_argument("--fps", type=float, default=30)
    parser.add_argument("--camera", type=int, default=78, help="camera id in the bar")
    parser.add_argument("--codec", default="h264", choices=["h264", "vp8"])
    parser.add_argument("--bitrate", type=int, default=0, help="bits a second of the highest layer")
    parser.add_argument("--audio", help="WAV file (mono, 48 kHz, 16 bits) to publish in a loop")
    parser.add_argument("--quiet-frames", action="store_true", help="print only every 15th frame")
    return parser.parse_args()


class Ears:
    """The last minute of each voice, with the time at which each piece came out of the decoder."""

    def __init__(self):
        self.pieces = {}

    def add(self, user: str, samples: np.ndarray) -> None:
        kept = self.pieces.setdefault(user, [])
        kept.append((now_us(), samples))
        del kept[:-6000]

    async def record(self, user: str, seconds: float):
        """The next `seconds` of `user`, and when the first sample came."""
        start = len(self.pieces.get(user, []))
        begin = now_us()
        deadline = time.monotonic() + seconds + 5
        while time.monotonic() < deadline:
            pieces = [(at, piece) for at, piece in self.pieces.get(user, []) if at >= begin]
            if sum(len(piece) for _, piece in pieces) >= seconds * RATE:
                samples = np.concatenate([piece for _, piece in pieces])[: int(seconds * RATE)]
                return pieces[0][0], samples
            await asyncio.sleep(0.02)
        raise TimeoutError(f"{user} gave no sound for {seconds} s (after {start} pieces)")


async def watch(track, user: str, options) -> None:
    stream = rtc.VideoStream(track, format=rtc.VideoBufferType.I420, capacity=1)
    count = 0
    async for event in stream:
        came = now_us()
        frame = event.frame
        luma = np.frombuffer(frame.data, np.uint8, frame.width * frame.height).reshape(frame.height, frame.width)
        count += 1
        if options.quiet_frames and count % 15 != 1:
            continue
        seen = bar.read(luma)
        fields = {"user": user, "sid": track.sid, "width": frame.width, "height": frame.height, "count": count}
        if seen:
            fields |= {"bar_us": seen[0], "frame": seen[1], "camera": seen[2]}
        print(json.dumps({"event": "frame", "at_us": came, **fields}), flush=True)


async def listen(track, user: str, ears: Ears) -> None:
    stream = rtc.AudioStream(track, sample_rate=RATE, num_channels=1, frame_size_ms=10)
    count = 0
    async for event in stream:
        samples = np.frombuffer(event.frame.data, np.int16).astype(np.float32) / 32768
        ears.add(user, samples)
        count += 1
        if count % 10 == 0:
            say("level", user=user, rms=float(np.sqrt(np.mean(samples**2))))


async def publish_video(room, options):
    width, height = map(int, options.size.split("x"))
    source = rtc.VideoSource(width, height)
    track = rtc.LocalVideoTrack.create_video_track("camera", source)
    publish = rtc.TrackPublishOptions(source=rtc.TrackSource.SOURCE_CAMERA, simulcast=True)
    publish.video_codec = rtc.VideoCodec.H264 if options.codec == "h264" else rtc.VideoCodec.VP8
    if options.bitrate:
        publish.video_encoding.max_bitrate = options.bitrate
        publish.video_encoding.max_framerate = options.fps
    length = width * height * 3 // 2
    pictures = np.fromfile(options.video, np.uint8)
    pictures = pictures[: len(pictures) // length * length].reshape(-1, length)

    async def run():
        number, due = 0, time.monotonic()
        while True:
            due += 1 / options.fps
            await asyncio.sleep(max(0, due - time.monotonic()))
            picture = pictures[number % len(pictures)].copy()
            bar.burn(picture[: width * height].reshape(height, width), now_us(), number, options.camera)
            source.capture_frame(rtc.VideoFrame(width, height, rtc.VideoBufferType.I420, picture.data))
            number += 1

    task = asyncio.create_task(run())
    publication = await room.local_participant.publish_track(track, publish)
    say("published", kind="video", sid=publication.sid)
    return task


async def publish_audio(room, options):
    with wave.open(options.audio) as file:
        assert file.getframerate() == RATE and file.getnchannels() == 1 and file.getsampwidth() == 2
        samples = np.frombuffer(file.readframes(file.getnframes()), np.int16)
    source = rtc.AudioSource(RATE, 1, queue_size_ms=40)
    track = rtc.LocalAudioTrack.create_audio_track("microphone", source)
    publish = rtc.TrackPublishOptions(source=rtc.TrackSource.SOURCE_MICROPHONE)
    publication = await room.local_participant.publish_track(track, publish)
    say("published", kind="audio", sid=publication.sid)

    async def run():
        place = 0
        while True:
            piece = np.take(samples, range(place, place + 480), mode="wrap")
            place = (place + 480) % len(samples)
            await source.capture_frame(rtc.AudioFrame(piece.tobytes(), RATE, 1, 480))

    return asyncio.create_task(run()), track


async def main() -> None:
    options = arguments()
    ears, tasks, room = Ears(), [], rtc.Room()

    @room.on("track_subscribed")
    def _(track, publication, participant):
        say("track", user=participant.identity, kind=int(track.kind), sid=track.sid)
        work = watch(track, participant.identity, options) if track.kind == rtc.TrackKind.KIND_VIDEO else listen(
            track, participant.identity, ears
        )
        tasks.append(asyncio.create_task(work))

    room.on("participant_connected", lambda who: say("came", user=who.identity))
    room.on("participant_disconnected", lambda who: say("went", user=who.identity))
    room.on("track_muted", lambda who, publication: say("muted", user=who.identity, source=int(publication.source)))
    room.on("track_unmuted", lambda who, publication: say("unmuted", user=who.identity, source=int(publication.source)))
    room.on("active_speakers_changed", lambda who: say("speakers", users=[one.identity for one in who]))
    room.on("data_received", lambda packet: say("data", topic=packet.topic, text=bytes(packet.data).decode(errors="replace")))
    room.on("disconnected", lambda reason: say("disconnected", reason=int(reason)))
    room.on("reconnecting", lambda: say("reconnecting"))
    room.on("reconnected", lambda: say("reconnected"))

    say("connecting")
    await room.connect(
        options.url,
        options.token,
        rtc.RoomOptions(
            auto_subscribe=not options.no_subscribe,
            single_peer_connection=not options.two_connections,
            dynacast=True,
        ),
    )
    say("connected", user=room.local_participant.identity)
    microphone = None
    if options.video:
        tasks.append(await publish_video(room, options))
    if options.audio:
        task, microphone = await publish_audio(room, options)
        tasks.append(task)

    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        command = json.loads(line)
        if command["do"] == "quit":
            break
        if command["do"] == "sound":
            try:
                start_us, samples = await ears.record(command["user"], command["seconds"])
            except TimeoutError as error:
                say("failed", message=str(error))
                continue
            handle, name = tempfile.mkstemp(suffix=".f32", dir=os.environ.get("TMPDIR"))
            with os.fdopen(handle, "wb") as file:
                file.write(samples.astype("<f4").tobytes())
            say("sound", file=name, start_us=start_us)
        elif command["do"] == "send":
            await room.local_participant.publish_data(command["text"], topic=command["topic"])
        elif command["do"] == "mute" and microphone:
            microphone.mute() if command["muted"] else microphone.unmute()
    for task in tasks:
        task.cancel()
    await room.disconnect()


if __name__ == "__main__":
    asyncio.run(main())
