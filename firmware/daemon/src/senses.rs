//! The outer world into inputs: buttons, mute switch, signals, the panel; and the watchdog's food.

use std::{collections::BTreeSet, net::SocketAddr, time::Duration};

use anyhow::Context;
use rostrum_hal::{
    Timestamp,
    buttons::{ButtonRole, Buttons},
    mute_switch::MuteSwitch,
    presence::Presence,
    watchdog::{ResetReason, Watchdog},
};
use rostrum_panel::{PanelCommand, PanelConfig, PanelHandles};
use rostrum_room::Part;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::{mpsc, oneshot},
    task::JoinHandle,
};

use crate::{
    input::{Health, Input, Inputs},
    loan::Lender,
    pulse::Pulses,
};

/// Time between two looks at a device that is gone.
const RETRY: Duration = Duration::from_millis(300);
/// Wishes of the panel that may wait.
const PANEL_QUEUE: usize = 64;

/// Name of a button on the panel's interface.
pub(crate) fn button_name(role: &ButtonRole) -> String {
    match role {
        ButtonRole::Join => "join",
        ButtonRole::Mute => "mute",
        ButtonRole::VolumeUp => "volume_up",
        ButtonRole::VolumeDown => "volume_down",
        ButtonRole::Reset => "reset",
        _ => "other",
    }
    .into()
}

/// Tells of every press, and of the end of each: also of one that nobody sees, as the buttons are away by then.
pub(crate) fn watch_buttons(
    mut buttons: Box<dyn Buttons>,
    mut lender: Lender<Box<dyn Buttons>>,
    inputs: &Inputs,
) {
    let inputs = inputs.clone();
    let mut health = Health::of(Part::Buttons, &inputs);
    tokio::spawn(async move {
        let mut held = BTreeSet::new();
        let let_go = |held: &mut BTreeSet<ButtonRole>| {
            while let Some(role) = held.pop_first() {
                let _ = inputs.send(Input::ButtonReleased(role));
            }
        };
        loop {
            let next = tokio::select! {
                next = buttons.next() => next,
                ask = lender.wait() => {
                    let_go(&mut held);
                    buttons = ask.lend(buttons).wait().await;
                    continue;
                }
                // Nobody presses a button to say that it is back.
                () = tokio::time::sleep(RETRY), if health.is_faulty() => {
                    if buttons.is_there() {
                        health.healthy();
                    }
                    continue;
                }
            };
            match next {
                Ok(event) => {
                    health.healthy();
                    let input = if event.pressed {
                        held.insert(event.button);
                        Input::Button(event.button)
                    } else {
                        held.remove(&event.button);
                        Input::ButtonReleased(event.button)
                    };
                    if inputs.send(input).is_err() {
                        return;
                    }
                }
                Err(error) => {
                    let_go(&mut held);
                    health.faulty(error);
                    tokio::time::sleep(RETRY).await;
                }
            }
        }
    });
}

/// Tells where the switch is, and of every move.
pub(crate) fn watch_mute_switch(
    mut switch: Box<dyn MuteSwitch>,
    mut lender: Lender<Box<dyn MuteSwitch>>,
    inputs: &Inputs,
) {
    let inputs = inputs.clone();
    let mut health = Health::of(Part::MuteSwitch, &inputs);
    tokio::spawn(async move {
        let mut now = switch.cut();
        loop {
            match now {
                Ok(cut) => {
                    health.healthy();
                    if inputs.send(Input::MuteSwitch { cut }).is_err() {
                        return;
                    }
                    now = tokio::select! {
                        now = switch.moved() => now,
                        ask = lender.wait() => {
                            switch = ask.lend(switch).wait().await;
                            switch.cut()
                        }
                    };
                }
                Err(error) => {
                    health.faulty(error);
                    now = tokio::select! {
                        () = tokio::time::sleep(RETRY) => switch.cut(),
                        ask = lender.wait() => {
                            switch = ask.lend(switch).wait().await;
                            switch.cut()
                        }
                    };
                }
            }
        }
    });
}

/// Tells who is there, and of everybody who comes and goes.
pub(crate) fn watch_presence(
    mut presence: Box<dyn Presence>,
    mut lender: Lender<Box<dyn Presence>>,
    inputs: &Inputs,
) {
    let inputs = inputs.clone();
    tokio::spawn(async move {
        let mut now = presence.present();
        let mut failed = false;
        loop {
            let occupied = match &now {
                Ok(occupied) => *occupied,
                Err(error) => {
                    if !failed {
                        log::warn!(error:%; "the presence sensor; the room counts as occupied");
                    }
                    true
                }
            };
            failed = now.is_err();
            if inputs.send(Input::Presence { occupied }).is_err() {
                return;
            }
            now = tokio::select! {
                () = tokio::time::sleep(RETRY), if failed => presence.present(),
                now = presence.changed(), if !failed => now,
                ask = lender.wait() => {
                    presence = ask.lend(presence).wait().await;
                    presence.present()
                }
            };
        }
    });
}

