//! Lights on pins or PWM channels of a Raspberry Pi, by the crate `rppal`.
//!
//! Its PWM is that of the kernel (`Documentation/driver-api/pwm.rst`, sysfs), which `dtoverlay=pwm` in
//! `/boot/firmware/config.txt` makes. Nothing here blinks by itself: such a signal is shown steadily.

use rostrum_hal::indicator::{Indicator, IndicatorError, Signal};
use rppal::{
    gpio::OutputPin,
    pwm::{Channel, Polarity, Pwm},
};
use serde::Deserialize;

use crate::{
    BoardError,
    colour::{brightness_of_lamps, lamps_that_are_on},
    drivers::Device,
    error::Failure,
    rppal_pins::{gpio, not_a_raspberry_pi, pin_failure},
};

/// Fast enough for eyes and cameras.
const PWM_HZ: f64 = 1000.0;

/// Keys of a section of `[indicators]` with the driver `rppal`. A light of one colour has one lamp.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Options {
    red: Option<LampOptions>,
    green: Option<LampOptions>,
    blue: Option<LampOptions>,
}

/// Keys of one lamp: either of the two.
#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct LampOptions {
    /// BCM number of a pin, for a lamp that is on or off.
    pin: Option<u8>,
    /// A PWM channel, for a lamp with brightness.
    pwm: Option<u8>,
    /// It shines when it is low.
    #[serde(default)]
    active_low: bool,
}

pub(crate) fn open(device: &Device<'_>) -> Result<Box<dyn Indicator>, BoardError> {
    let Options { red, green, blue } = device.options()?;
    let lamps = [red, green, blue];
    if lamps.iter().all(Option::is_none) {
        let message =
            "it has no lamp; give at least one of red, green, blue, such as red.pin = 17 or red.pwm = 0";
        return Err(device.wrong(message));
    }
    if lamps.iter().flatten().any(|lamp| lamp.pin.is_some() == lamp.pwm.is_some()) {
        return Err(device.wrong("a lamp has either a pin or a pwm"));
    }
    let open = device.now_or_later(open_lamps(&lamps))?;
    Ok(Box::new(RppalLight { name: device.place.into(), lamps, open }))
}

struct RppalLight {
    name: String,
    /// Red, green, blue.
    lamps: [Option<LampOptions>; 3],
    /// The same; `None` until they are there.
    open: Option<[Option<Lamp>; 3]>,
}

fn open_lamps(options: &[Option<LampOptions>; 3]) -> Result<[Option<Lamp>; 3], Failure> {
    let open = |lamp: &Option<LampOptions>| lamp.as_ref().map(Lamp::open).transpose();
    let [red, green, blue] = options.each_ref().map(open);
    Ok([red?, green?, blue?])
}

enum Lamp {
    Pin { pin: OutputPin, active_low: bool },
    Pwm(Pwm),
}

impl Lamp {
    fn open(options: &LampOptions) -> Result<Self, Failure> {
        match (options.pin, options.pwm) {
            (Some(number), _) => {
                let pin = gpio()?.get(number).map_err(|error| pin_failure(number, &error))?;
                let active_low = options.active_low;
                let mut pin = if active_low { pin.into_output_high() } else { pin.into_output_low() };
                // A crashed program must not look like a muted room.
                pin.set_reset_on_drop(false);
                Ok(Self::Pin { pin, active_low })
            }
            (None, channel) => {
                let polarity = if options.active_low { Polarity::Inverse } else { Polarity::Normal };
                open_pwm(channel.unwrap_or_default(), polarity).map(Self::Pwm)
            }
        }
    }

    fn show(&mut self, brightness: u8, on: bool) -> Result<(), std::io::Error> {
        match self {
            Self::Pin { pin, active_low } => {
                pin.write((on != *active_low).into());
                Ok(())
            }
            Self::Pwm(pwm) => {
                pwm.set_duty_cycle(f64::from(brightness) / 255.0).map_err(std::io::Error::other)
            }
        }
    }
}

fn open_pwm(number: u8, polarity: Polarity) -> Result<Pwm, Failure> {
    let name = format!("the PWM channel {number}");
    let channel = match number {
        0 => Channel::Pwm0,
        1 => Channel::Pwm1,
        2 => Channel::Pwm2,
        3 => Channel::Pwm3,
        _ => {
            return Err(Failure::Unusable {
                name,
                message: "a Raspberry Pi has 0 and 1, from the 5 on 0 to 3".into(),
            });
        }
    };
    let mut pwm = Pwm::with_frequency(channel, PWM_HZ, 0.0, polarity, true).map_err(|error| match error {
        rppal::pwm::Error::UnknownModel => Failure::Absent { name, hint: not_a_raspberry_pi() },
        error => Failure::Unusable {
            name,
            message: format!("{error}; it needs dtoverlay=pwm or pwm-2chan in /boot/firmware/config.txt"),
        },
    })?;
    // A crashed program must not look like a muted room.
    pwm.set_reset_on_drop(false);
    Ok(pwm)
}

impl Indicator for RppalLight {
    fn show(&mut self, signal: Signal) -> Result<(), IndicatorError> {
        let brightness = brightness_of_lamps(signal, self.lamps.each_ref().map(Option::is_some));
        let on = lamps_that_are_on(brightness);
        let lamps = match &mut self.open {
            Some(lamps) => lamps,
            none => none.insert(open_lamps(&self.lamps).map_err(|failure| IndicatorError::Gone {
                name: self.name.clone(),
                source: std::io::Error::other(failure),
            })?),
        };
        for ((lamp, brightness), on) in lamps.iter_mut().zip(brightness).zip(on) {
            let Some(lamp) = lamp else { continue };
            lamp.show(brightness, on)
                .map_err(|source| IndicatorError::Gone { name: self.name.clone(), source })?;
        }
        Ok(())
    }
}
