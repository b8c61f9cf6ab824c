//! From camera frames to encoded layers.
//!
//! frame -> Yuv420, upright -> the highest layer's size -> the next lower one's -> ... -> an encoder each. A layer of the
//! camera's own size gets the camera's own buffer where the encoder can import it: no copy. Where the board has a scaler,
//! it makes each of the other layers from the camera's buffer, in one that the encoder imports; while it fails, the
//! processor does.
//! All but the encoding happens on the thread that submits. Nothing is queued: an encoder that is busy
//! drops the frame.

mod hardware;
mod retry;
mod runner;

use std::sync::Arc;

use parking_lot::Mutex;
use rostrum_hal::{
    Frame, FrameData, FrameSize, PixelFormat, Timestamp,
    encoder::{EncodedFrame, EncoderError, VideoEncoderFactory},
    scaler::{ScalerError, ScalerSettings, VideoScalerFactory},
};

use crate::{
    Layer, LayerId, MediaError, Orientation, PictureSettings, bitrate, layers_for,
    mjpeg::MjpegDecoder,
    picture::{Scaler, Target, checked_bytes, yuv420},
    turn::turn,
};
use runner::{ByHardware, Runner};

/// Takes encoded frames of all layers, on the encoders' threads, one at a time. It must not block.
pub type LayerSink = Box<dyn FnMut(LayerId, EncodedFrame) + Send>;

/// What the owner of a pipeline is told, on the thread that submits.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum CameraEvent {
    /// These are the layers from now on, highest first: the source or the settings changed.
    Layers(Vec<Layer>),
    /// A layer's encoder failed; another is opened after `retry_in`. The other layers go on.
    EncoderFailed {
        /// Which layer.
        layer: LayerId,
        /// What the encoder said.
        error: EncoderError,
        /// Time until the next attempt.
        retry_in: std::time::Duration,
    },
    /// The board's scaler began to fail, and the processor scales. It is tried again from time to time: within seconds, or
    /// after a minute when it hung.
    ScalerFailed {
        /// What the scaler said.
        error: ScalerError,
    },
    /// A layer that failed has an encoder again.
    EncoderRestarted {
        /// Which layer.
        layer: LayerId,
    },
}

/// Counters of one layer since the pipeline was made.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct LayerStatistics {
    /// The layer, when the present source and settings have it.
    pub layer: Option<Layer>,
    /// Somebody watches it.
    pub active: bool,
    /// It runs at this, in bits a second; 0 while it is paused.
    pub bitrate_bps: u32,
    /// Frames that its encoder took.
    pub submitted: u64,
    /// Frames that its encoder was too busy for.
    pub dropped: u64,
    /// Frames that came out.
    pub encoded: u64,
    /// Of those, key frames.
    pub key_frames: u64,
    /// Bytes that came out.
    pub bytes: u64,
    /// Times that its encoder failed.
    pub failures: u64,
    /// Frames that the board's scaler made.
    pub scaled_by_hardware: u64,
}

/// Counters of a pipeline.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct CameraStatistics {
    /// Frames given to [`CameraPipeline::submit`].
    pub frames: u64,
    /// By layer: low, mid, high.
    pub layers: [LayerStatistics; 3],
}

/// Encodes a camera in up to three simulcast layers.
pub struct CameraPipeline {
    factory: Arc<dyn VideoEncoderFactory>,
    scaler: Option<Arc<dyn VideoScalerFactory>>,
    settings: PictureSettings,
    sink: Arc<Mutex<LayerSink>>,
    events: Box<dyn FnMut(CameraEvent) + Send>,
    /// Size of the source that the layers were made for; none when they must be made again.
    planned_for: Option<FrameSize>,
    layers: Vec<Layer>,
    active: [bool; 3],
    total_bitrate_bps: u32,
    grants: Vec<bitrate::Grant>,
    /// Low, mid, high.
    runners: [Runner; 3],
    mjpeg: MjpegDecoder,
    unpacker: Option<Scaler>,
    preview: bool,
    last_upright: Option<Frame>,
    frames: u64,
}

