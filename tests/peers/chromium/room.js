// A participant made of livekit-client, with every option of it open to the scenarios; see browser.mjs.
globalThis.rostrumRoom = (() => {
  const client = globalThis.LivekitClient;
  const events = [];
  const say = (event, fields = {}) => events.push({ event, at_ms: performance.timeOrigin + performance.now(), ...fields });
  const who = (participant) => participant?.identity ?? null;

  const listen = (room) => {
    const { RoomEvent } = client;
    room.on(RoomEvent.ParticipantConnected, (one) => say("came", { user: who(one) }));
    room.on(RoomEvent.ParticipantDisconnected, (one) => say("went", { user: who(one) }));
    room.on(RoomEvent.TrackSubscribed, (track, publication, one) => {
      const element = track.attach();
      element.muted = true;
      document.body.append(element);
      say("track", { user: who(one), source: publication.source, sid: publication.trackSid });
    });
    room.on(RoomEvent.TrackUnsubscribed, (track, publication, one) => {
      for (const element of track.detach()) element.remove();
      say("track_gone", { user: who(one), source: publication.source, sid: publication.trackSid });
    });
    room.on(RoomEvent.TrackMuted, (publication, one) => say("muted", { user: who(one), source: publication.source }));
    room.on(RoomEvent.TrackUnmuted, (publication, one) => say("unmuted", { user: who(one), source: publication.source }));
    room.on(RoomEvent.TrackStreamStateChanged, (publication, state, one) => say("stream_state", { user: who(one), source: publication.source, state }));
    room.on(RoomEvent.LocalTrackPublished, (publication) => say("published", { source: publication.source, sid: publication.trackSid }));
    room.on(RoomEvent.LocalTrackUnpublished, (publication) => say("unpublished", { source: publication.source }));
    room.on(RoomEvent.TrackSubscriptionPermissionChanged, (publication, status, one) => say("subscription_permission", { user: who(one), status }));
    room.on(RoomEvent.ParticipantPermissionsChanged, (before, one) => say("permissions", { user: who(one), can_publish: one.permissions?.canPublish ?? null }));
    room.on(RoomEvent.ParticipantMetadataChanged, (before, one) => say("metadata", { user: who(one), metadata: one.metadata }));
    room.on(RoomEvent.ParticipantNameChanged, (name, one) => say("name", { user: who(one), name }));
    room.on(RoomEvent.ParticipantAttributesChanged, (changed, one) => say("attributes", { user: who(one), changed }));
    room.on(RoomEvent.RoomMetadataChanged, (metadata) => say("room_metadata", { metadata }));
    room.on(RoomEvent.ActiveSpeakersChanged, (speakers) => say("speakers", { users: speakers.map(who), levels: speakers.map((one) => one.audioLevel) }));
    room.on(RoomEvent.ConnectionQualityChanged, (quality, one) => say("quality", { user: who(one), quality }));
    room.on(RoomEvent.DataReceived, (payload, one, kind, topic) => say("data", { user: who(one), topic: topic ?? "", text: new TextDecoder().decode(payload), lossy: kind === 1 }));
    room.on(RoomEvent.SignalReconnecting, () => say("signal_reconnecting"));
    room.on(RoomEvent.Reconnecting, () => say("reconnecting"));
    room.on(RoomEvent.Reconnected, () => say("reconnected"));
    room.on(RoomEvent.Disconnected, (reason) => say("disconnected", { reason }));
    room.on(RoomEvent.EncryptionError, (error) => say("encryption_error", { message: String(error) }));
    room.on(RoomEvent.MediaDevicesError, (error) => say("device_error", { message: String(error) }));
  };

  const answer = {
    echo: async (data) => data.payload,
    length: async (data) => String(data.payload.length),
    fail: async () => {
      throw new client.RpcError(1234, "not today", "because");
    },
  };

  const connect = async ({ url, token, options = {} }) => {
    const codec = options.codec ?? "vp8";
    const settings = {
      singlePeerConnection: !options.two_connections,
      adaptiveStream: options.adaptive_stream ?? false,
      dynacast: options.dynacast ?? true,
      videoCaptureDefaults: { resolution: { width: options.width ?? 640, height: options.height ?? 360, frameRate: 25 } },
      publishDefaults: { videoCodec: codec, simulcast: options.simulcast ?? true, dtx: options.dtx ?? false, backupCodec: false, ...(options.publish ?? {}) },
    };
    if (options.reconnect_every_ms) settings.reconnectPolicy = { nextRetryDelayInMs: () => options.reconnect_every_ms };
    let keys = null;
    if (options.key !== undefined) {
      keys = new client.ExternalE2EEKeyProvider();
      await keys.setKey(options.key);
      settings.encryption = { keyProvider: keys, worker: new Worker("/livekit-client.e2ee.worker.js") };
    }
    const room = new client.Room(settings);
    listen(room);
    for (const [method, handler] of Object.entries(answer)) room.registerRpcMethod(method, handler);
    for (const kind of ["text", "byte"]) {
      const take = async (reader, from) => {
        const content = await reader.readAll();
        const text = kind === "text" ? content : null;
        const bytes = kind === "text" ? new TextEncoder().encode(content) : await new Blob(content).arrayBuffer();
        const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
        const sha256 = [...digest].map((byte) => byte.toString(16).padStart(2, "0")).join("");
        say("stream", { user: from.identity, kind, length: bytes.byteLength, sha256, text: text?.slice(0, 100) ?? null });
      };
      if (kind === "text") room.registerTextStreamHandler("stream", take);
      else room.registerByteStreamHandler("stream", take);
    }
    globalThis.rostrum = { room, keys };
    if (keys) await room.setE2EEEnabled(true);
    await room.connect(url, token, { autoSubscribe: options.auto_subscribe ?? true });
    // Which way a reconnect took is not among the room's events.
    room.engine.on("resumed", () => say("resumed"));
    room.engine.on("restarted", () => say("restarted"));
    say("connected", { sid: room.localParticipant.sid });
    if (options.camera) await room.localParticipant.setCameraEnabled(true);
    if (options.microphone) await room.localParticipant.setMicrophoneEnabled(true);
    return room.localParticipant.sid;
  };

  // Everything that happened since the last call.
  const take = () => events.splice(0, events.length);
  return { connect, take };
})();
