//! The driver `alsa` on `snd-aloop`: what is played on `hw:Loopback,0,N` is captured at `hw:Loopback,1,N`, by a timer of
//! the kernel in the place of a clock.
//!
//! The far side of most tests is ALSA itself and not the driver.
#![allow(clippy::unwrap_used, missing_docs)]

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
        mpsc,
    },
    thread::{self, JoinHandle, sleep},
    time::{Duration, Instant},
};

use alsa::{
    Ctl, Direction, ValueOr,
    ctl::{ElemId, ElemIface, ElemType, ElemValue},
    mixer::{Mixer, SelemChannelId, SelemId},
    pcm::{Access, Format, HwParams, PCM},
};
use rostrum_hal::{
    Timestamp,
    microphone::{MicrophoneArray, MicrophoneError},
    speaker::{Speaker, SpeakerError},
};
use rostrum_rig::{PATIENCE, open_board, until};

const FRAMES: usize = 480;

fn section(kind: &str, device: &str, channels: usize, keys: &str) -> String {
    format!("[{kind}]\ndriver = \"alsa\"\ndevice = \"{device}\"\nchannels = {channels}\n{keys}")
}

fn microphones(device: &str, channels: usize, keys: &str) -> Box<dyn MicrophoneArray> {
    open_board(&section("microphones", device, channels, keys)).unwrap().microphones.unwrap()
}

fn speaker(device: &str, channels: usize) -> Box<dyn Speaker> {
    open_board(&section("speaker", device, channels, "")).unwrap().speaker.unwrap()
}

