//! One GPIO line whose level means something: a mute switch, or the output of a presence sensor
//! (`Documentation/userspace-api/gpio/chardev.rst`).

use std::time::Duration;

use gpiocdev::line::Offset;
use rostrum_hal::{
    mute_switch::{MuteSwitch, MuteSwitchError},
    presence::{Presence, PresenceError},
};
use serde::Deserialize;

use crate::{
    BoardError,
    drivers::Device,
    error::Failure,
    gpio_lines::{Bias, Edges, LOOK_AGAIN, LineName, LineOptions, request_inputs, ten_milliseconds},
};

/// Keys of `[mute_switch]` and `[presence]` with the driver `gpio`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Options {
    /// Label or name of the chip.
    chip: String,
    /// Number or name of the line, which is active while the switch cuts or somebody is there.
    line: LineName,
    /// It is active when it is low.
    #[serde(default)]
    active_low: bool,
    /// Resistor of the chip.
    bias: Option<Bias>,
    /// Time for which a contact bounces.
    #[serde(default = "ten_milliseconds")]
    debounce_ms: u16,
}

pub(crate) fn mute_switch(device: &Device<'_>) -> Result<Box<dyn MuteSwitch>, BoardError> {
    Ok(Box::new(LevelLine::open(device)?))
}

pub(crate) fn presence(device: &Device<'_>) -> Result<Box<dyn Presence>, BoardError> {
    Ok(Box::new(LevelLine::open(device)?))
}

struct LevelLine {
    chip: String,
    line: LineOptions,
    debounce: Duration,
    /// `None` while the chip is unplugged.
    open: Option<(Edges, Offset)>,
    /// What was told last; `None` when it was unreadable.
    told: Option<bool>,
}

impl LevelLine {
    fn open(device: &Device<'_>) -> Result<Self, BoardError> {
        let Options { chip, line, active_low, bias, debounce_ms } = device.options()?;
        let line = LineOptions { line, active_low, bias };
        let debounce = Duration::from_millis(debounce_ms.into());
        let mut level = Self { chip, line, debounce, open: None, told: None };
        let looked = level.look();
        device.now_or_later(looked)?;
        Ok(level)
    }

    /// Reads the level, after it looked for the chip when that was unplugged.
    fn look(&mut self) -> Result<bool, Failure> {
        let level = self.read();
        if level.is_err() {
            self.open = None;
        }
        self.told = level.as_ref().ok().copied();
        level
    }

    fn read(&mut self) -> Result<bool, Failure> {
        let (edges, offset) = match &mut self.open {
            Some(open) => open,
            closed => {
                let (edges, offsets) = request_inputs(&self.chip, &[&self.line], self.debounce)?;
                closed.insert((edges, offsets[0]))
            }
        };
        edges.is_active(*offset).map_err(|message| self.unreadable(message))
    }

    fn unreadable(&self, message: String) -> Failure {
        Failure::Unusable {
            name: format!("the line {} of the GPIO chip {}", self.line.line, self.chip),
            message,
        }
    }

    /// Waits until the level is not what was told. Also returns when the line goes, and when it is back.
    /// Cancel-safe.
    async fn change(&mut self) -> Result<bool, Failure> {
        loop {
            let before = self.told;
            match self.look() {
                Ok(now) if before == Some(now) => {}
                Err(_) if before.is_none() => {}
                changed => return changed,
            }
            let Some((edges, _)) = &mut self.open else {
                tokio::time::sleep(LOOK_AGAIN).await;
                continue;
            };
            // Edges only tell when to look: the level counts.
            if let Err(message) = edges.next().await {
                (self.open, self.told) = (None, None);
                return Err(self.unreadable(message));
            }
        }
    }
}

#[async_trait::async_trait]
impl MuteSwitch for LevelLine {
    fn cut(&mut self) -> Result<bool, MuteSwitchError> {
        self.look().map_err(|failure| MuteSwitchError::Gone { message: failure.to_string() })
    }

    async fn moved(&mut self) -> Result<bool, MuteSwitchError> {
        self.change().await.map_err(|failure| MuteSwitchError::Gone { message: failure.to_string() })
    }
}

#[async_trait::async_trait]
impl Presence for LevelLine {
    fn present(&mut self) -> Result<bool, PresenceError> {
        self.look().map_err(|failure| PresenceError::Gone { message: failure.to_string() })
    }

    async fn changed(&mut self) -> Result<bool, PresenceError> {
        self.change().await.map_err(|failure| PresenceError::Gone { message: failure.to_string() })
    }
}
