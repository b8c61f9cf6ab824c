import { Icon } from "../shared/Icon";
import { shown } from "../shared/names";
import type { Participant } from "./types";
import { usePanel } from "./usePanel";
import { inMeeting } from "./words";

/** Who is here, and what they do. */
export function People() {
  const { state } = usePanel();
  const { participants, room } = state;
  return (
    <section className="card stack people-card" data-testid="people" data-count={participants.length}>
      <h2 className="row"><Icon name="people" /> People <span className="count">{participants.length}</span></h2>
      {participants.length === 0 && (
        <p className="soft">{inMeeting(room.phase) ? "Nobody else is here yet." : "You see here who is in the meeting."}</p>
      )}
      <ul className="people">
        {participants.map((person) => <Person key={person.user} person={person} />)}
      </ul>
    </section>
  );
}

function Person({ person }: { person: Participant }) {
  const weak = person.quality === "poor" || person.quality === "lost";
  const doing = [
    person.speaking && "speaks",
    person.sharing && "shares a screen",
    weak && (person.quality === "lost" ? "connection lost" : "weak connection"),
  ].filter(Boolean);
  return (
    <li className={person.speaking ? "speaking" : ""} data-testid="person" data-user={person.user}
      data-speaking={person.speaking} data-muted={person.muted} data-sharing={person.sharing}>
      <span className="person-mic" title={person.muted ? "Muted" : "Microphone open"}>
        <Icon name={person.muted ? "micOff" : "mic"} />
        <span className="hidden-text">{person.muted ? "Muted" : "Microphone open"}</span>
      </span>
      <span className="grow">
        <span className="person-name cut">{shown(person.name || person.user)}</span>
        {doing.length > 0 && <span className="soft small">{doing.join(", ")}</span>}
      </span>
      {person.sharing && <Icon name="share" />}
      {weak && <span className="weak"><Icon name="warning" /></span>}
      <span className="soft" title={person.camera ? "Camera on" : "Camera off"}>
        <Icon name={person.camera ? "camera" : "cameraOff"} />
        <span className="hidden-text">{person.camera ? "Camera on" : "Camera off"}</span>
      </span>
    </li>
  );
}
