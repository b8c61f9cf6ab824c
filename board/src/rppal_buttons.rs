//! Buttons on pins of a Raspberry Pi, by the crate `rppal`.

use std::{collections::BTreeMap, time::Duration};

use rostrum_hal::buttons::{ButtonError, ButtonEvent, ButtonRole, Buttons};
use serde::Deserialize;
use tokio::sync::mpsc;

use crate::{
    BoardError,
    drivers::Device,
    error::Failure,
    gpio_lines::{LOOK_AGAIN, ten_milliseconds},
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
    let opened = Watched::open(&pins, debounce);
    let gone = opened.as_ref().err().map(ToString::to_string);
    let watched = device.now_or_later(opened)?;
    Ok(Box::new(RppalButtons { pins, debounce, watched, gone, held: Held::default() }))
}

struct RppalButtons {
    pins: BTreeMap<ButtonRole, InputOptions>,
    debounce: Duration,
    /// `None` until the pins are there.
    watched: Option<Watched>,
    /// What is still to be told of pins that were never there.
    gone: Option<String>,
    held: Held,
}

struct Watched {
    /// Watched as long as they are kept.
    _pins: Vec<Input>,
    edges: mpsc::Receiver<(ButtonRole, bool)>,
}

impl Watched {
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
        Ok(Self { _pins: inputs, edges })
    }
}

#[async_trait::async_trait]
impl Buttons for RppalButtons {
    fn present(&self) -> Vec<ButtonRole> {
        self.pins.keys().copied().collect()
    }

    fn is_there(&self) -> bool {
        self.watched.is_some()
    }

    async fn next(&mut self) -> Result<ButtonEvent, ButtonError> {
        if let Some(message) = self.gone.take() {
            return Err(ButtonError::Gone { message });
        }
        loop {
            let Some(watched) = &mut self.watched else {
                self.watched = Watched::open(&self.pins, self.debounce).ok();
                if self.watched.is_none() {
                    tokio::time::sleep(LOOK_AGAIN).await;
                }
                continue;
            };
            match watched.edges.recv().await {
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
