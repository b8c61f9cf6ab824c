// Functions that the scenarios call inside a page of Chromium, the guest's or room.html; see browser.mjs.
globalThis.rostrumTest = (() => {
  const room = () => {
    if (!globalThis.rostrum?.room) throw new Error("the page shows no meeting (is ?debug=1 in its address?)");
    return globalThis.rostrum.room;
  };
  const participant = (user) => {
    const found = [...room().remoteParticipants.values()].find((other) => other.identity === user);
    if (!found) throw new Error(`${user} is not in the channel`);
    return found;
  };
  const track = (user, source) => {
    const publication = [...participant(user).trackPublications.values()].find((one) => one.source === source);
    if (!publication?.track) throw new Error(`no ${source} of ${user} is received`);
    return publication.track.mediaStreamTrack;
  };
  // The element in which the page itself shows the track.
  const shown = (media) => {
    for (const element of document.querySelectorAll("video, audio")) {
      if (element.srcObject?.getTracks().some((one) => one.id === media.id)) return element;
    }
    throw new Error("the page shows the track in no element");
  };
  const pixels = (video) => {
    if (!video.videoWidth) throw new Error("no picture was decoded yet");
    const canvas = new OffscreenCanvas(video.videoWidth, video.videoHeight);
    const context = canvas.getContext("2d", { willReadFrequently: true });
    context.drawImage(video, 0, 0);
    return context.getImageData(0, 0, canvas.width, canvas.height);
  };

  // The bar of the virtual camera: 3 rows of 32 cells at the top, see hal::sim::bar.
  const readBar = ({ data, width, height }) => {
    const bytes = new Uint8Array(12);
    for (let bit = 0; bit < 96; bit += 1) {
      const [row, cell] = [Math.floor(bit / 32), bit % 32];
      const [x0, x1] = [Math.floor((cell * width) / 32), Math.floor(((cell + 1) * width) / 32)];
      const [y0, y1] = [Math.floor((row * height) / 20), Math.floor(((row + 1) * height) / 20)];
      let [sum, count] = [0, 0];
      for (let y = y0 + ((y1 - y0) >> 2); y < y1 - ((y1 - y0) >> 2); y += 1) {
        for (let x = x0 + ((x1 - x0) >> 2); x < x1 - ((x1 - x0) >> 2); x += 1) {
          sum += data[4 * (y * width + x) + 1];
          count += 1;
        }
      }
      if (sum > 128 * count) bytes[bit >> 3] |= 0x80 >> (bit & 7);
    }
    let crc = 0xffff;
    for (const byte of bytes.subarray(0, 10)) {
      crc ^= byte << 8;
      for (let i = 0; i < 8; i += 1) crc = ((crc << 1) ^ (crc & 0x8000 ? 0x1021 : 0)) & 0xffff;
    }
    if (bytes[0] !== 0xb5 || crc !== ((bytes[10] << 8) | bytes[11])) return null;
    const number = (from, to) => bytes.subarray(from, to).reduce((value, byte) => value * 256 + byte, 0);
    return { time_us: number(1, 6) * 100, frame: number(6, 9), camera: bytes[9] };
  };

  let muteChanges = [];
  const base64 = (bytes) => {
    let text = "";
    for (let i = 0; i < bytes.length; i += 32768) text += String.fromCharCode(...bytes.subarray(i, i + 32768));
    return btoa(text);
  };

  return {
    readBar,
    // Who is here, with what is received of each.
    participants: () =>
      [...room().remoteParticipants.values()].map((one) => ({
        user: one.identity,
        tracks: [...one.trackPublications.values()].map((publication) => ({
          source: publication.source,
          muted: publication.isMuted,
          received: Boolean(publication.track),
        })),
      })),
    connection: () => room().state,
    // The bar in the picture that the page shows of `user`; null when it cannot be read.
    bar: ({ user, source = "camera" }) => {
      const video = shown(track(user, source));
      const picture = pixels(video);
      return { width: picture.width, height: picture.height, bar: readBar(picture) };
    },
    // Size of the picture and its mean luma, for pictures without a bar.
    picture: ({ user, source = "camera" }) => {
      const { data, width, height } = pixels(shown(track(user, source)));
      let sum = 0;
      for (let i = 1; i < data.length; i += 4) sum += data[i];
      return { width, height, mean_green: sum / (data.length / 4) };
    },
    // One decoded picture as RGBA, base64, with its bar.
    pixels: ({ user, source = "camera" }) => {
      const picture = pixels(shown(track(user, source)));
      const bar = readBar(picture);
      return { width: picture.width, height: picture.height, bar, rgba: base64(new Uint8Array(picture.data.buffer)) };
    },
    // What the page hears of `user`: f32 samples at 48 kHz, base64.
    sound: async ({ user, seconds }) => {
      const context = new AudioContext({ sampleRate: 48000 });
      const code = `registerProcessor("tap", class extends AudioWorkletProcessor {
        process([input]) { if (input[0]) this.port.postMessage(input[0].slice()); return true; } })`;
      await context.audioWorklet.addModule(URL.createObjectURL(new Blob([code], { type: "text/javascript" })));
      const source = context.createMediaStreamSource(new MediaStream([track(user, "microphone")]));
      const tap = new AudioWorkletNode(context, "tap", { channelCount: 1, channelCountMode: "explicit" });
      const samples = new Float32Array(seconds * 48000);
      let filled = 0;
      await new Promise((resolve) => {
        tap.port.onmessage = ({ data }) => {
          samples.set(data.subarray(0, samples.length - filled), filled);
          filled = Math.min(samples.length, filled + data.length);
          if (filled === samples.length) resolve();
        };
        source.connect(tap).connect(context.destination);
      });
      await context.close();
      return base64(new Uint8Array(samples.buffer));
    },
    // From now on, remembers when participants are muted and unmuted (milliseconds since 1970).
    watchMute: () => {
      muteChanges = [];
      for (const [event, muted] of [["trackMuted", true], ["trackUnmuted", false]]) {
        room().on(event, (publication, who) =>
          muteChanges.push({ user: who.identity, source: publication.source, muted, at_ms: Date.now() }),
        );
      }
    },
    muteChanges: () => muteChanges,
    // Every text that the page's chat shows.
    chat: () => [...document.querySelectorAll('[data-testid="chat-message"]')].map((one) => one.textContent),
    sendChat: ({ text }) => room().localParticipant.sendText(text, { topic: "lk.chat" }).then(() => true),
    // Publishes a red surface as a shared screen.
    shareRed: async () => {
      const canvas = document.createElement("canvas");
      [canvas.width, canvas.height] = [1280, 720];
      const context = canvas.getContext("2d");
      let count = 0;
      setInterval(() => {
        context.fillStyle = (count += 1) % 2 ? "#e00000" : "#e80000";
        context.fillRect(0, 0, canvas.width, canvas.height);
      }, 66);
      const [surface] = canvas.captureStream(15).getVideoTracks();
      await room().localParticipant.publishTrack(surface, { source: "screen_share", simulcast: false });
      return true;
    },
    // Why the meeting ended, once it has.
    disconnectReason: () => globalThis.rostrum?.disconnectReason ?? null,
    // What this participant is told of itself and of others.
    everybody: () =>
      [room().localParticipant, ...room().remoteParticipants.values()].map((one) => ({
        user: one.identity,
        sid: one.sid,
        name: one.name ?? "",
        metadata: one.metadata ?? "",
        attributes: one.attributes,
        can_publish: one.permissions?.canPublish ?? null,
        forwarded: (one.kindDetails ?? one.participantInfo?.kindDetails ?? []).includes(1),
        quality: one.connectionQuality,
        level: one.isSpeaking ? one.audioLevel : 0,
        tracks: [...one.trackPublications.values()].map((publication) => ({
          source: publication.source,
          sid: publication.trackSid,
          muted: publication.isMuted,
          subscribed: publication.isSubscribed ?? true,
        })),
      })),
    roomMetadata: () => room().metadata ?? "",
    sendData: ({ text, reliable = true, topic = "t", users }) =>
      room()
        .localParticipant.publishData(new TextEncoder().encode(text), { reliable, topic, destinationIdentities: users })
        .then(() => true),
    rpc: ({ user, method, payload }) =>
      room()
        .localParticipant.performRpc({ destinationIdentity: user, method, payload })
        .then((value) => ({ value }))
        .catch((error) => ({ code: error.code, message: error.message, data: error.data ?? null })),
    sendText: ({ text, users }) =>
      room().localParticipant.sendText(text, { topic: "stream", destinationIdentities: users }).then(() => true),
    // A byte stream of `length` bytes that a seed makes; answers with their SHA-256.
    sendBytes: async ({ length, users }) => {
      const bytes = new Uint8Array(length).map((_, index) => (index * 31 + (index >> 8)) & 255);
      const file = new File([bytes], "bytes.bin", { type: "application/octet-stream" });
      await room().localParticipant.sendFile(file, { topic: "stream", destinationIdentities: users });
      const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
      return [...digest].map((byte) => byte.toString(16).padStart(2, "0")).join("");
    },
    setAttributes: ({ attributes }) => room().localParticipant.setAttributes(attributes).then(() => true).catch(String),
    setMetadata: ({ metadata }) => room().localParticipant.setMetadata(metadata).then(() => true).catch(String),
    setName: ({ name }) => room().localParticipant.setName(name).then(() => true).catch(String),
    enable: ({ source, on }) =>
      (source === "camera" ? room().localParticipant.setCameraEnabled(on) : room().localParticipant.setMicrophoneEnabled(on))
        .then(() => true)
        .catch(String),
    subscribe: ({ user, source, on }) => {
      const publication = [...participant(user).trackPublications.values()].find((one) => one.source === source);
      publication.setSubscribed(on);
      return true;
    },
    quality: ({ user, source = "camera", quality }) => {
      const publication = [...participant(user).trackPublications.values()].find((one) => one.source === source);
      publication.setVideoQuality({ low: 0, medium: 1, high: 2 }[quality]);
      return true;
    },
    letSubscribe: ({ all, users = [] }) => {
      const allowed = users.map((participantIdentity) => ({ participantIdentity, allowAll: true }));
      room().localParticipant.setTrackSubscriptionPermissions(all, allowed);
      return true;
    },
    setKey: ({ key }) => globalThis.rostrum.keys.setKey(key).then(() => true),
    // From now on, looks 20 times a second how many packets of a track have come.
    watchPackets: ({ user, source }) => {
      const publication = [...participant(user).trackPublications.values()].find((one) => one.source === source);
      const samples = [];
      globalThis.packetSamples = { samples, user, source };
      globalThis.packetTimer = setInterval(async () => {
        const report = await publication.track?.getRTCStatsReport();
        const inbound = [...(report?.values() ?? [])].find((one) => one.type === "inbound-rtp");
        if (inbound) samples.push([performance.now(), inbound.packetsReceived]);
      }, 50);
      return true;
    },
    // The longest time since then in which next to nothing came, in milliseconds, and how many packets came a second.
    // A page that was not run for a while finds the packets of that time all the same.
    packetGap: () => {
      const { samples } = globalThis.packetSamples;
      clearInterval(globalThis.packetTimer);
      const [first, last] = [samples[0], samples[samples.length - 1]];
      const rate = (last[1] - first[1]) / (last[0] - first[0]);
      let [gap, silent, longest] = [0, 0, 0];
      for (let i = 1; i < samples.length; i += 1) {
        const [time, packets] = [samples[i][0] - samples[i - 1][0], samples[i][1] - samples[i - 1][1]];
        silent = packets === 0 ? silent + time : Math.max(0, time - packets / rate);
        longest = Math.max(longest, silent);
        gap = longest;
      }
      return { gap_ms: gap, rate: rate * 1000, seconds: (last[0] - first[0]) / 1000 };
    },
    // By which way the picture of `user` comes: our candidate of the pair that is used.
    way: async ({ user, source = "camera" }) => {
      const publication = [...participant(user).trackPublications.values()].find((one) => one.source === source);
      const report = await publication.track.getRTCStatsReport();
      const transport = [...report.values()].find((one) => one.type === "transport");
      const { candidateType, protocol } = report.get(report.get(transport.selectedCandidatePairId).localCandidateId);
      return { type: candidateType, protocol };
    },
    stats: async ({ user, source = "camera" }) => {
      const publication = [...participant(user).trackPublications.values()].find((one) => one.source === source);
      const report = [...(await publication.track.getRTCStatsReport()).values()];
      const inbound = report.find((one) => one.type === "inbound-rtp");
      return { ...inbound, mimeType: report.find((one) => one.id === inbound.codecId)?.mimeType };
    },
    // Makes the encoder of this page's camera write three temporal layers.
    temporalLayers: async () => {
      const { sender } = [...room().localParticipant.trackPublications.values()].find((one) => one.source === "camera").track;
      const parameters = sender.getParameters();
      for (const encoding of parameters.encodings) encoding.scalabilityMode = "L1T3";
      await sender.setParameters(parameters);
      return sender.getParameters().encodings.map((encoding) => encoding.scalabilityMode);
    },
    // Says how much of a track this page wants.
    ask: ({ user, source = "camera", quality, width, height, fps, enabled }) => {
      const publication = [...participant(user).trackPublications.values()].find((one) => one.source === source);
      if (quality) publication.setVideoQuality(["low", "medium", "high"].indexOf(quality));
      if (width) publication.setVideoDimensions({ width, height });
      if (fps) publication.setVideoFPS(fps);
      if (enabled !== undefined) publication.setEnabled(enabled);
      return true;
    },
  };
})();
