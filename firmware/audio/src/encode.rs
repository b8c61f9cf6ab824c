//! Opus packets of 20 ms.

use crate::level::dbov;
use crate::opus_policy::OpusSettings;
use crate::{AudioError, Dbov, PACKET};
use opusic_c::{Application, Bitrate, Channels, Encoder, InbandFec, SampleRate, Signal};

/// Opus needs no more for 20 ms at any rate (RFC 6716 §3.4: a frame has at most 1275 bytes).
const MAX_OPUS: usize = 1276;

/// A packet of no more bytes says that there is nothing to be heard.
pub(crate) const RESTING_BYTES: usize = 2;

/// RFC 6716 §2.1.1.
const BITRATES: std::ops::RangeInclusive<u32> = 6_000..=510_000;

/// Collects frames of 10 ms and encodes each 20 ms.
pub(crate) struct PacketEncoder {
    encoder: Encoder,
    /// What the encoder gets next, interleaved.
    pub(crate) pending: Vec<f32>,
    full: usize,
    opus: [u8; MAX_OPUS],
    /// The last packet said that there is nothing to be heard.
    resting: bool,
}

impl PacketEncoder {
    /// For a voice, mono.
    pub(crate) fn voice(settings: &OpusSettings) -> Result<Self, AudioError> {
        Self::new(Channels::Mono, Application::Voip, Signal::Voice, settings)
    }

    /// For a voice with the room around it, mono: what is not speech is kept as well.
    pub(crate) fn voice_wide(settings: &OpusSettings) -> Result<Self, AudioError> {
        Self::new(Channels::Mono, Application::Audio, Signal::Auto, settings)
    }

    /// For music, stereo.
    pub(crate) fn music(settings: &OpusSettings) -> Result<Self, AudioError> {
        Self::new(Channels::Stereo, Application::Audio, Signal::Music, settings)
    }

    fn new(
        channels: Channels,
        application: Application,
        signal: Signal,
        settings: &OpusSettings,
    ) -> Result<Self, AudioError> {
        let mut encoder = Encoder::new(channels, SampleRate::Hz48000, application)
            .map_err(AudioError::opus("an encoder at 48 kHz"))?;
        encoder.set_signal(signal).map_err(AudioError::opus("the kind of signal"))?;
        let full = PACKET * channels as usize;
        let mut this =
            Self { encoder, pending: Vec::with_capacity(full), full, opus: [0; MAX_OPUS], resting: false };
        this.apply(settings)?;
        Ok(this)
    }

    /// Sets the encoder for the packets to come. Opus itself glides from one setting to the next: nothing clicks.
    pub(crate) fn apply(&mut self, settings: &OpusSettings) -> Result<(), AudioError> {
        if !BITRATES.contains(&settings.bitrate_bps) {
            return Err(AudioError::Bitrate { bitrate_bps: settings.bitrate_bps });
        }
        let encoder = &mut self.encoder;
        let bitrate = Bitrate::Value(settings.bitrate_bps);
        encoder.set_bitrate(bitrate).map_err(AudioError::opus("the bit rate"))?;
        encoder.set_complexity(settings.complexity.min(10)).map_err(AudioError::opus("complexity"))?;
        let correction = if settings.correction { InbandFec::Mode1 } else { InbandFec::Off };
        encoder.set_inband_fec(correction).map_err(AudioError::opus("error correction"))?;
        let loss = settings.expected_loss_percent.min(100);
        encoder.set_packet_loss(loss).map_err(AudioError::opus("expected loss"))?;
        let deep = settings.deep_frames.min(104);
        encoder.set_dred_duration(deep).map_err(AudioError::opus("deep redundancy"))?;
        encoder.set_dtx(settings.dtx).map_err(AudioError::opus("silence without packets"))
    }

    /// Forgets every sample it was given.
    pub(crate) fn clear(&mut self) {
        self.pending.clear();
        // Opus refuses a reset only for a null pointer.
        let reset = self.encoder.reset();
        debug_assert!(reset.is_ok());
    }

    /// Whether the next sample is the first of a packet.
    pub(crate) fn starts(&self) -> bool {
        self.pending.is_empty() || self.pending.len() >= self.full
    }

    /// Adds samples; `true` when a packet is complete.
    pub(crate) fn add(&mut self, samples: impl Iterator<Item = f32>) -> bool {
        if self.pending.len() >= self.full {
            self.pending.clear();
        }
        self.pending.extend(samples.take(self.full - self.pending.len()));
        self.pending.len() == self.full
    }

    /// Encodes the complete packet: its bytes and its level. `None` when Opus failed, and in silence that needs no
    /// packet beyond the one that says so (RFC 7587 §3.1.3).
    pub(crate) fn encode(&mut self) -> Option<(&[u8], Dbov)> {
        let level = dbov(&self.pending);
        let length = self.encoder.encode_float_to_slice(&self.pending, &mut self.opus).ok()?;
        let said = std::mem::replace(&mut self.resting, length <= RESTING_BYTES);
        let needed = !(said && self.resting);
        needed.then_some((&self.opus[..length], level))
    }
}
