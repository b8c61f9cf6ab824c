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
    error::Failure,
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
    let mut light = GpioLight { name: device.place.into(), chip, lamps, open: None };
    light.open = device.now_or_later(light.request())?;
    Ok(Box::new(light))
}

struct GpioLight {
    name: String,
    chip: String,
    /// Red, green, blue.
    lamps: [Option<LineOptions>; 3],
    /// `None` while the chip is not there.
    open: Option<Open>,
}

struct Open {
    request: Request,
    /// Of the lamps that there are.
    lines: [Option<Offset>; 3],
}

impl GpioLight {
    fn request(&self) -> Result<Open, Failure> {
        let options: Vec<_> = self.lamps.iter().flatten().collect();
        let (request, offsets) = request_outputs(&self.chip, &options)?;
        let mut offsets = offsets.into_iter();
        let lines = self.lamps.each_ref().map(|lamp| lamp.as_ref().and_then(|_| offsets.next()));
        Ok(Open { request, lines })
    }

    fn set(&mut self, on: [bool; 3]) -> Result<(), String> {
        let open = match &mut self.open {
            Some(open) => open,
            None => {
                let open = self.request().map_err(|failure| failure.to_string())?;
                self.open.insert(open)
            }
        };
        for (line, on) in open.lines.iter().zip(on) {
            let Some(line) = line else { continue };
            let value = if on { Value::Active } else { Value::Inactive };
            open.request.set_value(*line, value).map_err(|error| reason(&error))?;
        }
        Ok(())
    }
}

impl Indicator for GpioLight {
    fn show(&mut self, signal: Signal) -> Result<(), IndicatorError> {
        let there = self.lamps.each_ref().map(Option::is_some);
        let on = lamps_that_are_on(brightness_of_lamps(signal, there));
        self.set(on).map_err(|message| {
            // A chip that was plugged in again is another one.
            self.open = None;
            IndicatorError::Gone { name: self.name.clone(), source: std::io::Error::other(message) }
        })
    }
}
