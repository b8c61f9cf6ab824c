//! Positions of the camera, kept by name.

use std::collections::BTreeMap;
use std::path::PathBuf;

use parking_lot::Mutex;
use rostrum_hal::camera::{CameraControl, ControlState};
use serde::{Deserialize, Serialize};

use crate::{PanelError, files};

/// Where each control stands in a preset.
pub(crate) type Values = BTreeMap<CameraControl, i64>;

/// Presets that one terminal keeps.
pub(crate) const MAX_PRESETS: usize = 64;
const MAX_NAME_CHARS: usize = 64;

/// 1 to 64 characters that can be seen, without a slash and without spaces around.
pub(crate) fn valid_name(name: &str) -> bool {
    (1..=MAX_NAME_CHARS).contains(&name.chars().count())
        && name.trim() == name
        && !matches!(name, "." | "..")
        && !name.chars().any(|c| c.is_control() || c == '/' || c == '\\')
}

/// What a preset keeps of `controls`: all that can be set, and of focus, exposure and white balance either the
/// value or that the camera chooses it. Privacy and a speed are nobody's position.
pub(crate) fn to_keep(controls: &[ControlState]) -> Values {
    let value = |wanted| controls.iter().find(|c| c.control == wanted).map(|c| c.value);
    controls
        .iter()
        .filter(|c| !c.read_only && !c.control.is_speed())
        .filter(|c| match c.control {
            CameraControl::Privacy => false,
            CameraControl::Focus => value(CameraControl::FocusAuto) != Some(1),
            CameraControl::Exposure | CameraControl::Gain => value(CameraControl::ExposureAuto) != Some(1),
            CameraControl::WhiteBalance => value(CameraControl::WhiteBalanceAuto) != Some(1),
            _ => true,
        })
        .map(|c| (c.control, c.value))
        .collect()
}

/// The order in which to set them: who chooses first, then what.
pub(crate) fn in_order(values: &Values) -> Vec<(CameraControl, i64)> {
    use CameraControl::{ExposureAuto, FocusAuto, WhiteBalanceAuto};
    let automatic = |c: &CameraControl| matches!(c, FocusAuto | ExposureAuto | WhiteBalanceAuto);
    let mut ordered: Vec<_> = values.iter().map(|(&control, &value)| (control, value)).collect();
    ordered.sort_by_key(|(control, _)| !automatic(control));
    ordered
}

#[derive(Default, Serialize, Deserialize)]
struct Stored {
    presets: BTreeMap<String, Values>,
}

/// All presets, in a file.
pub(crate) struct Presets {
    path: PathBuf,
    presets: Mutex<BTreeMap<String, Values>>,
}

impl Presets {
    /// Reads `path`. A file that cannot be understood is put aside: a room meets without presets too.
    pub(crate) fn open(path: PathBuf) -> Self {
        let presets = match files::read(&path) {
            Ok(None) => BTreeMap::new(),
            Ok(Some(text)) => match serde_json::from_str::<Stored>(&text) {
                Ok(stored) => stored.presets,
                Err(error) => {
                    let aside = path.with_extension("broken");
                    log::warn!("the camera's presets cannot be understood and are put aside: {error}");
                    if let Err(error) = std::fs::rename(&path, &aside) {
                        log::warn!("the broken presets stay where they are: {error}");
                    }
                    BTreeMap::new()
                }
            },
            Err(error) => {
                log::warn!("there are no presets of the camera: {error}");
                BTreeMap::new()
            }
        };
        Self { path, presets: Mutex::new(presets) }
    }

    /// All names, in their order.
    pub(crate) fn names(&self) -> Vec<String> {
        self.presets.lock().keys().cloned().collect()
    }

    /// One preset.
    pub(crate) fn get(&self, name: &str) -> Option<Values> {
        self.presets.lock().get(name).cloned()
    }

    /// Keeps a preset; `false` when there are [`MAX_PRESETS`] others. Blocks.
    pub(crate) fn put(&self, name: &str, values: Values) -> Result<bool, PanelError> {
        let mut presets = self.presets.lock();
        if !presets.contains_key(name) && presets.len() >= MAX_PRESETS {
            return Ok(false);
        }
        let mut changed = presets.clone();
        changed.insert(name.to_owned(), values);
        self.write(&changed)?;
        *presets = changed;
        Ok(true)
    }

