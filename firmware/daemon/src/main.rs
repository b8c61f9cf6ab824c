//! `rostrumd`: the terminal. `main` is the bill of materials, in the order of the design's picture.

mod camera;
mod config;
mod control;
mod counters;
mod cover;
mod device_key;
mod devices;
mod factory_reset;
mod guest_link;
mod input;
mod lights;
mod lip_sync;
mod loan;
mod losses;
mod memory;
mod meters;
mod painter;
mod people;
mod probe;
mod pulse;
mod record_audio;
mod recording;
mod screen;
mod screen_switch;
mod selftest;
mod senses;
mod sounds;
mod stay;
mod tokens;
mod unprovisioned;
mod updates;
mod voice;

use std::{path::PathBuf, sync::Arc, time::Duration};

use anyhow::Context;
use clap::{Parser, Subcommand};
use rostrum_audio::VoiceOptions;
use rostrum_board::{Board, CombinedControls, OpenOptions, Profile};
use rostrum_hal::Timestamp;
use rostrum_panel::{CameraState, Device, Devices, PanelConfig, PanelHandles, State, Watchers};
use rostrum_room::{ResetButtons, Room, RoomConfig};
use tokio::sync::{mpsc, watch};

use crate::{
    camera::CameraWiring,
    config::Config,
    control::Control,
    counters::Counters,
    devices::{Exchange, SwitchedControls},
    factory_reset::FactoryReset,
    lights::Lights,
    lip_sync::InStep,
    memory::Memory,
    people::People,
    pulse::{Pulse, Pulses},
    recording::Recordings,
    screen::ScreenWiring,
    screen_switch::ScreenSwitch,
    selftest::panel::{Surroundings, Tests},
    sounds::Chimes,
    stay::{Inlets, Outlet},
    unprovisioned::Front,
    updates::UpdaterLink,
    voice::VoiceWiring,
};

/// A meeting room's terminal: joins its channel at the press of a button, sends the room and shows everybody else.
#[derive(Parser)]
#[command(name = "rostrumd", version)]
struct Cli {
    /// The configuration file.
    #[arg(long, default_value = "/etc/rostrum/rostrumd.toml", global = true)]
    config: PathBuf,
    /// What to log: error, warn, info, debug or trace.
    #[arg(long, default_value = "info", global = true)]
    log_level: log::LevelFilter,
    #[command(subcommand)]
    command: Option<Task>,
}

#[derive(Subcommand)]
enum Task {
    /// Runs the terminal (the default).
    Run,
    /// Says what is wrong in the configuration and in the board's profile, and ends.
    CheckConfig,
    /// Prints a configuration with every key.
    ConfigExample,
    /// Lists the board profiles that come with the program.
    Profiles,
    /// Prints what this machine has, and writes a board profile for it.
    Probe(probe::Options),
    /// Prints the line by which the service knows this terminal's key.
    DeviceKey(device_key::Options),
    /// Tests each part of the board, while no other rostrumd runs; the exit code is 1 when one fails.
    Selftest(selftest::command::Options),
    /// Records all inner signals of the running terminal's voice for a fault report, after a spoken warning.
    RecordAudio(record_audio::Options),
}

/// A start that takes longer hangs.
const STARTING: Duration = Duration::from_secs(60);

fn main() -> anyhow::Result<()> {
    let cli = Cli::parse();
    match cli.command.unwrap_or(Task::Run) {
        Task::Run => {
            start_log(cli.log_level)?;
            let config = Config::load(&cli.config)?;
            let runtime =
                tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
            runtime.block_on(run(config))
        }
        Task::CheckConfig => {
            let config = Config::load(&cli.config)?;
            let profile = Profile::named_or_path(&config.board.profile)?;
            rostrum_board::drivers::check(&profile)?;
            config.voice.options(&profile)?;
            print(&format!("{} is fine; the board is {}", cli.config.display(), profile.name))
        }
        Task::ConfigExample => print(config::EXAMPLE.trim_end()),
        Task::Profiles => print(&Profile::names().join("\n")),
        Task::DeviceKey(options) => print(&device_key::run(&options, &Config::load(&cli.config)?.service)?),
        Task::Selftest(options) => selftest::command::run(&options, &cli.config),
        Task::RecordAudio(options) => record_audio::run(&options, &Config::load(&cli.config)?.panel),
        Task::Probe(options) => print(&probe::run(&options)?),
    }
}

