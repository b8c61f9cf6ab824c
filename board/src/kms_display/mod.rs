//! Screens at the sockets of graphics cards, without a desktop (kernel mode setting): driver `kms`.
//!
//! This side chooses socket, mode and plane and lights the screen up; GStreamer's `kmssink` then brings the pictures onto
//! the plane, through the same open card. A socket that is empty is no error of the board: the screen shows when it comes.
//!
//! Pictures are turned by 180 degrees by the plane where it can, by other angles by the processor: planes that can do more
//! want their pictures in tiles, which the processor cannot write.

mod card;
mod choice;
mod events;
mod lit;
mod sockets;

use std::{
    os::fd::{AsFd, AsRawFd},
    path::Path,
};

use gstreamer::prelude::*;
use rostrum_hal::{FrameSize, display::Display};
use serde::Deserialize;

use self::{
    card::Card,
    choice::{WantedMode, WantedPlane, room_size},
    events::Events,
    lit::{Lit, Wanted},
    sockets::{Place, Reserved},
};
use crate::{
    BoardError,
    drivers::Device,
    elements,
    screen::{
        Rotation, USABLE, is_usable,
        kept::{Kept, Lack, Socket},
        pipeline::Outlet,
    },
};

/// Keys of `[display]` and `[content_display]` with the driver `kms`.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Options {
    /// The graphics card: the name of its driver, such as "vc4", or the path of its node. The first with a screen when
    /// left out.
    card: Option<String>,
    /// The socket, such as "HDMI-A-1"; the first with a screen when left out.
    connector: Option<String>,
    #[serde(default)]
    mode: WantedMode,
    #[serde(default)]
    plane: WantedPlane,
    /// Degrees by which the picture is turned clockwise.
    #[serde(default)]
    rotation: Rotation,
    /// Size of the room's picture, as people see it. The screen's own up to 1920x1080 when left out.
    size: Option<FrameSize>,
}

pub(crate) fn open(device: &Device<'_>) -> Result<Box<dyn Display>, BoardError> {
    let options: Options = device.options()?;
    elements::require("kmssink")?;
    let card = options.card.as_deref().map(|card| find_card(device, card)).transpose()?;
    let sockets = sockets::list(Path::new(sockets::ROOT));
    if sockets.is_empty() {
        let hint = format!("no card in {} has a socket for a screen; is its driver loaded?", sockets::ROOT);
        return Err(device.absent("a graphics card", hint));
    }
    let of_card = |socket: &&sockets::SocketState| card.as_ref().is_none_or(|card| *card == socket.card);
    if let Some(connector) = &options.connector
        && !sockets.iter().filter(of_card).any(|socket| socket.connector == *connector)
    {
        let present: Vec<_> =
            sockets.iter().filter(of_card).map(|socket| socket.connector.as_str()).collect();
        return Err(device.absent(connector, format!("there are {}", present.join(", "))));
    }
    let reserved = reserved(device, &options, card.as_deref())?;
    let place = Place { card, connector: options.connector.clone(), reserved };
    let shown = match options.mode {
        WantedMode::Given(size, _) => Some(size),
        WantedMode::Preferred => place.choose(&sockets).and_then(|socket| {
            // What the kernel last heard may be of an earlier screen.
            let asked =
                Card::open(&socket.card).ok().and_then(|card| lit::preferred(&card, &socket.connector));
            asked.or(socket.preferred)
        }),
    };
    let size = options.size.unwrap_or_else(|| room_size(shown, options.rotation));
    if !is_usable(size, options.rotation) {
        return Err(device.wrong(USABLE));
    }
    let (name, hint) = match (&options.connector, &place.card) {
        (Some(connector), _) => {
            (format!("at {connector}"), format!("plug it in at {connector} or switch it on"))
        }
        (None, Some(card)) => {
            (format!("at {card}"), format!("plug one in at a socket of {card} or switch it on"))
        }
        (None, None) => ("at a graphics card".into(), "plug one in or switch it on".into()),
    };
    let wanted = Wanted { mode: options.mode, plane: options.plane, rotation: options.rotation, size };
    let socket =
        KmsSocket { place, wanted, events: Events::listen(), has_news: false, said: None, lit: None };
    let kept =
        Kept::start(name.clone(), hint, size, socket).map_err(|e| device.absent(name, e.to_string()))?;
    Ok(Box::new(kept))
}

