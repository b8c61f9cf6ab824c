//! Pan, tilt, zoom, focus and exposure of cameras that speak VISCA: over IP (UDP), TCP, or a serial port.
//!
//! The numbers of the protocol are those of Sony's command lists; what differs between cameras is set in the
//! profile, with the usual for a default. Presets of the camera are not used: ours have names.

mod controls;
mod datagram;
mod known;
mod link;
mod message;
mod scale;
mod serial;

use std::{net::Ipv6Addr, path::PathBuf};

use rostrum_hal::camera::CameraControls;
use serde::Deserialize;

use crate::{BoardError, drivers::Device};
use controls::ViscaControls;
use link::{Address, Link};
use message::Unit;
use scale::Scale;

/// Where most cameras listen for VISCA in a TCP connection.
const TCP_PORT: u16 = 5678;
const BAUDS: [u32; 5] = [9600, 19_200, 38_400, 57_600, 115_200];
/// Exposures a second by row of Sony's table at 59.94 Hz; 21 is the last row.
const SHUTTER_HZ: [u16; 22] = [
    1, 2, 4, 8, 15, 30, 60, 90, 100, 125, 180, 250, 350, 500, 725, 1000, 1500, 2000, 3000, 4000, 6000, 10_000,
];

/// Keys of `[camera_controls]` with the driver `visca`. One of `address`, `tcp` and `serial` is given.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Keys {
    /// VISCA over IP: `host` or `host:port`; the port is 52381 when left out.
    address: Option<String>,
    /// VISCA in a TCP connection: `host` or `host:port`; the port is 5678 when left out.
    tcp: Option<String>,
    /// VISCA on a serial port, by its path under `/dev`.
    serial: Option<PathBuf>,
    /// Bits a second of the serial port; 9600 when left out.
    baud: Option<u32>,
    /// The camera's address on a serial chain, 1..=7.
    unit: Unit,
    /// Steps of pan and tilt in a degree, from the camera's manual: 14.4 is that of Sony's EVI-D100 and of most
    /// others; 13.33 the EVI-D70's, 45.33 the EVI-D80's and EVI-D90's.
    steps_per_degree: f64,
    /// Leftmost and rightmost.
    pan_range_deg: [f64; 2],
    /// Lowest and highest.
    tilt_range_deg: [f64; 2],
    /// Speed of pan in which the camera turns, and 100 % of its speed control, 1..=24.
    pan_speed: u8,
    /// The same of tilt.
    tilt_speed: u8,
    /// Magnification at the end of the optics, such as 12 for a 12x lens.
    zoom_max: f64,
    /// Position of focus at infinity.
    focus_far: u16,
    /// Nearest position of focus.
    focus_near: u16,
    /// Exposures a second by row of the camera's shutter table, from row 0 on.
    shutter_hz: Vec<u16>,
}

impl Default for Keys {
    fn default() -> Self {
        Self {
            address: None,
            tcp: None,
            serial: None,
            baud: None,
            unit: Unit::FIRST,
            steps_per_degree: 14.4,
            pan_range_deg: [-170.0, 170.0],
            tilt_range_deg: [-30.0, 90.0],
            pan_speed: 24,
            tilt_speed: 20,
            zoom_max: 12.0,
            focus_far: 0x1000,
            focus_near: 0xF000,
            shutter_hz: SHUTTER_HZ.into(),
        }
    }
}

/// `[camera_controls]` with the driver `visca`, understood.
#[derive(Deserialize)]
#[serde(try_from = "Keys")]
pub(crate) struct Options {
    address: Address,
    unit: Unit,
    scale: Scale,
}

impl TryFrom<Keys> for Options {
    type Error = String;

    fn try_from(keys: Keys) -> Result<Self, String> {
        let scale = keys.scale()?;
        let baud = keys.baud.unwrap_or(BAUDS[0]);
        if !BAUDS.contains(&baud) {
            return Err(format!("baud is one of {BAUDS:?}"));
        }
        let address = match (keys.address, keys.tcp, keys.serial) {
            (Some(host), None, None) => Address::Udp(with_port(&host, datagram::PORT)?),
            (None, Some(host), None) => Address::Tcp(with_port(&host, TCP_PORT)?),
            (None, None, Some(path)) => Address::Serial { path, baud },
            _ => return Err("give one of address (VISCA over IP), tcp and serial".into()),
        };
        if keys.baud.is_some() && !matches!(address, Address::Serial { .. }) {
            return Err("baud is for serial".into());
        }
        Ok(Self { address, unit: keys.unit, scale })
    }
}

