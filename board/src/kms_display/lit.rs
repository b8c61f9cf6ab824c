//! A socket of a graphics card that gives a picture: its mode is set, behind the room's picture all is black.

use std::{io, sync::Arc};

use drm::{
    buffer::DrmFourcc,
    control::{
        self, Device as _, ModeFlags, ModeTypeFlags, connector, crtc, dumbbuffer::DumbBuffer, framebuffer,
        plane,
    },
};
use rostrum_hal::FrameSize;

use super::{
    card::{Card, Used},
    choice::{self, Mode, Plane, PlaneKind, WantedMode, WantedPlane},
};
use crate::screen::{Rotation, kept::Lack};

/// Bits of the plane's property `rotation` (drm_mode.h, `DRM_MODE_ROTATE_*`).
const UPRIGHT: u64 = 1;
const UPSIDE_DOWN: u64 = 4;
/// Value of the connector's property `link-status` (drm_mode.h, `DRM_MODE_LINK_STATUS_BAD`).
const LINK_STATUS_BAD: u64 = 1;

/// What the profile wants of the socket.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted {
    pub(super) mode: WantedMode,
    pub(super) plane: WantedPlane,
    pub(super) rotation: Rotation,
    /// Size of the room's picture.
    pub(super) size: FrameSize,
}

/// Dropping it makes the screen dark.
pub(super) struct Lit {
    card: Arc<Card>,
    connector: connector::Handle,
    crtc: crtc::Handle,
    plane: plane::Handle,
    /// All modes of the screen, to tell it from another.
    modes: Vec<control::Mode>,
    /// The mode that is set, and all that the screen offers when none of these is the wanted one.
    offer: Mode,
    instead_of: Option<String>,
    size: FrameSize,
    /// What the processor has to do, as the plane does not.
    rotation: Rotation,
    scale: bool,
    black: Black,
    _used: Used,
}

