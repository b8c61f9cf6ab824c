//! RAUC, by D-Bus (`de.pengutronix.rauc.Installer`, RAUC 1.13 or newer).

use std::collections::HashMap;

use futures_util::StreamExt;
use zbus::{
    Connection, proxy,
    zvariant::{OwnedValue, Value},
};

use super::offer::{BundleInfo, Trouble};

/// Interface of RAUC's service.
#[proxy(
    interface = "de.pengutronix.rauc.Installer",
    default_service = "de.pengutronix.rauc",
    default_path = "/",
    gen_blocking = false
)]
trait Installer {
    fn install_bundle(&self, source: &str, args: HashMap<&str, Value<'_>>) -> zbus::Result<()>;
    fn inspect_bundle(
        &self,
        bundle: &str,
        args: HashMap<&str, Value<'_>>,
    ) -> zbus::Result<HashMap<String, OwnedValue>>;
    fn get_slot_status(&self) -> zbus::Result<Vec<(String, HashMap<String, OwnedValue>)>>;
    fn get_primary(&self) -> zbus::Result<String>;
    fn mark(&self, state: &str, slot_identifier: &str) -> zbus::Result<(String, String)>;
    #[zbus(signal)]
    fn completed(&self, result: i32) -> zbus::Result<()>;
    #[zbus(property(emits_changed_signal = "false"))]
    fn operation(&self) -> zbus::Result<String>;
    #[zbus(property(emits_changed_signal = "false"))]
    fn last_error(&self) -> zbus::Result<String>;
    #[zbus(property)]
    fn progress(&self) -> zbus::Result<(i32, String, i32)>;
    #[zbus(property(emits_changed_signal = "false"))]
    fn compatible(&self) -> zbus::Result<String>;
    #[zbus(property(emits_changed_signal = "false"))]
    fn boot_slot(&self) -> zbus::Result<String>;
}

/// Why RAUC did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RaucError {
    /// It cannot be asked.
    #[error("RAUC does not answer: {0}; is rauc.service there, and may this user call it?")]
    Bus(#[from] zbus::Error),
    /// Its answer lacks something.
    #[error("RAUC's {what} lacks {key}; the system needs RAUC 1.13 and two slots with a bootname each")]
    Lacks {
        /// The answer.
        what: &'static str,
        /// What it lacks.
        key: &'static str,
    },
}

/// The slots, as far as an update has to know them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slots {
    /// Boot name of the slot that runs.
    pub booted: String,
    /// Boot name of the other one.
    pub other: String,
    /// The version in the other one, when an installation into it came to its end.
    pub other_version: Option<String>,
    /// Boot name of the one that is next.
    pub next: Option<String>,
}

/// How bundles on a server are reached.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Access {
    /// Lines of the request's head.
    pub headers: Vec<String>,
    /// Client certificate, a file.
    pub certificate: Option<String>,
    /// Its key, a file.
    pub key: Option<String>,
    /// Authorities, a file.
    pub authorities: Option<String>,
}

impl Access {
    fn arguments(&self) -> HashMap<&str, Value<'_>> {
        let mut arguments = HashMap::new();
        if !self.headers.is_empty() {
            arguments.insert("http-headers", Value::from(self.headers.clone()));
        }
        for (name, value) in
            [("tls-cert", &self.certificate), ("tls-key", &self.key), ("tls-ca", &self.authorities)]
        {
            if let Some(value) = value {
                arguments.insert(name, Value::from(value.as_str()));
            }
        }
        arguments
    }
}

/// RAUC's service.
#[derive(Clone)]
pub struct Rauc {
    proxy: InstallerProxy<'static>,
}

impl Rauc {
    /// Finds it on `bus`; it is started at the first call.
    ///
    /// # Errors
    /// [`RaucError::Bus`].
    pub async fn on(bus: &Connection) -> Result<Self, RaucError> {
        Ok(Self { proxy: InstallerProxy::new(bus).await? })
    }

    /// The kind of machine that its bundles have to be for.
    ///
    /// # Errors
    /// [`RaucError::Bus`].
    pub async fn compatible(&self) -> Result<String, RaucError> {
        Ok(self.proxy.compatible().await?)
    }

    /// The slots as they are now.
    ///
    /// # Errors
    /// [`RaucError`].
    pub async fn slots(&self) -> Result<Slots, RaucError> {
        let status = self.proxy.get_slot_status().await?;
        // Where the boot loader cannot be asked there is none.
        let primary = self.proxy.get_primary().await.ok();
        slots(&status, primary.as_deref())
    }