impl CameraPipeline {
    /// Sends what `factory`'s encoders make to `sink`. All layers are active, without a limit on the total
    /// bitrate, until told otherwise.
    ///
    /// # Errors
    /// [`MediaError::Start`].
    pub fn new(
        factory: Arc<dyn VideoEncoderFactory>,
        settings: PictureSettings,
        sink: LayerSink,
        events: Box<dyn FnMut(CameraEvent) + Send>,
    ) -> Result<Self, MediaError> {
        crate::elements::start()?;
        Ok(Self {
            factory,
            scaler: None,
            settings,
            sink: Arc::new(Mutex::new(sink)),
            events,
            planned_for: None,
            layers: Vec::new(),
            active: [true; 3],
            total_bitrate_bps: u32::MAX,
            grants: Vec::new(),
            runners: LayerId::ALL.map(Runner::new),
            mjpeg: MjpegDecoder::new(),
            unpacker: None,
            preview: false,
            last_upright: None,
            frames: 0,
        })
    }

    /// The same with the board's scaler for the layers that are not of the camera's own size.
    #[must_use]
    pub fn with_scaler(mut self, scaler: Arc<dyn VideoScalerFactory>) -> Self {
        self.scaler = Some(scaler);
        self
    }

    /// Turns, scales and gives `frame` to the encoders. The time of the pipeline is the frames' capture time.
    ///
    /// # Errors
    /// [`MediaError::BadFrame`], [`MediaError::Unsupported`], [`MediaError::Jpeg`]: the frame was dropped, the next may do.
    /// An encoder's error is no error here: see [`CameraEvent`].
    pub fn submit(&mut self, frame: &Frame) -> Result<(), MediaError> {
        self.frames += 1;
        let now = frame.capture_time;
        self.collect_failures(now);
        let wanted = self.preview || (!self.settings.audio_only && self.active != [false; 3]);
        if !wanted {
            self.last_upright = None;
            return Ok(());
        }
        let mut source = Source::new(frame, self.is_turned());
        if self.preview {
            self.last_upright = Some(self.memory(&mut source)?);
        } else {
            self.last_upright = None;
        }
        let size = match source.shared() {
            Some(shared) => shared.size,
            None => self.memory(&mut source)?.size,
        };
        if self.planned_for != Some(size) {
            self.plan(size);
        }
        let mut larger: Option<Frame> = None;
        for grant in self.grants.clone() {
            let index = grant.rid.index();
            if !self.runners[index].due(now) {
                continue;
            }
            let Some(picture) = self.picture(&mut source, &grant, &mut larger, now)? else { continue };
            let event = self.runners[index].submit(&picture, &grant, now, self.factory.as_ref(), &self.sink);
            if let Some(event) = event {
                (self.events)(event);
            }
        }
        Ok(())
    }

    /// The picture for a layer's encoder; `None` when the layer goes without this one. `larger` is what the processor made
    /// for the layer above.
    fn picture(
        &mut self,
        source: &mut Source,
        grant: &bitrate::Grant,
        larger: &mut Option<Frame>,
        now: Timestamp,
    ) -> Result<Option<Frame>, MediaError> {
        if let Some(shared) = source.shared()
            && shared.size == grant.size
            && self.factory.takes_shared(shared.format)
        {
            // As it lies in the camera's buffer.
            return Ok(Some(shared.clone()));
        }
        match self.by_hardware(source, grant, now)? {
            ByHardware::Scaled(scaled) => return Ok(Some(scaled)),
            ByHardware::Dropped => return Ok(None),
            ByHardware::Not => {}
        }
        // A layer that a wider one was made smaller than is scaled from the source itself.
        let holds =
            |frame: &Frame| frame.size.width >= grant.size.width && frame.size.height >= grant.size.height;
        let from = match larger.take().filter(holds) {
            Some(from) => from,
            None => self.memory(source)?,
        };
        let scaled = self.runners[grant.rid.index()].scaled(&from, grant.size)?;
        *larger = Some(scaled.clone());
        Ok(Some(scaled))
    }