impl Lit {
    /// Lights up the socket named `connector`.
    pub(super) fn up(card: &Arc<Card>, connector: &str, wanted: Wanted) -> Result<Self, Lack> {
        let failed = |what: &str| {
            let what = format!("{connector}: {what}");
            move |error: io::Error| Lack::Failed(format!("{what}: {error}"))
        };
        let resources = card.resource_handles().map_err(failed("the card shows nothing"))?;
        let info = ask(card, connector).map_err(failed("the screen cannot be asked"))?.ok_or(Lack::Gone)?;
        if info.state() != connector::State::Connected {
            return Err(Lack::Gone);
        }
        let offers: Vec<Mode> = info.modes().iter().map(offer).collect();
        let (index, as_wanted) = choice::mode(&offers, wanted.mode).ok_or_else(|| {
            Lack::Failed(format!("{connector}: the screen offers no mode; try another cable"))
        })?;
        let (mode, offer) = (info.modes()[index], offers[index]);
        let instead_of =
            (!as_wanted).then(|| offers.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "));

        let mut used = Used::of(card);
        if !used.take(info.handle()) {
            return Err(Lack::Failed(format!(
                "{connector} shows something else of this terminal; name another"
            )));
        }
        let crtc = free_crtc(card, &resources, &info, &mut used)
            .ok_or_else(|| Lack::Failed(format!("{connector}: the card cannot show one more picture")))?;
        let plane = free_plane(card, &resources, crtc, wanted.plane, &mut used).ok_or_else(|| {
            Lack::Failed(format!("{connector}: the card has no such plane; leave plane out of the profile"))
        })?;
        let black = Black::new(card, offer.size).map_err(failed("the card has no memory for a picture"))?;
        card.set_crtc(crtc, Some(black.framebuffer), (0, 0), &[info.handle()], Some(mode))
            .map_err(failed(&format!("the mode {offer} cannot be set")))?;
        let mut lit = Self {
            card: Arc::clone(card),
            connector: info.handle(),
            crtc,
            plane,
            modes: info.modes().to_vec(),
            offer,
            instead_of,
            size: offer.size,
            rotation: wanted.rotation,
            scale: false,
            black,
            _used: used,
        };
        lit.try_plane(wanted);
        Ok(lit)
    }

    /// All modes that the screen offers, when none is the wanted one.
    pub(super) fn instead_of(&self) -> Option<&str> {
        self.instead_of.as_deref()
    }

    /// Number of the connector, for GStreamer.
    pub(super) fn connector_id(&self) -> u32 {
        self.connector.into()
    }

    /// Number of the plane, for GStreamer.
    pub(super) fn plane_id(&self) -> u32 {
        self.plane.into()
    }

    /// By how much the processor has to turn the room's picture.
    pub(super) fn rotation(&self) -> Rotation {
        self.rotation
    }

    /// The size that the processor has to scale to; nothing when the plane scales.
    pub(super) fn scale_to(&self) -> Option<FrameSize> {
        self.scale.then_some(self.size)
    }

    /// Whether the screen is the one that was lit, and still gets its pictures: asks it.
    pub(super) fn is_the_same(&self) -> bool {
        let asked = self.card.get_connector(self.connector, true);
        asked.is_ok_and(|info| info.state() == connector::State::Connected && info.modes() == self.modes)
            && !self.is_link_bad()
    }

    /// Whether the cable's link failed since the mode was set. Whoever shows something sets the mode anew then, which
    /// trains the link again (`drm-kms`, "Standard Connector Properties", link-status).
    fn is_link_bad(&self) -> bool {
        let status = self.card.property(self.connector, "link-status");
        let is_bad = status.is_some_and(|(_, status)| status == LINK_STATUS_BAD);
        if is_bad {
            log::warn!(
                "the link to a screen failed and is made again; try another cable if this comes often"
            );
        }
        is_bad
    }

    /// Finds out what the plane can do, with a black picture; what it cannot falls to the processor.
    fn try_plane(&mut self, wanted: Wanted) {
        if wanted.rotation == Rotation::Half && self.turn(UPSIDE_DOWN) {
            self.rotation = Rotation::None;
        } else {
            // As another program may have left it. Quarter turns need memory that a processor cannot write row by row.
            self.turn(UPRIGHT);
        }
        self.scale = !self.shows(self.rotation.of(wanted.size));
        if self.scale && self.rotation != wanted.rotation && !self.shows(self.size) {
            // It neither turns what fills it.
            self.turn(UPRIGHT);
            self.rotation = wanted.rotation;
        }
    }

    fn turn(&self, rotation: u64) -> bool {
        let Some((property, _)) = self.card.property(self.plane, "rotation") else { return false };
        self.card.set_property(self.plane, property, rotation).is_ok()
    }

    /// Whether the plane shows a picture of `size` as large as the screen allows.
    fn shows(&self, size: FrameSize) -> bool {
        let Ok(black) = Black::new(&self.card, size) else { return false };
        let (screen, from) = (self.size, (0, 0, size.width << 16, size.height << 16));
        let scale = (f64::from(screen.width) / f64::from(size.width))
            .min(f64::from(screen.height) / f64::from(size.height));
        let side = |pixels: u32, most: u32| ((f64::from(pixels) * scale).round() as u32).clamp(1, most);
        let (width, height) = (side(size.width, screen.width), side(size.height, screen.height));
        let (x, y) = ((screen.width - width) / 2, (screen.height - height) / 2);
        // Both are sides of a screen.
        let place = (x as i32, y as i32, width, height);
        let shown = self.card.set_plane(self.plane, self.crtc, Some(black.framebuffer), 0, place, from);
        if shown.is_ok() && kind_of(&self.card, self.plane) == PlaneKind::Primary {
            // Before that picture's memory goes, and with it the whole screen's light.
            let all = (0, 0, screen.width, screen.height);
            let whole = (0, 0, screen.width << 16, screen.height << 16);
            let _ = self.card.set_plane(self.plane, self.crtc, Some(self.black.framebuffer), 0, all, whole);
        }
        shown.is_ok()
    }
}

/// What it looks like, for the log.
impl std::fmt::Display for Lit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let by = if self.scale { "the processor" } else { "the plane" };
        write!(f, "{}, plane {}, scaled by {by}", self.offer, u32::from(self.plane))
    }
}

impl Drop for Lit {
    fn drop(&mut self) {
        let _ = self.card.set_crtc(self.crtc, None, (0, 0), &[], None);
    }
}

/// A black picture in the card's memory.
struct Black {
    card: Arc<Card>,
    framebuffer: framebuffer::Handle,
    buffer: DumbBuffer,
}