    /// Reads what a bundle says of itself, after its signature was checked.
    ///
    /// # Errors
    /// [`Trouble`], which lasts where the bundle is at fault.
    pub async fn inspect(&self, source: &str, access: &Access) -> Result<BundleInfo, Trouble> {
        match self.proxy.inspect_bundle(source, access.arguments()).await {
            Ok(info) => bundle_info(&info).map_err(|error| Trouble::lasting(error.to_string())),
            Err(error) => Err(trouble(&words(&error))),
        }
    }

    /// Installs a bundle into the other slot; tells percent by `tell`.
    ///
    /// # Errors
    /// [`Trouble`]; then the slot that runs stays the next one.
    pub async fn install(
        &self,
        source: &str,
        access: &Access,
        mut tell: impl FnMut(u8),
    ) -> Result<(), Trouble> {
        let bus = |error: zbus::Error| Trouble::passing(words(&error));
        let mut completed = self.proxy.receive_completed().await.map_err(bus)?;
        let mut progress = self.proxy.receive_progress_changed().await;
        let mut owner = self.proxy.inner().receive_owner_changed().await.map_err(bus)?;
        self.proxy
            .install_bundle(source, access.arguments())
            .await
            .map_err(|error| trouble(&words(&error)))?;
        loop {
            tokio::select! {
                signal = completed.next() => {
                    let Some(signal) = signal else { return Err(Trouble::passing("the bus is gone")) };
                    if signal.args().is_ok_and(|args| args.result == 0) {
                        return Ok(());
                    }
                    let said = self.proxy.last_error().await.unwrap_or_default();
                    return Err(trouble(if said.is_empty() { "RAUC failed and does not say why" } else { &said }));
                }
                Some(change) = progress.next() => {
                    if let Ok((percent, _, _)) = change.get().await {
                        tell(percent.clamp(0, 100) as u8);
                    }
                }
                change = owner.next() => {
                    if let Some(None) = change {
                        return Err(Trouble::passing("RAUC ended in the middle of an installation"));
                    }
                }
            }
        }
    }

    /// Tells the boot loader that the slot that runs is good.
    ///
    /// # Errors
    /// [`RaucError::Bus`].
    pub async fn mark_good(&self) -> Result<(), RaucError> {
        self.mark("good", "booted").await
    }

    /// Tells the boot loader that the slot that runs is bad, and that the other one is next.
    ///
    /// # Errors
    /// [`RaucError::Bus`].
    pub async fn go_back(&self) -> Result<(), RaucError> {
        self.mark("active", "other").await?;
        self.mark("bad", "booted").await
    }

    /// Tells the boot loader that the slot that runs is next as well.
    ///
    /// # Errors
    /// [`RaucError::Bus`].
    pub async fn stay(&self) -> Result<(), RaucError> {
        self.mark("active", "booted").await
    }

    async fn mark(&self, state: &str, slot: &str) -> Result<(), RaucError> {
        let (slot, said) = self.proxy.mark(state, slot).await?;
        log::info!(slot = slot.as_str(), said = said.as_str(); "the boot loader was told");
        Ok(())
    }
}

/// What D-Bus says, without its own words around it.
fn words(error: &zbus::Error) -> String {
    match error {
        zbus::Error::MethodError(_, Some(text), _) => text.clone(),
        other => other.to_string(),
    }
}

/// What RAUC says when no other try will go better.
const LASTING: &[&str] = &[
    "signature verification failed",
    "Compatible mismatch",
    "No space left on device",
    "Invalid bundle",
    "bundle is too small",
    "not a valid",
    "unsupported bundle",
    "Bundle format",
    "Failed to determine",
    "does not fit",
    "is larger than",
    "No matching",
    "Failed to load manifest",
    "Signature size",
];

/// What RAUC says, as trouble.
fn trouble(said: &str) -> Trouble {
    let lasts = LASTING.iter().any(|words| said.contains(words));
    Trouble { text: said.to_owned(), may_pass: !lasts }
}

fn text(of: &HashMap<String, OwnedValue>, key: &str) -> Option<String> {
    of.get(key).and_then(|value| <&str>::try_from(value).ok()).map(str::to_owned)
}

