//! How Opus is set, by what the sound is and by what the link says. Pure: what is decided depends on the links it
//! was told of, packet by packet.

use crate::VoiceOptions;
use std::time::Duration;

/// What the link to the service is like now.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LinkState {
    /// Packets that do not arrive, 0.0..=100.0 percent.
    pub loss_percent: f32,
    /// Bits a second that this sound may take on the link, headers of packets included.
    pub available_bps: u32,
    /// There and back.
    pub rtt: Duration,
}

impl Default for LinkState {
    /// Nothing is known yet: a good link.
    fn default() -> Self {
        Self { loss_percent: 0.0, available_bps: 1_000_000, rtt: Duration::ZERO }
    }
}

/// How Opus is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpusSettings {
    /// Opus' target, bit/s, 6000..=510000.
    pub bitrate_bps: u32,
    /// Opus' effort, 0..=10.
    pub complexity: u8,
    /// Each packet has a coarse copy of the one before (RFC 6716 §2.1.7).
    pub correction: bool,
    /// Frames of 10 ms that deep redundancy reaches back, 0..=104; 0 leaves it out.
    pub deep_frames: u8,
    /// Packet loss that the encoder reckons with, 0..=100 percent.
    pub expected_loss_percent: u8,
    /// Send next to nothing in silence.
    pub dtx: bool,
}

impl Default for OpusSettings {
    fn default() -> Self {
        Self {
            bitrate_bps: 40_000,
            complexity: 7,
            correction: false,
            deep_frames: 0,
            expected_loss_percent: 0,
            dtx: false,
        }
    }
}

/// What 50 packets a second take for IPv4, UDP, SRTP and RTP with its extensions: 60 bytes each.
const HEADERS_BPS: u32 = 24_000;
/// A rise waits until the link was better for so many packets: 5 s.
const PATIENCE: u32 = 250;
/// The rate rises only when there is so much more than is needed.
const HEADROOM: f32 = 1.15;
/// What deep redundancy of 250 ms and of 500 ms is worth.
const DEEP_BPS: [u32; 2] = [20_000, 28_000];
/// Below this, deep redundancy would take what the voice needs.
const DEEP_FROM_BPS: u32 = 28_000;
/// Below this a voice is not sent in silence.
const SCARCE_BPS: u32 = 20_000;
/// With a longer way there and back, what is known of the link is older: trouble is reckoned with earlier.
const LONG_RTT: Duration = Duration::from_millis(120);

/// How lossy a link is, in the steps that settings know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Loss {
    None,
    Some,
    Most,
}

impl Loss {
    /// The step of `percent`; by `share` of the limits, so that leaving one needs less loss than entering it.
    fn of(percent: f32, share: f32, rtt: Duration) -> Self {
        let some = if rtt >= LONG_RTT { 1.0 } else { 2.0 };
        match percent {
            p if p >= 25.0 * share => Self::Most,
            p if p >= some * share => Self::Some,
            _ => Self::None,
        }
    }
}

/// What a kind of sound asks for when the link gives everything.
#[derive(Clone, Copy, Debug)]
struct Wishes {
    ceiling_bps: u32,
    floor_bps: u32,
    complexity: u8,
    expected_loss_percent: u8,
    speech: bool,
}

/// Decides how one encoder is set.
#[derive(Clone, Debug)]
pub struct OpusPolicy {
    wishes: Wishes,
    loss: Loss,
    /// Packets since the link was last as lossy as is believed, and as narrow.
    calmer: u32,
    wider: u32,
    /// The least that was available while it was wider.
    least_wider_bps: u32,
    rate_bps: u32,
    now: OpusSettings,
}

impl OpusPolicy {
    /// For one talker, mono.
    pub fn voice(options: &VoiceOptions) -> Self {
        Self::new(options, options.bitrate_bps, 12_000, true)
    }

    /// For a voice with the room around it, in the whole band.
    pub fn voice_wide(options: &VoiceOptions) -> Self {
        Self::new(options, options.wide_bitrate_bps, 20_000, true)
    }

    /// For music, stereo.
    pub fn music(options: &VoiceOptions) -> Self {
        Self::new(options, options.music_bitrate_bps, 48_000, false)
    }

    fn new(options: &VoiceOptions, ceiling_bps: u32, floor_bps: u32, speech: bool) -> Self {
        let wishes = Wishes {
            ceiling_bps,
            floor_bps: floor_bps.min(ceiling_bps),
            complexity: options.complexity.min(10),
            expected_loss_percent: options.expected_loss_percent.min(100),
            speech,
        };
        let mut this = Self {
            wishes,
            loss: Loss::None,
            calmer: 0,
            wider: 0,
            least_wider_bps: u32::MAX,
            rate_bps: ceiling_bps,
            now: OpusSettings::default(),
        };
        this.now = this.settings(0.0);
        this
    }

