import { useChat, type ReceivedChatMessage } from "@livekit/components-react";
import { useEffect, useRef, useState } from "react";
import { Icon } from "../shared/Icon";
import { shown } from "../shared/names";

/** The chat of the meeting, kept while the panel is closed, and how much of it was not seen yet. */
export function useUnread(open: boolean) {
  const { chatMessages, send, isSending } = useChat();
  const [seen, setSeen] = useState(0);
  useEffect(() => {
    if (open) setSeen(chatMessages.length);
  }, [open, chatMessages.length]);
  return { messages: chatMessages, send, isSending, unread: open ? 0 : Math.max(0, chatMessages.length - seen) };
}

interface ChatProps {
  messages: ReceivedChatMessage[];
  send: (text: string) => Promise<unknown>;
  isSending: boolean;
  onClose: () => void;
}

/** Messages, and a line to write one. */
export function Chat({ messages, send, isSending, onClose }: ChatProps) {
  const [text, setText] = useState("");
  const [failed, setFailed] = useState(false);
  const end = useRef<HTMLLIElement>(null);
  useEffect(() => {
    // In braces: newer browsers return a promise here, which React would take for a clean-up.
    end.current?.scrollIntoView({ block: "end" });
  }, [messages.length]);

  const submit = async (event: React.FormEvent) => {
    event.preventDefault();
    const words = text.trim();
    if (words === "") return;
    try {
      await send(words);
      setText("");
      setFailed(false);
    } catch {
      setFailed(true);
    }
  };

  return (
    <aside className="chat" aria-label="Chat" data-testid="chat-panel"
      onKeyDown={(event) => event.key === "Escape" && onClose()}>
      <header>
        <h2>Chat</h2>
        <button className="button quiet icon-only" aria-label="Close chat" onClick={onClose}><Icon name="close" /></button>
      </header>
      <ul aria-live="polite">
        {messages.length === 0 && <li className="soft">Messages are seen by everybody who is in the meeting now.</li>}
        {messages.map((message) => (
          <li key={message.id} className={message.from?.isLocal ? "own" : ""} data-testid="chat-message">
            <span className="soft small">
              {message.from?.isLocal ? "You" : shown(message.from?.name || message.from?.identity || "Somebody")}
              {" · "}
              {new Date(message.timestamp).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" })}
            </span>
            <p>{message.message}</p>
          </li>
        ))}
        <li ref={end} aria-hidden="true" />
      </ul>
      {failed && <p className="soft small" role="alert">Not sent. Press Send to try again.</p>}
      <form onSubmit={submit}>
        <input className="input grow" value={text} maxLength={2000} placeholder="Write a message" aria-label="Message"
          data-testid="chat-input" autoFocus onChange={(event) => setText(event.target.value)} />
        <button className="button accent icon-only" aria-label="Send" data-testid="chat-send" disabled={isSending}>
          <Icon name="send" />
        </button>
      </form>
    </aside>
  );
}
