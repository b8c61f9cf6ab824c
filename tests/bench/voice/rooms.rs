//! The rooms and the figures that they give.

use anyhow::Context;
use rostrum_acoustics::cases::{self, CIRCLE, Echo, TALK_AT_S};
use rostrum_acoustics::engines::{Aec3, Chain, Engine, FRAME, Processed, Sonora, Speex, run as run_engine};
use rostrum_acoustics::estoi::estoi;
use rostrum_acoustics::field::Colour;
use rostrum_acoustics::measure;
use rostrum_acoustics::scene::Heard;
use rostrum_acoustics::scores::{aligned, lag, level_db, segmental_snr_db};

use rostrum_acoustics::speech::Speech;
use rostrum_acoustics::wav;
use rostrum_audio::{EchoControl, Mode, NoiseSuppression, VoiceOptions};
use serde_json::{Value, json};

use crate::figures::{Figures, print};
use crate::listeners::{Judge, Listeners};
use crate::{Options, instructions};

/// The chain as it is shipped.
fn whole() -> VoiceOptions {
    VoiceOptions::default()
}

/// Its canceller and its beam: what is compared with cancellers. Gain would count as echo, and noise suppression as echo
/// removed.
fn canceller() -> VoiceOptions {
    VoiceOptions { noise: NoiseSuppression::Off, gain: false, ..VoiceOptions::default() }
}

/// Its beam alone.
fn beam() -> VoiceOptions {
    VoiceOptions { echo: EchoControl::Off, ..canceller() }
}

struct Bench<'a> {
    options: &'a Options,
    speech: Speech,
    speex: Option<Speex>,
    figures: Figures,
    listeners: Listeners,
}

/// Measures everything.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let speex = if options.no_peers { None } else { Some(Speex::fetch()?) };
    let (speech, figures) = (Speech::fetch()?, Figures::default());
    let mut bench = Bench { options, speech, speex, figures, listeners: Listeners::new()? };
    if let Some(folder) = &options.keep {
        std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    for seed in options.seed..options.seed + options.rooms {
        bench.echoes(seed)?;
        bench.double_talk(seed)?;
        bench.noise(seed)?;
        bench.beams(seed)?;
        bench.gain(seed)?;
    }
    bench.costs()?;
    for (name, score) in std::mem::replace(&mut bench.listeners, Listeners::new()?).scores()? {
        bench.figures.add(name, score);
    }
    let mut out = bench.figures.json();
    out.insert("bench".into(), json!("voice"));
    out.insert("rooms".into(), json!(options.rooms));
    print(&Value::Object(out))
}

/// A peer's name before its figure; nothing before ours.
const OURS: &str = "";