/// Does something again and again in a thread until it is dropped.
struct Repeated {
    ends: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Repeated {
    fn start(mut work: impl FnMut() + Send + 'static) -> Self {
        let ends = Arc::new(AtomicBool::new(false));
        let ended = Arc::clone(&ends);
        let thread = thread::spawn(move || {
            while !ended.load(SeqCst) {
                work();
            }
        });
        Self { ends, thread: Some(thread) }
    }
}

impl Drop for Repeated {
    fn drop(&mut self) {
        self.ends.store(true, SeqCst);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Plays S32 samples `sample(frame, channel)` by ALSA itself; both ends of the cable run at this format from then on.
fn play(
    device: &str,
    rate_hz: u32,
    channels: usize,
    sample: impl Fn(usize, usize) -> i32 + Send + 'static,
) -> Repeated {
    let pcm = PCM::new(device, Direction::Playback, false).unwrap();
    {
        let hardware = HwParams::any(&pcm).unwrap();
        hardware.set_access(Access::RWInterleaved).unwrap();
        hardware.set_format(Format::s32()).unwrap();
        hardware.set_channels(channels as u32).unwrap();
        hardware.set_rate(rate_hz, ValueOr::Nearest).unwrap();
        hardware.set_buffer_size_near(i64::from(rate_hz / 5)).unwrap();
        pcm.hw_params(&hardware).unwrap();
    }
    let period = rate_hz as usize / 100;
    let mut frame = 0;
    Repeated::start(move || {
        let samples: Vec<i32> = (frame..frame + period)
            .flat_map(|frame| (0..channels).map(move |channel| (frame, channel)))
            .map(|(frame, channel)| sample(frame, channel))
            .collect();
        frame += period;
        let played = pcm.io_i32().unwrap().writei(&samples);
        if played.is_err() {
            pcm.prepare().unwrap();
        }
    })
}

/// A sample that says where it is, and is never zero: 19 bits of frame, 4 bits of channel, at the top of 32.
fn numbered(frame: usize, channel: usize) -> i32 {
    (((frame % (1 << 18)) << 4 | channel) as i32 + 1) << 9
}

/// Frame and channel of a sample that was numbered; `None` for silence.
fn number_of(sample: f32) -> Option<(usize, usize)> {
    let number = (f64::from(sample) * f64::from(1_u32 << 22)).round() as usize;
    number.checked_sub(1).map(|number| (number >> 4, number & 15))
}

/// One period; samples that a slow machine loses do not matter.
fn read(microphones: &mut dyn MicrophoneArray, samples: &mut [f32]) -> Timestamp {
    let start = Instant::now();
    loop {
        match microphones.read(samples) {
            Ok(time) => return time,
            Err(MicrophoneError::Overrun { .. }) if start.elapsed() < PATIENCE => {}
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn channels_of_the_speaker_are_given_apart_and_in_step_with_the_microphones() {
    for rate_hz in [48_000, 16_000] {
        let _far = play("hw:Loopback,0,0", rate_hz, 8, numbered);
        let keys = format!("rate_hz = {rate_hz}\nfirst_channel = 1\nreference_channels = [6]\n");
        let mut microphones = microphones("hw:Loopback,1,0", 2, &keys);
        let mut samples = [0.0; FRAMES * 2];
        read_sound(&mut *microphones, &mut samples);
        read(&mut *microphones, &mut samples);
        let reference = microphones.reference().unwrap().to_vec();
        assert_eq!(reference.len(), FRAMES);
        for (frame, played) in samples.chunks_exact(2).zip(reference) {
            if rate_hz == 48_000 {
                let (at, first) = number_of(frame[0]).unwrap();
                assert_eq!((first, number_of(frame[1])), (1, Some((at, 2))));
                assert_eq!(number_of(played), Some((at, 6)));
            } else {
                // Numbers do not outlive another rate, but the distance of channels in step does: five of them.
                let apart = f64::from(played - frame[0]) * f64::from(1_u32 << 22);
                assert!((apart - 5.0).abs() < 2.0, "{apart}");
            }
        }
    }
}

/// The first period that is all sound.
fn read_sound(microphones: &mut dyn MicrophoneArray, samples: &mut [f32]) -> Timestamp {
    let start = Instant::now();
    loop {
        let time = read(microphones, samples);
        if samples.iter().all(|sample| *sample != 0.0) {
            return time;
        }
        assert!(start.elapsed() < PATIENCE, "nothing but silence");
    }
}

#[test]
fn eight_channels_come_back_as_they_were_played_each_in_its_place() {
    let _player = play("hw:Loopback,0,0", 48_000, 8, numbered);
    let mut microphones = microphones("hw:CARD=Loopback,DEV=1,SUBDEV=0", 8, "");
    let mut samples = vec![0.0; FRAMES * 8];
    read_sound(&mut *microphones, &mut samples);
    let (mut whole, mut followed, mut last) = (0, 0, 0);
    for _ in 0..100 {
        read(&mut *microphones, &mut samples);
        let first = number_of(samples[0]).map_or(0, |(frame, _)| frame);
        // A slow player leaves gaps, which are not this driver's.
        let in_place = samples.iter().enumerate().all(|(i, s)| number_of(*s) == Some((first + i / 8, i % 8)));
        whole += usize::from(in_place);
        followed += usize::from(in_place && first == last + FRAMES);
        last = first;
    }
    assert!(
        whole > 80 && followed > 80,
        "of 100 periods {whole} are whole, {followed} follow the one before"
    );
}

#[test]
fn some_channels_of_a_device_are_an_array() {
    let _player = play("hw:Loopback,0,0", 48_000, 8, numbered);
    let mut microphones = microphones("hw:CARD=Loopback,DEV=1,SUBDEV=0", 3, "first_channel = 4");
    let mut samples = vec![0.0; FRAMES * 3];
    read_sound(&mut *microphones, &mut samples);
    let channels: Vec<_> = samples[..6].iter().map(|sample| number_of(*sample).unwrap().1).collect();
    assert_eq!(channels, [4, 5, 6, 4, 5, 6]);
}

#[test]
fn times_advance_by_10_ms_a_period() {
    let _player = play("hw:Loopback,0,0", 48_000, 2, numbered);
    let mut microphones = microphones("hw:CARD=Loopback,DEV=1,SUBDEV=0", 2, "periods = 32");
    let mut samples = vec![0.0; FRAMES * 2];
    let first = read_sound(&mut *microphones, &mut samples);
    let (mut last, mut off, mut lost) = (first, 0.0, 0);
    for _ in 0..200 {
        let time = match microphones.read(&mut samples) {
            Ok(time) => time,
            Err(MicrophoneError::Overrun { lost_frames }) => {
                lost += lost_frames;
                read(&mut *microphones, &mut samples)
            }
            Err(error) => panic!("{error}"),
        };
        let step = time.saturating_since(last).as_secs_f64();
        off += (step - 0.01).abs();
        last = time;
        let age = Timestamp::now().saturating_since(time);
        assert!(age >= Duration::from_millis(9) && age < Duration::from_secs(1), "heard {age:?} ago");
    }
    let seconds = last.saturating_since(first).as_secs_f64() - lost as f64 / 48_000.0;
    assert!((seconds - 2.0).abs() < 0.02, "{seconds} s for 200 periods; {lost} frames were lost");
    assert!(off / 200.0 < 0.002, "a step is off by {} ms on average", off / 200.0 * 1_000.0);
}

#[test]
fn a_reader_that_sleeps_loses_what_it_is_told_and_goes_on() {
    let _player = play("hw:Loopback,0,0", 48_000, 2, numbered);
    let mut microphones = microphones("hw:CARD=Loopback,DEV=1,SUBDEV=0", 2, "");
    let mut samples = vec![0.0; FRAMES * 2];
    read_sound(&mut *microphones, &mut samples);
    let before = read_sound(&mut *microphones, &mut samples);
    sleep(Duration::from_millis(300));
    let start = Instant::now();
    let lost_frames = loop {
        match microphones.read(&mut samples) {
            Err(MicrophoneError::Overrun { lost_frames }) => break lost_frames,
            result => assert!(result.is_ok() && start.elapsed() < PATIENCE, "{result:?}"),
        }
    };
    let after = microphones.read(&mut samples).unwrap();
    let gap = (after.saturating_since(before).as_secs_f64() - 0.01) * 48_000.0;
    assert!(lost_frames >= 14_400 - FRAMES, "{lost_frames} frames");
    assert!((gap - lost_frames as f64).abs() < 960.0, "{lost_frames} frames were told, {gap} are missing");
    read_sound(&mut *microphones, &mut samples);
}

#[test]
fn what_the_speaker_plays_is_heard_when_it_says() {
    let mut speaker = speaker("hw:CARD=Loopback,DEV=0,SUBDEV=1", 2);
    let (heard, times) = mpsc::channel();
    let mut period = 0;
    let _player = Repeated::start(move || {
        let frames = period * FRAMES..(period + 1) * FRAMES;
        let samples: Vec<f32> = frames
            .flat_map(|frame| [0, 1].map(|channel| numbered(frame, channel) as f32 / 2_147_483_648.0))
            .collect();
        match speaker.write(&samples) {
            Ok(time) => heard.send((period, time)).unwrap(),
            Err(error) => assert!(matches!(error, SpeakerError::Underrun), "{error}"),
        }
        period += 1;
    });
    times.recv_timeout(PATIENCE).unwrap();
    let mut microphones = microphones("hw:CARD=Loopback,DEV=1,SUBDEV=1", 2, "");
    let mut samples = vec![0.0; FRAMES * 2];
    let mut apart = Vec::new();
    let mut told = Vec::new();
    let start = Instant::now();
    while apart.len() < 50 {
        assert!(start.elapsed() < PATIENCE, "{} periods came back", apart.len());
        let time = read_sound(&mut *microphones, &mut samples);
        told.extend(times.try_iter());
        let (frame, channel) = number_of(samples[0]).unwrap();
        assert_eq!((channel, number_of(samples[1]).unwrap().1), (0, 1));
        let Some((_, played)) = told.iter().find(|(period, _)| *period == frame / FRAMES) else { continue };
        let played = *played + Duration::from_secs_f64((frame % FRAMES) as f64 / 48_000.0);
        apart.push(time.since_start().as_secs_f64() - played.since_start().as_secs_f64());
    }
    apart.sort_by(f64::total_cmp);
    let median = apart[apart.len() / 2] * 1_000.0;
    assert!(median.abs() < 8.0, "heard {median} ms after it was to be heard");
}

#[test]
fn a_writer_that_sleeps_is_told_of_the_gap_and_goes_on() {
    let mut speaker = speaker("hw:CARD=Loopback,DEV=0,SUBDEV=1", 1);
    let silence = [0.0; FRAMES];
    speaker.write(&silence).unwrap();
    sleep(Duration::from_millis(300));
    let error = speaker.write(&silence).unwrap_err();
    assert!(matches!(error, SpeakerError::Underrun), "{error}");
    let begin = Instant::now();
    for _ in 0..20 {
        if let Err(error) = speaker.write(&silence) {
            assert!(matches!(error, SpeakerError::Underrun), "{error}");
        }
    }
    assert!(begin.elapsed() > Duration::from_millis(120), "20 periods were taken in {:?}", begin.elapsed());
}

#[test]
fn a_card_that_only_runs_at_16_khz_gives_48_khz() {
    // 500 Hz: the sample's sign changes every 16 frames.
    let _player = play("hw:Loopback,0,0", 16_000, 2, |frame, _| {
        ((frame as f64 / 32.0 * std::f64::consts::TAU).sin() * 1e9) as i32
    });
    let mut microphones = microphones("hw:CARD=Loopback,DEV=1,SUBDEV=0", 2, "");
    assert_eq!((microphones.format().rate_hz, microphones.format().period_frames), (48_000, FRAMES));
    let mut samples = vec![0.0; FRAMES * 2];
    until("sound", || {
        read(&mut *microphones, &mut samples);
        samples.iter().any(|sample| sample.abs() > 0.4).then_some(())
    })
    .unwrap();
    // Ten changes in each period; the player of an emulated machine may be late for some of them.
    let mut last = 0.0_f32;
    let mut changes: Vec<usize> = (0..50)
        .map(|_| {
            read(&mut *microphones, &mut samples);
            let signs = samples.chunks(2).filter(|frame| {
                // A sample at the change itself may be zero to the last bit on one processor and not on another.
                if frame[0].abs() < 0.01 {
                    return false;
                }
                let changed = frame[0] * last < 0.0;
                last = frame[0];
                changed
            });
            signs.count()
        })
        .collect();
    changes.sort_unstable();
    assert!((9..=11).contains(&changes[25]), "changes of sign in 10 ms of 500 Hz: {changes:?}");
}

#[test]
fn a_card_in_use_says_so_and_is_had_when_it_is_free() {
    let device = "hw:CARD=Loopback,DEV=1,SUBDEV=0";
    let mut first = microphones(device, 2, "");
    let mut second = microphones(device, 2, "");
    let mut samples = vec![0.0; FRAMES * 2];
    first.read(&mut samples).unwrap();
    let error = second.read(&mut samples).unwrap_err();
    assert!(matches!(error, MicrophoneError::Failed { .. }), "{error}");
    assert!(error.to_string().contains("another program uses it"), "{error}");
    drop(first);
    second.read(&mut samples).unwrap();
}

#[test]
fn a_card_that_is_unplugged_is_gone_and_works_when_it_is_back() {
    let driver = "/sys/bus/platform/drivers/snd_aloop";
    let mut microphones = microphones("hw:CARD=Loopback,DEV=1,SUBDEV=0", 2, "");
    let mut speaker = speaker("hw:CARD=Loopback,DEV=0,SUBDEV=1", 1);
    let mut samples = vec![0.0; FRAMES * 2];
    read(&mut *microphones, &mut samples);
    speaker.write(&[0.0; FRAMES]).unwrap();
    // Waits until nobody has the card open any more.
    let unplugged = thread::spawn(move || fs::write(format!("{driver}/unbind"), "snd_aloop.0"));
    let start = Instant::now();
    let error = loop {
        match microphones.read(&mut samples) {
            Err(error @ MicrophoneError::Gone { .. }) => break error,
            result => assert!(start.elapsed() < PATIENCE, "it never went: {result:?}"),
        }
    };
    assert!(error.to_string().contains("are not there; plug them in"), "{error}");
    let error = loop {
        match speaker.write(&[0.0; FRAMES]) {
            Err(error @ SpeakerError::Gone { .. }) => break error,
            result => assert!(start.elapsed() < PATIENCE, "it never went: {result:?}"),
        }
    };
    assert!(error.to_string().contains("hw:CARD=Loopback"), "{error}");
    unplugged.join().unwrap().unwrap();
    assert!(matches!(microphones.read(&mut samples), Err(MicrophoneError::Gone { .. })));
    fs::write(format!("{driver}/bind"), "snd_aloop.0").unwrap();
    until("card", || microphones.read(&mut samples).ok()).unwrap();
    until("card", || speaker.write(&[0.0; FRAMES]).ok()).unwrap();
}

/// Sets how far the cable's clock is from the nominal one: 100 000 is none.
fn set_rate_shift(value: i32) {
    let mut id = ElemId::new(ElemIface::PCM);
    id.set_name(c"PCM Rate Shift 100000");
    id.set_device(1);
    let mut shift = ElemValue::new(ElemType::Integer).unwrap();
    shift.set_id(&id);
    shift.set_integer(0, value).unwrap();
    Ctl::new("hw:Loopback", false).unwrap().elem_write(&shift).unwrap();
}

#[test]
fn the_drift_of_a_cards_clock_is_measured() {
    let mut microphones = microphones("hw:CARD=Loopback,DEV=1,SUBDEV=0", 1, "periods = 64");
    let mut samples = vec![0.0; FRAMES];
    set_rate_shift(100_200);
    let first = read(&mut *microphones, &mut samples);
    assert_eq!(microphones.drift_ppm(), None);
    let (mut periods, mut last) = (0, first);
    for _ in 0..1_600 {
        last = read(&mut *microphones, &mut samples);
        periods += 1;
    }
    set_rate_shift(100_000);
    let measured = (f64::from(periods) * 0.01 / last.saturating_since(first).as_secs_f64() - 1.0) * 1e6;
    let told = microphones.drift_ppm().unwrap();
    assert!((told - measured).abs() < 400.0, "{told} ppm are told, {measured} measured");
    assert!(told.abs() > 1_000.0, "{told} ppm");
}

#[test]
fn a_card_is_set_to_its_level_and_unmuted() {
    let mixer =
        |control: &str, level: u8| format!("mixer = {{ control = \"{control}\", level_percent = {level} }}");
    let element = |name: &str, value: &dyn Fn(&alsa::mixer::Selem<'_>) -> i64| {
        let mixer = Mixer::new("hw:Dummy", false).unwrap();
        value(&mixer.find_selem(&SelemId::new(name, 0)).unwrap())
    };
    let volume = |c: &alsa::mixer::Selem<'_>| c.get_playback_volume(SelemChannelId::FrontLeft).unwrap();
    let switch =
        |c: &alsa::mixer::Selem<'_>| i64::from(c.get_capture_switch(SelemChannelId::FrontLeft).unwrap());
    // Its range is -50 to 100.
    for (percent, level) in [(0, -50), (80, 70), (100, 100)] {
        open_board(&section("speaker", "hw:CARD=Dummy", 2, &mixer("Master", percent))).unwrap();
        assert_eq!(element("Master", &volume), level);
    }
    Mixer::new("hw:Dummy", false)
        .unwrap()
        .find_selem(&SelemId::new("Mic", 0))
        .unwrap()
        .set_capture_switch_all(0)
        .unwrap();
    assert_eq!(element("Mic", &switch), 0);
    open_board(&section("microphones", "hw:CARD=Dummy", 2, &mixer("Mic", 50))).unwrap();
    assert_eq!(element("Mic", &switch), 1);
}

/// A use-case profile of ours for snd-dummy, where the guest's alsa-lib looks for profiles.
fn write_use_case_profile() {
    let folder = std::path::PathBuf::from(std::env::var_os("ALSA_CONFIG_UCM2").unwrap());
    fs::create_dir_all(folder.join("Dummy")).unwrap();
    let write = |file: &str, text: &str| fs::write(folder.join(file), text).unwrap();
    let sequences = |control: &str, on, off| {
        let set = |value: u32| format!("[ cset \"name='{control} Volume' {value},{value}\" ]");
        format!("EnableSequence {} DisableSequence {}", set(on), set(off))
    };
    write(
        "ucm.conf",
        "Syntax 4\nUseCasePath.rig { Directory \"${CardDriver}\" File \"${CardDriver}.conf\" }\n",
    );
    write("Dummy/Dummy.conf", "Syntax 4\nSectionUseCase.\"HiFi\" { File \"HiFi.conf\" Comment \"rig\" }\n");
    let device = |name: &str, control: &str| {
        let sequences = sequences(control, 77, 3);
        format!("SectionDevice.\"{name}\" {{ Comment \"rig\" {sequences} Value.PlaybackPCM \"hw:0\" }}\n")
    };
    let verb = format!("SectionVerb {{ {} }}\n", sequences("Line", 60, 1));
    write("Dummy/HiFi.conf", &(verb + &device("Speaker", "Synth") + &device("Mic", "CD")));
}

#[test]
fn a_use_case_is_on_while_the_card_is_used() {
    write_use_case_profile();
    let volume = |name: &str| {
        let mixer = Mixer::new("hw:Dummy", false).unwrap();
        let control = mixer.find_selem(&SelemId::new(name, 0)).unwrap();
        control.get_playback_volume(SelemChannelId::FrontLeft).unwrap()
    };
    let volumes = || ["Line", "Synth", "CD"].map(volume);
    let keys = |device: &str| format!("ucm = {{ verb = \"HiFi\", devices = [\"{device}\"] }}\n");
    let speaker = open_board(&section("speaker", "hw:CARD=Dummy", 2, &keys("Speaker"))).unwrap().speaker;
    assert_eq!(volumes()[..2], [60, 77]);
    let microphones =
        open_board(&section("microphones", "hw:CARD=Dummy", 2, &keys("Mic"))).unwrap().microphones;
    assert_eq!(volumes(), [60, 77, 77]);
    drop(speaker);
    assert_eq!(volumes(), [60, 3, 77], "the microphones need the verb still");
    drop(microphones);
    assert_eq!(volumes(), [1, 3, 3]);
    let error_of = |device: &str, keys: &str| {
        open_board(&section("speaker", device, 2, keys)).err().unwrap().to_string()
    };
    let error = error_of("hw:CARD=Dummy", "ucm.verb = \"LoFi\"");
    assert!(error.contains("LoFi") && error.contains("the card has HiFi"), "{error}");
    let error = error_of("hw:CARD=Loopback", "ucm.verb = \"HiFi\"");
    assert!(error.contains("the use-case profile of the card hw:Loopback is not there"), "{error}");
}

#[test]
fn an_absent_card_and_an_absent_control_are_told_with_those_that_are_there() {
    let error_of = |sections: &str| open_board(sections).err().unwrap().to_string();
    let error = error_of(&section("microphones", "hw:CARD=Array", 2, ""));
    assert!(error.contains("hw:CARD=Array is not there; there are hw:CARD=Loopback,DEV=0"), "{error}");
    let keys = "mixer = { control = \"Master\", level_percent = 50 }";
    let error = error_of(&section("speaker", "hw:CARD=Loopback", 2, keys));
    assert!(error.contains("the mixer control Master of hw:Loopback is not there; it has"), "{error}");
    let error = error_of(&section("microphones", "hw:CARD=Loopback,DEV=1", 2, "first_channel = 60"));
    assert!(error.contains("it has 32 channels; the profile asks for 62"), "{error}");
}
