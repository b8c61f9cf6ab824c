//! Buttons of an input device: `gpio-keys`, a remote control, or the telephony keys of a USB speakerphone
//! (`Documentation/input/event-codes.rst`; USB HID Usage Tables, Telephony Device Page).
//!
//! The kernel makes keys of what a speakerphone has: `KEY_MICMUTE` or `KEY_MUTE` of its microphone button,
//! `KEY_PHONE` of its hook, `KEY_VOLUMEUP` and `KEY_VOLUMEDOWN`. `evtest` shows which.

use std::collections::BTreeMap;

use rostrum_hal::buttons::{ButtonError, ButtonEvent, ButtonRole, Buttons};
use serde::Deserialize;

use crate::{
    BoardError,
    drivers::Device,
    error::Failure,
    evdev_device::{Code, Input, LOOK_AGAIN},
    held::Held,
};

/// Keys of `[buttons]` with the driver `evdev`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Options {
    /// Name of the input device, or a path such as one under `/dev/input/by-id`.
    device: String,
    /// The device's key for each button.
    keys: BTreeMap<ButtonRole, Code>,
}

pub(crate) fn open(device: &Device<'_>) -> Result<Box<dyn Buttons>, BoardError> {
    let Options { device: name, keys } = device.options()?;
    if keys.is_empty() {
        return Err(device.wrong("keys names no button; give one such as keys.mute = \"KEY_MICMUTE\""));
    }
    let mut buttons = EvdevButtons { name, keys, input: None, gone: None, held: Held::default() };
    let opened = buttons.open();
    buttons.gone = opened.as_ref().err().map(ToString::to_string);
    buttons.input = device.now_or_later(opened)?;
    Ok(Box::new(buttons))
}

struct EvdevButtons {
    name: String,
    keys: BTreeMap<ButtonRole, Code>,
    /// `None` while the device is unplugged.
    input: Option<Input>,
    /// What is still to be told of a device that was never there.
    gone: Option<String>,
    held: Held,
}

impl EvdevButtons {
    fn open(&self) -> Result<Input, Failure> {
        Input::open(&self.name, &self.keys.values().copied().collect::<Vec<_>>())
    }
}

#[async_trait::async_trait]
impl Buttons for EvdevButtons {
    fn present(&self) -> Vec<ButtonRole> {
        self.keys.keys().copied().collect()
    }

    fn is_there(&self) -> bool {
        self.input.is_some()
    }

    /// When the device is gone, says so once and then waits until it is back.
    async fn next(&mut self) -> Result<ButtonEvent, ButtonError> {
        if let Some(message) = self.gone.take() {
            return Err(ButtonError::Gone { message });
        }
        loop {
            let Some(input) = &mut self.input else {
                self.input = self.open().ok();
                if self.input.is_none() {
                    tokio::time::sleep(LOOK_AGAIN).await;
                }
                continue;
            };
            let event = match input.next().await {
                Ok(event) => event,
                Err(message) => {
                    self.input = None;
                    self.held.clear();
                    return Err(ButtonError::Gone { message });
                }
            };
            let pressed = |(role, key): (&ButtonRole, &Code)| Some((*role, key.is_on_by(event)?));
            if let Some((button, pressed)) = self.keys.iter().find_map(pressed)
                && let Some(change) = self.held.now(button, pressed)
            {
                return Ok(change);
            }
        }
    }
}
