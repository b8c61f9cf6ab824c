"""A participant made of LiveKit's Python SDK (libwebrtc). Prints one JSON object a line.

It subscribes to everything and prints {"event": "frame"} for each picture (with the bar, where there is one) and
{"event": "level"} ten times a second for each voice. Commands are JSON lines on standard input:
{"do": "sound", "user": "room", "seconds": 2}   answers {"event": "sound", "file": FILE, "start_us": ...}
{"do": "picture", "user": "room"}               answers {"event": "picture", "file": FILE, "width": ..., "height": ...}, its luma
{"do": "send", "text": "hello", "topic": "t"}   sends data to everybody
{"do": "mute", "muted": true}                   mutes its own microphone
{"do": "rpc", "user": "ann", "method": "echo", "payload": "x"}   answers {"event": "rpc", "value": ...} or its "code"
{"do": "text", "text": "x", "users": []}        sends a text stream, or one of "length" letters; "bytes" a byte stream
{"do": "set", "name": ..., "metadata": ..., "attributes": {...}}   changes what others are told of it
{"do": "let_subscribe", "all": false, "users": ["ann"]}          says who may subscribe to its tracks
{"do": "everybody"}                             answers {"event": "everybody"} with what it is told of all
{"do": "quit"}
It answers RPC methods `echo`, `length` and `fail` (with code 1234), and prints streams of topic `stream`.
"""

import argparse
import asyncio
import hashlib
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
    parser.add_argument("--stereo", action="store_true", help="hear two channels, and tell how they differ")
    parser.add_argument("--key", help="encrypt and decrypt all media with this")
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


# The newest picture of each user: its luma.
pictures = {}


async def watch(track, user: str, options) -> None:
    stream = rtc.VideoStream(track, format=rtc.VideoBufferType.I420, capacity=1)
    count = 0
    async for event in stream:
        came = now_us()
        frame = event.frame
        luma = np.frombuffer(frame.data, np.uint8, frame.width * frame.height).reshape(frame.height, frame.width)
        pictures[user] = luma
        count += 1
        if options.quiet_frames and count % 15 != 1:
            continue
        seen = bar.read(luma)
        fields = {"user": user, "sid": track.sid, "width": frame.width, "height": frame.height, "count": count}
        if seen:
            fields |= {"bar_us": seen[0], "frame": seen[1], "camera": seen[2]}
        print(json.dumps({"event": "frame", "at_us": came, **fields}), flush=True)


async def listen(track, user: str, ears: Ears, channels: int) -> None:
    stream = rtc.AudioStream(track, sample_rate=RATE, num_channels=channels, frame_size_ms=10)
    count = 0
    async for event in stream:
        planes = np.frombuffer(event.frame.data, np.int16).astype(np.float32).reshape(-1, channels) / 32768
        samples = planes.mean(axis=1)
        ears.add(user, samples)
        count += 1
        if count % 10 == 0:
            # Of the difference between left and right; nothing when there is one channel.
            side = (planes[:, 0] - planes[:, -1]) / 2
            say("level", user=user, rms=float(np.sqrt(np.mean(samples**2))), side=float(np.sqrt(np.mean(side**2))))


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


def hear_of_others(room) -> None:
    """Prints what others do."""
    on = room.on
    on("participant_connected", lambda who: say("came", user=who.identity, sid=who.sid))
    on("participant_disconnected", lambda who: say("went", user=who.identity))
    on("track_unsubscribed", lambda track, publication, who: say("track_gone", user=who.identity, source=int(publication.source)))
    on("track_muted", lambda who, publication: say("muted", user=who.identity, source=int(publication.source)))
    on("track_unmuted", lambda who, publication: say("unmuted", user=who.identity, source=int(publication.source)))
    on("local_track_unpublished", lambda publication: say("unpublished", sid=publication.sid))
    on("active_speakers_changed", lambda who: say("speakers", users=[one.identity for one in who]))
    on("connection_quality_changed", lambda who, quality: say("quality", user=who.identity, quality=int(quality)))
    on("room_metadata_changed", lambda old, new: say("room_metadata", metadata=new))
    on("participant_metadata_changed", lambda who, old, new: say("metadata", user=who.identity, metadata=new))
    on("participant_name_changed", lambda who, old, new: say("name", user=who.identity, name=new))
    on("participant_attributes_changed", lambda changed, who: say("attributes", user=who.identity, changed=dict(changed)))
    on("participant_permissions_changed", lambda who, permission: say("permissions", user=who.identity, can_publish=permission.can_publish))
    on("disconnected", lambda reason: say("disconnected", reason=int(reason)))
    on("reconnecting", lambda: say("reconnecting"))
    on("reconnected", lambda: say("reconnected", sid=room.local_participant.sid))
    on("token_refreshed", lambda: say("token_refreshed"))

    def data(packet):
        user = packet.participant.identity if packet.participant else None
        text = bytes(packet.data).decode(errors="replace")
        say("data", user=user, topic=packet.topic, text=text, lossy=packet.kind == rtc.DataPacketKind.KIND_LOSSY)

    on("data_received", data)

    async def take(kind, reader, user):
        content = await reader.read_all() if kind == "text" else b"".join([piece async for piece in reader])
        data = content.encode() if kind == "text" else content
        digest = hashlib.sha256(data).hexdigest()
        say("stream", user=user, kind=kind, length=len(data), sha256=digest, text=content[:100] if kind == "text" else None)

    def stream(kind):
        return lambda reader, user: tasks_of_streams.append(asyncio.create_task(take(kind, reader, user)))

    room.register_text_stream_handler("stream", stream("text"))
    room.register_byte_stream_handler("stream", stream("byte"))