/// Whoever feeds the watchdog, until the program ends as it should.
pub(crate) struct Feeder {
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Feeder {
    /// Stops the watchdog, so that a program that ends is no reason for a reset.
    pub(crate) async fn disarm(self) {
        let _ = self.stop.send(());
        let _ = self.task.await;
    }
}

/// Feeds the watchdog from the runtime while all loops turn: when one hangs, or the runtime's own threads do, the board
/// resets.
pub(crate) fn feed(mut watchdog: Box<dyn Watchdog>, pulses: Pulses) -> Feeder {
    match watchdog.last_reset() {
        ResetReason::Watchdog => log::warn!("the board was reset by its watchdog: something hung"),
        reason => log::info!(reason:? = reason; "why the board started"),
    }
    let (stop, mut stopped) = oneshot::channel();
    let task = tokio::spawn(async move {
        let mut interval = tokio::time::interval(watchdog.timeout() / 3);
        let mut hung = None;
        loop {
            tokio::select! {
                _ = interval.tick() => {}
                _ = &mut stopped => break,
            }
            let hanging = pulses.hanging(Timestamp::now());
            if hanging != hung {
                match hanging {
                    Some(name) => {
                        log::error!(part = name; "a part hangs; the watchdog is not fed and resets the board")
                    }
                    None => log::warn!("all parts turn again; the watchdog is fed"),
                }
                hung = hanging;
            }
            if hung.is_none()
                && let Err(error) = watchdog.feed()
            {
                log::error!(error:%; "the watchdog is not fed");
            }
        }
        if let Err(error) = watchdog.disarm() {
            log::warn!(error:%; "the watchdog runs on and will reset the board");
        }
    });
    Feeder { stop, task }
}

/// Tells systemd that all loops turn, where it wants to know (`WatchdogSec=`): it starts the program again when one
/// hangs, which is sooner than the board's own watchdog resets all of it.
pub(crate) fn feed_systemd(pulses: Pulses) {
    let mut usec = 0;
    if !sd_notify::watchdog_enabled(false, &mut usec) {
        return;
    }
    tokio::spawn(async move {
        let mut interval = tokio::time::interval(Duration::from_micros(usec) / 3);
        loop {
            interval.tick().await;
            if pulses.hanging(Timestamp::now()).is_none() {
                let _ = sd_notify::notify(false, &[sd_notify::NotifyState::Watchdog]);
            }
        }
    });
}

/// SIGTERM and SIGINT end the program after it left its channel.
pub(crate) fn watch_signals(inputs: &Inputs) -> anyhow::Result<()> {
    for kind in [SignalKind::terminate(), SignalKind::interrupt()] {
        let (mut signal, inputs) = (signal(kind)?, inputs.clone());
        tokio::spawn(async move {
            while signal.recv().await.is_some() {
                let _ = inputs.send(Input::Shutdown);
            }
        });
    }
    Ok(())
}

/// Where the panel's wishes go.
pub(crate) fn panel_commands(inputs: &Inputs) -> mpsc::Sender<PanelCommand> {
    let (sender, mut commands) = mpsc::channel(PANEL_QUEUE);
    let inputs = inputs.clone();
    tokio::spawn(async move {
        while let Some(command) = commands.recv().await {
            if inputs.send(Input::Panel(command)).is_err() {
                return;
            }
        }
    });
    sender
}

/// A panel that is served.
pub(crate) struct ServedPanel {
    pub(crate) address: SocketAddr,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl ServedPanel {
    /// Ends it; requests that run get a second.
    pub(crate) async fn stop(self) {
        let _ = self.stop.send(());
        let _ = tokio::time::timeout(Duration::from_secs(1), self.task).await;
    }
}

/// Serves the panel.
pub(crate) async fn serve_panel(
    listen: SocketAddr,
    handles: PanelHandles,
    config: PanelConfig,
) -> anyhow::Result<ServedPanel> {
    let listener = tokio::net::TcpListener::bind(listen).await.with_context(|| {
        format!("the panel cannot listen on {listen}; stop what does, or change panel.listen")
    })?;
    let address = listener.local_addr()?;
    let router = rostrum_panel::router(handles, config);
    let (stop, stopped) = oneshot::channel::<()>();
    let task = tokio::spawn(async move {
        let shutdown = async { drop(stopped.await) };
        if let Err(error) = rostrum_panel::serve(listener, router, shutdown).await {
            log::error!(error:%; "the panel ended");
        }
    });
    Ok(ServedPanel { address, stop, task })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use rostrum_hal::sim::{VirtualBoard, VirtualBoardOptions};

    use super::*;
    use crate::loan::desk;

    #[tokio::test]
    async fn a_button_that_is_held_while_a_test_borrows_it_counts_as_let_go() {
        let board = VirtualBoard::new(VirtualBoardOptions::default());
        let (borrower, lender) = desk();
        let (inputs, mut happened) = mpsc::unbounded_channel();
        watch_buttons(Box::new(board.buttons()), lender, &inputs);
        board.press(ButtonRole::VolumeUp, true);
        assert!(matches!(happened.recv().await, Some(Input::Button(ButtonRole::VolumeUp))));
        let loan = borrower.borrow().await;
        assert!(loan.is_some());
        assert!(matches!(happened.recv().await, Some(Input::ButtonReleased(ButtonRole::VolumeUp))));
        drop(loan);
        board.press(ButtonRole::VolumeUp, false);
        assert!(matches!(happened.recv().await, Some(Input::ButtonReleased(ButtonRole::VolumeUp))));
    }
}