    fn by_hardware(
        &mut self,
        source: &mut Source,
        grant: &bitrate::Grant,
        now: Timestamp,
    ) -> Result<ByHardware, MediaError> {
        let Some(scaler) = self.scaler.clone() else { return Ok(ByHardware::Not) };
        // One device makes all layers: waiting for it once is enough.
        if self.runners.iter().any(|runner| runner.scaler_hangs(now)) {
            return Ok(ByHardware::Not);
        }
        // Always from the source: its layout stays, and only then do the scaler's queues.
        let from = match source.shared().filter(|shared| scaler.takes(shared.format)) {
            Some(shared) => shared.clone(),
            None => self.memory(source)?,
        };
        if (from.size, from.format) == (grant.size, PixelFormat::Yuv420) || !scaler.takes(from.format) {
            return Ok(ByHardware::Not);
        }
        let formats = [PixelFormat::Yuv420, PixelFormat::Nv12, PixelFormat::Yuyv];
        let encoded =
            formats.into_iter().find(|format| scaler.gives(*format) && self.factory.takes_shared(*format));
        // All encoders take this one in memory.
        let in_memory = scaler.gives(PixelFormat::Yuv420).then_some(PixelFormat::Yuv420);
        let Some(format) = encoded.or(in_memory) else { return Ok(ByHardware::Not) };
        let settings = ScalerSettings { format, size: grant.size };
        // The layers share the device: what fails for one is no news from the next.
        let known = self.runners.iter().any(Runner::scaler_fails);
        let (outcome, error) = self.runners[grant.rid.index()].scaled_by(&*scaler, &from, settings, now);
        if let Some(error) = error.filter(|_| !known) {
            (self.events)(CameraEvent::ScalerFailed { error });
        }
        Ok(match outcome {
            ByHardware::Scaled(scaled) if encoded.is_none() => ByHardware::Scaled(scaled.in_memory()),
            outcome => outcome,
        })
    }

    /// Changes the room's choices from the next frame on. Only layers whose size changes start again.
    pub fn set_settings(&mut self, settings: PictureSettings) {
        if self.settings != settings {
            self.settings = settings;
            self.planned_for = None;
            if self.settings.audio_only {
                self.layers.clear();
                self.divide();
                (self.events)(CameraEvent::Layers(Vec::new()));
            }
        }
    }

    /// The room's choices.
    pub fn settings(&self) -> &PictureSettings {
        &self.settings
    }

    /// Makes the next frame of a layer a key frame.
    pub fn request_key_frame(&mut self, layer: LayerId) {
        self.runners[layer.index()].request_key_frame();
    }

    /// Starts or stops a layer; stop it when nobody watches. A layer that starts begins with a key frame.
    pub fn set_active(&mut self, layer: LayerId, active: bool) {
        if self.active[layer.index()] != active {
            self.active[layer.index()] = active;
            self.divide();
        }
    }

    /// Divides `bitrate_bps` over the active layers from now on; see [`crate::bitrate`].
    pub fn set_total_bitrate(&mut self, bitrate_bps: u32) {
        self.total_bitrate_bps = bitrate_bps;
        self.divide();
    }

    /// The layers of the present source and settings, highest first; none before the first frame.
    pub fn layers(&self) -> &[Layer] {
        &self.layers
    }

    /// Keeps the last frame as [`CameraPipeline::last_frame`], also while nobody watches.
    pub fn set_preview(&mut self, preview: bool) {
        self.preview = preview;
    }

    /// The last frame as Yuv420 at the source's size, turned and mirrored as it is sent, when
    /// [`CameraPipeline::set_preview`] asked for it.
    pub fn last_frame(&self) -> Option<&Frame> {
        self.last_upright.as_ref()
    }

