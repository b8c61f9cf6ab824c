// A publisher (WHIP) and a viewer (WHEP) as a page would write them, without any SDK, and those of npm `whip-whep`;
// see browser.mjs.
Object.assign(globalThis.rostrumTest, (() => {
  let peer, location, etag, token, shown, client;
  const trickled = [];

  const ask = (method, url, headers, body) =>
    fetch(url, { method, headers: { Authorization: `Bearer ${token}`, ...headers }, body });
  const attribute = (sdp, name) => new RegExp(`^a=${name}:(.*?)\\r?$`, "m").exec(sdp)[1];
  // The ICE part of our description, with these candidates (RFC 8840).
  const fragment = (candidates) => {
    const sdp = peer.localDescription.sdp;
    return [
      `a=group:${attribute(sdp, "group")}`,
      /^m=.*?\r?$/m.exec(sdp)[0].trim(),
      `a=mid:${attribute(sdp, "mid")}`,
      `a=ice-ufrag:${attribute(sdp, "ice-ufrag")}`,
      `a=ice-pwd:${attribute(sdp, "ice-pwd")}`,
      ...candidates.map((one) => `a=${one}`),
      "",
    ].join("\r\n");
  };
  const patch = async (condition, candidates) => {
    const headers = { "Content-Type": "application/trickle-ice-sdpfrag", "If-Match": condition };
    const response = await ask("PATCH", location, headers, fragment(candidates));
    return { status: response.status, etag: response.headers.get("ETag"), body: await response.text() };
  };
  const open = async (url) => {
    // The offer goes out at once; candidates follow when the answer has said where to.
    const early = [];
    let answered = false;
    peer.onicecandidate = async ({ candidate }) => {
      if (!candidate?.candidate) return;
      if (!answered) early.push(candidate.candidate);
      else trickled.push((await patch(etag, [candidate.candidate])).status);
    };
    await peer.setLocalDescription();
    const response = await ask("POST", url, { "Content-Type": "application/sdp" }, peer.localDescription.sdp);
    const body = await response.text();
    if (response.status !== 201) throw new Error(`${response.status} ${body}`);
    location = new URL(response.headers.get("Location"), url).href;
    etag = response.headers.get("ETag");
    answered = true;
    if (early.length) trickled.push((await patch(etag, early)).status);
    await peer.setRemoteDescription({ type: "answer", sdp: body });
    return { location, etag };
  };

  const showWhatComes = () => {
    shown = document.createElement("video");
    [shown.autoplay, shown.muted] = [true, true];
    document.body.append(shown);
    peer.ontrack = ({ streams }) => (shown.srcObject = streams[0]);
    for (const kind of ["video", "audio"]) peer.addTransceiver(kind, { direction: "recvonly" });
  };
  // Counts what a client of whip-whep patches.
  const counted = (made) => {
    client = made;
    client.patch = async () => {
      try {
        await Object.getPrototypeOf(made).patch.call(made);
        trickled.push(204);
      } catch (error) {
        trickled.push(String(error));
      }
    };
    return client;
  };

  return {
    httpPublish: async ({ url, bearer, rids, width, height }) => {
      token = bearer;
      peer = new RTCPeerConnection();
      const media = await navigator.mediaDevices.getUserMedia({ video: { width, height }, audio: true });
      const encodings = rids.map((rid, at) => ({ rid, scaleResolutionDownBy: 2 ** at }));
      peer.addTransceiver(media.getVideoTracks()[0], { direction: "sendonly", streams: [media], sendEncodings: encodings });
      peer.addTransceiver(media.getAudioTracks()[0], { direction: "sendonly", streams: [media] });
      return open(url);
    },
    httpWatch: async ({ url, bearer }) => {
      token = bearer;
      peer = new RTCPeerConnection();
      showWhatComes();
      return open(url);
    },
    clientPublish: async ({ url, bearer, width, height }) => {
      peer = new RTCPeerConnection();
      const media = await navigator.mediaDevices.getUserMedia({ video: { width, height }, audio: true });
      for (const track of media.getTracks()) peer.addTransceiver(track, { direction: "sendonly", streams: [media] });
      await counted(new WHIPClient()).publish(peer, url, bearer);
    },
    clientWatch: async ({ url, bearer }) => {
      peer = new RTCPeerConnection();
      showWhatComes();
      await counted(new WHEPClient()).view(peer, url, bearer);
    },
    clientStop: () => client.stop(),
    // The bar in the picture that is watched; null when it cannot be read.
    httpBar: () => {
      if (!shown.videoWidth) throw new Error("no picture was decoded yet");
      const canvas = new OffscreenCanvas(shown.videoWidth, shown.videoHeight);
      const context = canvas.getContext("2d", { willReadFrequently: true });
      context.drawImage(shown, 0, 0);
      const picture = context.getImageData(0, 0, canvas.width, canvas.height);
      const bar = globalThis.rostrumTest.readBar(picture);
      return { width: canvas.width, height: canvas.height, streams: shown.srcObject.getTracks().length, bar };
    },
    httpState: async () => {
      const stats = [...(await peer.getStats()).values()];
      const sent = stats.filter((one) => one.type === "outbound-rtp" && one.kind === "video");
      return {
        connection: peer.connectionState,
        trickled,
        layers: Object.fromEntries(sent.map((one) => [one.rid ?? "", one.framesSent ?? 0])),
      };
    },
    // A whole ICE restart: new credentials and candidates of both ends.
    httpRestart: async () => {
      peer.restartIce();
      peer.onicecandidate = null;
      await peer.setLocalDescription();
      const before = peer.currentRemoteDescription.sdp;
      const answer = await patch("*", []);
      if (answer.status !== 200) throw new Error(`${answer.status} ${answer.body}`);
      etag = answer.etag;
      let sdp = before;
      for (const name of ["ice-ufrag", "ice-pwd"]) {
        sdp = sdp.replaceAll(`a=${name}:${attribute(before, name)}`, `a=${name}:${attribute(answer.body, name)}`);
      }
      await peer.setRemoteDescription({ type: "answer", sdp });
      return { etag, ufrag: attribute(peer.currentRemoteDescription.sdp, "ice-ufrag") };
    },
    httpEnd: async () => (await ask("DELETE", location, {})).status,
  };
})());
