//! A terminal that no bench gave a name and a place: says so, and waits. Nothing of it is invented, and ending again and
//! again would look like a version that is broken.

use std::time::Duration;

use rostrum_hal::{
    Timestamp,
    display::Display,
    indicator::{Indicator, IndicatorRole, Signal},
};
use rostrum_media::{Idle, Scene, Screen};
use tokio::signal::unix::{SignalKind, signal};

use crate::pulse::Pulse;

/// Time between two drawings, so that a screen that is plugged in later shows it too.
const AGAIN: Duration = Duration::from_secs(1);
/// Half a period of the light, as for every fault.
const FAST: Duration = Duration::from_millis(250);

/// Where it is said.
pub(crate) struct Front {
    pub(crate) display: Option<Box<dyn Display>>,
    pub(crate) indicators: Vec<(IndicatorRole, Box<dyn Indicator>)>,
}

/// Says what is missing, until the program is to end.
///
/// # Errors
/// When nothing can be drawn, or no signal be waited for.
pub(crate) async fn wait(mut front: Front, missing: &anyhow::Error, pulse: Pulse) -> anyhow::Result<()> {
    log::error!("this terminal was not provisioned: {missing:#}");
    crate::print(&format!("rostrumd not provisioned: {missing:#}"))?;
    // Without systemd there is nobody to tell. It is up, and does what it can.
    let _ = sd_notify::notify(false, &[sd_notify::NotifyState::Ready]);
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let mut again = tokio::time::interval(AGAIN);
    loop {
        tokio::select! {
            _ = again.tick() => {}
            _ = terminate.recv() => return Ok(()),
            _ = interrupt.recv() => return Ok(()),
        }
        pulse.beat(Timestamp::now());
        front.say(missing)?;
    }
}

impl Front {
    fn say(&mut self, missing: &anyhow::Error) -> anyhow::Result<()> {
        // One that is unplugged is tried again.
        for (_, light) in self.indicators.iter_mut().filter(|(role, _)| *role == IndicatorRole::Status) {
            let _ = light.show(Signal::RED.blinking(FAST));
        }
        if let Some(display) = &mut self.display {
            let mut screen = Screen::new(display.size(), 1.0)?;
            let title = "This terminal was not provisioned".to_owned();
            screen.set_scene(Scene::Idle(Idle { title, hint: missing.to_string() }));
            let _ = display.show(screen.render(Timestamp::now()));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use rostrum_hal::sim::{VirtualBoard, VirtualBoardOptions};

    use super::*;

    #[test]
    fn light_and_screen_say_it() {
        let board = VirtualBoard::new(VirtualBoardOptions::default());
        let light = board.indicator(IndicatorRole::Status).unwrap();
        let mut front = Front {
            display: Some(Box::new(board.display())),
            indicators: vec![(IndicatorRole::Status, Box::new(light) as _)],
        };
        front.say(&anyhow::anyhow!("no Udid")).unwrap();
        assert_eq!(board.state().indicators[&IndicatorRole::Status], Signal::RED.blinking(FAST));
        assert!(board.screen().is_some());
    }
}
