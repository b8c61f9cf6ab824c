//! The camera track and its layers.

use std::time::{Duration, Instant};

use bytes::Bytes;
use livekit_protocol as proto;
use rand::Rng;

use crate::{
    LayerPlan, Rid, VideoPlan,
    sdp::SectionKind,
    send::stream::{ExtensionIds, Stream, StreamConfig},
};

/// Requests for key frames of one layer within this become one.
const KEY_FRAME_EVERY: Duration = Duration::from_millis(250);

/// One layer.
#[derive(Debug)]
pub(super) struct Layer {
    pub(super) plan: LayerPlan,
    pub(super) ssrc: u32,
    pub(super) repair_ssrc: u32,
    pub(super) stream: Option<Stream>,
    /// Frames are dropped until a key frame.
    begins: bool,
    wanted: bool,
    told: Option<Instant>,
    /// Somebody watches it.
    pub(super) watched: bool,
}

impl Layer {
    /// The next frame sent is a key frame.
    pub(super) fn restart(&mut self) {
        self.begins = true;
        self.wanted = true;
    }

    pub(super) fn want_key_frame(&mut self) {
        self.wanted = true;
    }

    /// The timestamp of a frame that may be sent.
    pub(super) fn begin_frame(&mut self, capture_time: Duration, key_frame: bool) -> Option<u32> {
        let stream = self.stream.as_ref()?;
        if key_frame {
            self.begins = false;
            self.wanted = false;
        }
        (!self.begins).then(|| stream.timestamp(capture_time))
    }

    /// Whether the encoder should be asked for a key frame now.
    pub(super) fn poll_key_frame(&mut self, now: Instant) -> bool {
        let due = self.poll_timeout().is_some_and(|at| at <= now) || (self.wanted && self.told.is_none());
        if due {
            self.told = Some(now);
            // A layer that must begin with one is asked again until it does.
            self.wanted = self.begins;
        }
        due
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.wanted.then_some(self.told? + KEY_FRAME_EVERY)
    }
}

/// The camera track.
#[derive(Debug)]
pub(super) struct Video {
    pub(super) track: String,
    pub(super) mid: String,
    pub(super) sid: Option<String>,
    /// High to low.
    pub(super) layers: Vec<Layer>,
}

impl Video {
    pub(super) fn new(plan: &VideoPlan, mid: &str, random: &mut impl Rng) -> Self {
        let mut layers: Vec<Layer> = sorted(plan)
            .into_iter()
            .map(|plan| Layer {
                plan,
                ssrc: random.random(),
                repair_ssrc: random.random(),
                stream: None,
                begins: true,
                wanted: true,
                told: None,
                watched: true,
            })
            .collect();
        layers.dedup_by_key(|l| l.plan.rid);
        let track = format!("camera-{:08x}", random.random::<u32>());
        Self { track, mid: mid.to_owned(), sid: None, layers }
    }

    pub(super) fn layer(&mut self, rid: Rid) -> Option<&mut Layer> {
        self.layers.iter_mut().find(|l| l.plan.rid == rid)
    }

    /// Whether `plan` has the same layers, so that it needs no new description.
    pub(super) fn fits(&self, plan: &VideoPlan) -> bool {
        let rids = |plans: Vec<LayerPlan>| plans.into_iter().map(|p| p.rid).collect::<Vec<_>>();
        rids(sorted(plan)) == self.layers.iter().map(|l| l.plan.rid).collect::<Vec<_>>()
    }

    /// Takes new sizes and rates of the same layers.
    pub(super) fn replan(&mut self, plan: &VideoPlan) {
        for new in &plan.layers {
            if let Some(layer) = self.layer(new.rid) {
                layer.plan = *new;
            }
        }
    }

    /// Largest size, in pixels.
    pub(super) fn size(&self) -> (u32, u32) {
        self.layers.first().map_or((0, 0), |l| (l.plan.width, l.plan.height))
    }

