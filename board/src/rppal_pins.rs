//! Pins of a Raspberry Pi by the crate `rppal`: registers through `/dev/gpiomem`, edges through the GPIO
//! character device. Numbers are those of the Broadcom chip (BCM), not of the header.
//!
//! The driver `gpio` serves a Raspberry Pi as well and needs less; this one has its PWM.

use std::time::Duration;

use rppal::{
    gpio::{Error, Event, Gpio, InputPin, Level, Trigger},
    system::DeviceInfo,
};
use serde::Deserialize;

use crate::{error::Failure, gpio_lines::Bias};

/// Keys of one input.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct InputOptions {
    /// BCM number of the pin.
    pub(crate) pin: u8,
    /// It is low when a button is pressed or a switch cuts.
    #[serde(default)]
    pub(crate) active_low: bool,
    /// Resistor of the chip; none when left out.
    pub(crate) bias: Option<Bias>,
}

/// An input pin.
pub(crate) struct Input {
    pin: InputPin,
    active_low: bool,
}

impl Input {
    pub(crate) fn open(gpio: &Gpio, options: &InputOptions) -> Result<Self, Failure> {
        let pin = gpio.get(options.pin).map_err(|error| pin_failure(options.pin, &error))?;
        let pin = match options.bias {
            Some(Bias::PullUp) => pin.into_input_pullup(),
            Some(Bias::PullDown) => pin.into_input_pulldown(),
            Some(Bias::Disabled) | None => pin.into_input(),
        };
        Ok(Self { pin, active_low: options.active_low })
    }

    /// Whether it is active now.
    pub(crate) fn is_active(&self) -> bool {
        (self.pin.read() == Level::High) != self.active_low
    }

    /// Calls `tell`, on a thread of `rppal`, with whether it is active, after each edge that stayed for
    /// `debounce`.
    pub(crate) fn watch(
        &mut self,
        debounce: Duration,
        mut tell: impl FnMut(bool) + Send + 'static,
    ) -> Result<(), Failure> {
        let active_low = self.active_low;
        let debounce = (!debounce.is_zero()).then_some(debounce);
        self.pin
            .set_async_interrupt(Trigger::Both, debounce, move |edge| tell(is_active_after(edge, active_low)))
            .map_err(|error| pin_failure(self.pin.pin(), &error))
    }
}

fn is_active_after(edge: Event, active_low: bool) -> bool {
    (edge.trigger == Trigger::RisingEdge) != active_low
}

/// Opens the pins of this machine.
pub(crate) fn gpio() -> Result<Gpio, Failure> {
    Gpio::new().map_err(|error| {
        let name = "the GPIO of a Raspberry Pi".to_owned();
        match (DeviceInfo::new(), error) {
            (Err(_), _) => Failure::Absent { name, hint: not_a_raspberry_pi() },
            (Ok(_), Error::PermissionDenied(path)) => Failure::Unusable {
                name,
                message: format!("{path} may not be opened; put this program's user into the group gpio"),
            },
            (Ok(info), error) => Failure::Unusable {
                name: format!("the GPIO of this {}", info.model()),
                message: format!(
                    "{error}; it needs /dev/gpiomem (or /dev/mem) and a /dev/gpiochip* of the driver \
                     pinctrl-bcm2835, pinctrl-bcm2711 or pinctrl-rp1"
                ),
            },
        }
    })
}

/// What this machine is instead.
pub(crate) fn not_a_raspberry_pi() -> String {
    let model = std::fs::read("/proc/device-tree/model").unwrap_or_default();
    let model = String::from_utf8_lossy(&model);
    match model.trim_matches(['\0', '\n', ' ']) {
        "" => "this machine is not a Raspberry Pi; use the driver gpio".into(),
        model => format!("this machine is a {model}, which rppal does not know; use the driver gpio"),
    }
}

pub(crate) fn pin_failure(pin: u8, error: &Error) -> Failure {
    let name = format!("the pin {pin}");
    match error {
        // It does not come later either.
        Error::PinNotAvailable(_) => Failure::Unusable {
            name,
            message: "a Raspberry Pi has BCM pins 0 to 27 on its header, a compute module 0 to 45".into(),
        },
        Error::PinUsed(_) => {
            Failure::Unusable { name, message: "another section of the profile has it".into() }
        }
        error => Failure::Unusable { name, message: error.to_string() },
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn an_edge_makes_a_pin_active_by_its_polarity() {
        let edge = |trigger| Event { trigger, ..Event::default() };
        assert!(is_active_after(edge(Trigger::RisingEdge), false));
        assert!(!is_active_after(edge(Trigger::FallingEdge), false));
        assert!(is_active_after(edge(Trigger::FallingEdge), true));
        assert!(!is_active_after(edge(Trigger::RisingEdge), true));
    }

    #[test]
    fn a_machine_that_is_no_raspberry_pi_says_so() {
        if DeviceInfo::new().is_err() {
            let error = gpio().unwrap_err().to_string();
            assert!(error.starts_with("the GPIO of a Raspberry Pi is not there; this machine is"), "{error}");
        }
    }

    #[test]
    fn a_pin_that_is_not_there_gives_those_that_are() {
        let error = pin_failure(77, &Error::PinNotAvailable(77)).to_string();
        assert_eq!(
            error,
            "the pin 77 cannot be used: a Raspberry Pi has BCM pins 0 to 27 on its header, a compute module 0 to 45"
        );
    }
}