impl Bench<'_> {
    fn wanted(&self, names: &[&str]) -> bool {
        self.options.only.as_ref().is_none_or(|only| names.iter().any(|name| name.contains(only.as_str())))
    }

    fn chain(&self, heard: &Heard, options: VoiceOptions) -> anyhow::Result<(Processed, Chain)> {
        let options = VoiceOptions { speaker_channels: heard.played.len().max(1) as u8, ..options };
        let mut chain = Chain::new(&heard.geometry, options)?;
        let out = run_engine(&mut chain, heard);
        Ok((out, chain))
    }

    /// Our chain and the peers in one room.
    fn all(
        &self,
        what: &str,
        heard: &Heard,
        ours: VoiceOptions,
    ) -> anyhow::Result<Vec<(&'static str, Processed)>> {
        let mut out = vec![(OURS, self.chain(heard, ours)?.0)];
        if let Some(speex) = &self.speex {
            let mut aec3 = Aec3::new()?;
            let mut sonora = Sonora::new();
            let engines: [(&str, &mut dyn Engine); 2] = [("aec3_", &mut aec3), ("sonora_", &mut sonora)];
            for (name, engine) in engines {
                out.push((name, run_engine(engine, heard)));
            }
            out.push(("speexdsp_", speex.run(heard)?));
        }
        if let Some(folder) = &self.options.keep {
            wav::write(&folder.join(format!("{what}-microphones.wav")), &heard.microphones)?;
            wav::write(&folder.join(format!("{what}-playback.wav")), &heard.played)?;
            wav::write(&folder.join(format!("{what}-near.wav")), &heard.near)?;
            for (name, processed) in &out {
                let name = if name.is_empty() { "ours_" } else { name };
                wav::write(
                    &folder.join(format!("{what}-{name}out.wav")),
                    std::slice::from_ref(&processed.voice),
                )?;
            }
        }
        Ok(out)
    }

    fn echoes(&mut self, seed: u64) -> anyhow::Result<()> {
        let cases: [(Echo, &[&str]); 7] = [
            (Echo::Linear, &["erle_linear_db", "erle_1_3s_db", "aecmos_echo_linear"]),
            (Echo::NonLinear, &["erle_nonlinear_db", "erle_nonlinear_1_3s_db", "aecmos_echo_nonlinear"]),
            (Echo::Drifting, &["erle_drift_db", "erle_drift_1_3s_db"]),
            (Echo::Jumping, &["erle_after_jump_db"]),
            (Echo::Moved, &["erle_after_move_db"]),
            (Echo::Stereo, &["erle_stereo_db"]),
            (Echo::Noisy, &["left_below_noise_db"]),
        ];
        for (echo, names) in cases {
            if !self.wanted(names) {
                continue;
            }
            let heard = cases::echo(&self.speech, &CIRCLE, echo, seed);
            for (engine, out) in self.all(&format!("{echo:?}-{seed}"), &heard, canceller())? {
                let first = match echo {
                    Echo::Jumping | Echo::Moved => measure::after_jump_db(&heard, &out),
                    // Less than 0: echo is heard above the noise of the room.
                    Echo::Noisy => {
                        let noise = level_db(&heard.noise[0][144_000..]);
                        noise - level_db(&out.voice[144_000..])
                    }
                    _ => measure::after_3s_db(&heard, &out),
                };
                self.figures.add(format!("{engine}{}", names[0]), first);
                if let Some(name) = names.get(1) {
                    self.figures.add(format!("{engine}{name}"), measure::from_1_to_3s_db(&heard, &out));
                }
                if let Some(name) = names.get(2) {
                    let figure = format!("{engine}{name}");
                    self.listeners.ask(Judge::FarEnd, &figure, &heard, &out.voice, 3.0)?;
                }
            }
        }
        Ok(())
    }

    fn double_talk(&mut self, seed: u64) -> anyhow::Result<()> {
        for (db, name, scores) in
            [(0.0, "estoi_dt_0db", "{}_dt_0db"), (-10.0, "estoi_dt_minus10db", "{}_dt_minus10db")]
        {
            let judged = |score: &str| scores.replace("{}", score);
            if !self.wanted(&[name, &judged("pesq"), &judged("aecmos_echo"), &judged("aecmos_other")]) {
                continue;
            }
            let heard = cases::double_talk(&self.speech, &CIRCLE, db, seed);
            for (engine, out) in self.all(&format!("{name}-{seed}"), &heard, canceller())? {
                let score = measure::double_talk_estoi(&heard, &out).context("nobody talks")?;
                self.figures.add(format!("{engine}{name}"), score);
                for judge in [Judge::DoubleTalk, Judge::Quality] {
                    let figure = format!("{engine}{scores}");
                    self.listeners.ask(judge, &figure, &heard, &out.voice, TALK_AT_S + 1.0)?;
                }
            }
            let (out, _) = self.chain(&heard, whole())?;
            let score = measure::double_talk_estoi(&heard, &out).context("nobody talks")?;
            self.figures.add(format!("{name}_whole_chain"), score);
            let mut untouched = out;
            untouched.voice = heard.microphones[0].clone();
            let score = measure::double_talk_estoi(&heard, &untouched).context("nobody talks")?;
            self.figures.add(format!("untouched_{name}"), score);
        }
        Ok(())
    }

    /// One microphone and fans at 5 dB: how near each suppressor brings the voice to what the microphone would hear without
    /// them.
    fn noise(&mut self, seed: u64) -> anyhow::Result<()> {
        let names = ["noise_estoi", "noise_segmental_snr_db", "noise_cpu_us_per_10ms", "noise_pesq"];
        if !self.wanted(&names) && !self.wanted(&["noise_dnsmos"]) {
            return Ok(());
        }
        let (heard, _) = cases::in_noise(&self.speech, &CIRCLE[..1], Colour::Fan, 5.0, seed);
        for (name, noise) in [
            ("", NoiseSuppression::Moderate),
            ("neural_", NoiseSuppression::Neural),
            ("untouched_", NoiseSuppression::Off),
        ] {
            let out = self.chain(&heard, VoiceOptions { noise, ..beam() })?.0;
            let (near, voice) = aligned(&heard.near[0][96_000..], &out.voice[96_000..], 4_800);
            let score = estoi(near, voice).context("nobody talks")?;
            self.figures.add(format!("{name}noise_estoi"), score);
            self.figures.add(format!("{name}noise_segmental_snr_db"), segmental_snr_db(near, voice));
            self.figures.add(format!("{name}noise_cpu_us_per_10ms"), out.us_per_frame());
            for judge in [Judge::Quality, Judge::Opinion] {
                self.listeners.ask(judge, &format!("{name}noise_{{}}"), &heard, &out.voice, 2.0)?;
            }
        }
        Ok(())
    }

    fn beams(&mut self, seed: u64) -> anyhow::Result<()> {
        if self.wanted(&["beam_diffuse_db"]) {
            let (heard, _) = cases::in_noise(&self.speech, &CIRCLE, Colour::Fan, 5.0, seed);
            let with = self.chain(&heard, beam())?.0;
            let against = self.chain(&measure::turned(&heard), beam())?.0;
            let (with, against) = (&with.voice, &against.voice);
            let gain = measure::ratio_gain_db(&heard, &heard.noise, with, against, 2.0);
            self.figures.add("beam_diffuse_db", gain);
            let gain = measure::broadband_ratio_gain_db(&heard, &heard.noise, with, against, 2.0);
            self.figures.add("beam_diffuse_broadband_db", gain);
        }
        if self.wanted(&["doa_within_10deg_percent"]) {
            let (heard, azimuth_deg) = cases::in_noise(&self.speech, &CIRCLE, Colour::Fan, 15.0, seed);
            let (_, chain) = self.chain(&heard, beam())?;
            let said = chain.directions();
            let right = measure::directions_within_percent(&heard, &said, azimuth_deg, 10.0, 1.0);
            self.figures.add("doa_within_10deg_percent", right);
        }
        if self.wanted(&["beam_interferer_db"]) {
            let (heard, _) = cases::with_interferer(&self.speech, &CIRCLE, seed);
            let with = self.chain(&heard, beam())?.0;
            let against = self.chain(&measure::turned(&heard), beam())?.0;
            let (with, against) = (&with.voice, &against.voice);
            let gain = measure::ratio_gain_db(&heard, &heard.others, with, against, 4.0);
            self.figures.add("beam_interferer_db", gain);
            let gain = measure::broadband_ratio_gain_db(&heard, &heard.others, with, against, 4.0);
            self.figures.add("beam_interferer_broadband_db", gain);
        }
        Ok(())
    }

    fn gain(&mut self, seed: u64) -> anyhow::Result<()> {
        if !self.wanted(&["gain_difference_db"]) {
            return Ok(());
        }
        let heard = cases::near_and_far(&self.speech, &CIRCLE, seed);
        let (out, _) = self.chain(&heard, whole())?;
        self.figures.add("gain_difference_db", measure::gain_difference_db(&out.voice));
        Ok(())
    }

    /// What it costs: time and delay.
    fn costs(&mut self) -> anyhow::Result<()> {
        if self.wanted(&["cpu_us_per_10ms"]) {
            let heard = cases::double_talk(&self.speech, &CIRCLE, 0.0, self.options.seed);
            for _ in 0..3 {
                for (engine, out) in self.all("cpu", &heard, whole())? {
                    self.figures.add(format!("{engine}cpu_us_per_10ms"), out.us_per_frame());
                }
            }
        }
        if self.wanted(&["a72_core_percent_estimate"]) {
            match instructions::per_frame() {
                Some(count) => {
                    self.figures.add("kilo_instructions_per_10ms", count / 1e3);
                    self.figures.add("a72_core_percent_estimate", instructions::a72_core_percent(count));
                }
                None => eprintln!("no valgrind here: no estimate for an A72"),
            }
        }
        if self.wanted(&["delay_ms"]) {
            let (heard, _) = cases::in_noise(&self.speech, &CIRCLE, Colour::Fan, 30.0, self.options.seed);
            let (out, chain) = self.chain(&heard, whole())?;
            let from = 96_000;
            let late = lag(&heard.near[0][from..], &out.voice[from..], 4_800);
            self.figures.add("delay_ms", late as f64 / 48.0);
            self.figures.add("delay_told_ms", chain.delay().as_secs_f64() * 1e3);
            let mut chain = Chain::new(&CIRCLE, whole())?;
            chain.inner().set_mode(Mode::Music);
            let silence = [0.0; FRAME];
            let mut voice = [0.0; FRAME];
            chain.process(&[&silence[..]; 4], &mut voice);
            self.figures.add("music_delay_ms", chain.delay().as_secs_f64() * 1e3);
        }
        Ok(())
    }
}