/// The name of the card that a profile names by its driver or by a path.
fn find_card(device: &Device<'_>, wanted: &str) -> Result<String, BoardError> {
    let cards = card::list();
    named(&cards, wanted).ok_or_else(|| {
        let present: Vec<_> =
            cards.iter().map(|(name, driver)| format!("{driver} (/dev/dri/{name})")).collect();
        let hint = if present.is_empty() { "there is none".into() } else { present.join(", ") };
        device.absent(format!("the graphics card {wanted}"), format!("there are {hint}"))
    })
}

/// The name of the card of `cards` that has that driver or path.
fn named(cards: &[(String, String)], wanted: &str) -> Option<String> {
    let named = if wanted.contains('/') { card::name_of(wanted) } else { None };
    let found = cards.iter().find(|(name, driver)| named.as_ref() == Some(name) || driver == wanted);
    found.map(|(name, _)| name.clone())
}

/// The socket of the other of two displays, which is left to that one. `card` is that of this one, where it names one.
fn reserved(
    device: &Device<'_>,
    options: &Options,
    card: Option<&str>,
) -> Result<Option<Reserved>, BoardError> {
    let other =
        if device.place == "display" { &device.profile.content_display } else { &device.profile.display };
    let Some(other) = other.as_ref().filter(|other| other.driver == device.section.driver) else {
        return Ok(None);
    };
    // A key of the wrong type is found where that section is opened.
    let text = |key: &str| other.options.get(key).and_then(toml::Value::as_str).map(str::to_owned);
    let connector = text("connector");
    let other_card = text("card").and_then(|other| named(&card::list(), &other));
    if connector.is_none() && options.connector.is_none() && other_card.as_deref() == card {
        return Err(
            device.wrong("with two screens name the connector of one, so that each gets its own picture")
        );
    }
    let connector = connector.filter(|_| options.connector.is_none());
    Ok(connector.map(|connector| Reserved { card: other_card, connector }))
}

struct KmsSocket {
    place: Place,
    wanted: Wanted,
    events: Events,
    /// Something changed, and no screen was asked since.
    has_news: bool,
    /// What was told of the screen that was lit last.
    said: Option<String>,
    /// The socket that gives a picture, with the names of its card and connector.
    lit: Option<(String, String, Lit)>,
}

impl Socket for KmsSocket {
    fn connect(&mut self) -> Result<Outlet, Lack> {
        let root = Path::new(sockets::ROOT);
        if self.has_news() {
            self.has_news = false;
            // Some drivers tell that something changed, and find out what when they are asked.
            for socket in self.place.fitting(&sockets::list(root)) {
                if let Ok(card) = Card::open(&socket.card) {
                    lit::preferred(&card, &socket.connector);
                }
            }
        }
        let sockets = sockets::list(root);
        let socket = self.place.choose(&sockets).ok_or(Lack::Gone)?;
        let card = Card::open(&socket.card)?;
        let lit = Lit::up(&card, &socket.connector, self.wanted)?;
        // A screen that fails is lit again and again.
        let look = format!("{} of {}: {lit}", socket.connector, socket.card);
        if self.said.as_ref() != Some(&look) {
            log::info!("a screen is lit: {look}");
            if let Some(present) = lit.instead_of() {
                log::warn!(connector = socket.connector.as_str(), present; "the screen has no such mode as the profile wants");
            }
            self.said = Some(look);
        }
        let sink = elements::make("kmssink").map_err(|e| Lack::Failed(e.to_string()))?;
        sink.set_property("fd", card.as_fd().as_raw_fd());
        // Numbers of the kernel, which are small.
        sink.set_property("connector-id", lit.connector_id() as i32);
        sink.set_property("plane-id", lit.plane_id() as i32);
        sink.set_property("can-scale", lit.scale_to().is_none());
        // The kernel itself waits for the screen's next picture, and events of one open card cannot be told apart by two.
        sink.set_property("skip-vsync", true);
        sink.set_property("sync", false);
        let outlet = Outlet { sink, rotation: lit.rotation(), scale_to: lit.scale_to() };
        self.lit = Some((socket.card.clone(), socket.connector.clone(), lit));
        Ok(outlet)
    }

    fn is_there(&mut self) -> bool {
        let Some((card, connector, lit)) = &self.lit else { return false };
        sockets::is_connected(Path::new(sockets::ROOT), card, connector)
            && (!self.events.any() || lit.is_the_same())
    }

    fn disconnect(&mut self) {
        self.lit = None;
    }

    fn has_news(&mut self) -> bool {
        self.has_news |= self.events.any();
        self.has_news
    }
}
