//! Use-case profiles of sound cards (ALSA UCM): what a codec's many switches must be for a speaker or for
//! microphones, as `alsa-ucm-conf` knows it.
//!
//! Microphones and speaker of one card share its verb, which ends with the last of them.

use std::sync::{Arc, LazyLock, Weak};

use parking_lot::Mutex;
use serde::Deserialize;

use super::cards;
use crate::error::Failure;

/// Key `ucm`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct UseCaseOptions {
    /// What the card is used for, such as `HiFi`; `alsaucm -c CARD list _verbs` lists them.
    verb: String,
    /// Devices to switch on, such as `Speaker`; `alsaucm -c CARD set _verb HiFi list _devices` lists them.
    #[serde(default)]
    devices: Vec<String>,
}

/// The verbs that are set, each with its card.
static IN_USE: LazyLock<Mutex<Vec<Weak<Verb>>>> = LazyLock::new(Mutex::default);

/// Devices of a card that are on until this is dropped.
pub(super) struct UseCase {
    /// Taken when it is dropped.
    verb: Option<Arc<Verb>>,
    devices: Vec<String>,
}

struct Verb {
    card: String,
    name: String,
    manager: Mutex<ffi::Manager>,
}

impl UseCaseOptions {
    /// What is wrong with the keys for this device.
    pub(super) fn check(&self, device: &str) -> Result<(), &'static str> {
        if std::iter::once(&self.verb).chain(&self.devices).any(|name| name.is_empty() || name.contains('\0'))
        {
            return Err("ucm has the name of a verb, such as HiFi, and of devices, such as Speaker");
        }
        cards::card_of(device).map(drop).ok_or("ucm needs a device with a card, such as hw:CARD=Array")
    }

    /// Sets the verb, unless it is set already, and switches the devices on.
    pub(super) fn apply(&self, device: &str) -> Result<UseCase, Failure> {
        let card = format!("hw:{}", cards::card_of(device).unwrap_or_default());
        let mut case = UseCase { verb: Some(Verb::of(&card, &self.verb)?), devices: Vec::new() };
        for device in &self.devices {
            case.verb.iter().try_for_each(|verb| verb.set("_enadev", device))?;
            case.devices.push(device.clone());
        }
        Ok(case)
    }
}

impl Verb {
    fn of(card: &str, name: &str) -> Result<Arc<Self>, Failure> {
        let mut in_use = IN_USE.lock();
        in_use.retain(|verb| verb.strong_count() > 0);
        let mut verbs = in_use.iter().filter_map(Weak::upgrade);
        if let Some(verb) = verbs.find(|verb| verb.card == card && verb.name == name) {
            return Ok(verb);
        }
        let manager = ffi::Manager::open(card).map_err(|error| Failure::Absent {
            name: format!("the use-case profile of the card {card}"),
            hint: format!(
                "{error}; install alsa-ucm-conf, or leave ucm out where that does not know the card"
            ),
        })?;
        let (card, name) = (card.to_owned(), name.to_owned());
        let verb = Arc::new(Self { card, name, manager: Mutex::new(manager) });
        verb.set("_verb", &verb.name)?;
        in_use.push(Arc::downgrade(&verb));
        Ok(verb)
    }

    fn set(&self, what: &str, value: &str) -> Result<(), Failure> {
        let mut manager = self.manager.lock();
        manager.set(what, value).map_err(|error| {
            let (list, kind) = if what == "_verb" { ("_verbs", "verb") } else { ("_devices", "device") };
            let names = manager.list(list).join(", ");
            Failure::Unusable {
                name: format!("the use-case {kind} {value} of the card {}", self.card),
                message: format!("{error}; the card has {names}"),
            }
        })
    }

    fn unset(&self, what: &str, value: &str) {
        if let Err(error) = self.manager.lock().set(what, value) {
            // The usual end of a card that was pulled out.
            log::debug!(card = self.card.as_str(), what, value, error:%; "a use case stays as it is");
        }
    }
}

