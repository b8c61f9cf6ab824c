//! Opus packets of 20 ms.

use crate::level::dbov;
use crate::{AudioError, Dbov, PACKET, VoiceOptions};
use opusic_c::{Application, Bitrate, Channels, Encoder, InbandFec, SampleRate, Signal};

/// Opus needs no more for 20 ms at any rate (RFC 6716 §3.4: a frame has at most 1275 bytes).
const MAX_OPUS: usize = 1276;

/// RFC 6716 §2.1.1.
const BITRATES: std::ops::RangeInclusive<u32> = 6_000..=510_000;

/// Collects frames of 10 ms and encodes each 20 ms.
pub(crate) struct PacketEncoder {
    encoder: Encoder,
    /// What the encoder gets next, interleaved.
    pub(crate) pending: Vec<f32>,
    full: usize,
    opus: [u8; MAX_OPUS],
}

impl PacketEncoder {
    pub(crate) fn voice(options: &VoiceOptions) -> Result<Self, AudioError> {
        let fec = options.expected_loss_percent > 0;
        let mut this = Self::new(Channels::Mono, Application::Voip, options.bitrate_bps, options)?;
        let encoder = &mut this.encoder;
        encoder.set_signal(Signal::Voice).map_err(AudioError::opus("the kind of signal"))?;
        let mode = if fec { InbandFec::Mode1 } else { InbandFec::Off };
        encoder.set_inband_fec(mode).map_err(AudioError::opus("error correction"))?;
        encoder
            .set_packet_loss(options.expected_loss_percent.min(100))
            .map_err(AudioError::opus("expected_loss_percent"))?;
        Ok(this)
    }

    pub(crate) fn music(options: &VoiceOptions) -> Result<Self, AudioError> {
        let mut this = Self::new(Channels::Stereo, Application::Audio, options.music_bitrate_bps, options)?;
        this.encoder.set_signal(Signal::Music).map_err(AudioError::opus("the kind of signal"))?;
        Ok(this)
    }

    fn new(
        channels: Channels,
        application: Application,
        bitrate_bps: u32,
        options: &VoiceOptions,
    ) -> Result<Self, AudioError> {
        if !BITRATES.contains(&bitrate_bps) {
            return Err(AudioError::Bitrate { bitrate_bps });
        }
        let mut encoder = Encoder::new(channels, SampleRate::Hz48000, application)
            .map_err(AudioError::opus("an encoder at 48 kHz"))?;
        encoder.set_bitrate(Bitrate::Value(bitrate_bps)).map_err(AudioError::opus("the bit rate"))?;
        encoder.set_complexity(options.complexity.min(10)).map_err(AudioError::opus("complexity"))?;
        let full = PACKET * channels as usize;
        Ok(Self { encoder, pending: Vec::with_capacity(full), full, opus: [0; MAX_OPUS] })
    }

    /// Forgets every sample it was given.
    pub(crate) fn clear(&mut self) {
        self.pending.clear();
        // Opus refuses a reset only for a null pointer.
        let reset = self.encoder.reset();
        debug_assert!(reset.is_ok());
    }

    /// Adds samples; `true` when a packet is complete.
    pub(crate) fn add(&mut self, samples: impl Iterator<Item = f32>) -> bool {
        if self.pending.len() >= self.full {
            self.pending.clear();
        }
        self.pending.extend(samples.take(self.full - self.pending.len()));
        self.pending.len() == self.full
    }

    /// Encodes the complete packet: its bytes and its level. `None` when Opus failed.
    pub(crate) fn encode(&mut self) -> Option<(&[u8], Dbov)> {
        let level = dbov(&self.pending);
        let encoded = self.encoder.encode_float_to_slice(&self.pending, &mut self.opus);
        encoded.ok().map(|length| (&self.opus[..length], level))
    }
}
