import { spawn, type ChildProcess } from "node:child_process";
import { createHmac } from "node:crypto";
import { once } from "node:events";
import { createServer } from "node:net";

/** A LiveKit server (program in `LIVEKIT_SERVER`): the guest's page has to work with the real one too. */
export const LIVEKIT_SERVER = process.env["LIVEKIT_SERVER"];
const KEY = "look";
const SECRET = "a-secret-for-a-look-at-the-page-only";

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as { port: number };
  server.close();
  return port;
}

export class Service {
  private child: ChildProcess | undefined;
  private constructor(private readonly port: number, private readonly udpPort: number) {}

  static async start(): Promise<Service> {
    const service = new Service(await freePort(), await freePort());
    await service.restart();
    return service;
  }

  get url(): string {
    return `ws://127.0.0.1:${this.port}`;
  }

  async restart(): Promise<void> {
    const config = JSON.stringify({
      port: this.port, bind_addresses: ["127.0.0.1"], keys: { [KEY]: SECRET },
      rtc: {
        udp_port: this.udpPort, tcp_port: 0, node_ip: "127.0.0.1", enable_loopback_candidate: true, interfaces: { includes: ["lo"] },
      },
    });
    this.child = spawn(LIVEKIT_SERVER!, ["--config-body", config], { stdio: "ignore" });
    const deadline = Date.now() + 15_000;
    while (Date.now() < deadline) {
      const up = await fetch(this.url.replace("ws", "http")).then((response) => response.ok, () => false);
      if (up) return;
      await new Promise((done) => setTimeout(done, 100));
    }
    throw new Error("the LiveKit server does not listen");
  }

  async kill(): Promise<void> {
    const child = this.child;
    this.child = undefined;
    if (!child || child.exitCode !== null) return;
    child.kill("SIGKILL");
    await once(child, "exit");
  }

  /** A token for `user`, good for `seconds`. */
  token(channel: string, user: string, seconds = 600): string {
    const now = Math.floor(Date.now() / 1000);
    const part = (value: object) => Buffer.from(JSON.stringify(value)).toString("base64url");
    const claims = {
      iss: KEY, sub: user, name: user, nbf: now - 5, exp: now + seconds,
      video: { roomJoin: true, room: channel, canPublish: true, canSubscribe: true, canPublishData: true },
    };
    const text = `${part({ alg: "HS256", typ: "JWT" })}.${part(claims)}`;
    return `${text}.${createHmac("sha256", SECRET).update(text).digest("base64url")}`;
  }
}