impl Drop for Verb {
    fn drop(&mut self) {
        self.unset("_verb", "Inactive");
    }
}

impl Drop for UseCase {
    fn drop(&mut self) {
        let Some(verb) = &self.verb else { return };
        for device in self.devices.iter().rev() {
            verb.unset("_disdev", device);
        }
        // The last one sets its verb back, which must be over before another sets one.
        let _setting = IN_USE.lock();
        self.verb = None;
    }
}

/// `alsa/use-case.h` of alsa-lib, which the crate `alsa` leaves out.
mod ffi {
    #![allow(unsafe_code)]
    use std::{
        ffi::{CStr, CString, c_char, c_int, c_void},
        io,
        ptr::{self, NonNull},
    };

    #[link(name = "asound")]
    unsafe extern "C" {
        fn snd_use_case_mgr_open(manager: *mut *mut c_void, card: *const c_char) -> c_int;
        fn snd_use_case_mgr_close(manager: *mut c_void) -> c_int;
        fn snd_use_case_set(manager: *mut c_void, what: *const c_char, value: *const c_char) -> c_int;
        fn snd_use_case_get_list(
            manager: *mut c_void,
            what: *const c_char,
            list: *mut *mut *const c_char,
        ) -> c_int;
        fn snd_use_case_free_list(list: *mut *const c_char, items: c_int) -> c_int;
    }

    /// `snd_use_case_mgr_t`.
    pub(super) struct Manager(NonNull<c_void>);

    // SAFETY: a manager is bound to no thread, and this is its only owner.
    unsafe impl Send for Manager {}

    impl Manager {
        pub(super) fn open(card: &str) -> io::Result<Self> {
            let card = CString::new(card)?;
            let mut manager = ptr::null_mut();
            // SAFETY: both pointers live until the call is over; it writes the manager's address.
            let code = unsafe { snd_use_case_mgr_open(&mut manager, card.as_ptr()) };
            checked(code)?;
            NonNull::new(manager).map(Self).ok_or_else(|| io::ErrorKind::NotFound.into())
        }

        pub(super) fn set(&mut self, what: &str, value: &str) -> io::Result<()> {
            let (what, value) = (CString::new(what)?, CString::new(value)?);
            // SAFETY: the manager is open, and the texts live until the call is over.
            checked(unsafe { snd_use_case_set(self.0.as_ptr(), what.as_ptr(), value.as_ptr()) }).map(drop)
        }

        /// Names, without the comments that stand between them.
        pub(super) fn list(&mut self, what: &str) -> Vec<String> {
            let Ok(what) = CString::new(what) else { return Vec::new() };
            let mut list = ptr::null_mut();
            // SAFETY: the manager is open and the text lives until the call is over; it writes the list's
            // address.
            let count = unsafe { snd_use_case_get_list(self.0.as_ptr(), what.as_ptr(), &mut list) };
            let Ok(length) = usize::try_from(count) else { return Vec::new() };
            if list.is_null() {
                return Vec::new();
            }
            // Pairs of a name and a comment.
            let names = (0..length).step_by(2).filter_map(|index| {
                // SAFETY: the list has `count` pointers, each null or to a text that ends with zero.
                let name = unsafe { *list.add(index) };
                // SAFETY: as above.
                (!name.is_null()).then(|| unsafe { CStr::from_ptr(name) }.to_string_lossy().into_owned())
            });
            let names = names.collect();
            // SAFETY: the list is alsa-lib's, of that length, and not used any more.
            unsafe { snd_use_case_free_list(list, count) };
            names
        }
    }

    impl Drop for Manager {
        fn drop(&mut self) {
            // SAFETY: the manager is open and not used any more.
            unsafe { snd_use_case_mgr_close(self.0.as_ptr()) };
        }
    }

    fn checked(code: c_int) -> io::Result<c_int> {
        if code < 0 { Err(io::Error::from_raw_os_error(-code)) } else { Ok(code) }
    }
}
