//! A mute switch on a pin of a Raspberry Pi, by the crate `rppal`.

use std::{sync::Arc, time::Duration};

use rostrum_hal::mute_switch::{MuteSwitch, MuteSwitchError};
use serde::Deserialize;
use tokio::sync::Notify;

use crate::{
    BoardError,
    drivers::Device,
    error::Failure,
    gpio_lines::{Bias, LOOK_AGAIN, ten_milliseconds},
    rppal_pins::{Input, InputOptions, gpio},
};

/// Keys of `[mute_switch]` with the driver `rppal`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Options {
    /// BCM number of the pin, which is active while the switch cuts.
    pin: u8,
    /// It is active when it is low.
    #[serde(default)]
    active_low: bool,
    /// Resistor of the chip.
    bias: Option<Bias>,
    /// Time for which a contact bounces.
    #[serde(default = "ten_milliseconds")]
    debounce_ms: u16,
}

pub(crate) fn open(device: &Device<'_>) -> Result<Box<dyn MuteSwitch>, BoardError> {
    let Options { pin, active_low, bias, debounce_ms } = device.options()?;
    let debounce = Duration::from_millis(debounce_ms.into());
    let pin = InputOptions { pin, active_low, bias };
    let watched = device.now_or_later(Watched::open(&pin, debounce))?;
    let told = watched.as_ref().map(|watched| watched.input.is_active());
    Ok(Box::new(RppalMuteSwitch { pin, debounce, watched, told }))
}

struct RppalMuteSwitch {
    pin: InputOptions,
    debounce: Duration,
    /// `None` until the pin is there.
    watched: Option<Watched>,
    /// Position told last; `None` when it was unreadable.
    told: Option<bool>,
}

struct Watched {
    input: Input,
    edges: Arc<Notify>,
}

impl Watched {
    fn open(options: &InputOptions, debounce: Duration) -> Result<Self, Failure> {
        let mut input = Input::open(&gpio()?, options)?;
        let edges = Arc::new(Notify::new());
        let edge = Arc::clone(&edges);
        input.watch(debounce, move |_| edge.notify_one())?;
        Ok(Self { input, edges })
    }
}

#[async_trait::async_trait]
impl MuteSwitch for RppalMuteSwitch {
    fn cut(&mut self) -> Result<bool, MuteSwitchError> {
        let watched = match &mut self.watched {
            Some(watched) => watched,
            none => {
                let opened = Watched::open(&self.pin, self.debounce);
                none.insert(opened.map_err(|failure| MuteSwitchError::Gone { message: failure.to_string() })?)
            }
        };
        let cut = watched.input.is_active();
        self.told = Some(cut);
        Ok(cut)
    }

    async fn moved(&mut self) -> Result<bool, MuteSwitchError> {
        loop {
            // An edge is told when the contact is quiet. Without one: `cut` may have read a contact that
            // bounced.
            match &self.watched {
                Some(watched) => {
                    let _ = tokio::time::timeout(LOOK_AGAIN, watched.edges.notified()).await;
                }
                None => tokio::time::sleep(LOOK_AGAIN).await,
            }
            let before = self.told;
            match self.cut() {
                Ok(now) if before != Some(now) => return Ok(now),
                // What was never there is looked for again.
                Ok(_) | Err(_) => {}
            }
        }
    }
}