fn slots(
    status: &[(String, HashMap<String, OwnedValue>)],
    primary: Option<&str>,
) -> Result<Slots, RaucError> {
    const WHAT: &str = "list of slots";
    let lacks = |key| RaucError::Lacks { what: WHAT, key };
    let bootable = || {
        status.iter().filter_map(|(name, values)| {
            let boot_name = text(values, "bootname")?;
            let state = text(values, "state")?;
            Some((name, boot_name, state, values))
        })
    };
    let booted = bootable().find(|(_, _, state, _)| state == "booted").ok_or(lacks("a slot that runs"))?;
    let other = bootable().find(|(_, _, state, _)| state != "booted").ok_or(lacks("another slot"))?;
    let next =
        bootable().find(|(name, ..)| Some(name.as_str()) == primary).map(|(_, boot_name, ..)| boot_name);
    // RAUC forgets it while it writes, and notes it at the end.
    let is_whole = text(other.3, "status").is_some_and(|status| status == "ok");
    let other_version = text(other.3, "bundle.version").filter(|_| is_whole);
    Ok(Slots { booted: booted.1, other: other.1, other_version, next })
}

/// A dictionary in a value, or in a value in it, as RAUC gives it.
fn dictionary(value: &OwnedValue) -> Option<HashMap<String, OwnedValue>> {
    let mut value: &Value<'_> = value;
    while let Value::Value(inner) = value {
        value = inner;
    }
    HashMap::try_from(value.try_to_owned().ok()?).ok()
}

fn bundle_info(info: &HashMap<String, OwnedValue>) -> Result<BundleInfo, RaucError> {
    const WHAT: &str = "account of the bundle";
    let update =
        info.get("update").and_then(dictionary).ok_or(RaucError::Lacks { what: WHAT, key: "update" })?;
    let get = |key| text(&update, key).ok_or(RaucError::Lacks { what: WHAT, key });
    Ok(BundleInfo { compatible: get("compatible")?, version: get("version")? })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn values(of: &[(&str, &str)]) -> HashMap<String, OwnedValue> {
        of.iter().map(|(key, value)| ((*key).into(), Value::from(*value).try_into().unwrap())).collect()
    }

    #[test]
    fn the_slots_are_read_by_their_names_at_the_boot_loader() {
        let status = vec![
            ("boot.0".into(), values(&[("state", "active")])),
            ("rootfs.0".into(), values(&[("bootname", "A"), ("state", "booted")])),
            (
                "rootfs.1".into(),
                values(&[
                    ("bootname", "B"),
                    ("state", "inactive"),
                    ("bundle.version", "1.1.0"),
                    ("status", "ok"),
                ]),
            ),
        ];
        let slots = super::slots(&status, Some("rootfs.1")).unwrap();
        let expected = Slots {
            booted: "A".into(),
            other: "B".into(),
            other_version: Some("1.1.0".into()),
            next: Some("B".into()),
        };
        assert_eq!(slots, expected);
        let error = super::slots(&status[..2], None).unwrap_err();
        assert!(error.to_string().contains("another slot"), "{error}");
    }

    fn any_value() -> impl Strategy<Value = OwnedValue> {
        let leaf = prop_oneof![
            any::<u32>().prop_map(|value| Value::from(value).try_into().unwrap()),
            any::<bool>().prop_map(|value| Value::from(value).try_into().unwrap()),
            "booted|inactive|A|B|ok|[a-z]{0,6}".prop_map(|value| Value::from(value).try_into().unwrap()),
        ];
        let dictionary = prop::collection::hash_map(
            "compatible|version|[a-z]{1,4}",
            "[a-z0-9.]{0,6}".prop_map(|value| OwnedValue::try_from(Value::from(value)).unwrap()),
            0..4,
        );
        let nested = dictionary
            .clone()
            .prop_map(|inner| OwnedValue::try_from(Value::Value(Box::new(Value::from(inner)))).unwrap());
        prop_oneof![leaf, dictionary.prop_map(OwnedValue::from), nested]
    }

    fn any_dictionary() -> impl Strategy<Value = HashMap<String, OwnedValue>> {
        prop::collection::hash_map(
            "bootname|state|status|bundle.version|update|[a-z]{1,4}",
            any_value(),
            0..6,
        )
    }

    proptest! {
        #[test]
        fn nothing_that_comes_by_d_bus_breaks_the_readers(
            status in prop::collection::vec(("rootfs.[01]|[a-z]{1,4}", any_dictionary()), 0..5),
            primary in prop::option::of("rootfs.[01]"),
            info in any_dictionary(),
        ) {
            if let Ok(slots) = slots(&status, primary.as_deref()) {
                prop_assert!(slots.next.is_none_or(|next| next == slots.booted || !next.is_empty()));
            }
            let _ = bundle_info(&info);
        }
    }
}