# Tasks that nobody holds are collected before they are done.
tasks_of_streams = []


def answer_calls(room) -> None:
    """Registers the RPC methods."""

    async def fail(call):
        raise rtc.RpcError(1234, "not today", "because")

    async def echo(call):
        return call.payload

    async def length(call):
        return str(len(call.payload))

    for name, method in {"echo": echo, "length": length, "fail": fail}.items():
        room.local_participant.register_rpc_method(name, method)


async def call(room, command) -> None:
    try:
        value = await room.local_participant.perform_rpc(
            destination_identity=command["user"], method=command["method"], payload=command["payload"]
        )
        say("rpc", value=value)
    except rtc.RpcError as error:
        say("rpc", code=error.code, message=error.message, data=error.data)


async def act(room, command) -> bool:
    """Does what is about data and about what others are told; `False` when the command is another one."""
    me = room.local_participant
    what = command["do"]
    if what == "send":
        users = command.get("users", [])
        reliable = not command.get("lossy", False)
        await me.publish_data(command["text"], topic=command.get("topic", "t"), reliable=reliable, destination_identities=users)
    elif what == "rpc":
        await call(room, command)
    elif what == "text":
        text = command.get("text", "ä" * command.get("length", 0))
        await me.send_text(text, topic="stream", destination_identities=command.get("users"))
        say("sent", sha256=hashlib.sha256(text.encode()).hexdigest())
    elif what == "bytes":
        data = bytes((index * 31 + (index >> 8)) & 255 for index in range(command["length"]))
        writer = await me.stream_bytes("bytes.bin", total_size=len(data), topic="stream", destination_identities=command.get("users"))
        await writer.write(data)
        await writer.aclose()
        say("sent", sha256=hashlib.sha256(data).hexdigest())
    elif what == "set":
        try:
            if "name" in command:
                await me.set_name(command["name"])
            if "metadata" in command:
                await me.set_metadata(command["metadata"])
            if "attributes" in command:
                await me.set_attributes(command["attributes"])
            say("set", ok=True)
        except Exception as error:
            say("set", ok=False, message=str(error))
    elif what == "let_subscribe":
        allowed = [rtc.ParticipantTrackPermission(participant_identity=user, allow_all=True) for user in command.get("users", [])]
        me.set_track_subscription_permissions(allow_all_participants=command["all"], participant_permissions=allowed)
    elif what == "everybody":
        everybody = [me, *room.remote_participants.values()]
        tell = lambda one: {
            "user": one.identity,
            "sid": one.sid,
            "name": one.name,
            "metadata": one.metadata,
            "attributes": dict(one.attributes),
            "tracks": [publication.sid for publication in one.track_publications.values()],
        }
        say("everybody", all=[tell(one) for one in everybody])
    else:
        return False
    return True


def encryption(key: str):
    options = rtc.KeyProviderOptions(shared_key=key.encode())
    return rtc.E2EEOptions(key_provider_options=options)


async def main() -> None:
    options = arguments()
    ears, tasks, followed, room = Ears(), [], {}, rtc.Room()

    @room.on("track_subscribed")
    def _(track, publication, participant):
        say("track", user=participant.identity, kind=int(track.kind), sid=track.sid)
        work = watch(track, participant.identity, options) if track.kind == rtc.TrackKind.KIND_VIDEO else listen(
            track, participant.identity, ears, 2 if options.stereo else 1
        )
        followed[track.sid] = asyncio.create_task(work)

    @room.on("track_unsubscribed")
    def _(track, publication, participant):
        # Its stream would go on with silence, between the pieces of the track that takes its place.
        if task := followed.pop(track.sid, None):
            task.cancel()

    hear_of_others(room)

    say("connecting")
    await room.connect(
        options.url,
        options.token,
        rtc.RoomOptions(
            auto_subscribe=not options.no_subscribe,
            single_peer_connection=not options.two_connections,
            dynacast=True,
            encryption=encryption(options.key) if options.key else None,
        ),
    )
    answer_calls(room)
    say("connected", user=room.local_participant.identity, sid=room.local_participant.sid)
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
        elif command["do"] == "picture":
            luma = pictures.get(command["user"], np.zeros((0, 0), np.uint8))
            handle, name = tempfile.mkstemp(suffix=".y", dir=os.environ.get("TMPDIR"))
            with os.fdopen(handle, "wb") as file:
                file.write(luma.tobytes())
            say("picture", file=name, width=luma.shape[1], height=luma.shape[0])
        elif command["do"] == "mute" and microphone:
            microphone.mute() if command["muted"] else microphone.unmute()
        else:
            await act(room, command)
    for task in [*tasks, *followed.values()]:
        task.cancel()
    await room.disconnect()


if __name__ == "__main__":
    asyncio.run(main())
