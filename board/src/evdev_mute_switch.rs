//! A mute switch of an input device: `SW_MUTE_DEVICE`, or a key that stays down while it cuts, such as a
//! slide switch on `gpio-keys` (`Documentation/input/event-codes.rst`).

use rostrum_hal::mute_switch::{MuteSwitch, MuteSwitchError};
use serde::Deserialize;

use crate::{
    BoardError,
    drivers::Device,
    evdev_device::{Code, Input, LOOK_AGAIN},
};

/// Keys of `[mute_switch]` with the driver `evdev`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Options {
    /// Name of the input device, or a path such as one under `/dev/input/by-id`.
    device: String,
    /// The switch that is on, or the key that is down, while the microphones are cut.
    #[serde(default = "mute_device")]
    code: Code,
}

fn mute_device() -> Code {
    Code::Switch(evdev::SwitchCode::SW_MUTE_DEVICE)
}

pub(crate) fn open(device: &Device<'_>) -> Result<Box<dyn MuteSwitch>, BoardError> {
    let Options { device: name, code } = device.options()?;
    let input = device.now_or_later(Input::open(&name, &[code]))?;
    let mut switch = EvdevMuteSwitch { name, code, input, told: None };
    switch.told = switch.look().ok();
    Ok(Box::new(switch))
}

struct EvdevMuteSwitch {
    name: String,
    code: Code,
    /// `None` while the device is unplugged.
    input: Option<Input>,
    /// Position told last; `None` when it was unreadable.
    told: Option<bool>,
}

impl EvdevMuteSwitch {
    /// Reads the position, after it looked for the device when that was unplugged.
    fn look(&mut self) -> Result<bool, MuteSwitchError> {
        let position = self.read();
        if position.is_err() {
            self.input = None;
        }
        self.told = position.as_ref().ok().copied();
        position.map_err(|message| MuteSwitchError::Gone { message })
    }

    fn read(&mut self) -> Result<bool, String> {
        let input = match &mut self.input {
            Some(input) => input,
            gone => gone.insert(Input::open(&self.name, &[self.code]).map_err(|e| e.to_string())?),
        };
        input.is_on(self.code)
    }
}

#[async_trait::async_trait]
impl MuteSwitch for EvdevMuteSwitch {
    fn cut(&mut self) -> Result<bool, MuteSwitchError> {
        self.look()
    }

    /// Also returns when the device goes, and when it is back.
    async fn moved(&mut self) -> Result<bool, MuteSwitchError> {
        loop {
            let before = self.told;
            match self.look() {
                Ok(now) if before == Some(now) => {}
                Err(_) if before.is_none() => {}
                moved => return moved,
            }
            let Some(input) = &mut self.input else {
                tokio::time::sleep(LOOK_AGAIN).await;
                continue;
            };
            // Events only tell when to look: the position counts.
            if let Err(message) = input.next().await {
                (self.input, self.told) = (None, None);
                return Err(MuteSwitchError::Gone { message });
            }
        }
    }
}
