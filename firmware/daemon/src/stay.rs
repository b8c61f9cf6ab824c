//! One stay in a channel: media in and out, and events to the task that decides.

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash, Hasher},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
        mpsc,
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use parking_lot::RwLock;
use rostrum_audio::{EncodedAudio, TrackKey};
use rostrum_hal::{Timestamp, encoder::EncodedFrame};
use rostrum_media::{Codec, Decoder, LayerId};
use rostrum_rtc::{Event, Media, Rid, Terminal, TerminalOptions, TrackSid};

use crate::{
    input::{Input, Inputs},
    lip_sync::{InStep, Waiting},
    screen::ScreenFeed,
    voice::Play,
};

/// Where encoded media goes: into the present stay, or nowhere.
#[derive(Clone, Default)]
pub(crate) struct Outlet(Arc<RwLock<Option<Terminal>>>);

impl Outlet {
    /// Sends a frame of a layer; `false` when there is no stay.
    pub(crate) fn send_video(&self, layer: LayerId, frame: EncodedFrame) -> bool {
        let stay = self.0.read();
        let Some(terminal) = stay.as_ref() else { return false };
        let data = Bytes::from_owner(frame.data);
        terminal.send_video(rid_of(layer), data, frame.capture_time.since_start(), frame.key_frame);
        true
    }

    /// Sends a packet of sound; `false` when there is no stay.
    pub(crate) fn send_audio(&self, packet: &EncodedAudio<'_>, time: Timestamp) -> bool {
        let stay = self.0.read();
        let Some(terminal) = stay.as_ref() else { return false };
        let opus = Bytes::copy_from_slice(packet.opus);
        terminal.send_audio(opus, time.since_start(), packet.samples, packet.level_dbov);
        true
    }

    fn set(&self, terminal: Option<Terminal>) {
        *self.0.write() = terminal;
    }
}

/// The name of a layer on the wire.
pub(crate) fn rid_of(layer: LayerId) -> Rid {
    match layer {
        LayerId::Low => Rid::Q,
        LayerId::Mid => Rid::H,
        LayerId::High => Rid::F,
    }
}

/// The layer of a name on the wire.
pub(crate) fn layer_of(rid: Rid) -> LayerId {
    match rid {
        Rid::Q => LayerId::Low,
        Rid::H => LayerId::Mid,
        Rid::F => LayerId::High,
    }
}

/// Where what comes in goes.
#[derive(Clone)]
pub(crate) struct Inlets {
    pub(crate) inputs: Inputs,
    pub(crate) screen: ScreenFeed,
    pub(crate) play: mpsc::Sender<Play>,
    pub(crate) in_step: InStep,
}

/// The present stay. Dropping it ends it without a word.
pub(crate) struct Stay {
    pub(crate) number: u64,
    pub(crate) terminal: Terminal,
    outlet: Outlet,
    inlets: Inlets,
}

impl Stay {
    /// Begins to join.
    pub(crate) fn begin(number: u64, options: TerminalOptions, outlet: &Outlet, inlets: &Inlets) -> Self {
        let (terminal, mut events, mut media) = Terminal::start(options);
        outlet.set(Some(terminal.clone()));
        let inputs = inlets.inputs.clone();
        tokio::spawn(async move {
            while let Some(event) = events.recv().await {
                if inputs.send(Input::Stay { stay: number, event }).is_err() {
                    break;
                }
            }
        });
        let mut incoming = Incoming {
            terminal: terminal.clone(),
            inlets: inlets.clone(),
            decoders: HashMap::new(),
            waiting: Waiting::new(),
        };
        tokio::spawn(async move {
            loop {
                let due = incoming.next_due();
                tokio::select! {
                    media = media.recv() => match media {
                        Some(media) => incoming.take(media),
                        None => break,
                    },
                    () = tokio::time::sleep_until(due.unwrap_or_else(Instant::now).into()), if due.is_some() => {}
                }
                incoming.decode_due();
            }
        });
        Self { number, terminal, outlet: outlet.clone(), inlets: inlets.clone() }
    }

    /// What an event means for media: tracks that are gone fall silent. Their seats go with the next scene.
    pub(crate) fn follow(&self, event: &Event) {
        self.inlets.in_step.follow(event);
        match event {
            Event::TrackRemoved(sid) => {
                // The receivers end only with the program.
                let _ = self.inlets.play.send(Play::Gone(key_of(sid)));
            }
            Event::Lost { .. } | Event::Left { .. } => {
                let _ = self.inlets.play.send(Play::Nobody);
            }
            _ => {}
        }
    }

