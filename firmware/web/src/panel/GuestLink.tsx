import { useEffect, useMemo, useState } from "react";
import { encode } from "uqr";
import { Icon } from "../shared/Icon";
import { usePanel } from "./usePanel";

/** The link by which guests come in, to copy, to send and to scan. */
export function GuestLink() {
  const { state } = usePanel();
  const link = state.guest_link;
  const [copied, setCopied] = useState(false);
  useEffect(() => {
    if (!copied) return;
    const timer = setTimeout(() => setCopied(false), 2500);
    return () => clearTimeout(timer);
  }, [copied]);

  return (
    <section className="card stack guests" data-testid="guests">
      <h2 className="row"><Icon name="plus" /> Invite a guest</h2>
      {!link && <p className="soft">The link is here once the service has given one.</p>}
      {link && (
        <div className="guest-link">
          <Code text={link} />
          <div className="stack grow">
            <p className="soft small">Scan it with a phone, or send the link. It opens in any browser.</p>
            <input className="input" readOnly value={link} aria-label="Link for guests" data-testid="guest-link"
              onFocus={(event) => event.target.select()} />
            <div className="row">
              <button className="button" data-testid="copy-link" onClick={() => void copy(link).then(setCopied)}>
                <Icon name={copied ? "check" : "copy"} /> {copied ? "Copied" : "Copy link"}
              </button>
              {"share" in navigator && (
                <button className="button" onClick={() => void navigator.share({ url: link }).catch(() => undefined)}>
                  <Icon name="send" /> Send
                </button>
              )}
              <a className="button quiet" href={link} target="_blank" rel="noreferrer" data-testid="open-link">Open</a>
            </div>
          </div>
        </div>
      )}
    </section>
  );
}

/** Copies `text`; browsers give their clipboard to secure pages only, so there is the old way for the others. */
async function copy(text: string): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const field = document.querySelector<HTMLInputElement>("[data-testid=guest-link]");
    field?.select();
    return document.execCommand("copy");
  }
}

/** `text` as a QR code. */
function Code({ text }: { text: string }) {
  const { path, size } = useMemo(() => {
    const { data, size: cells } = encode(text, { ecc: "M", border: 3 });
    const dark = data.flatMap((row, y) => row.flatMap((on, x) => (on ? [`M${x} ${y}h1v1h-1z`] : [])));
    return { path: dark.join(""), size: cells };
  }, [text]);
  return (
    <svg className="qr" viewBox={`0 0 ${size} ${size}`} role="img" aria-label="QR code of the link" shapeRendering="crispEdges">
      <rect width={size} height={size} fill="#fff" />
      <path d={path} fill="#000" />
    </svg>
  );
}
