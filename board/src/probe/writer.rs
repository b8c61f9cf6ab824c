//! The profile of a machine.

use rostrum_hal::indicator::IndicatorRole;
use toml::Value;

use super::{
    Machine, cameras, cec_adapters, encoders, identities, inputs, keys::Keys, lights, screens, sounds,
    speakerphones, table::printable, watchdogs,
};

/// Longest name of a profile.
const MOST: usize = 40;

pub(super) fn profile(machine: &Machine) -> String {
    let mut text = Text::default();
    text.comment("Written by `rostrumd probe` from what this machine has. Correct what it cannot know:");
    text.comment(
        "where the microphones sit (geometry), what buttons and lights are wired to, which screen is",
    );
    text.comment("meant. board/README.md has all sections; `rostrumd selftest` tries them.");
    text.line(&format!("name = {}", Value::from(name(&machine.model))));
    text.line(&format!("description = {}", Value::from(machine.model.as_str())));
    camera(&mut text, machine);
    sound(&mut text, machine);
    let (keys, comment) = encoders::best(&machine.encoders, &machine.encoder_elements);
    text.section("encoder", &keys, &comment);
    if let Some((keys, title)) = encoders::best_scaler(&machine.converters) {
        text.section("scaler", &keys, title);
    }
    display(&mut text, machine);
    screen_power(&mut text, machine);
    controls(&mut text, machine);
    watchdog(&mut text, machine);
    identity(&mut text, machine);
    text.0
}

fn camera(text: &mut Text, machine: &Machine) {
    let all = &machine.cameras;
    let best = cameras::best(all);
    match best {
        Some(best) => text.section("camera", &best.keys(all), &best.title),
        None if all.is_empty() => text.absent("camera", "No camera was found"),
        None => text.absent("camera", "No camera that can be used as it is was found"),
    }
    for other in all.iter().filter(|other| best.is_none_or(|best| best.node != other.node)) {
        text.comment(&format!("Or {}", other.row(all).key));
    }
}

fn sound(text: &mut Text, machine: &Machine) {
    let microphones = sounds::best_microphones(&machine.sounds);
    let speaker = sounds::best_speaker(&machine.sounds, microphones);
    for (section, best, what) in
        [("microphones", microphones, "No microphone"), ("speaker", speaker, "No speaker")]
    {
        match best {
            Some(best) => {
                text.section(section, &best.keys(), &best.title);
                if let Some(control) = best.volumes.first() {
                    let control = Value::from(control.as_str());
                    text.comment(&format!("mixer = {{ control = {control}, level_percent = 80 }}"));
                }
            }
            None => text.absent(section, &format!("{what} that can be used was found")),
        }
        let others = machine.sounds.iter().filter(|other| {
            best.is_none_or(|best| other.device != best.device)
                && other.row().key.starts_with(&format!("[{section}]"))
        });
        others.for_each(|other| text.comment(&format!("Or {}", other.row().key)));
    }
}

fn display(text: &mut Text, machine: &Machine) {
    match screens::best(&machine.screens) {
        Some(best) => {
            text.section("display", &best.keys(), &format!("{} of {}", best.connector, best.card));
            text.comment("On a desktop, in the place of these keys: driver = \"wayland\" and socket = \"/run/user/1000/wayland-0\".");
        }
        None => text.absent("display", "No screen is plugged in"),
    }
}

fn screen_power(text: &mut Text, machine: &Machine) {
    if let Some(best) = cec_adapters::best(&machine.cec_adapters) {
        text.section("screen_power", &best.keys(), &format!("The screen at {}, by HDMI-CEC", best.name));
    }
    let is_other = |other: &&cec_adapters::CecAdapter| {
        cec_adapters::best(&machine.cec_adapters).is_none_or(|best| best != *other)
    };
    machine
        .cec_adapters
        .iter()
        .filter(is_other)
        .for_each(|other| text.comment(&format!("Or {}", other.row().key)));
}

