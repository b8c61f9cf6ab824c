import { useState } from "react";
import { Icon } from "../shared/Icon";
import { usePanel } from "./usePanel";

/** Positions of the camera by name: go there, keep this one, forget one. */
export function Presets() {
  const { state, act } = usePanel();
  const presets = state.camera?.presets ?? [];
  const [name, setName] = useState("");
  const [editing, setEditing] = useState(false);
  const wanted = name.trim().replace(/[/\\]/g, "-");
  const path = (preset: string) => `camera/presets/${encodeURIComponent(preset)}`;

  const store = async (event: React.FormEvent) => {
    event.preventDefault();
    if (wanted !== "" && (await act("PUT", path(wanted)))) setName("");
  };

  return (
    <div className="presets grow">
      <div className="row">
        <h3>Presets</h3>
        {presets.length > 0 && (
          <button className="button quiet small-button" aria-pressed={editing} onClick={() => setEditing(!editing)}>
            {editing ? "Done" : "Edit"}
          </button>
        )}
      </div>
      {presets.length === 0 && <p className="soft small">Turn the camera, give the position a name, and store it.</p>}
      <div className="preset-list">
        {presets.map((preset) =>
          editing ? (
            <button key={preset} className="button quiet" aria-label={`Forget ${preset}`} data-testid={`forget-${preset}`}
              onClick={() => void act("DELETE", path(preset))}>
              <span className="cut">{preset}</span> <Icon name="trash" />
            </button>
          ) : (
            <button key={preset} className="button" data-testid={`preset-${preset}`}
              onClick={() => void act("POST", `${path(preset)}/recall`)}>
              <span className="cut">{preset}</span>
            </button>
          ),
        )}
      </div>
      <form className="row nowrap" onSubmit={store}>
        <input className="input grow" value={name} maxLength={64} placeholder="Name of this position" aria-label="Name of this position"
          data-testid="preset-name" onChange={(event) => setName(event.target.value)} />
        <button className="button" data-testid="preset-store" disabled={wanted === "" || wanted === "." || wanted === ".."}>
          {presets.includes(wanted) ? "Replace" : "Store"}
        </button>
      </form>
    </div>
  );
}