    /// What holds now.
    pub fn settings_now(&self) -> OpusSettings {
        self.now
    }

    /// What the next packet shall be encoded with, as `link` is now; `None` when nothing changes. Called once a
    /// packet. Trouble is answered at once; better times are believed after 5 s.
    pub fn next(&mut self, link: &LinkState) -> Option<OpusSettings> {
        let percent = if link.loss_percent.is_finite() { link.loss_percent.clamp(0.0, 100.0) } else { 0.0 };
        let entered = Loss::of(percent, 1.0, link.rtt);
        let left = Loss::of(percent, 0.6, link.rtt);
        let before = (self.loss, self.rate_bps);
        self.calmer = if left < self.loss { self.calmer + 1 } else { 0 };
        if entered > self.loss {
            self.loss = entered;
        } else if self.calmer >= PATIENCE {
            self.loss = left;
            self.calmer = 0;
        }
        self.follow_rate(link.available_bps);
        if before == (self.loss, self.rate_bps) {
            return None;
        }
        let settings = self.settings(percent);
        (settings != std::mem::replace(&mut self.now, settings)).then_some(settings)
    }

    /// The sound's share of what is available: down at once, up with patience.
    fn follow_rate(&mut self, available_bps: u32) {
        let extra = if self.wishes.speech { DEEP_BPS[1] } else { 0 };
        let most = (self.wishes.ceiling_bps + extra).min(510_000);
        let given = available_bps.saturating_sub(HEADERS_BPS).clamp(self.wishes.floor_bps, most);
        if given < self.rate_bps {
            (self.rate_bps, self.wider, self.least_wider_bps) = (given, 0, u32::MAX);
        } else if given == most && given > self.rate_bps || given as f32 >= self.rate_bps as f32 * HEADROOM {
            self.wider += 1;
            self.least_wider_bps = self.least_wider_bps.min(given);
            if self.wider >= PATIENCE {
                (self.rate_bps, self.wider) = (self.least_wider_bps, 0);
                self.least_wider_bps = u32::MAX;
            }
        } else {
            (self.wider, self.least_wider_bps) = (0, u32::MAX);
        }
    }