/// Lights, buttons and the mute switch. The kernel makes keys of a speakerphone's buttons too, but without its lights
/// nothing tells a press from what the device does by itself.
fn controls(text: &mut Text, machine: &Machine) {
    let phones = &machine.speakerphones;
    let phone = speakerphones::best(phones);
    let of_phone = |light| phone.and_then(|phone| phone.light_keys(phones, light));
    let named = |role| lights::best(&machine.lights, role).map(lights::Light::keys);
    let chosen = [
        ("status", named(IndicatorRole::Status)),
        ("mute", of_phone("mute").or_else(|| named(IndicatorRole::Mute))),
        // Without it such a device closes its microphone.
        ("meeting", of_phone("off_hook")),
    ];
    if chosen.iter().any(|(_, keys)| keys.is_some()) {
        text.heading("indicators", "Lights that say what they are for");
        for (role, keys) in chosen {
            if let Some(keys) = keys {
                text.line(&format!("{role} = {{ {} }}", keys.one_line()));
            }
        }
    } else {
        text.absent("indicators", "No light whose name says that it is for this was found");
        for light in &machine.lights {
            text.comment(&format!("mute = {{ {} }}", light.keys().one_line()));
        }
    }
    match (phone, inputs::best_buttons(&machine.inputs)) {
        (Some(phone), keys) => {
            text.section("buttons", &phone.buttons_keys(phones), &phone.name);
            if let Some(keys) = keys {
                text.comment(&format!("Or [buttons] {}", keys.buttons_keys().one_line()));
            }
        }
        (None, Some(best)) => text.section("buttons", &best.buttons_keys(), &best.name),
        (None, None) => text.absent("buttons", "No buttons were found"),
    }
    match inputs::best_mute_switch(&machine.inputs) {
        Some(best) => text.section("mute_switch", &best.switch_keys(), &best.name),
        None => text.absent("mute_switch", "No switch for the microphones was found"),
    }
    for chip in &machine.gpio_chips {
        let chip = Value::from(chip.profile_name(&machine.gpio_chips));
        text.comment(&format!(
            "driver = \"gpio\", chip = {chip} for lights, buttons and switches on its lines"
        ));
    }
}

fn watchdog(text: &mut Text, machine: &Machine) {
    match watchdogs::best(&machine.watchdogs) {
        Some(best) => {
            text.section("watchdog", &best.keys(), "It resets the machine when the terminal hangs");
        }
        None => {
            text.absent("watchdog", "No watchdog that nobody feeds was found");
            for watchdog in &machine.watchdogs {
                text.comment(&format!(
                    "{}: {}",
                    watchdog.keys().one_line(),
                    "systemd or another program feeds it"
                ));
            }
        }
    }
}

fn identity(text: &mut Text, machine: &Machine) {
    text.section("identity", &identities::best(&machine.identities), "The name of this terminal for life");
    if let Some(eeprom) = identities::eeprom_in_words(&machine.identities) {
        text.comment(&format!("{eeprom}: the board's maker knows where in it a name is"));
    }
}

/// A name for the profile out of that of the board.
fn name(model: &str) -> String {
    let words: Vec<_> =
        model.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty()).collect();
    let mut name = words.join("-").to_lowercase();
    name.truncate(MOST);
    if name.is_empty() { "board".into() } else { name.trim_end_matches('-').to_owned() }
}

#[derive(Default)]
struct Text(String);

impl Text {
    fn line(&mut self, line: &str) {
        self.0 += line;
        self.0.push('\n');
    }

    /// What a comment is made of may come from a device.
    fn comment(&mut self, comment: &str) {
        self.line(format!("# {}", printable(comment)).trim_end());
    }

    fn heading(&mut self, section: &str, comment: &str) {
        self.0.push('\n');
        self.comment(comment);
        self.line(&format!("[{section}]"));
    }

    fn section(&mut self, section: &str, keys: &Keys, comment: &str) {
        self.heading(section, comment);
        self.0 += &keys.lines();
    }