impl Black {
    /// New memory of a card is black.
    fn new(card: &Arc<Card>, size: FrameSize) -> io::Result<Self> {
        let buffer = card.create_dumb_buffer((size.width, size.height), DrmFourcc::Xrgb8888, 32)?;
        match card.add_framebuffer(&buffer, 24, 32) {
            Ok(framebuffer) => Ok(Self { card: Arc::clone(card), framebuffer, buffer }),
            Err(error) => {
                let _ = card.destroy_dumb_buffer(buffer);
                Err(error)
            }
        }
    }
}

impl Drop for Black {
    fn drop(&mut self) {
        let _ = self.card.destroy_framebuffer(self.framebuffer);
        let _ = self.card.destroy_dumb_buffer(self.buffer);
    }
}

/// The size that the screen at the socket named `connector` prefers; asks it.
pub(super) fn preferred(card: &Card, connector: &str) -> Option<FrameSize> {
    let info = ask(card, connector).ok()??;
    let offers: Vec<Mode> = info.modes().iter().map(offer).collect();
    let (index, _) = choice::mode(&offers, WantedMode::Preferred)?;
    Some(offers[index].size)
}

/// Asks the screen at the socket named `connector`; nothing when the card has no such socket.
fn ask(card: &Card, connector: &str) -> io::Result<Option<connector::Info>> {
    let handles = card.resource_handles()?;
    // Without asking the screens of the others.
    let mut known = handles.connectors().iter().filter_map(|handle| card.get_connector(*handle, false).ok());
    let found = known.find(|info| info.to_string() == connector);
    found.map(|info| card.get_connector(info.handle(), true)).transpose()
}

fn offer(mode: &control::Mode) -> Mode {
    let (width, height) = mode.size();
    Mode {
        size: FrameSize::new(width.into(), height.into()),
        rate_hz: mode.vrefresh(),
        preferred: mode.mode_type().contains(ModeTypeFlags::PREFERRED),
        interlaced: mode.flags().contains(ModeFlags::INTERLACE),
    }
}

/// A CRTC that can feed the connector: the one that does, else the first that none of our displays uses.
fn free_crtc(
    card: &Card,
    resources: &control::ResourceHandles,
    connector: &connector::Info,
    used: &mut Used,
) -> Option<crtc::Handle> {
    let encoders = connector.encoders().iter().filter_map(|encoder| card.get_encoder(*encoder).ok());
    let encoders: Vec<_> = encoders.collect();
    let present = connector.current_encoder().and_then(|encoder| card.get_encoder(encoder).ok()?.crtc());
    let possible = encoders.iter().flat_map(|encoder| resources.filter_crtcs(encoder.possible_crtcs()));
    present.into_iter().chain(possible).find(|crtc| used.take(*crtc))
}

fn free_plane(
    card: &Card,
    resources: &control::ResourceHandles,
    crtc: crtc::Handle,
    wanted: WantedPlane,
    used: &mut Used,
) -> Option<plane::Handle> {
    let yuv = [DrmFourcc::Yuv420 as u32, DrmFourcc::Nv12 as u32];
    let planes = card.plane_handles().ok()?.into_iter().filter_map(|plane| card.get_plane(plane).ok());
    let mut planes: Vec<_> = planes
        .filter(|plane| resources.filter_crtcs(plane.possible_crtcs()).contains(&crtc))
        // One that another CRTC has now may be its primary.
        .filter(|plane| plane.crtc().is_none_or(|other| other == crtc))
        .collect();
    loop {
        let offers: Vec<_> = planes
            .iter()
            .map(|plane| Plane {
                kind: kind_of(card, plane.handle()),
                yuv: plane.formats().iter().any(|format| yuv.contains(format)),
            })
            .collect();
        let plane = planes.remove(choice::plane(&offers, wanted)?).handle();
        if used.take(plane) {
            return Some(plane);
        }
    }
}

fn kind_of(card: &Card, plane: plane::Handle) -> PlaneKind {
    match card.property(plane, "type").map(|(_, value)| value) {
        Some(0) => PlaneKind::Overlay,
        Some(2) => PlaneKind::Cursor,
        _ => PlaneKind::Primary,
    }
}
