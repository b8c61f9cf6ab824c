//! Camera frames into the encoders of the layers, on a thread of its own.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use rostrum_hal::{
    Frame, FrameSize, PixelFormat, Timestamp,
    camera::{Camera, CameraError, StreamFormat},
    encoder::VideoEncoderFactory,
    scaler::VideoScalerFactory,
};
use rostrum_media::{CameraEvent, CameraPipeline, LayerId, PictureSettings};
use rostrum_room::Part;
use tokio::{runtime::Handle, sync::mpsc};

use crate::{
    config::Picture,
    counters::Counters,
    input::{Health, Input, Inputs},
    loan::{Ask, Lender},
    losses::{Gaps, Losses},
    pulse::Pulse,
    screen::ScreenFeed,
    stay::Outlet,
};

/// Time between two tries to start a camera that is gone.
const RETRY: Duration = Duration::from_millis(300);

/// What the camera's thread is told.
#[derive(Debug)]
pub(crate) enum CameraCommand {
    /// Size, orientation, mirroring, preference, audio only.
    Settings(PictureSettings),
    /// The next frame of this layer must be a key frame.
    KeyFrame(LayerId),
    /// Somebody watches this layer, or nobody does.
    Active(LayerId, bool),
    /// Bits a second for all layers together.
    Bitrate(u32),
    /// A meeting begins or ends: outside of one nothing is encoded.
    Meeting(bool),
    /// The room sees itself on its screen.
    SelfView(bool),
}

/// What the thread works with.
pub(crate) struct CameraWiring {
    pub(crate) camera: Box<dyn Camera>,
    pub(crate) lender: Lender<Box<dyn Camera>>,
    pub(crate) encoder: Arc<dyn VideoEncoderFactory>,
    pub(crate) scaler: Option<Arc<dyn VideoScalerFactory>>,
    pub(crate) picture: Picture,
    pub(crate) settings: PictureSettings,
    pub(crate) outlet: Outlet,
    pub(crate) screen: ScreenFeed,
    pub(crate) counters: Arc<Counters>,
    pub(crate) inputs: Inputs,
    pub(crate) pulse: Pulse,
}

/// Starts the thread. It ends when the sender of commands is dropped.
///
/// # Errors
/// When the media library cannot be started.
pub(crate) fn start(wiring: CameraWiring) -> anyhow::Result<mpsc::UnboundedSender<CameraCommand>> {
    let (sender, commands) = mpsc::unbounded_channel();
    let outlet = wiring.outlet.clone();
    let counters = Arc::clone(&wiring.counters);
    let sink = move |layer: LayerId, frame: rostrum_hal::encoder::EncodedFrame| {
        if outlet.send_video(layer, frame) {
            counters.frame_sent();
        }
    };
    let inputs = wiring.inputs.clone();
    let mut encoder_health = Health::of(Part::Encoder, &wiring.inputs);
    let events = move |event: CameraEvent| match event {
        CameraEvent::Layers(layers) => {
            let _ = inputs.send(Input::Layers(layers));
        }
        CameraEvent::EncoderFailed { error, .. } => encoder_health.faulty(error),
        CameraEvent::ScalerFailed { error } => {
            log::warn!(error:%; "the scaler failed; the processor scales meanwhile");
        }
        CameraEvent::EncoderRestarted { .. } => encoder_health.healthy(),
        _ => {}
    };
    let mut pipeline = CameraPipeline::new(
        Arc::clone(&wiring.encoder),
        wiring.settings.clone(),
        Box::new(sink),
        Box::new(events),
    )?;
    if let Some(scaler) = &wiring.scaler {
        pipeline = pipeline.with_scaler(Arc::clone(scaler));
    }
    let runtime = Handle::current();
    std::thread::Builder::new().name("camera".into()).spawn(move || {
        let camera = wiring.camera;
        let this = CameraLoop {
            picture: wiring.picture,
            lender: wiring.lender,
            screen: wiring.screen,
            counters: wiring.counters,
            pulse: wiring.pulse,
            pipeline,
            commands,
            health: Health::of(Part::Camera, &wiring.inputs),
            gaps: Gaps::at(0.0),
            losses: Losses::default(),
            meeting: false,
            self_view: true,
            wanted: [true; 3],
        };
        runtime.block_on(this.run(camera));
    })?;
    Ok(sender)
}

/// Why the frames end.
enum End {
    Failed(CameraError),
    Lend(Ask<Box<dyn Camera>>),
    Program,
}

/// All but the camera itself, which comes and goes.
struct CameraLoop {
    picture: Picture,
    lender: Lender<Box<dyn Camera>>,
    screen: ScreenFeed,
    counters: Arc<Counters>,
    pulse: Pulse,
    pipeline: CameraPipeline,
    commands: mpsc::UnboundedReceiver<CameraCommand>,
    health: Health,
    gaps: Gaps,
    losses: Losses,
    meeting: bool,
    self_view: bool,
    wanted: [bool; 3],
}

