//! The table for people.

use super::{Machine, sounds::Goes};

/// One device.
pub(super) struct Row {
    /// What it is.
    pub(super) what: String,
    /// What else is known.
    pub(super) details: Vec<String>,
    /// The section and keys of a profile that name it; empty where no profile does.
    pub(super) key: String,
}

impl Row {
    /// A device that no profile names.
    pub(super) fn plain(what: String) -> Self {
        Self { what, details: Vec::new(), key: String::new() }
    }
}

pub(super) fn table(machine: &Machine) -> String {
    let sounds =
        |goes| machine.sounds.iter().filter(move |sound| sound.goes == goes).map(|sound| sound.row());
    let installed = machine.encoder_elements.iter().filter(|element| element.is_installed);
    let kinds: [(&str, Vec<Row>); 13] = [
        ("Cameras", machine.cameras.iter().map(|camera| camera.row(&machine.cameras)).collect()),
        ("Microphones", sounds(Goes::In).collect()),
        ("Speakers", sounds(Goes::Out).collect()),
        (
            "Encoders",
            machine
                .encoders
                .iter()
                .map(|encoder| encoder.row())
                .chain(installed.map(|element| element.row()))
                .collect(),
        ),
        ("Scalers", machine.converters.iter().map(|converter| converter.row()).collect()),
        ("Screens", machine.screens.iter().map(|screen| screen.row()).collect()),
        ("CEC adapters", machine.cec_adapters.iter().map(|adapter| adapter.row()).collect()),
        ("Lights", machine.lights.iter().map(|light| light.row()).collect()),
        (
            "Speakerphones",
            machine.speakerphones.iter().map(|phone| phone.row(&machine.speakerphones)).collect(),
        ),
        ("Keys and switches", machine.inputs.iter().map(|input| input.row()).collect()),
        ("GPIO lines", machine.gpio_chips.iter().map(|chip| chip.row(&machine.gpio_chips)).collect()),
        ("Watchdogs", machine.watchdogs.iter().map(|watchdog| watchdog.row()).collect()),
        ("Names", machine.identities.iter().map(|source| source.row()).collect()),
    ];
    let model =
        if machine.model.is_empty() { "A machine that does not say what it is" } else { &machine.model };
    let mut text = format!("{}\n", printable(model));
    let mut missing = Vec::new();
    for (kind, rows) in &kinds {
        if rows.is_empty() {
            missing.push(*kind);
            continue;
        }
        text += &format!("\n{kind}\n");
        rows.iter().for_each(|row| text += &lines(row));
    }
    text += "\nNetwork\n";
    machine.networks.iter().for_each(|network| text += &lines(&network.row()));
    if machine.networks.is_empty() {
        text += "  no interface\n";
    }
    if !missing.is_empty() {
        text += &format!(
            "\nNot found: {}\n",
            missing.join(", ").to_lowercase().replace("gpio", "GPIO").replace("cec", "CEC")
        );
    }
    if !machine.has_anything() {
        text += "This machine has no camera, no sound and no screen: plug them in or load their drivers; \
                 the profile virtual needs none.\n";
    }
    text
}

fn lines(row: &Row) -> String {
    let details: String = row.details.iter().map(|detail| format!("      {}\n", printable(detail))).collect();
    let key = if row.key.is_empty() { String::new() } else { format!("      {}\n", printable(&row.key)) };
    format!("  {}\n{details}{key}", printable(&row.what))
}

/// Without what a terminal obeys, or what would start another line.
pub(super) fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_with_nothing_says_so() {
        let text = Machine::default().table();
        assert!(text.contains("Not found: cameras, microphones, speakers, encoders"), "{text}");
        assert!(text.contains("no camera, no sound and no screen"), "{text}");
        assert!(!text.contains("\nCameras"), "{text}");
    }

    #[test]
    fn what_a_device_is_called_cannot_command_the_terminal_that_shows_it() {
        let camera = super::super::cameras::Camera { title: "\u{1b}[2J\nX".into(), ..Default::default() };
        let text = Machine { cameras: vec![camera], ..Machine::default() }.table();
        assert!(!text.contains('\u{1b}'), "{text:?}");
    }
}
