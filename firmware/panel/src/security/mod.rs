//! Who may use the panel.
//!
//! On loopback: whoever is on the device. Elsewhere: whoever knows the password. A page of another site,
//! opened in the browser of somebody who may, never ([`origin`]).

mod guard;
mod limiter;
mod origin;
mod password;
mod sessions;

pub(crate) use guard::{Caller, Gate, cookie, require_login, require_same_site};
pub(crate) use password::{MAX_PASSWORD_BYTES, MIN_PASSWORD_CHARS, PasswordStore};
pub(crate) use sessions::LIFETIME;