    /// Leaves, in the background; the stay's last event is `Left`.
    pub(crate) fn leave(&self) {
        let terminal = self.terminal.clone();
        tokio::spawn(async move { terminal.leave().await });
    }
}

impl Drop for Stay {
    fn drop(&mut self) {
        self.outlet.set(None);
        let _ = self.inlets.play.send(Play::Nobody);
    }
}

/// A number for a track, as the play-out knows it.
pub(crate) fn key_of(sid: &TrackSid) -> TrackKey {
    let mut hasher = DefaultHasher::new();
    sid.as_str().hash(&mut hasher);
    TrackKey(hasher.finish())
}

/// Media that arrives: pictures to a decoder a track, sound to the speaker's thread.
struct Incoming {
    terminal: Terminal,
    inlets: Inlets,
    decoders: HashMap<TrackSid, DecoderOf>,
    waiting: Waiting<Picture>,
}

/// The decoder of one track.
struct DecoderOf {
    codec: Codec,
    decoder: Decoder,
    /// How long the last picture was in it, microseconds.
    took_us: Arc<AtomicU64>,
}

/// An encoded picture that may have to wait for its sound.
struct Picture {
    track: TrackSid,
    codec: Codec,
    data: Bytes,
    key_frame: bool,
}

impl Incoming {
    fn take(&mut self, media: Media) {
        match media {
            Media::Video { track, codec, data, key_frame, captured, arrival, .. } => {
                let codec = match codec {
                    rostrum_rtc::Codec::H264 => Codec::H264,
                    rostrum_rtc::Codec::Vp8 => Codec::Vp8,
                    rostrum_rtc::Codec::Vp9 => Codec::Vp9,
                    rostrum_rtc::Codec::Av1 => Codec::Av1,
                    rostrum_rtc::Codec::Opus => return,
                };
                let took_us = self.decoders.get(&track).map_or(0, |of| of.took_us.load(Relaxed));
                let decoding = Duration::from_micros(took_us);
                let came = Timestamp::from_clock(arrival);
                let hold = self.inlets.in_step.picture(&track, captured, came, decoding);
                let due = Timestamp::from_clock(arrival + hold);
                self.waiting.push(&track.clone(), due, Picture { track, codec, data, key_frame });
            }
            Media::Audio { track, opus, sequence, rtp_timestamp, captured, arrival } => {
                let (track, arrival) = (key_of(&track), Timestamp::from_clock(arrival));
                self.inlets.in_step.sound(track, captured, arrival);
                let play = Play::Packet { track, sequence, rtp_timestamp, opus, arrival };
                let _ = self.inlets.play.send(play);
            }
        }
    }

    /// When the next picture that waits is to be decoded.
    fn next_due(&self) -> Option<Instant> {
        let wait = self.waiting.next_due()?.saturating_since(Timestamp::now());
        Some(Instant::now() + wait)
    }

    fn decode_due(&mut self) {
        let now = Timestamp::now();
        while let Some(Picture { track, codec, data, key_frame }) = self.waiting.pop(now) {
            if let Some(decoder) = self.decoder(&track, codec) {
                decoder.push(&data, now, key_frame);
            }
        }
    }

    /// The track's decoder, made when its first frame comes or its codec changes.
    fn decoder(&mut self, track: &TrackSid, codec: Codec) -> Option<&mut Decoder> {
        if self.decoders.get(track).is_none_or(|present| present.codec != codec) {
            let (screen, sid) = (self.inlets.screen.clone(), track.to_string());
            let (terminal, asked) = (self.terminal.clone(), track.clone());
            let took_us = Arc::new(AtomicU64::new(0));
            let took = Arc::clone(&took_us);
            let decoder = Decoder::new(
                codec,
                Box::new(move |frame| {
                    // A picture's time is that of its going in.
                    let time = Timestamp::now().saturating_since(frame.capture_time);
                    took.store(time.as_micros() as u64, Relaxed);
                    screen.push(&sid, frame);
                }),
                Box::new(move || terminal.request_key_frame(&asked)),
            );
            match decoder {
                Ok(decoder) => {
                    self.decoders.insert(track.clone(), DecoderOf { codec, decoder, took_us });
                }
                Err(error) => {
                    log::error!(codec:?, error:%; "pictures of this codec cannot be decoded");
                    return None;
                }
            }
        }
        // A track that ended leaves its decoder behind until the stay ends; bound them.
        if self.decoders.len() > 64 {
            self.decoders.retain(|sid, _| sid == track);
        }
        self.decoders.get_mut(track).map(|of| &mut of.decoder)
    }
}
