//! How many tracks a terminal may publish, by kind.

use livekit_protocol::{AddTrackRequest, TrackSource, TrackType};

use crate::config::Limits;

use super::{SessionKey, Sfu};

/// What a track counts as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    Audio,
    /// The sound of a shared screen is part of that screen.
    ScreenAudio,
    Video,
    Screen,
}

fn class(source: TrackSource, is_audio: bool) -> Class {
    match (source, is_audio) {
        (TrackSource::ScreenShareAudio, true) => Class::ScreenAudio,
        (_, true) => Class::Audio,
        (TrackSource::ScreenShare, false) => Class::Screen,
        (_, false) => Class::Video,
    }
}

/// Why one more track of a class is too many beside those that are there.
fn too_many(limits: &Limits, there: &[Class], new: Class) -> Option<String> {
    let count = |classes: &[Class]| there.iter().filter(|class| classes.contains(class)).count();
    let refusal = |what: &str, limit: usize, setting: &str| {
        Some(format!("a terminal may publish {limit} {what} (limits.{setting}); stop one first"))
    };
    match new {
        Class::Audio if count(&[Class::Audio]) >= limits.audio_tracks_per_terminal => {
            refusal("audio tracks", limits.audio_tracks_per_terminal, "audio_tracks_per_terminal")
        }
        Class::ScreenAudio if count(&[Class::ScreenAudio]) >= limits.screen_tracks_per_terminal => refusal(
            "tracks of a screen's sound",
            limits.screen_tracks_per_terminal,
            "screen_tracks_per_terminal",
        ),
        Class::Screen if count(&[Class::Screen]) >= limits.screen_tracks_per_terminal => {
            refusal("screens", limits.screen_tracks_per_terminal, "screen_tracks_per_terminal")
        }
        Class::Video | Class::Screen
            if count(&[Class::Video, Class::Screen]) >= limits.video_tracks_per_terminal =>
        {
            refusal("video tracks", limits.video_tracks_per_terminal, "video_tracks_per_terminal")
        }
        _ => None,
    }
}

impl Sfu {
    /// Why a terminal may not publish one more track of this kind.
    pub(super) fn too_many_tracks(&self, key: SessionKey, request: &AddTrackRequest) -> Option<String> {
        let session = self.sessions.get(key)?;
        let tracks = session.tracks.iter().filter_map(|track| self.tracks.get(*track));
        let there: Vec<Class> = tracks.map(|track| class(track.info.source(), !track.is_video())).collect();
        let new = class(request.source(), request.r#type() == TrackType::Audio);
        too_many(&self.config.limits, &there, new)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use Class::{Audio, Screen, ScreenAudio, Video};

    #[test]
    fn a_terminal_has_a_microphone_a_camera_and_a_screen_with_its_sound() {
        let limits = Limits::default();
        let mut there = Vec::new();
        for class in [Audio, Video, Screen, ScreenAudio] {
            assert_eq!(too_many(&limits, &there, class), None, "{class:?}");
            there.push(class);
        }
        for (class, setting) in [
            (Audio, "limits.audio_tracks_per_terminal"),
            (Video, "limits.video_tracks_per_terminal"),
            (Screen, "limits.screen_tracks_per_terminal"),
            (ScreenAudio, "limits.screen_tracks_per_terminal"),
        ] {
            let words = too_many(&limits, &there, class).unwrap();
            assert!(words.contains(setting), "{class:?}: {words}");
        }
    }

    #[test]
    fn of_two_videos_both_may_be_cameras_and_one_a_screen() {
        let limits = Limits::default();
        assert_eq!(too_many(&limits, &[Video], Video), None);
        assert!(too_many(&limits, &[Video, Video], Screen).is_some());
        assert!(too_many(&limits, &[Screen], Screen).is_some());
    }
}
