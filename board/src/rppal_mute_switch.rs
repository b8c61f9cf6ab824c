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
    let opened = RppalMuteSwitch::open(&InputOptions { pin, active_low, bias }, debounce);
    Ok(Box::new(opened.map_err(|failure| device.failed(failure))?))
}

struct RppalMuteSwitch {
    input: Input,
    edges: Arc<Notify>,
    /// Position told last.
    told: bool,
}

impl RppalMuteSwitch {
    fn open(options: &InputOptions, debounce: Duration) -> Result<Self, Failure> {
        let mut input = Input::open(&gpio()?, options)?;
        let edges = Arc::new(Notify::new());
        let edge = Arc::clone(&edges);
        input.watch(debounce, move |_| edge.notify_one())?;
        let told = input.is_active();
        Ok(Self { input, edges, told })
    }
}

#[async_trait::async_trait]
impl MuteSwitch for RppalMuteSwitch {
    fn cut(&mut self) -> Result<bool, MuteSwitchError> {
        self.told = self.input.is_active();
        Ok(self.told)
    }

    async fn moved(&mut self) -> Result<bool, MuteSwitchError> {
        loop {
            // An edge is told when the contact is quiet. Without one: `cut` may have read a contact that
            // bounced.
            let _ = tokio::time::timeout(LOOK_AGAIN, self.edges.notified()).await;
            let before = self.told;
            let now = self.cut()?;
            if now != before {
                return Ok(now);
            }
        }
    }
}
