//! Lights of a speakerphone, which its host drives. They are on or off; what blinks is on.

use std::sync::Arc;

use rostrum_hal::indicator::{Indicator, IndicatorError, Signal};
use serde::Deserialize;

use super::{headset::Headset, telephony::Lamp};
use crate::{BoardError, drivers::Device, error::Failure};

/// Keys of a section of `[indicators]` with the driver `hid_telephony`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Options {
    /// `vendor:product` as `lsusb` writes it, the serial number, or the name.
    device: String,
    /// `off_hook`, `mute` or `ring`.
    light: Lamp,
}

pub(crate) fn open(device: &Device<'_>) -> Result<Box<dyn Indicator>, BoardError> {
    let Options { device: name, light: lamp } = device.options()?;
    let headset = Headset::of(&name, device)?;
    let (_, present) = headset.has();
    if headset.is_there() && !present.contains(&lamp) {
        let names: Vec<_> = present.into_iter().map(Lamp::name).collect();
        return Err(device.failed(Failure::Absent {
            name: format!("the light {} of the speakerphone {name}", lamp.name()),
            hint: if names.is_empty() {
                "it has none".into()
            } else {
                format!("it has {}", names.join(", "))
            },
        }));
    }
    Ok(Box::new(TelephonyLight { headset, lamp }))
}

struct TelephonyLight {
    headset: Arc<Headset>,
    lamp: Lamp,
}

impl Indicator for TelephonyLight {
    fn show(&mut self, signal: Signal) -> Result<(), IndicatorError> {
        let lit = signal.rgb != [0; 3];
        self.headset.light(self.lamp, lit).map_err(|source| IndicatorError::Gone {
            name: format!("{} of the speakerphone {}", self.lamp.name(), self.headset.wanted()),
            source,
        })
    }
}