async fn run(config: Config) -> anyhow::Result<()> {
    let memory = Memory::open(&config.data_dir)
        .with_context(|| format!("data_dir {} cannot be used", config.data_dir.display()))?;
    let profile = Profile::named_or_path(&config.board.profile)?;
    let options = config.voice.options(&profile)?;
    let mut board = rostrum_board::open(
        &profile,
        OpenOptions {
            clip: config.board.clip.clone(),
            camera_id: config.board.camera_id,
            udid: config.board.udid.clone(),
            seed: config.board.camera_id.map(u64::from),
            later: true,
            chosen: memory.kept().devices.clone(),
        },
    )?;

    // What must not hang; from here on the watchdog wants to be fed.
    let pulses = Pulses::default();
    let control_pulse = pulses.watch("control", Timestamp::now() + STARTING);
    let feeder = board.watchdog.take().map(|watchdog| senses::feed(watchdog, pulses.clone()));
    senses::feed_systemd(pulses.clone());
    let result = work(config, options, board, memory, pulses, control_pulse).await;
    // A program that ends, for a wrong address of the panel as well, is no reason for one reset after the other.
    if let Some(feeder) = feeder {
        feeder.disarm().await;
    }
    result
}

async fn work(
    config: Config,
    options: VoiceOptions,
    board: Board,
    memory: Memory,
    pulses: Pulses,
    control_pulse: Pulse,
) -> anyhow::Result<()> {
    let (inputs, happened) = mpsc::unbounded_channel();
    let counters = Arc::new(Counters::default());
    let kept = memory.kept().clone();
    let (borrowers, lenders) = devices::desks();

    // The board.
    let udid = board.identity.udid();
    let place = udid.map_err(Into::into).and_then(|udid| Ok((config.service.complete(&udid)?, udid)));
    let (service, udid) = match place {
        Ok(place) => place,
        // An installed terminal: what is missing is the bench's, and nobody is there to read a log.
        Err(missing) if config.site.is_some() => {
            let front = Front { display: board.display, indicators: board.indicators };
            return unprovisioned::wait(front, &missing, control_pulse).await;
        }
        Err(missing) => return Err(missing),
    };
    let device = |name: String| Device { name, ok: true };
    let devices = Devices {
        camera: board.camera.as_ref().map(|camera| device(camera.name())),
        microphones: board.microphones.as_ref().map(|microphones| device(microphones.name())),
        speaker: board.speaker.as_ref().map(|speaker| device(speaker.name())),
        encoder: Some(device(board.encoder.name())),
        display: board.display.as_ref().map(|display| device(display.name())),
        content_display: board.content_display.as_ref().map(|display| device(display.name())),
    };
    let buttons = board.buttons.as_ref().map(|buttons| buttons.present()).unwrap_or_default();

    // What comes in: to the screens and the speaker.
    let watchers = Watchers::default();
    let (live_picture, panel_picture) = watch::channel(None);
    let (screen_feed, screen) = screen::start(ScreenWiring {
        display: board.display,
        lend_display: lenders.display,
        content_display: board.content_display,
        lend_content_display: lenders.content_display,
        picture: live_picture,
        watchers: watchers.clone(),
        counters: Arc::clone(&counters),
        inputs: inputs.clone(),
    })?;

    // What goes out: from the camera and the microphones.
    let outlet = Outlet::default();
    let picture = config.picture;
    let own_controls = board.camera.as_ref().map(|camera| SwitchedControls::of(camera.controls()));
    if let Some(controls) = own_controls.clone() {
        cover::watch(Box::new(controls), &inputs, cover::LOOK)?;
    }
    let camera_controls = CombinedControls::of([
        board.camera_controls,
        own_controls.clone().map(|controls| Box::new(controls) as _),
    ]);
    let camera = board.camera.map(|camera| {
        camera::start(CameraWiring {
            camera,
            lender: lenders.camera,
            encoder: Arc::clone(&board.encoder),
            scaler: board.scaler.clone(),
            picture: picture.clone(),
            settings: rostrum_media::PictureSettings::default(),
            outlet: outlet.clone(),
            screen: screen_feed.clone(),
            counters: Arc::clone(&counters),
            inputs: inputs.clone(),
            pulse: pulses.watch("camera", Timestamp::now()),
        })
    });
    let camera = camera.transpose()?;
    let in_step = InStep::default();
    let voice = voice::start(VoiceWiring {
        microphones: board.microphones,
        lend_microphones: lenders.microphones,
        speaker: board.speaker,
        lend_speaker: lenders.speaker,
        outlet: outlet.clone(),
        in_step: in_step.clone(),
        counters: Arc::clone(&counters),
        inputs: inputs.clone(),
        pulses: pulses.clone(),
        options,
    })?;
    let listeners = Watchers::default();
    let meters = meters::watch(Arc::clone(&voice.meters), listeners.clone());

    // Buttons, switch, signals, and the panel.
    if let Some(buttons) = board.buttons {
        senses::watch_buttons(buttons, lenders.buttons, &inputs);
    }
    if let Some(switch) = board.mute_switch {
        senses::watch_mute_switch(switch, lenders.mute_switch, &inputs);
    }
    if let Some(presence) = board.presence {
        senses::watch_presence(presence, lenders.presence, &inputs);
    }
    let screen_switch =
        board.screen_power.map(|power| ScreenSwitch::start(power, lenders.screen_power)).transpose()?;
    senses::watch_signals(&inputs)?;
    let (state, shown) = watch::channel(Arc::new(State {
        channel: Some(service.channel.to_string()),
        user: Some(service.user.to_string()),
        display_name: shown_name(&service),
        camera: devices
            .camera
            .as_ref()
            .map(|camera| CameraState { name: camera.name.clone(), ..CameraState::default() }),
        buttons: buttons.iter().map(senses::button_name).collect(),
        can_reset: config.factory_reset.is_some(),
        devices,
        is_virtual: board.virtual_board.is_some(),
        version: env!("CARGO_PKG_VERSION").into(),
        ..State::default()
    }));
    let recording_file = config.data_dir.join("recording.wav");
    let panel = senses::serve_panel(
        config.panel.listen,
        PanelHandles {
            commands: senses::panel_commands(&inputs),
            state: shown,
            picture: panel_picture,
            watchers,
            meters,
            listeners,
            virtual_board: board.virtual_board,
            camera: camera_controls,
        },
        PanelConfig {
            needs_password: false,
            names: Vec::new(),
            pages_dir: config.panel.pages,
            password_file: config.data_dir.join("panel-password"),
            presets_file: config.data_dir.join("camera-presets.json"),
            bundle_file: config.data_dir.join("bundle.raucb"),
            recording_file: recording_file.clone(),
        },
    )
    .await?;

    // Other devices, and tests of those in use.
    let exchange = Exchange {
        devices: Arc::new(board.devices),
        borrowers: borrowers.clone(),
        controls: own_controls,
        inputs: inputs.clone(),
    };
    let tests = Tests::new(Surroundings {
        borrowers,
        encoder: board.encoder,
        scaler: board.scaler,
        identity: Arc::new(tokio::sync::Mutex::new(board.identity)),
        picture: picture.clone(),
        service: service.url.clone(),
        inputs: inputs.clone(),
    });

    // Whoever looks after updates.
    let updates = config.updates.map(|updates| UpdaterLink::listen(&updates.socket, &inputs)).transpose()?;

    // The task that decides.
    let control = Control {
        room: Room::new(
            RoomConfig {
                screen_standby_after: config.screen.standby_after(),
                factory_reset: config.factory_reset.as_ref().map(|_| ResetButtons::of(&buttons)),
                ..kept.room
            },
            Timestamp::now(),
        ),
        state,
        memory,
        tokens: tokens::source(&service, udid.as_str()),
        service,
        udid: udid.to_string(),
        picture,
        lights: Lights::new(board.indicators, lenders.lights),
        camera,
        voice: voice.clone(),
        recordings: Recordings::new(recording_file, voice.clone(), inputs.clone()),
        recording: None,
        chimes: config.voice.chimes.then(Chimes::new),
        far_end_may_change_mode: config.voice.far_end_may_change_mode,
        screen,
        screen_switch,
        outlet,
        inlets: Inlets { inputs: inputs.clone(), screen: screen_feed, play: voice.play, in_step },
        counters,
        inputs,
        settings: kept.settings,
        layers: Vec::new(),
        people: People::default(),
        seats: Default::default(),
        stay: None,
        stays: 0,
        guest_link: None,
        rtt: None,
        exit: false,
        pulse: control_pulse,
        exchange,
        chosen: kept.devices,
        tests,
        update: None,
        updates,
        factory_reset: config.factory_reset.map(|reset| FactoryReset::new(reset.request)),
    };
    print(&format!("rostrumd ready panel=http://{}", panel.address))?;
    log::info!(board = board.name.as_str(), udid:%, panel:% = panel.address; "ready");
    // Without systemd there is nobody to tell.
    let _ = sd_notify::notify(false, &[sd_notify::NotifyState::Ready]);
    control.run(happened).await;
    let _ = sd_notify::notify(false, &[sd_notify::NotifyState::Stopping]);
    panel.stop().await;
    Ok(())
}

/// The name that others see.
fn shown_name(service: &config::Service) -> String {
    service.display_name.as_ref().map_or_else(|| service.user.to_string(), ToString::to_string)
}

/// To the journal under systemd, to standard error elsewhere.
fn start_log(level: log::LevelFilter) -> anyhow::Result<()> {
    log::set_max_level(level);
    if systemd_journal_logger::connected_to_journal() {
        systemd_journal_logger::JournalLog::new()?.install()?;
    } else {
        env_logger::Builder::new().filter_level(level).format_timestamp_micros().try_init()?;
    }
    Ok(())
}

fn print(line: &str) -> anyhow::Result<()> {
    use std::io::Write;
    let mut out = std::io::stdout().lock();
    Ok(writeln!(out, "{line}").and_then(|()| out.flush())?)
}