    fn settings(&self, percent: f32) -> OpusSettings {
        let wishes = &self.wishes;
        let plain = self.rate_bps.min(wishes.ceiling_bps);
        let expected = match self.loss {
            Loss::None => wishes.expected_loss_percent,
            // In steps, so that a wavering link does not change the encoder.
            _ => ((percent / 5.0).ceil() as u8 * 5).clamp(5, 60).max(wishes.expected_loss_percent),
        };
        let deep = wishes.speech && self.loss >= Loss::Some && self.rate_bps >= DEEP_FROM_BPS;
        let step = usize::from(self.loss == Loss::Most);
        OpusSettings {
            bitrate_bps: if deep { self.rate_bps.min(plain + DEEP_BPS[step]) } else { plain },
            complexity: wishes.complexity,
            // The copy is finer for one packet, deep redundancy reaches further.
            correction: wishes.speech && expected > 0,
            deep_frames: if deep { [25, 50][step] } else { 0 },
            expected_loss_percent: expected,
            dtx: wishes.speech && plain < SCARCE_BPS,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::PACKET;
    use crate::decode::SafeDecoder;
    use crate::encode::PacketEncoder;
    use proptest::prelude::*;

    fn link(loss_percent: f32, available_bps: u32) -> LinkState {
        LinkState { loss_percent, available_bps, rtt: Duration::from_millis(40) }
    }

    /// What holds after so many packets on a link, and how often it changed.
    fn after(policy: &mut OpusPolicy, packets: u32, link: impl Fn(u32) -> LinkState) -> (OpusSettings, u32) {
        let changes = (0..packets).filter(|i| policy.next(&link(*i)).is_some()).count();
        (policy.settings_now(), changes as u32)
    }

    fn voice() -> OpusPolicy {
        OpusPolicy::voice(&VoiceOptions::default())
    }

    #[test]
    fn trouble_is_answered_with_the_next_packet() {
        let mut policy = voice();
        let (lossy, _) = after(&mut policy, 1, |_| link(30.0, 200_000));
        assert!(lossy.deep_frames >= 50 && lossy.expected_loss_percent >= 30, "{lossy:?}");
        let (narrow, _) = after(&mut policy, 1, |_| link(0.0, 40_000));
        assert_eq!(narrow.bitrate_bps, 40_000 - HEADERS_BPS);
    }

    #[test]
    fn better_times_are_believed_after_five_seconds_and_not_before() {
        let mut policy = voice();
        let before = policy.settings_now();
        after(&mut policy, 10, |_| link(12.0, 30_000));
        let (soon, _) = after(&mut policy, PATIENCE - 1, |_| link(0.0, 200_000));
        assert!(soon.bitrate_bps <= 12_000 && soon.expected_loss_percent >= 15, "{soon:?}");
        let (later, _) = after(&mut policy, 3 * PATIENCE, |_| link(0.0, 200_000));
        assert_eq!(later, before);
    }

    #[test]
    fn a_link_that_wavers_does_not_make_the_encoder_waver() {
        let wavers = |i: u32| link(2.0 + (i as f32 * 0.7).sin() * 0.5, 100_000 + i * 7_919 % 20_000);
        assert!(after(&mut voice(), 3_000, wavers).1 <= 2);
        let narrow = |i: u32| link(0.0, 50_000 + i * 7_919 % 5_000);
        assert!(after(&mut voice(), 3_000, narrow).1 <= 12);
    }

    #[test]
    fn music_is_given_the_ceiling_of_opus_and_never_what_is_for_speech() {
        let options = VoiceOptions { music_bitrate_bps: 510_000, ..VoiceOptions::default() };
        let mut policy = OpusPolicy::music(&options);
        assert_eq!(policy.settings_now().bitrate_bps, 510_000);
        let (lossy, _) = after(&mut policy, 10, |_| link(40.0, 300_000));
        assert_eq!((lossy.correction, lossy.deep_frames, lossy.dtx), (false, 0, false));
        assert_eq!(lossy.bitrate_bps, 276_000);
    }

    #[test]
    fn redundancy_takes_no_bits_that_the_voice_has_not_got() {
        let (settings, _) = after(&mut voice(), 10, |_| link(30.0, 40_000));
        assert_eq!(settings.deep_frames, 0);
        assert!(settings.correction && settings.dtx, "{settings:?}");
    }

    proptest! {
        #[test]
        fn whatever_the_link_says_the_settings_fit_it_and_opus(
            links in prop::collection::vec((any::<f32>(), any::<u32>(), 0..2_000_u64), 1..300),
            ceiling in 6_000..=510_000_u32,
        ) {
            let options = VoiceOptions { bitrate_bps: ceiling, music_bitrate_bps: ceiling, ..VoiceOptions::default() };
            for mut policy in [OpusPolicy::voice(&options), OpusPolicy::music(&options)] {
                for (loss_percent, available_bps, rtt) in &links {
                    let rtt = Duration::from_millis(*rtt);
                    policy.next(&LinkState { loss_percent: *loss_percent, available_bps: *available_bps, rtt });
                    let now = policy.settings_now();
                    prop_assert!((6_000..=510_000).contains(&now.bitrate_bps));
                    prop_assert!(now.deep_frames <= 104 && now.expected_loss_percent <= 100);
                    let fits = now.bitrate_bps <= available_bps.saturating_sub(HEADERS_BPS);
                    prop_assert!(fits || now.bitrate_bps <= policy.wishes.floor_bps, "{:?}", now);
                }
            }
        }
    }

    /// The largest step of a tone of 300 Hz through an encoder that is set anew every 100 ms.
    fn steepest(settings: &[OpusSettings]) -> f32 {
        let mut encoder = PacketEncoder::voice(&settings[0]).unwrap();
        let mut decoder = SafeDecoder::new(1).unwrap();
        let (mut last, mut steepest) = (0.0_f32, 0.0_f32);
        for packet in 0..150_usize {
            encoder.apply(&settings[packet / 5 % settings.len()]).unwrap();
            encoder.add((0..PACKET).map(|i| {
                ((packet * PACKET + i) as f32 * 300.0 / 48_000.0 * std::f32::consts::TAU).sin() * 0.5
            }));
            for sample in decoder.decode(encoder.encode().unwrap().0, PACKET) {
                if packet > 10 {
                    steepest = steepest.max((sample - last).abs());
                }
                last = *sample;
            }
        }
        steepest
    }

    #[test]
    fn the_encoder_is_set_anew_in_mid_call_without_a_click() {
        let fair = OpusSettings::default();
        let poor = OpusSettings { bitrate_bps: 14_000, correction: true, expected_loss_percent: 20, ..fair };
        let deep = OpusSettings { bitrate_bps: 60_000, deep_frames: 50, expected_loss_percent: 30, ..fair };
        let rich = OpusSettings { bitrate_bps: 128_000, complexity: 10, ..fair };
        let (changed, steady) = (steepest(&[fair, deep, poor, rich, poor, deep]), steepest(&[fair]));
        // The tone itself steps by 0.0196; a cut would by as much as 0.5.
        assert!(steady < 0.025 && changed < 0.05, "{changed} against {steady}");
    }
}
