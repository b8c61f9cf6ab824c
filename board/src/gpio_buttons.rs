//! Buttons on GPIO lines (`Documentation/userspace-api/gpio/chardev.rst`).

use std::{collections::BTreeMap, time::Duration};

use gpiocdev::line::{EdgeKind, Offset};
use rostrum_hal::buttons::{ButtonError, ButtonEvent, ButtonRole, Buttons};
use serde::Deserialize;

use crate::{
    BoardError,
    drivers::Device,
    error::Failure,
    gpio_lines::{Edges, LOOK_AGAIN, LineOptions, request_inputs, ten_milliseconds},
    held::Held,
};

/// Keys of `[buttons]` with the driver `gpio`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Options {
    /// Label or name of the chip.
    chip: String,
    /// A line each button, active while it is pressed.
    lines: BTreeMap<ButtonRole, LineOptions>,
    /// Time for which a contact bounces.
    #[serde(default = "ten_milliseconds")]
    debounce_ms: u16,
}

pub(crate) fn open(device: &Device<'_>) -> Result<Box<dyn Buttons>, BoardError> {
    let Options { chip, lines, debounce_ms } = device.options()?;
    if lines.is_empty() {
        return Err(device.wrong("lines names no button; give one such as lines.join = { line = 8 }"));
    }
    let debounce = Duration::from_millis(debounce_ms.into());
    let mut buttons = GpioButtons { chip, lines, debounce, open: None, gone: None, held: Held::default() };
    let requested = buttons.request();
    buttons.gone = requested.as_ref().err().map(ToString::to_string);
    buttons.open = device.now_or_later(requested)?;
    Ok(Box::new(buttons))
}

struct GpioButtons {
    chip: String,
    lines: BTreeMap<ButtonRole, LineOptions>,
    debounce: Duration,
    /// `None` while the chip is unplugged.
    open: Option<Open>,
    /// What is still to be told of a chip that was never there.
    gone: Option<String>,
    held: Held,
}

struct Open {
    edges: Edges,
    roles: Vec<(Offset, ButtonRole)>,
}

impl Open {
    /// Waits for the next edge, and gives the button and whether it is down. Cancel-safe.
    async fn next(&mut self) -> Result<(ButtonRole, bool), String> {
        loop {
            let Some(edge) = self.edges.next().await? else {
                // Fails when the chip was unplugged.
                self.edges.is_active(self.roles[0].0)?;
                continue;
            };
            if let Some((_, role)) = self.roles.iter().find(|(line, _)| *line == edge.offset) {
                return Ok((*role, edge.kind == EdgeKind::Rising));
            }
        }
    }
}

impl GpioButtons {
    fn request(&self) -> Result<Open, Failure> {
        let lines: Vec<_> = self.lines.values().collect();
        let (edges, offsets) = request_inputs(&self.chip, &lines, self.debounce)?;
        Ok(Open { edges, roles: offsets.into_iter().zip(self.lines.keys().copied()).collect() })
    }
}

#[async_trait::async_trait]
impl Buttons for GpioButtons {
    fn present(&self) -> Vec<ButtonRole> {
        self.lines.keys().copied().collect()
    }

    fn is_there(&self) -> bool {
        self.open.is_some()
    }

    /// When the chip is gone, says so once and then waits until it is back.
    async fn next(&mut self) -> Result<ButtonEvent, ButtonError> {
        if let Some(message) = self.gone.take() {
            return Err(ButtonError::Gone { message });
        }
        loop {
            let Some(open) = &mut self.open else {
                self.open = self.request().ok();
                if self.open.is_none() {
                    tokio::time::sleep(LOOK_AGAIN).await;
                }
                continue;
            };
            match open.next().await {
                Ok((button, pressed)) => {
                    if let Some(event) = self.held.now(button, pressed) {
                        return Ok(event);
                    }
                }
                Err(message) => {
                    self.open = None;
                    self.held.clear();
                    return Err(ButtonError::Gone { message });
                }
            }
        }
    }
}