    /// Forgets a preset; `false` when there is none of that name. Blocks.
    pub(crate) fn remove(&self, name: &str) -> Result<bool, PanelError> {
        let mut presets = self.presets.lock();
        let mut changed = presets.clone();
        if changed.remove(name).is_none() {
            return Ok(false);
        }
        self.write(&changed)?;
        *presets = changed;
        Ok(true)
    }

    fn write(&self, presets: &BTreeMap<String, Values>) -> Result<(), PanelError> {
        let stored = Stored { presets: presets.clone() };
        let mut text = serde_json::to_string_pretty(&stored).map_err(|error| PanelError::File {
            path: self.path.clone(),
            doing: "written",
            source: error.into(),
        })?;
        text.push('\n');
        files::replace(&self.path, text.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn control(control: CameraControl, value: i64, read_only: bool) -> ControlState {
        ControlState { control, minimum: -100, maximum: 100, step: 1, default: 0, value, read_only }
    }

    #[test]
    fn presets_are_there_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("presets.json");
        let values = Values::from([(CameraControl::Pan, 7200)]);
        assert!(Presets::open(path.clone()).put("Whiteboard links", values.clone()).unwrap());
        let again = Presets::open(path.clone());
        assert_eq!(again.get("Whiteboard links"), Some(values));
        assert!(again.remove("Whiteboard links").unwrap());
        assert!(!again.remove("Whiteboard links").unwrap());
        assert!(Presets::open(path).names().is_empty());
    }

    #[test]
    fn a_vendors_control_is_kept_like_any_other() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("presets.json");
        let led: CameraControl = "vendor_led".parse().unwrap();
        let values = to_keep(&[control(led, 7, false), control("vendor_serial".parse().unwrap(), 9, true)]);
        assert_eq!(values, Values::from([(led, 7)]));
        assert!(Presets::open(path.clone()).put("door", values.clone()).unwrap());
        assert_eq!(Presets::open(path).get("door"), Some(values));
    }

    #[test]
    fn a_broken_file_is_put_aside_and_the_next_preset_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("presets.json");
        std::fs::write(&path, "{").unwrap();
        let presets = Presets::open(path.clone());
        assert!(presets.names().is_empty());
        assert!(presets.put("door", Values::new()).unwrap());
        assert_eq!(std::fs::read_to_string(folder.path().join("presets.broken")).unwrap(), "{");
    }

    #[test]
    fn the_number_of_presets_is_bounded_but_a_known_one_can_change() {
        let folder = tempfile::tempdir().unwrap();
        let presets = Presets::open(folder.path().join("presets.json"));
        for n in 0..MAX_PRESETS {
            assert!(presets.put(&n.to_string(), Values::new()).unwrap());
        }
        assert!(!presets.put("one more", Values::new()).unwrap());
        assert!(presets.put("0", Values::from([(CameraControl::Zoom, 200)])).unwrap());
    }

    #[test]
    fn a_preset_keeps_neither_privacy_nor_speeds_nor_what_the_camera_chooses() {
        let kept = to_keep(&[
            control(CameraControl::Pan, 5, false),
            control(CameraControl::Zoom, 5, true),
            control(CameraControl::Focus, 5, false),
            control(CameraControl::FocusAuto, 1, false),
            control(CameraControl::Exposure, 6, false),
            control(CameraControl::ExposureAuto, 0, false),
            control(CameraControl::Privacy, 1, false),
            control(CameraControl::PanSpeed, 50, false),
            control(CameraControl::ZoomSpeed, 0, false),
        ]);
        let expected = Values::from([
            (CameraControl::Pan, 5),
            (CameraControl::FocusAuto, 1),
            (CameraControl::Exposure, 6),
            (CameraControl::ExposureAuto, 0),
        ]);
        assert_eq!(kept, expected);
        let first_two: Vec<_> = in_order(&kept).into_iter().take(2).map(|(c, _)| c).collect();
        assert_eq!(first_two, [CameraControl::FocusAuto, CameraControl::ExposureAuto]);
    }

    #[test]
    fn names_that_cannot_stand_in_a_path_or_on_a_page_are_refused() {
        for name in ["", " door", "a/b", "..", "a\nb", &"x".repeat(65)] {
            assert!(!valid_name(name), "{name:?}");
        }
        for name in ["door", "Whiteboard links", "講台"] {
            assert!(valid_name(name), "{name:?}");
        }
    }
}
