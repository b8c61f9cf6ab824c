//! A key in a PKCS#11 token: a TPM, a smart card, a security module.

use std::path::Path;

use cryptoki::{
    context::{CInitializeArgs, CInitializeFlags, Pkcs11},
    mechanism::Mechanism,
    object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle},
    session::{Session, UserType},
    types::AuthPin,
};
use parking_lot::Mutex;
use sha2::{Digest, Sha256};

use super::{DeviceKey, DeviceKeyError, TokenPlace, file::secret_text};

/// DER of the object identifier of P-256 (RFC 5480 §2.1.1.1).
const P256: [u8; 10] = [0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];

/// A key pair in a token, with a session of its own.
pub(super) struct TokenKey {
    place: String,
    session: Mutex<Session>,
    private: ObjectHandle,
    public: Vec<u8>,
}

impl TokenKey {
    pub(super) fn open(place: &TokenPlace) -> Result<Self, DeviceKeyError> {
        let name = name(place);
        let session = session(place)?;
        let find = |class| find(&session, &name, class, &place.key);
        let (Some(private), Some(public)) = (find(ObjectClass::PRIVATE_KEY)?, find(ObjectClass::PUBLIC_KEY)?)
        else {
            return Err(DeviceKeyError::Absent { place: name });
        };
        let attributes = session
            .get_attributes(public, &[AttributeType::EcPoint])
            .map_err(|error| failed(&name, error))?;
        let point = attributes.into_iter().find_map(|attribute| match attribute {
            Attribute::EcPoint(point) => Some(point),
            _ => None,
        });
        let public = point
            .as_deref()
            .and_then(octets)
            .ok_or_else(|| failed(&name, "its public key cannot be read; make another one"))?
            .to_vec();
        Ok(Self { place: name, session: Mutex::new(session), private, public })
    }

    pub(super) fn make(place: &TokenPlace) -> Result<Self, DeviceKeyError> {
        let name = name(place);
        match Self::open(place) {
            Err(DeviceKeyError::Absent { .. }) => {}
            Ok(_) => return Err(DeviceKeyError::Exists { place: name }),
            Err(error) => return Err(error),
        }
        let session = session(place)?;
        let label = Attribute::Label(place.key.clone().into_bytes());
        let public = [
            Attribute::Token(true),
            Attribute::Private(false),
            Attribute::Verify(true),
            Attribute::EcParams(P256.into()),
            label.clone(),
        ];
        let private = [
            Attribute::Token(true),
            Attribute::Private(true),
            Attribute::Sensitive(true),
            Attribute::Extractable(false),
            Attribute::Sign(true),
            label,
        ];
        session
            .generate_key_pair(&Mechanism::EccKeyPairGen, &public, &private)
            .map_err(|error| failed(&name, error))?;
        drop(session);
        Self::open(place)
    }
}

impl DeviceKey for TokenKey {
    fn public_key(&self) -> Vec<u8> {
        self.public.clone()
    }

    fn sign(&self, text: &[u8]) -> Result<[u8; 64], DeviceKeyError> {
        let signature = self
            .session
            .lock()
            .sign(&Mechanism::Ecdsa, self.private, &Sha256::digest(text))
            .map_err(|error| failed(&self.place, error))?;
        signature
            .try_into()
            .map_err(|_| failed(&self.place, "its signature has another length than 64 bytes"))
    }
}

fn name(place: &TokenPlace) -> String {
    format!("the token {} of {}", place.token, place.module.display())
}

fn failed(place: &str, message: impl ToString) -> DeviceKeyError {
    DeviceKeyError::Failed { place: place.into(), message: message.to_string() }
}

fn session(place: &TokenPlace) -> Result<Session, DeviceKeyError> {
    let name = name(place);
    let module = library(&place.module).map_err(|error| failed(&name, error))?;
    let slots = module.get_slots_with_token().map_err(|error| failed(&name, error))?;
    let mut present = Vec::new();
    let mut found = None;
    for slot in slots {
        let Ok(token) = module.get_token_info(slot) else { continue };
        let label = token.label().trim_end().to_owned();
        if label == place.token {
            found = Some(slot);
        }
        present.push(label);
    }
    let slot = found.ok_or_else(|| failed(&name, format!("it is not there; there are {present:?}")))?;
    let session = module.open_rw_session(slot).map_err(|error| failed(&name, error))?;
    let pin = secret_text(&place.pin_file)?;
    let pin = AuthPin::new(pin.lines().next().unwrap_or_default().into());
    session.login(UserType::User, Some(&pin)).or_else(|error| match error {
        // By another session of this program.
        cryptoki::error::Error::Pkcs11(cryptoki::error::RvError::UserAlreadyLoggedIn, _) => Ok(()),
        error => Err(failed(&name, format!("{error}; is the PIN in {} right?", place.pin_file.display()))),
    })?;
    Ok(session)
}

/// A library may be initialised once in a program, and is for ever.
fn library(path: &Path) -> Result<Pkcs11, cryptoki::error::Error> {
    use std::{collections::HashMap, path::PathBuf, sync::LazyLock};
    static LOADED: LazyLock<Mutex<HashMap<PathBuf, Pkcs11>>> = LazyLock::new(Mutex::default);
    let mut loaded = LOADED.lock();
    if let Some(module) = loaded.get(path) {
        return Ok(module.clone());
    }
    let module = Pkcs11::new(path)?;
    module.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK))?;
    loaded.insert(path.to_owned(), module.clone());
    Ok(module)
}

fn find(
    session: &Session,
    name: &str,
    class: ObjectClass,
    label: &str,
) -> Result<Option<ObjectHandle>, DeviceKeyError> {
    let wanted = [
        Attribute::Class(class),
        Attribute::KeyType(KeyType::EC),
        Attribute::Label(label.as_bytes().to_vec()),
    ];
    let found = session.find_objects(&wanted).map_err(|error| failed(name, error))?;
    Ok(found.into_iter().next())
}

/// The bytes of a DER OCTET STRING of less than 128 bytes, which a point of P-256 is in (PKCS #11 v2.40 §2.3.3).
fn octets(der: &[u8]) -> Option<&[u8]> {
    match der {
        [0x04, length, point @ ..] if usize::from(*length) == point.len() && *length < 0x80 => Some(point),
        // Some tokens leave the wrapping out: a point begins with 4 too, but is 65 bytes.
        point if point.len() == 65 => Some(point),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_point_is_found_with_and_without_its_wrapping() {
        let point: Vec<u8> = std::iter::once(4).chain(0..64).collect();
        let wrapped: Vec<u8> = [4, 65].into_iter().chain(point.iter().copied()).collect();
        assert_eq!(octets(&wrapped), Some(&point[..]));
        assert_eq!(octets(&point), Some(&point[..]));
        assert_eq!(octets(&wrapped[..40]), None);
        assert_eq!(octets(&[]), None);
    }
}