    /// Counters since the pipeline was made.
    pub fn statistics(&self) -> CameraStatistics {
        let layers = LayerId::ALL.map(|id| LayerStatistics {
            layer: self.layers.iter().find(|layer| layer.rid == id).copied(),
            active: self.active[id.index()],
            bitrate_bps: self
                .grants
                .iter()
                .find(|grant| grant.rid == id)
                .map_or(0, |grant| grant.bitrate_bps),
            ..self.runners[id.index()].statistics()
        });
        CameraStatistics { frames: self.frames, layers }
    }

    fn plan(&mut self, upright: FrameSize) {
        self.planned_for = Some(upright);
        // The picture is turned already.
        let settings = PictureSettings { orientation: Orientation::Upright, ..self.settings.clone() };
        let layers = layers_for(upright, &settings);
        if layers != self.layers {
            self.layers = layers;
            self.grants.clear();
            (self.events)(CameraEvent::Layers(self.layers.clone()));
        }
        self.divide();
    }

    fn divide(&mut self) {
        let active: Vec<Layer> =
            self.layers.iter().filter(|layer| self.active[layer.rid.index()]).copied().collect();
        self.grants =
            bitrate::divide(&active, self.total_bitrate_bps, self.settings.preference, &self.grants);
        for runner in &mut self.runners {
            match self.grants.iter().find(|grant| grant.rid == runner.id()) {
                Some(grant) => runner.adapt(grant),
                None => runner.stop(),
            }
        }
    }

    fn collect_failures(&mut self, now: Timestamp) {
        for runner in &mut self.runners {
            if let Some(event) = runner.collect_failure(now) {
                (self.events)(event);
            }
        }
    }

    /// The picture is turned or mirrored before it is sent.
    fn is_turned(&self) -> bool {
        self.settings.orientation != Orientation::Upright || self.settings.mirror
    }

    /// The source as Yuv420 in memory, upright; made once.
    fn memory(&mut self, source: &mut Source) -> Result<Frame, MediaError> {
        if let Some(made) = &source.memory {
            return Ok(made.clone());
        }
        let unpacked = self.unpack(&source.frame.in_memory())?;
        let upright = self.upright(unpacked)?;
        source.memory = Some(upright.clone());
        Ok(upright)
    }

    fn unpack(&mut self, frame: &Frame) -> Result<Frame, MediaError> {
        match frame.format {
            PixelFormat::Yuv420 => {
                checked_bytes(frame)?;
                Ok(frame.clone())
            }
            PixelFormat::Mjpeg => self.mjpeg.decode(frame),
            _ => {
                if self.unpacker.as_ref().is_none_or(|scaler| scaler.size() != frame.size) {
                    self.unpacker = None;
                }
                let scaler = self.unpacker.get_or_insert_with(|| Scaler::new(Target::Yuv420(frame.size)));
                let bytes = scaler.scale(frame)?;
                Ok(yuv420(frame, frame.size, (*bytes).into()))
            }
        }
    }

    fn upright(&self, frame: Frame) -> Result<Frame, MediaError> {
        let (orientation, mirror) = (self.settings.orientation, self.settings.mirror);
        if orientation == Orientation::Upright && !mirror {
            return Ok(frame);
        }
        let bytes = turn(checked_bytes(&frame)?, frame.size, orientation, mirror);
        Ok(yuv420(&frame, orientation.turned(frame.size), bytes))
    }
}

/// One frame of the camera, in the forms that were needed of it.
struct Source {
    frame: Frame,
    /// A raw picture in a buffer of the camera's, to be sent upright as it is.
    goes_as_it_is: bool,
    memory: Option<Frame>,
}

impl Source {
    fn new(frame: &Frame, turned: bool) -> Self {
        let shared = matches!(frame.data, FrameData::DmaBuf(_));
        let raw = matches!(frame.format, PixelFormat::Yuv420 | PixelFormat::Nv12 | PixelFormat::Yuyv);
        Self { frame: frame.clone(), goes_as_it_is: shared && raw && !turned, memory: None }
    }

    fn shared(&self) -> Option<&Frame> {
        self.goes_as_it_is.then_some(&self.frame)
    }
}