    fn absent(&mut self, section: &str, comment: &str) {
        self.0.push('\n');
        self.comment(&format!("[{section}]: {comment}"));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;
    use rostrum_hal::{FrameSize, PixelFormat};

    use super::*;
    use crate::{
        Profile, drivers,
        probe::{
            cameras::{Camera, Offer},
            cec_adapters::CecAdapter,
            encoders::{Converter, EncoderElement},
            identities::{IdentitySource, Place},
            inputs::InputDevice,
            lights::Light,
            lines::GpioChip,
            screens::Screen,
            sounds::{Goes, Sound},
            speakerphones::Speakerphone,
            watchdogs::Watchdog,
        },
    };

    fn sound(device: &str, title: &str, goes: Goes) -> Sound {
        Sound {
            device: device.into(),
            title: title.into(),
            goes,
            driver: "USB-Audio".into(),
            channels: (1, 4),
            rates_hz: vec![48_000],
            formats: vec!["S16_LE".into()],
            volumes: vec![title.into()],
            problem: None,
        }
    }

    /// A machine that has one or two of everything, all called `names`.
    fn machine(names: &[String; 6]) -> Machine {
        let [model, title, serial, card, light, key] = names;
        let size = FrameSize::new(1280, 720);
        let offer = Offer { pixel_format: PixelFormat::Yuyv, size, frame_rates_hz: vec![30.0] };
        let camera = |node: &str, serial: Option<&String>| Camera {
            node: node.into(),
            title: title.clone(),
            serial: serial.cloned(),
            by_path: Some(format!("/dev/v4l/by-path/{card}").into()),
            offers: vec![offer.clone()],
            ..Camera::default()
        };
        let device = format!("hw:CARD={card},DEV=0");
        Machine {
            model: model.clone(),
            cameras: vec![camera("/dev/video0", Some(serial)), camera("/dev/video2", None)],
            encoder_elements: vec![EncoderElement {
                element: "x264enc".into(),
                hardware: false,
                is_installed: true,
                hint: String::new(),
            }],
            sounds: vec![
                sound(&device, title, Goes::In),
                sound("hw:CARD=Other,DEV=0", title, Goes::In),
                sound(&device, title, Goes::Out),
            ],
            gpio_chips: vec![GpioChip { label: card.clone(), ..GpioChip::default() }],
            lights: vec![Light { name: format!("{light}:mute"), max_brightness: 1, colours: Vec::new() }],
            inputs: vec![InputDevice {
                name: key.clone(),
                keys: vec!["KEY_MICMUTE".into()],
                switches: vec!["SW_MUTE_DEVICE".into()],
                problem: None,
            }],
            watchdogs: vec![Watchdog { identity: Some(light.clone()), ..Watchdog::default() }],
            screens: vec![Screen { connector: title.clone(), is_connected: true, ..Screen::default() }],
            identities: vec![
                IdentitySource {
                    place: Place::DeviceTree,
                    path: "serial-number".into(),
                    content: Some(serial.clone()),
                },
                IdentitySource { place: Place::Eeprom, path: format!("/sys/{key}").into(), content: None },
            ],
            ..Machine::default()
        }
    }

    /// Any characters, those that end lines or comments among them.
    fn any_name() -> impl Strategy<Value = String> {
        prop::collection::vec(any::<char>(), 0..12).prop_map(String::from_iter)
    }

    #[test]
    fn the_profile_of_a_machine_names_the_best_of_each_kind() {
        let names = ["Board 5", "PTZ", "S1", "Array", "red", "gpio-keys"].map(str::to_owned);
        let text = machine(&names).profile();
        let profile = Profile::parse(&text, "probe").unwrap();
        drivers::check(&profile).unwrap();
        let key = |section: &Option<crate::Section>, key: &str| {
            section.as_ref().unwrap().options[key].as_str().unwrap().to_owned()
        };
        assert_eq!((profile.name.as_str(), profile.description.as_str()), ("board-5", "Board 5"));
        assert_eq!(key(&profile.camera, "serial"), "S1");
        assert_eq!(key(&profile.microphones, "device"), "hw:CARD=Array,DEV=0");
        assert_eq!(key(&profile.speaker, "device"), "hw:CARD=Array,DEV=0");
        assert_eq!(key(&profile.buttons, "device"), "gpio-keys");
        assert_eq!(key(&profile.watchdog, "device"), "red");
        assert_eq!(profile.indicators.len(), 1);
        assert!(profile.mute_switch.is_some() && profile.display.is_some());
        assert_eq!(profile.identity.options["device_tree"].as_str(), Some("serial-number"));
        assert!(
            text.contains("# Or [microphones] driver = \"alsa\", device = \"hw:CARD=Other,DEV=0\""),
            "{text}"
        );
        assert!(!text.contains("/dev/video"), "a number that changes: {text}");
    }

    #[test]
    fn a_speakerphones_buttons_come_with_its_lights_and_before_its_keys() {
        let names = ["Board 5", "PTZ", "S1", "Array", "red", "gpio-keys"].map(str::to_owned);
        let phone = Speakerphone {
            name: "Jabra".into(),
            id: "0b0e:0410".into(),
            serial: String::new(),
            buttons: vec!["join".into(), "mute".into()],
            lights: vec!["off_hook".into(), "mute".into()],
        };
        let text = Machine { speakerphones: vec![phone], ..machine(&names) }.profile();
        let profile = Profile::parse(&text, "probe").unwrap();
        drivers::check(&profile).unwrap();
        assert_eq!(profile.buttons.as_ref().unwrap().driver, "hid_telephony");
        let lights = [(IndicatorRole::Mute, "mute"), (IndicatorRole::Meeting, "off_hook")];
        for (role, light) in lights {
            let section = &profile.indicators[&role];
            assert_eq!(
                (section.driver.as_str(), section.options["light"].as_str()),
                ("hid_telephony", Some(light))
            );
        }
        assert!(text.contains("# Or [buttons] driver = \"evdev\", device = \"gpio-keys\""), "{text}");
    }

    #[test]
    fn a_scaler_and_a_screen_that_can_be_switched_are_used() {
        let converter = Converter {
            node: "/dev/video9".into(),
            title: "scaler".into(),
            driver: "m2m".into(),
            takes: Vec::new(),
            scales: true,
        };
        let adapter = |number: u32, physical_address| CecAdapter {
            node: format!("/dev/cec{number}").into(),
            physical_address,
            ..CecAdapter::default()
        };
        let cec_adapters = vec![adapter(0, None), adapter(1, Some(0x1000))];
        let text = Machine { converters: vec![converter], cec_adapters, ..Machine::default() }.profile();
        let profile = Profile::parse(&text, "probe").unwrap();
        drivers::check(&profile).unwrap();
        assert_eq!(profile.scaler.unwrap().driver, "v4l2");
        assert_eq!(profile.screen_power.unwrap().options["device"].as_str(), Some("/dev/cec1"));
        assert!(text.contains("# Or [screen_power] driver = \"cec\", device = \"/dev/cec0\""), "{text}");
    }

    #[test]
    fn the_profile_of_a_machine_with_nothing_is_one_that_opens_nothing() {
        let text = Machine::default().profile();
        let profile = Profile::parse(&text, "probe").unwrap();
        drivers::check(&profile).unwrap();
        assert!(profile.camera.is_none() && profile.speaker.is_none() && profile.watchdog.is_none());
        assert!(text.contains("# [camera]: No camera was found"), "{text}");
    }

    proptest! {
        #[test]
        fn whatever_devices_are_called_the_profile_parses_and_says_the_same(
            names in prop::array::uniform6(any_name()),
        ) {
            let profile = Profile::parse(&machine(&names).profile(), "probe").unwrap();
            let [model, title, serial, card, light, key] = &names;
            prop_assert_eq!(&profile.description, model);
            let options = |section: &Option<crate::Section>| section.as_ref().unwrap().options.clone();
            let camera = options(&profile.camera);
            prop_assert_eq!(camera["serial"].as_str(), Some(serial.as_str()));
            let device = format!("hw:CARD={card},DEV=0");
            let speaker = options(&profile.speaker);
            prop_assert_eq!(speaker["device"].as_str(), Some(device.as_str()));
            let buttons = options(&profile.buttons);
            prop_assert_eq!(buttons["device"].as_str(), Some(key.as_str()));
            let light_name = format!("{light}:mute");
            let mute = &profile.indicators[&IndicatorRole::Mute].options;
            prop_assert_eq!(mute["light"].as_str(), Some(light_name.as_str()));
            prop_assert!(profile.name.len() <= MOST, "{}", title);
            // No driver refuses it but for what no device is called.
            if names.iter().all(|name| !name.contains('\0')) {
                drivers::check(&profile).unwrap();
            }
        }
    }
}