    pub(super) fn section(&self) -> SectionKind {
        let layers = self.layers.iter().map(|l| (l.plan.rid, l.ssrc, l.repair_ssrc)).collect();
        SectionKind::SendVideo { track: self.track.clone(), layers }
    }

    pub(super) fn announcement(&self, muted: bool) -> proto::AddTrackRequest {
        let single = self.layers.len() == 1;
        let mut layers: Vec<proto::VideoLayer> = self
            .layers
            .iter()
            .map(|layer| proto::VideoLayer {
                quality: quality(layer.plan.rid, single) as i32,
                width: layer.plan.width,
                height: layer.plan.height,
                bitrate: layer.plan.max_bitrate_bps,
                rid: if single { String::new() } else { layer.plan.rid.as_str().to_owned() },
                ..Default::default()
            })
            .collect();
        layers.reverse();
        for (i, layer) in layers.iter_mut().enumerate() {
            layer.spatial_layer = i as i32;
        }
        let (width, height) = self.size();
        proto::AddTrackRequest {
            cid: self.track.clone(),
            name: "camera".to_owned(),
            r#type: proto::TrackType::Video as i32,
            source: proto::TrackSource::Camera as i32,
            width,
            height,
            muted,
            simulcast_codecs: vec![proto::SimulcastCodec {
                codec: "h264".to_owned(),
                cid: self.track.clone(),
                layers: layers.clone(),
                video_layer_mode: proto::video_layer::Mode::OneSpatialLayerPerStream as i32,
            }],
            layers,
            ..Default::default()
        }
    }

    /// What was agreed for this track.
    pub(super) fn agree(
        &mut self,
        mid: &Bytes,
        payload_type: u8,
        repair: Option<u8>,
        extensions: ExtensionIds,
        random: &mut impl Rng,
    ) {
        let single = self.layers.len() == 1;
        for layer in &mut self.layers {
            if layer.stream.is_some() {
                continue;
            }
            let config = StreamConfig {
                ssrc: layer.ssrc,
                payload_type,
                repair: repair.map(|pt| (layer.repair_ssrc, pt)),
                clock_rate: 90_000,
                mid: mid.clone(),
                rid: if single { "" } else { layer.plan.rid.as_str() },
                extensions,
            };
            layer.stream = Some(Stream::new(config, random.random()));
            layer.restart();
        }
    }

    /// Which layers are watched changed. Returns the new state of all layers when that is news.
    pub(super) fn watched(&mut self, update: &proto::SubscribedQualityUpdate) -> Option<Vec<(Rid, bool)>> {
        if self.sid.as_deref() != Some(update.track_sid.as_str()) {
            return None;
        }
        // Older services have only this list.
        #[allow(deprecated)]
        let any = &update.subscribed_qualities;
        let of_codec =
            update.subscribed_codecs.iter().find(|c| c.codec.to_ascii_lowercase().ends_with("h264"));
        let qualities = of_codec.map_or(any, |c| &c.qualities);
        let single = self.layers.len() == 1;
        let mut news = false;
        for layer in &mut self.layers {
            let ours = quality(layer.plan.rid, single);
            // Of a single layer any quality is this one.
            let watched = qualities.iter().any(|q| q.enabled && (single || q.quality() == ours));
            news |= layer.watched != watched;
            if watched && !layer.watched {
                layer.restart();
            }
            layer.watched = watched;
        }
        news.then(|| self.layers.iter().map(|l| (l.plan.rid, l.watched)).collect())
    }

    /// Bits a second of all watched layers, at least of the lowest.
    pub(super) fn needed_bps(&self) -> u64 {
        let watched = self.layers.iter().filter(|l| l.watched).map(|l| u64::from(l.plan.max_bitrate_bps));
        let lowest = self.layers.last().map_or(0, |l| u64::from(l.plan.max_bitrate_bps));
        watched.sum::<u64>().max(lowest)
    }
}

/// The layers of a plan, high to low.
fn sorted(plan: &VideoPlan) -> Vec<LayerPlan> {
    let mut layers = plan.layers.clone();
    layers.sort_by_key(|l| std::cmp::Reverse(l.rid));
    layers
}

