//! The handle of a terminal's stay in a channel.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::sync::mpsc;

use crate::{
    Event, Media, Rid, TerminalOptions, TrackKind, TrackSid, VideoPlan,
    run::{Ends, Runner},
};

/// A terminal in, or on its way into, its channel. Clones are the same terminal; dropping the last one leaves.
#[derive(Clone)]
pub struct Terminal {
    commands: Arc<Commands>,
}

/// The sending ends of the terminal's task.
struct Commands {
    control: mpsc::UnboundedSender<Control>,
    media: mpsc::Sender<Outgoing>,
}

/// What the owner asks for.
#[derive(Debug)]
pub(crate) enum Control {
    SetMuted { kind: TrackKind, muted: bool },
    SetVideoPlan(Option<VideoPlan>),
    RequestKeyFrame(TrackSid),
    SetSeat(TrackSid, Option<(u32, u32)>),
    SetName(String),
    SetAttributes(Vec<(String, String)>),
    SendData { bytes: Bytes, topic: String, reliable: bool, to: Vec<String> },
    Leave(tokio::sync::oneshot::Sender<()>),
}

/// Media on its way out.
#[derive(Debug)]
pub(crate) enum Outgoing {
    Video { rid: Rid, data: Bytes, capture_time: Duration, key_frame: bool },
    Audio { opus: Bytes, capture_time: Duration, samples: u32, level_dbov: u8 },
}

/// Frames and packets that may wait for the terminal's task; more are dropped, which is counted.
const MEDIA_QUEUE: usize = 64;
/// Events that may wait for the owner; with more, the terminal waits with events but not with media.
const EVENT_QUEUE: usize = 1024;
/// Received frames and packets that may wait for the owner; more are dropped, which is counted.
const RECEIVED_QUEUE: usize = 1024;

impl Terminal {
    /// Joins, and joins again by itself after a failure, until [`Terminal::leave`] or an [`Event::Left`].
    /// Must be called within a tokio runtime.
    pub fn start(options: TerminalOptions) -> (Self, mpsc::Receiver<Event>, mpsc::Receiver<Media>) {
        let (control, control_receiver) = mpsc::unbounded_channel();
        let (media, media_receiver) = mpsc::channel(MEDIA_QUEUE);
        let (event_sender, events) = mpsc::channel(EVENT_QUEUE);
        let (received_sender, received) = mpsc::channel(RECEIVED_QUEUE);
        let ends = Ends {
            control: control_receiver,
            media: media_receiver,
            events: event_sender,
            received: received_sender,
        };
        tokio::spawn(Runner::new(options, ends).run());
        (Self { commands: Arc::new(Commands { control, media }) }, events, received)
    }

    /// Sends one access unit of one layer (H.264 Annex B, constrained baseline). Never blocks: what cannot go
    /// out at once, or belongs to no published layer, is dropped. `capture_time` is on `CLOCK_MONOTONIC`.
    pub fn send_video(&self, rid: Rid, data: Bytes, capture_time: Duration, key_frame: bool) {
        let _ = self.commands.media.try_send(Outgoing::Video { rid, data, capture_time, key_frame });
    }

    /// Sends one Opus packet of `samples` samples a channel at 48 kHz. `level_dbov` is the loudness as RFC 6464
    /// has it: 0 is full scale, 127 is silence. Never blocks.
    pub fn send_audio(&self, opus: Bytes, capture_time: Duration, samples: u32, level_dbov: u8) {
        let _ = self.commands.media.try_send(Outgoing::Audio { opus, capture_time, samples, level_dbov });
    }

    /// Tells the service that a track is muted or not. The caller has already stopped, or will only then start,
    /// to send. Remembered over a rejoin.
    pub fn set_muted(&self, kind: TrackKind, muted: bool) {
        self.control(Control::SetMuted { kind, muted });
    }

    /// Changes the layers of the camera track. `None` takes the picture out of the channel.
    pub fn set_video_plan(&self, plan: Option<VideoPlan>) {
        self.control(Control::SetVideoPlan(plan));
    }

    /// Asks the publisher of `track` for a key frame. Requests within 300 ms become one.
    pub fn request_key_frame(&self, track: &TrackSid) {
        self.control(Control::RequestKeyFrame(track.clone()));
    }

    /// Says how large `track` is on the screen, in pixels, so that the service sends a fitting layer; `None`
    /// stops it until there is a seat again.
    pub fn set_seat(&self, track: &TrackSid, size: Option<(u32, u32)>) {
        self.control(Control::SetSeat(track.clone(), size));
    }

    /// Changes the name that others see.
    pub fn set_name(&self, name: &str) {
        self.control(Control::SetName(name.to_owned()));
    }

    /// Sets participant attributes; others stay. An empty value removes one.
    pub fn set_attributes(&self, attributes: Vec<(String, String)>) {
        self.control(Control::SetAttributes(attributes));
    }

    /// Sends data to everybody, or to the users in `to`. At most 60,000 bytes; more is dropped with a warning.
    pub fn send_data(&self, bytes: Bytes, topic: &str, reliable: bool, to: Vec<String>) {
        self.control(Control::SendData { bytes, topic: topic.to_owned(), reliable, to });
    }

    /// Leaves the channel and ends the terminal's tasks, within one second.
    pub async fn leave(&self) {
        let (done, ended) = tokio::sync::oneshot::channel();
        self.control(Control::Leave(done));
        let _ = tokio::time::timeout(Duration::from_secs(1), ended).await;
    }

    fn control(&self, control: Control) {
        let _ = self.commands.control.send(control);
    }
}