impl CameraLoop {
    async fn run(mut self, mut camera: Box<dyn Camera>) {
        self.activate();
        loop {
            match self.stream(&mut *camera).await {
                End::Program => return,
                End::Failed(error) => self.health.faulty(error),
                End::Lend(ask) => match self.lend(ask, camera).await {
                    Some(returned) => {
                        camera = returned;
                        continue;
                    }
                    None => return,
                },
            }
            self.pulse.beat(Timestamp::now());
            // A camera that is gone is looked for again; commands do not wait for it, nor who wants another.
            let again = tokio::time::sleep(RETRY);
            tokio::pin!(again);
            loop {
                tokio::select! {
                    () = &mut again => break,
                    command = self.commands.recv() => match command {
                        Some(command) => self.obey(command),
                        None => return,
                    },
                    ask = self.lender.wait() => match self.lend(ask, camera).await {
                        Some(returned) => camera = returned,
                        None => return,
                    },
                }
            }
        }
    }

    /// Frames until the camera fails or is wanted elsewhere, or the program ends.
    async fn stream(&mut self, camera: &mut dyn Camera) -> End {
        let wanted = StreamFormat {
            pixel_format: PixelFormat::Yuv420,
            size: FrameSize::new(self.picture.width, self.picture.height),
            frame_rate_hz: self.picture.frame_rate_hz,
        };
        let format = match camera.start(wanted).await {
            Ok(format) => format,
            Err(error) => return End::Failed(error),
        };
        log::info!(size:% = format.size, frame_rate_hz = format.frame_rate_hz; "the camera runs");
        self.gaps = Gaps::at(format.frame_rate_hz);
        loop {
            self.pulse.beat(Timestamp::now());
            tokio::select! {
                frame = camera.next_frame() => match frame {
                    Ok(frame) => self.show(&frame),
                    Err(CameraError::Stalled { name }) => self.health.faulty(CameraError::Stalled { name }),
                    Err(error) => return End::Failed(error),
                },
                command = self.commands.recv() => match command {
                    Some(command) => self.obey(command),
                    None => return End::Program,
                },
                ask = self.lender.wait() => return End::Lend(ask),
            }
        }
    }

    /// Does without the camera until it is back, or another one is in its place; `None` when the program ends.
    async fn lend(&mut self, ask: Ask<Box<dyn Camera>>, camera: Box<dyn Camera>) -> Option<Box<dyn Camera>> {
        let mut lent = ask.lend(camera);
        let mut turn = tokio::time::interval(RETRY);
        loop {
            self.pulse.beat(Timestamp::now());
            tokio::select! {
                camera = lent.wait() => return Some(camera),
                command = self.commands.recv() => self.obey(command?),
                _ = turn.tick() => {}
            }
        }
    }

    fn show(&mut self, frame: &Frame) {
        self.health.healthy();
        self.count(frame);
        if !self.meeting {
            return;
        }
        if let Err(error) = self.pipeline.submit(frame) {
            self.health.faulty(error);
        }
        if self.self_view
            && let Some(upright) = self.pipeline.last_frame()
        {
            self.screen.push_self_view(upright.clone());
        }
    }

    fn count(&mut self, frame: &Frame) {
        self.counters.camera_frame();
        let lost = self.gaps.before(frame.sequence, frame.capture_time);
        self.counters.camera_frames_lost(lost);
        if let Some(frames) = self.losses.add(Instant::now(), lost) {
            log::warn!(frames; "the camera or its bus lost frames");
        }
    }

    fn obey(&mut self, command: CameraCommand) {
        match command {
            CameraCommand::Settings(settings) => self.pipeline.set_settings(settings),
            CameraCommand::KeyFrame(layer) => self.pipeline.request_key_frame(layer),
            CameraCommand::Active(layer, active) => {
                self.wanted[layer as usize] = active;
                self.activate();
            }
            CameraCommand::Bitrate(bitrate_bps) => self.pipeline.set_total_bitrate(bitrate_bps),
            CameraCommand::Meeting(meeting) => {
                self.meeting = meeting;
                self.wanted = [true; 3];
                self.pipeline.set_total_bitrate(u32::MAX);
                self.activate();
            }
            CameraCommand::SelfView(self_view) => {
                self.self_view = self_view;
                self.activate();
            }
        }
    }

    fn activate(&mut self) {
        self.pipeline.set_preview(self.meeting && self.self_view);
        for layer in LayerId::ALL {
            self.pipeline.set_active(layer, self.meeting && self.wanted[layer as usize]);
        }
    }
}
