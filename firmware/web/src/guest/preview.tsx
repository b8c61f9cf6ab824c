import { useTrackVolume } from "@livekit/components-react";
import {
  createLocalAudioTrack, createLocalVideoTrack, LocalAudioTrack, MediaDeviceFailure, type LocalVideoTrack,
} from "livekit-client";
import { useEffect, useState } from "react";
import { deviceTrouble, type Trouble } from "./words";

interface Tracks {
  audioinput: LocalAudioTrack;
  videoinput: LocalVideoTrack;
}

const OPEN: { [Kind in keyof Tracks]: (deviceId: string | undefined) => Promise<Tracks[Kind]> } = {
  audioinput: (deviceId) => createLocalAudioTrack({ deviceId }),
  videoinput: (deviceId) => createLocalVideoTrack({ deviceId }),
};

interface Preview<Kind extends keyof Tracks> {
  track?: Tracks[Kind];
  starting: boolean;
  trouble?: Trouble;
}

/** A device opened for a look only: closed when no longer wanted, and opened again when another is chosen. */
export function usePreview<Kind extends keyof Tracks>(kind: Kind, wanted: boolean, deviceId: string): Preview<Kind> {
  const [preview, setPreview] = useState<Preview<Kind>>({ starting: wanted });

  useEffect(() => {
    if (!wanted) {
      setPreview({ starting: false });
      return;
    }
    let gone = false;
    let opened: Tracks[Kind] | undefined;
    setPreview({ starting: true });
    OPEN[kind](deviceId || undefined)
      .then((track) => {
        if (gone) {
          track.stop();
        } else {
          opened = track;
          setPreview({ track, starting: false });
        }
      })
      .catch((error: unknown) => {
        if (!gone) setPreview({ starting: false, trouble: deviceTrouble(kind, MediaDeviceFailure.getFailure(error)) });
      });
    return () => {
      gone = true;
      opened?.stop();
    };
  }, [kind, wanted, deviceId]);

  return preview;
}

/** How loud the microphone is now. */
export function Meter({ track }: { track: LocalAudioTrack }) {
  const volume = useTrackVolume(track);
  return <meter className="level" min={0} max={1} value={Math.min(1, volume * 1.4)} aria-label="Level of your microphone" />;
}