/// What LiveKit calls a layer.
fn quality(rid: Rid, single: bool) -> proto::VideoQuality {
    match rid {
        _ if single => proto::VideoQuality::High,
        Rid::Q => proto::VideoQuality::Low,
        Rid::H => proto::VideoQuality::Medium,
        Rid::F => proto::VideoQuality::High,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use rand::{SeedableRng as _, rngs::StdRng};

    use super::*;

    fn video(rids: &[Rid]) -> Video {
        let layer = |rid: &Rid| LayerPlan {
            rid: *rid,
            width: 320 << rid.index(),
            height: 180 << rid.index(),
            max_bitrate_bps: 100_000,
            frame_rate: 30,
        };
        let plan = VideoPlan { layers: rids.iter().map(layer).collect() };
        let mut video = Video::new(&plan, "1", &mut StdRng::seed_from_u64(1));
        video.sid = Some("TR_1".to_owned());
        video
    }

    #[allow(deprecated)]
    fn update(enabled: &[bool; 3]) -> proto::SubscribedQualityUpdate {
        use proto::VideoQuality::{High, Low, Medium};
        let quality = |(quality, enabled): (proto::VideoQuality, &bool)| proto::SubscribedQuality {
            quality: quality as i32,
            enabled: *enabled,
        };
        proto::SubscribedQualityUpdate {
            track_sid: "TR_1".to_owned(),
            subscribed_qualities: [Low, Medium, High].into_iter().zip(enabled).map(quality).collect(),
            ..Default::default()
        }
    }

    #[test]
    fn layers_are_offered_high_to_low_and_announced_low_to_high() {
        let video = video(&[Rid::H, Rid::Q, Rid::F]);
        assert_eq!(video.layers.iter().map(|l| l.plan.rid).collect::<Vec<_>>(), [Rid::F, Rid::H, Rid::Q]);
        let announced = video.announcement(false);
        assert_eq!((announced.width, announced.height), (1280, 720));
        assert_eq!(announced.layers.iter().map(|l| l.rid.as_str()).collect::<Vec<_>>(), ["q", "h", "f"]);
        assert_eq!(announced.layers[2].quality(), proto::VideoQuality::High);
    }

    #[test]
    fn a_layer_that_nobody_watches_costs_nothing_and_comes_back_with_a_key_frame() {
        let mut video = video(&[Rid::F, Rid::H, Rid::Q]);
        assert_eq!(
            video.watched(&update(&[true, false, false])).unwrap(),
            [(Rid::F, false), (Rid::H, false), (Rid::Q, true)]
        );
        assert_eq!(video.needed_bps(), 100_000);
        assert!(video.watched(&update(&[true, false, false])).is_none(), "no news");
        let now = Instant::now();
        video.layers.iter_mut().for_each(|l| l.wanted = false);
        video.watched(&update(&[true, true, true])).unwrap();
        assert!(video.layer(Rid::F).unwrap().poll_key_frame(now));
        assert!(!video.layer(Rid::Q).unwrap().poll_key_frame(now));
    }

    #[test]
    fn a_single_layer_is_watched_at_any_quality() {
        let mut video = video(&[Rid::Q]);
        assert!(video.watched(&update(&[true, false, false])).is_none());
        assert_eq!(video.watched(&update(&[false, false, false])).unwrap(), [(Rid::Q, false)]);
        assert_eq!(video.announcement(false).layers[0].rid, "");
    }

    #[test]
    fn key_frames_are_asked_for_a_few_times_a_second_at_most() {
        let mut video = video(&[Rid::Q]);
        let layer = video.layer(Rid::Q).unwrap();
        let now = Instant::now();
        let mut asked = 0;
        for ms in 0..1000 {
            layer.want_key_frame();
            asked += u32::from(layer.poll_key_frame(now + Duration::from_millis(ms)));
        }
        assert_eq!(asked, 4);
    }
}
