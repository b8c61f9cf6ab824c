//! Buttons on pins of a Raspberry Pi, by the crate `rppal`.

use std::{collections::BTreeMap, time::Duration};

use rostrum_hal::buttons::{ButtonError, ButtonEvent, ButtonRole, Buttons};
use serde::Deserialize;
use tokio::sync::mpsc;

use crate::{
    BoardError,
    drivers::Device,
    error::Failure,
    gpio_lines::ten_milliseconds,
    held::Held,
    rppal_pins::{Input, InputOptions, gpio},
};

/// Edges that may wait for a program that does not look at its buttons.
const WAITING: usize = 64;

/// Keys of `[buttons]` with the driver `rppal`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Options {
    /// A pin each button, active while it is pressed.
    pins: BTreeMap<ButtonRole, InputOptions>,
    /// Time for which a contact bounces.
    #[serde(default = "ten_milliseconds")]
    debounce_ms: u16,
}

pub(crate) fn open(device: &Device<'_>) -> Result<Box<dyn Buttons>, BoardError> {
    let Options { pins, debounce_ms } = device.options()?;
    if pins.is_empty() {
        return Err(device.wrong("pins names no button; give one such as pins.join = { pin = 17 }"));
    }
    let debounce = Duration::from_millis(debounce_ms.into());
    Ok(Box::new(RppalButtons::open(&pins, debounce).map_err(|failure| device.failed(failure))?))
}

struct RppalButtons {
    /// Watched as long as they are kept.
    _pins: Vec<Input>,
    roles: Vec<ButtonRole>,
    edges: mpsc::Receiver<(ButtonRole, bool)>,
    held: Held,
}

impl RppalButtons {
    fn open(pins: &BTreeMap<ButtonRole, InputOptions>, debounce: Duration) -> Result<Self, Failure> {
        let gpio = gpio()?;
        let (tell, edges) = mpsc::channel(WAITING);
        let watch = |(&role, options): (&ButtonRole, &InputOptions)| {
            let (mut input, tell) = (Input::open(&gpio, options)?, tell.clone());
            input.watch(debounce, move |pressed| {
                // Nobody looks at the buttons when it is full.
                let _ = tell.try_send((role, pressed));
            })?;
            Ok(input)
        };
        let inputs = pins.iter().map(watch).collect::<Result<_, Failure>>()?;
        Ok(Self { _pins: inputs, roles: pins.keys().copied().collect(), edges, held: Held::default() })
    }
}

#[async_trait::async_trait]
impl Buttons for RppalButtons {
    fn present(&self) -> Vec<ButtonRole> {
        self.roles.clone()
    }

    async fn next(&mut self) -> Result<ButtonEvent, ButtonError> {
        loop {
            match self.edges.recv().await {
                Some((button, pressed)) => {
                    if let Some(event) = self.held.now(button, pressed) {
                        return Ok(event);
                    }
                }
                None => return Err(ButtonError::Gone { message: "rppal stopped watching the pins".into() }),
            }
        }
    }
}