impl Keys {
    fn scale(&self) -> Result<Scale, String> {
        let steps_per_degree = self.steps_per_degree;
        if !(0.1..=1000.0).contains(&steps_per_degree) {
            return Err("steps_per_degree is 0.1 to 1000".into());
        }
        let ends = |key: &str, [low, high]: [f64; 2]| {
            // Steps between the ends, as a camera stops at what lies behind.
            let (first, last) = ((low * steps_per_degree).ceil(), (high * steps_per_degree).floor());
            if first < last && first >= f64::from(i16::MIN) && last <= f64::from(i16::MAX) {
                Ok((first as i16, last as i16))
            } else {
                Err(format!("{key} is two angles, the smaller first, within -32768 to 32767 steps"))
            }
        };
        let speeds = (self.pan_speed, self.tilt_speed);
        if ![speeds.0, speeds.1].iter().all(|speed| (1..=24).contains(speed)) {
            return Err("pan_speed and tilt_speed are 1 to 24".into());
        }
        if !(1.1..=200.0).contains(&self.zoom_max) {
            return Err("zoom_max is 1.1 to 200".into());
        }
        if self.focus_far == self.focus_near {
            return Err("focus_far and focus_near differ".into());
        }
        if self.shutter_hz.is_empty() || self.shutter_hz.len() > 255 || self.shutter_hz.contains(&0) {
            return Err("shutter_hz is 1 to 255 numbers, none of them 0".into());
        }
        Ok(Scale {
            steps_per_degree,
            pan: ends("pan_range_deg", self.pan_range_deg)?,
            tilt: ends("tilt_range_deg", self.tilt_range_deg)?,
            speeds,
            zoom_max: (self.zoom_max * 100.0).round() as i64,
            focus: (self.focus_far, self.focus_near),
            shutter_hz: self.shutter_hz.clone(),
        })
    }
}

/// `host` with `port` when it has none.
fn with_port(host: &str, port: u16) -> Result<String, String> {
    if host.parse::<Ipv6Addr>().is_ok() {
        return Ok(format!("[{host}]:{port}"));
    }
    match host.rsplit_once(':') {
        Some((name, own)) if !name.is_empty() && own.parse::<u16>().is_ok_and(|own| own > 0) => {
            Ok(host.to_owned())
        }
        None if !host.is_empty() => Ok(format!("{host}:{port}")),
        _ => Err(format!("{host:?} is no host:port, such as \"10.0.0.9:{port}\"")),
    }
}

/// Opens the way to a camera. One on a network need not be there yet; a serial port must.
pub(crate) fn open(device: &Device<'_>) -> Result<Box<dyn CameraControls>, BoardError> {
    let Options { address, unit, scale } = device.options()?;
    if let Address::Serial { path, .. } = &address
        && !path.exists()
    {
        let ports: Vec<_> = serial::present().iter().map(|port| port.display().to_string()).collect();
        let hint = if ports.is_empty() {
            format!("there is no serial port; plug one in, or remove [{}] from the profile", device.place)
        } else {
            format!("there are {}", ports.join(", "))
        };
        return Err(device.absent(format!("the serial port {}", path.display()), hint));
    }
    let name = address.to_string();
    let controls = ViscaControls::start(name, Link::new(address, unit), scale)
        .map_err(|error| device.wrong(error.to_string()))?;
    Ok(Box::new(controls))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn options(text: &str) -> Result<Options, String> {
        toml::from_str(text).map_err(|error: toml::de::Error| error.message().to_owned())
    }

    #[test]
    fn a_host_without_a_port_gets_that_of_its_protocol() {
        for (text, address) in [
            ("address = \"10.0.0.9\"", Address::Udp("10.0.0.9:52381".into())),
            ("address = \"camera.local:1259\"", Address::Udp("camera.local:1259".into())),
            ("address = \"fe80::9\"", Address::Udp("[fe80::9]:52381".into())),
            ("tcp = \"10.0.0.9\"", Address::Tcp("10.0.0.9:5678".into())),
            ("serial = \"/dev/ttyS0\"", Address::Serial { path: "/dev/ttyS0".into(), baud: 9600 }),
        ] {
            assert_eq!(options(text).unwrap().address, address);
        }
    }

    #[test]
    fn wrong_keys_are_refused_with_what_is_right() {
        for (text, rule) in [
            ("", "one of address"),
            ("address = \"a\"\ntcp = \"a\"", "one of address"),
            ("address = \"a:b\"", "host:port"),
            ("address = \"a\"\nbaud = 9600", "baud is for serial"),
            ("serial = \"/dev/ttyS0\"\nbaud = 300", "baud is one of"),
            ("address = \"a\"\nunit = 8", "unit is 1 to 7"),
            ("address = \"a\"\nsteps_per_degree = 0", "0.1 to 1000"),
            ("address = \"a\"\npan_range_deg = [170, -170]", "pan_range_deg"),
            ("address = \"a\"\nsteps_per_degree = 500\n", "pan_range_deg"),
            ("address = \"a\"\nzoom_max = 1", "zoom_max"),
            ("address = \"a\"\nshutter_hz = [0]", "shutter_hz"),
            ("address = \"a\"\nfocus_far = 0xF000", "focus_far"),
            ("address = \"a\"\nzoom = 3", "unknown field `zoom`"),
        ] {
            let error = options(text).err().unwrap();
            assert!(error.contains(rule), "{text}: {error}");
        }
    }
}
