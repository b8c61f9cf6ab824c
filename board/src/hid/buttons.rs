//! Buttons of a speakerphone: its hook is `join`, its mute button `mute`, and volume where it has that.

use std::sync::Arc;

use rostrum_hal::buttons::{ButtonError, ButtonEvent, ButtonRole, Buttons};
use serde::Deserialize;
use tokio::sync::mpsc;

use super::headset::{Headset, Heard};
use crate::{BoardError, drivers::Device};

/// Keys of `[buttons]` with the driver `hid_telephony`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Options {
    /// `vendor:product` as `lsusb` writes it, the serial number, or the name.
    device: String,
}

pub(crate) fn open(device: &Device<'_>) -> Result<Box<dyn Buttons>, BoardError> {
    let Options { device: name } = device.options()?;
    let headset = Headset::of(&name, device)?;
    let mut present = headset.has().0;
    if !headset.is_there() {
        // What it has is known when it comes.
        present = vec![ButtonRole::Join, ButtonRole::Mute];
    }
    Ok(Box::new(TelephonyButtons { present, heard: headset.listen(), headset }))
}

struct TelephonyButtons {
    headset: Arc<Headset>,
    present: Vec<ButtonRole>,
    heard: mpsc::Receiver<Heard>,
}

#[async_trait::async_trait]
impl Buttons for TelephonyButtons {
    fn present(&self) -> Vec<ButtonRole> {
        self.present.clone()
    }

    fn is_there(&self) -> bool {
        self.headset.is_there()
    }

    /// When the device is gone, says so once and then waits until it is back.
    async fn next(&mut self) -> Result<ButtonEvent, ButtonError> {
        match self.heard.recv().await {
            Some(Heard::Button(event)) => Ok(event),
            Some(Heard::Gone(message)) => Err(ButtonError::Gone { message }),
            None => {
                let message = format!("the speakerphone {} has other listeners", self.headset.wanted());
                Err(ButtonError::Gone { message })
            }
        }
    }
}
