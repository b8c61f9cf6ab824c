//! Lights on GPIO lines (`Documentation/userspace-api/gpio/chardev.rst`).
//!
//! The character device does not blink: such a signal is shown steadily. A lamp that shall blink is better
//! given to `leds-gpio` in the device tree, and then to the driver `led_class`.

use gpiocdev::{
    Request,
    line::{Offset, Value},
};
use rostrum_hal::indicator::{Indicator, IndicatorError, Signal};
use serde::Deserialize;

use crate::{
    BoardError,
    colour::{brightness_of_lamps, lamps_that_are_on},
    drivers::Device,
    gpio_lines::{LineOptions, reason, request_outputs},
};

/// Keys of a section of `[indicators]` with the driver `gpio`. A light of one colour has one line.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Options {
    /// Label or name of the chip.
    chip: String,
    /// Line of the red lamp.
    red: Option<LineOptions>,
    /// Line of the green lamp.
    green: Option<LineOptions>,
    /// Line of the blue lamp.
    blue: Option<LineOptions>,
}

pub(crate) fn open(device: &Device<'_>) -> Result<Box<dyn Indicator>, BoardError> {
    let Options { chip, red, green, blue } = device.options()?;
    let lamps = [red, green, blue];
    let lines: Vec<_> = lamps.iter().flatten().collect();
    if lines.is_empty() {
        return Err(
            device.wrong("it has no line; give at least one of red, green, blue, such as red.line = 4")
        );
    }
    let (request, offsets) = request_outputs(&chip, &lines).map_err(|failure| device.failed(failure))?;
    let mut offsets = offsets.into_iter();
    let lamps = lamps.map(|lamp| lamp.and_then(|_| offsets.next()));
    Ok(Box::new(GpioLight { name: device.place.into(), request, lamps }))
}

struct GpioLight {
    name: String,
    request: Request,
    /// Red, green, blue.
    lamps: [Option<Offset>; 3],
}

impl Indicator for GpioLight {
    fn show(&mut self, signal: Signal) -> Result<(), IndicatorError> {
        let on = lamps_that_are_on(brightness_of_lamps(signal, self.lamps.map(|lamp| lamp.is_some())));
        for (lamp, on) in self.lamps.iter().zip(on) {
            let Some(line) = lamp else { continue };
            let value = if on { Value::Active } else { Value::Inactive };
            self.request.set_value(*line, value).map_err(|error| IndicatorError::Gone {
                name: self.name.clone(),
                source: std::io::Error::other(reason(&error)),
            })?;
        }
        Ok(())
    }
}
